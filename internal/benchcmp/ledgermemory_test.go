package benchcmp_test

import (
	"context"
	"hash/maphash"
	"strconv"
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
