package credits_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/credits"
)

// What a command costs in a batch must not grow with the batch: debits of one
// account that has many open holds and lots, in updates of so many.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 10, 100, 1000} {
		b.Run("commands="+strconv.Itoa(size), func(b *testing.B) {
			gate := &gated{Store: credits.NewMemoryStore(nil)}
			batcher := newBatcher(b, gate, &credits.BatcherOptions{Lanes: 1, MaxBatch: 1000})
			l, err := credits.NewLedger(batcher, nil)
			if err != nil {
				b.Fatal(err)
			}
			for i := range 100 {
				if _, err := l.Grant(b.Context(), grant(credits.OpID("g"+strconv.Itoa(i)), credits.MaxAmount/1000)); err != nil {
					b.Fatal(err)
				}
			}
			var next atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += size {
				open := gate.shut()
				var group sync.WaitGroup
				for range size {
					group.Go(func() {
						if _, err := l.Debit(b.Context(), debit(credits.OpID(strconv.FormatInt(next.Add(1), 10)), 1)); err != nil {
							b.Error(err)
						}
					})
				}
				open()
				group.Wait()
			}
		})
	}
}

// BenchmarkBatcher compares callers over memory with and without a Batcher.
func BenchmarkBatcher(b *testing.B) {
	for _, accounts := range []int{1, 10_000} {
		for _, callers := range []int{1, 64, 1024} {
			for _, batched := range []bool{false, true} {
				b.Run(fmt.Sprintf("accounts=%d/callers=%d/batched=%t", accounts, callers, batched), func(b *testing.B) {
					var store credits.Store = credits.NewMemoryStore(nil)
					if batched {
						store = newBatcher(b, store, nil)
					}
					l, err := credits.NewLedger(store, nil)
					if err != nil {
						b.Fatal(err)
					}
					ids := make([]credits.AccountID, accounts)
					for i := range ids {
						ids[i] = credits.AccountID("account " + strconv.Itoa(i))
						if _, err := l.Grant(b.Context(), credits.Grant{Account: ids[i], ID: "g", Amount: credits.MaxAmount}); err != nil {
							b.Fatal(err)
						}
					}
					var next atomic.Int64
					b.ReportAllocs()
					b.ResetTimer()
					var group sync.WaitGroup
					for range callers {
						group.Go(func() {
							for n := int(next.Add(1)); n <= b.N; n = int(next.Add(1)) {
								d := credits.Debit{Account: ids[n%accounts], ID: credits.OpID(strconv.Itoa(n)), Amount: 1}
								if _, err := l.Debit(b.Context(), d); err != nil {
									b.Error(err)
								}
							}
						})
					}
					group.Wait()
				})
			}
		}
	}
}
