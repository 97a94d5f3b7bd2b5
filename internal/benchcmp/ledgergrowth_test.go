package benchcmp_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// ledgerStores open an empty store of credits.
var ledgerStores = [...]struct {
	name string
	open func(tb testing.TB) credits.Store
}{
	{"memory", func(testing.TB) credits.Store { return credits.NewMemoryStore(nil) }},
	{"sqlite", func(tb testing.TB) credits.Store { return sqliteStore(tb, tb.TempDir()) }},
	{"postgres", func(tb testing.TB) credits.Store { return postgresStore(tb, postgres(tb)) }},
}

// BenchmarkHold holds and captures on one account: after so many entries, and
// with so many open lots, each of which the hold could burn.
func BenchmarkHold(b *testing.B) {
	for _, s := range ledgerStores {
		b.Run("store="+s.name, func(b *testing.B) {
			store := s.open(b)
			for _, entries := range [...]int{1e3, 1e4, 1e5, 1e6, 1e7} {
				b.Run("entries="+strconv.Itoa(entries), func(b *testing.B) {
					if entries > 1e6 && !*large {
						b.Skip("only with -large")
					}
					if entries > 1e5 && testing.Short() {
						b.Skip("-short leaves out 10^6 entries")
					}
					holds(b, store, "busy", func(b *testing.B) { writeEntries(b, store, "busy", entries) })
				})
			}
			for _, lots := range [...]int{1, 10, 100, 1e3, 1e4} {
				b.Run("lots="+strconv.Itoa(lots), func(b *testing.B) {
					account := credits.AccountID("lots-" + strconv.Itoa(lots))
					holds(b, store, account, func(b *testing.B) { openLots(b, store, account, lots) })
				})
			}
		})
	}
}

// holds measures a hold and its capture of an account that prepare has made.
func holds(b *testing.B, store credits.Store, account credits.AccountID, prepare func(*testing.B)) {
	b.Helper()
	prepare(b)
	ledger, err := credits.NewLedger(store, nil)
	must(b, err)
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		id := credits.OpID(run + "-" + strconv.Itoa(n))
		_, err := ledger.Hold(b.Context(), credits.Hold{Account: account, ID: id, Amount: credits.Micro, Operation: "image"})
		must(b, err)
		_, err = ledger.Capture(b.Context(), credits.Capture{Account: account, Hold: id, All: true})
		must(b, err)
	}
}

// writeEntries makes an account that has at least so many entries behind it.
func writeEntries(b *testing.B, store credits.Store, account credits.AccountID, entries int) {
	b.Helper()
	ledger, err := credits.NewLedger(batched(b, store), nil)
	must(b, err)
	_, err = ledger.Grant(b.Context(), credits.Grant{Account: account, ID: "opening", Amount: credits.MaxAmount / 2})
	must(b, err)
	page, err := ledger.Entries(b.Context(), credits.Query{Account: account, Newest: true, Limit: 1})
	must(b, err)
	from := int(page.Entries[0].Seq)
	const writers = 512
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := from + w; i < entries; i += writers {
				_, err := ledger.Debit(b.Context(), credits.Debit{Account: account, ID: credits.OpID(fmt.Sprint("past-", i)), Amount: credits.Micro})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// openLots makes an account of that many lots, each with an expiry of its own.
func openLots(b *testing.B, store credits.Store, account credits.AccountID, lots int) {
	b.Helper()
	ledger, err := credits.NewLedger(batched(b, store), nil)
	must(b, err)
	const writers = 512
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < lots; i += writers {
				_, err := ledger.Grant(b.Context(), credits.Grant{
					Account: account, ID: credits.OpID(fmt.Sprint("lot-", i)), Amount: credits.Credit * 1e6,
					ExpiresAt: time.Date(2100, 1, 1, 0, 0, i, 0, time.UTC),
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
