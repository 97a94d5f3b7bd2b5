package benchcmp_test

import (
	"context"
	"hash/maphash"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/credits"
)

// memoryLedgers are ways to take credits in the memory of one process. The floor
// is a map in 256 shards with one number an account, taken under the shard's lock:
// it keeps no record of anything.
var memoryLedgers = [...]ledgerPeer[struct{}]{
	{"floor", floorMemory},
	{"keytoll", keytollMemory},
	{"keytoll-batched", keytollBatchedMemory},
	{"keytoll-leased", keytollLeased},
}

func floorMemory(_ testing.TB, _ struct{}, n int, amount int64) bank {
	type shard struct {
		mu       sync.Mutex
		balances map[string]int64
		_        [64]byte
	}
	shards, seed := make([]shard, 256), maphash.MakeSeed()
	at := func(name string) *shard { return &shards[maphash.String(seed, name)%256] }
	names := make([]string, n)
	for i := range n {
		names[i] = accountName(i)
		s := at(names[i])
		if s.balances == nil {
			s.balances = make(map[string]int64)
		}
		s.balances[names[i]] = amount
	}
	return bank{
		spend: func(_ context.Context, account int) (bool, error) {
			s := at(names[account])
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.balances[names[account]] < 1 {
				return false, nil
			}
			s.balances[names[account]]--
			return true, nil
		},
		left: func(context.Context) (sum int64, err error) {
			for i := range shards {
				for _, b := range shards[i].balances {
					sum += b
				}
			}
			return sum, nil
		},
	}
}

func keytollMemory(tb testing.TB, _ struct{}, n int, amount int64) bank {
	tb.Helper()
	return ledgerBank(tb, credits.NewMemoryStore(nil), n, amount)
}

func keytollBatchedMemory(tb testing.TB, _ struct{}, n int, amount int64) bank {
	tb.Helper()
	return ledgerBank(tb, batched(tb, credits.NewMemoryStore(nil)), n, amount)
}

// keytollLeased spends leases of a ledger in memory, which settle behind it. What
// is left is asked after everything was settled.
func keytollLeased(tb testing.TB, _ struct{}, n int, amount int64) bank {
	tb.Helper()
	store := credits.NewMemoryStore(nil)
	k := ledgerBank(tb, store, n, amount)
	lessee := lessee(tb, store, nil)
	accounts := make([]credits.AccountID, n)
	for i := range accounts {
		accounts[i] = credits.AccountID(accountName(i))
	}
	settled := k.left
	k.spend = func(ctx context.Context, account int) (bool, error) {
		_, err := lessee.Debit(ctx, credits.Debit{Account: accounts[account], Amount: credits.Micro, Operation: "image"})
		return paid(err)
	}
	k.left = func(ctx context.Context) (int64, error) {
		if err := lessee.Flush(ctx); err != nil {
			return 0, err
		}
		return settled(ctx)
	}
	return k
}

func lessee(tb testing.TB, store credits.Store, o *credits.LesseeOptions) *credits.Lessee {
	tb.Helper()
	ledger, err := credits.NewLedger(store, nil)
	must(tb, err)
	l, err := credits.NewLessee(ledger, o)
	must(tb, err)
	tb.Cleanup(func() { must(tb, l.Close(context.Background())) })
	return l
}

// BenchmarkLease spends from a lease and stops the clock while that is settled:
// what a caller waits for. BenchmarkLedger counts the settlements, too.
func BenchmarkLease(b *testing.B) {
	store := credits.NewMemoryStore(nil)
	k := ledgerBank(b, store, 1, 1e15)
	lessee := lessee(b, store, &credits.LesseeOptions{Flush: credits.ManualFlush})
	account := credits.AccountID(accountName(0))
	spend := func(times int) {
		for range times {
			if _, err := lessee.Debit(b.Context(), credits.Debit{Account: account, Amount: credits.Micro, Operation: "image"}); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		must(b, lessee.Flush(b.Context()))
		b.StartTimer()
	}
	const between = 1000
	for range 4 { // until there is a lease that lasts
		spend(between)
	}
	before, err := k.left(b.Context())
	must(b, err)
	b.ReportAllocs()
	b.ResetTimer()
	for n := b.N; n > 0; n -= between {
		spend(min(n, between))
	}
	b.StopTimer()
	after, err := k.left(b.Context())
	must(b, err)
	if before-after != int64(b.N) {
		b.Fatalf("%d spends took %d", b.N, before-after)
	}
}
