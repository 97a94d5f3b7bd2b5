package sqlitestore_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/credits"
)

// BenchmarkDebits compares debits that each wait for a commit of their own with
// those of callers who share them: in the writer's groups, and in the batches of a
// credits.Batcher.
func BenchmarkDebits(b *testing.B) {
	for _, accounts := range []int{1, 10_000} {
		for _, c := range []struct {
			callers int
			batched bool
		}{{1, false}, {1, true}, {64, false}, {64, true}, {256, true}, {1024, false}, {1024, true}} {
			b.Run(fmt.Sprintf("accounts=%d/callers=%d/batched=%t", accounts, c.callers, c.batched), func(b *testing.B) {
				db := open(b, nil)
				store := db.Credits()
				if c.batched {
					var err error
					if store, err = credits.NewBatcher(store, nil); err != nil {
						b.Fatal(err)
					}
				}
				ledger, err := credits.NewLedger(store, nil)
				if err != nil {
					b.Fatal(err)
				}
				ids := make([]credits.AccountID, accounts)
				for i := range ids {
					ids[i] = credits.AccountID("account " + strconv.Itoa(i))
				}
				fill(b, ledger, ids)
				var next atomic.Int64
				before := db.Commits()
				b.ReportAllocs()
				b.ResetTimer()
				var group sync.WaitGroup
				for range c.callers {
					group.Go(func() {
						for n := int(next.Add(1)); n <= b.N; n = int(next.Add(1)) {
							_, err := ledger.Debit(b.Context(), credits.Debit{
								Account: ids[n%accounts], ID: credits.OpID(strconv.Itoa(n)), Amount: credits.Credit, Operation: "image",
							})
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				group.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "debits/s")
				b.ReportMetric(float64(b.N)/float64(db.Commits()-before), "debits/commit")
			})
		}
	}
}

// fill grants every account ample credit, many at a time.
func fill(b *testing.B, ledger *credits.Ledger, ids []credits.AccountID) {
	b.Helper()
	work := make(chan credits.AccountID)
	done := make(chan error)
	const workers = 64
	for range workers {
		go func() {
			var failed error
			for id := range work {
				if _, err := ledger.Grant(b.Context(), credits.Grant{Account: id, ID: "grant", Amount: credits.MaxAmount}); err != nil {
					failed = err
				}
			}
			done <- failed
		}()
	}
	for _, id := range ids {
		work <- id
	}
	close(work)
	for range workers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}
