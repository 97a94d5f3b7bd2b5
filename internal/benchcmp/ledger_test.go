package benchcmp_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// A spend takes one micro-credit of an account, under an id of its own, and says
// whether it was there.
type spend func(ctx context.Context, account int) (bool, error)

// A bank is accounts in one database, each opened with the same amount, that are
// spent from in one way.
type bank struct {
	spend spend
	left  func(ctx context.Context) (int64, error) // in all accounts together
}

// A ledgerPeer is one way to keep accounts. open makes n of them.
type ledgerPeer[On any] struct {
	name string
	open func(tb testing.TB, on On, n int, amount int64) bank
}

// accountName is what account i is called.
func accountName(i int) string { return "account-" + strconv.Itoa(i) }

// postgres is a server of our own with its default settings: a commit is on the
// disk. Its pool is as large as served best when many write one row.
func postgres(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	config, err := pgxpool.ParseConfig(pgtest.Start(tb).URL())
	if err != nil {
		tb.Fatal(err)
	}
	config.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// ledgerBank is n accounts of a ledger over store.
func ledgerBank(tb testing.TB, store credits.Store, n int, amount int64) bank {
	tb.Helper()
	ledger, err := credits.NewLedger(store, nil)
	must(tb, err)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range most {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if _, err := ledger.Grant(tb.Context(), credits.Grant{
					Account: credits.AccountID(accountName(i)), ID: "opening", Amount: credits.Amount(amount),
				}); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	var ids atomic.Int64
	return bank{
		spend: func(ctx context.Context, account int) (bool, error) {
			_, err := ledger.Debit(ctx, credits.Debit{
				Account: credits.AccountID(accountName(account)), ID: credits.OpID("request-" + strconv.FormatInt(ids.Add(1), 10)),
				Amount: credits.Micro, Operation: "image",
			})
			return paid(err)
		},
		left: func(ctx context.Context) (int64, error) {
			sum := int64(0)
			for i := range n {
				b, err := ledger.Balance(ctx, credits.AccountID(accountName(i)))
				if err != nil {
					return 0, err
				}
				sum += int64(b.Issued - b.Consumed)
			}
			return sum, nil
		},
	}
}

// crew has so many callers spend b.N times together, and tells what all of them
// got done in a second. What is left afterwards proves that each was written.
func (k bank) crew(b *testing.B, accounts, callers int) {
	b.Helper()
	before, err := k.left(b.Context())
	must(b, err)
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for caller := range callers {
		wg.Go(func() {
			for d := (draw{n: accounts, state: mix(uint64(caller))}); left.Add(-1) >= 0; {
				if ok, err := k.spend(b.Context(), d.next()); err != nil || !ok {
					b.Errorf("unexpected answer: %v, %v", ok, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "debits/s")
	after, err := k.left(b.Context())
	must(b, err)
	if spent := before - after; spent != int64(b.N) {
		b.Fatalf("%d debits took %d", b.N, spent)
	}
}

// crowds are how many callers spend at once.
var crowds = [...]int{1, 64, 1024}

// spendsItsCredits proves of a peer that as many win as can be paid.
func spendsItsCredits[On any](t *testing.T, on On, p ledgerPeer[On]) {
	t.Helper()
	const accounts, amount, tries = 3, 20, 30
	k := p.open(t, on, accounts, amount)
	var won, next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := next.Add(1); i <= accounts*tries; i = next.Add(1) {
				ok, err := k.spend(t.Context(), int(i)%accounts)
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					won.Add(1)
				}
			}
		})
	}
	wg.Wait()
	left, err := k.left(t.Context())
	must(t, err)
	if won.Load() != accounts*amount || left != 0 {
		t.Errorf("%d of %d credits were spent, %d are left", won.Load(), accounts*amount, left)
	}
}

func TestEveryLedgerSpendsWhatThereIs(t *testing.T) {
	t.Run("store=postgres", func(t *testing.T) {
		pool := postgres(t)
		for _, p := range postgresLedgers {
			t.Run(p.name, func(t *testing.T) { spendsItsCredits(t, pool, p) })
		}
	})
	t.Run("store=sqlite", func(t *testing.T) {
		for _, p := range sqliteLedgers {
			t.Run(p.name, func(t *testing.T) { spendsItsCredits(t, t.TempDir(), p) })
		}
	})
	t.Run("store=memory", func(t *testing.T) {
		for _, p := range memoryLedgers {
			t.Run(p.name, func(t *testing.T) { spendsItsCredits(t, struct{}{}, p) })
		}
	})
}

// BenchmarkLedger spends credits that are there: from one hot account and from
// 10^4, by one caller, 64 and 1024.
func BenchmarkLedger(b *testing.B) {
	b.Run("store=postgres", func(b *testing.B) {
		pool := postgres(b)
		for _, p := range postgresLedgers {
			p.bench(b, func(*testing.B) *pgxpool.Pool { return pool })
		}
	})
	b.Run("store=sqlite", func(b *testing.B) {
		for _, p := range sqliteLedgers {
			p.bench(b, func(b *testing.B) string { return b.TempDir() })
		}
	})
	b.Run("store=memory", func(b *testing.B) {
		for _, p := range memoryLedgers {
			p.bench(b, func(*testing.B) struct{} { return struct{}{} })
		}
	})
}

func (p ledgerPeer[On]) bench(b *testing.B, on func(*testing.B) On) {
	for _, accounts := range [...]int{1, 1e4} {
		b.Run("accounts="+strconv.Itoa(accounts)+"/peer="+p.name, func(b *testing.B) {
			k := p.open(b, on(b), accounts, 1e12)
			for _, callers := range crowds {
				b.Run("callers="+strconv.Itoa(callers), func(b *testing.B) { k.crew(b, accounts, callers) })
			}
		})
	}
}
