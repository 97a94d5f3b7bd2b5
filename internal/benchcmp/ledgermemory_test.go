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

// keytollLeased spends leases of a ledger in memory. What is left is asked after
// everything was settled.
func keytollLeased(tb testing.TB, _ struct{}, n int, amount int64) bank {
	tb.Helper()
	store := credits.NewMemoryStore(nil)
	k := ledgerBank(tb, store, n, amount)
	ledger, err := credits.NewLedger(store, nil)
	must(tb, err)
	lessee, err := credits.NewLessee(ledger, nil)
	must(tb, err)
	tb.Cleanup(func() { must(tb, lessee.Close(context.Background())) })
	accounts := make([]credits.AccountID, n)
	for i := range accounts {
		accounts[i] = credits.AccountID(accountName(i))
	}
	settled := k.left
	return bank{
		spend: func(ctx context.Context, account int) (bool, error) {
			_, err := lessee.Debit(ctx, credits.Debit{Account: accounts[account], Amount: credits.Micro, Operation: "image"})
			return paid(err)
		},
		left: func(ctx context.Context) (int64, error) {
			if err := lessee.Flush(ctx); err != nil {
				return 0, err
			}
			free, err := settled(ctx)
			for i := range n {
				b, err := ledger.Balance(ctx, accounts[i])
				if err != nil {
					return 0, err
				}
				free += int64(b.Leased)
			}
			return free, err
		},
	}
}
