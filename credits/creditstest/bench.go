package creditstest

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/credits"
)

// Bench measures the store that open returns, a fresh one for each case: a
// debit, and a hold with its capture, on one hot account and over ten thousand,
// serial and parallel; and a hold after many entries.
func Bench(b *testing.B, open func(b *testing.B) credits.Store) {
	b.Helper()
	for _, verb := range []struct {
		name string
		run  func(b *testing.B, l *credits.Ledger, account credits.AccountID, id credits.OpID)
	}{{"debit", benchDebit}, {"hold+capture", benchHoldCapture}} {
		for _, accounts := range []int{1, 10_000} {
			b.Run(fmt.Sprintf("%s/accounts=%d/serial", verb.name, accounts), func(b *testing.B) {
				l, ids := bench(b, open(b), accounts)
				var seen [2]credits.AccountID
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					account := ids[i%accounts]
					seen[i%2] = account
					verb.run(b, l, account, opID(i))
					i++
				}
				if accounts > 1 && i > 1 && seen[0] == seen[1] {
					b.Fatal("the account did not vary")
				}
			})
			b.Run(fmt.Sprintf("%s/accounts=%d/parallel", verb.name, accounts), func(b *testing.B) {
				l, ids := bench(b, open(b), accounts)
				var next atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						i := int(next.Add(1))
						verb.run(b, l, ids[i%accounts], opID(i))
					}
				})
			})
		}
	}
	for _, entries := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("hold+capture/entries=%d", entries), func(b *testing.B) {
			l, ids := bench(b, open(b), 1)
			for i := range entries {
				benchDebit(b, l, ids[0], credits.OpID("before "+strconv.Itoa(i)))
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				benchHoldCapture(b, l, ids[0], opID(i))
				i++
			}
		})
	}
}

func opID(i int) credits.OpID { return credits.OpID(strconv.Itoa(i)) }

// bench returns a ledger with so many accounts, each with ample credit.
func bench(b *testing.B, s credits.Store, accounts int) (*credits.Ledger, []credits.AccountID) {
	b.Helper()
	l, err := credits.NewLedger(s, nil)
	if err != nil {
		b.Fatal(err)
	}
	ids := make([]credits.AccountID, accounts)
	for i := range ids {
		ids[i] = credits.AccountID("account " + strconv.Itoa(i))
		if _, err := l.Grant(b.Context(), credits.Grant{Account: ids[i], ID: "grant", Amount: credits.MaxAmount}); err != nil {
			b.Fatal(err)
		}
	}
	return l, ids
}

func benchDebit(b *testing.B, l *credits.Ledger, account credits.AccountID, id credits.OpID) {
	if _, err := l.Debit(b.Context(), credits.Debit{Account: account, ID: id, Amount: credits.Credit, Operation: "image"}); err != nil {
		b.Error(err)
	}
}

func benchHoldCapture(b *testing.B, l *credits.Ledger, account credits.AccountID, id credits.OpID) {
	if _, err := l.Hold(b.Context(), credits.Hold{Account: account, ID: id, Amount: credits.Credit, Operation: "image"}); err != nil {
		b.Error(err)
	}
	if _, err := l.Capture(b.Context(), credits.Capture{Account: account, Hold: id, All: true}); err != nil {
		b.Error(err)
	}
}
