package creditstest

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/credits"
)

// A load is what a benchmark's accounts have before it begins.
type load struct {
	name     string
	accounts int
	lots     int // of each account, with some available
	budgets  int // that each command counts against, up to 4
	entries  int // of each account's journal, at least
}

// benchLoads are the same for every store, so that stores can be compared.
var benchLoads = [...]load{
	{"hot", 1, 1, 0, 0},
	{"accounts=10000", 10_000, 1, 0, 0},
	{"hot/lots=1000", 1, 1000, 0, 0},
	{"hot/budgets=4", 1, 1, 4, 0},
	{"hot/entries=10000", 1, 1, 0, 10_000},
}

// Bench measures the store that open returns, a fresh one for each case: a
// debit, and a hold with its capture, by one caller and by many at once; on one
// hot account, over ten thousand, with many lots, with budgets, and after many
// entries. Wrap the store in a [credits.Batcher] to measure that.
func Bench(b *testing.B, open func(b *testing.B) credits.Store) {
	b.Helper()
	for _, verb := range []struct {
		name string
		run  func(b *testing.B, l *credits.Ledger, account credits.AccountID, id credits.OpID)
	}{{"debit", benchDebit}, {"hold+capture", benchHoldCapture}} {
		for _, load := range benchLoads {
			b.Run(verb.name+"/"+load.name+"/serial", func(b *testing.B) {
				l, turn := load.begin(b, open(b))
				b.ReportAllocs()
				for b.Loop() {
					account, id := turn.next()
					verb.run(b, l, account, id)
				}
				turn.check(b)
			})
			b.Run(verb.name+"/"+load.name+"/parallel", func(b *testing.B) {
				l, turn := load.begin(b, open(b))
				b.SetParallelism(16) // callers for each processor: most of them wait for the store
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						account, id := turn.next()
						verb.run(b, l, account, id)
					}
				})
				turn.check(b)
			})
		}
	}
}

// A turn hands out accounts in turn, and ids that nobody had.
type turn struct {
	ids    []credits.AccountID
	n      atomic.Int64
	varied atomic.Bool
	last   atomic.Int64
}

func (t *turn) next() (credits.AccountID, credits.OpID) {
	n := t.n.Add(1)
	i := n % int64(len(t.ids))
	if n > 1 && t.last.Swap(i) != i {
		t.varied.Store(true)
	}
	return t.ids[i], credits.OpID(strconv.FormatInt(n, 10))
}

// check fails a benchmark that did not measure what its name says.
func (t *turn) check(b *testing.B) {
	b.Helper()
	if n := t.n.Load(); len(t.ids) > 1 && n > 2 && !t.varied.Load() {
		b.Fatalf("all of %d commands were about one account", n)
	}
}

// begin fills a store, and returns a ledger over it.
func (l load) begin(b *testing.B, s credits.Store) (*credits.Ledger, *turn) {
	b.Helper()
	t := &turn{ids: make([]credits.AccountID, l.accounts)}
	for i := range t.ids {
		t.ids[i] = credits.AccountID(fmt.Sprint("account ", i))
	}
	batcher, err := credits.NewBatcher(s, nil) // or filling takes longer than measuring
	if err != nil {
		b.Fatal(err)
	}
	filler, err := open(batcher)
	if err != nil {
		b.Fatal(err)
	}
	const workers = 64
	if err := together(workers, func(worker int) error {
		for i := worker; i < l.accounts*l.lots; i += workers {
			// A lot is large enough to outlast the run, and takes its share of it.
			g := credits.Grant{Account: t.ids[i%l.accounts], ID: credits.OpID(fmt.Sprint("grant ", i)), Amount: credits.MaxAmount / credits.Amount(l.lots), Priority: i % 7}
			if _, err := filler.Grant(b.Context(), g); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	if err := together(workers, func(worker int) error {
		for i := worker; i < l.accounts*l.entries; i += workers {
			d := credits.Debit{Account: t.ids[i%l.accounts], ID: credits.OpID(fmt.Sprint("before ", i)), Amount: 1}
			if _, err := filler.Debit(b.Context(), d); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	for _, account := range t.ids {
		for _, budget := range []credits.Budget{{ID: "all"}, {ID: "image", Operation: "image"}, {ID: "red", Key: "red"}, {ID: "red/app", Key: "red/app"}}[:l.budgets] {
			budget.Account, budget.Amount, budget.Every, budget.Thresholds = account, credits.MaxAmount, credits.Month, "50,80,100"
			if _, err := filler.SetBudget(b.Context(), budget); err != nil {
				b.Fatal(err)
			}
		}
	}
	ledger, err := open(s)
	if err != nil {
		b.Fatal(err)
	}
	return ledger, t
}

const benchKey = "red/app/k1"

func benchDebit(b *testing.B, l *credits.Ledger, account credits.AccountID, id credits.OpID) {
	if _, err := l.Debit(b.Context(), credits.Debit{Account: account, ID: id, Amount: 3, Key: benchKey, Operation: "image"}); err != nil {
		b.Error(err)
	}
}

func benchHoldCapture(b *testing.B, l *credits.Ledger, account credits.AccountID, id credits.OpID) {
	if _, err := l.Hold(b.Context(), credits.Hold{Account: account, ID: id, Amount: 3, Key: benchKey, Operation: "image"}); err != nil {
		b.Error(err)
	}
	if _, err := l.Capture(b.Context(), credits.Capture{Account: account, Hold: id, All: true}); err != nil {
		b.Error(err)
	}
}
