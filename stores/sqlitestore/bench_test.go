package sqlitestore_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/credits"
)

// BenchmarkGroupCommit compares debits that each wait for a commit of their own
// with those of 64 callers that share them.
func BenchmarkGroupCommit(b *testing.B) {
	for _, callers := range []int{1, 64} {
		for _, accounts := range []int{1, 1000} {
			b.Run("callers="+strconv.Itoa(callers)+"/accounts="+strconv.Itoa(accounts), func(b *testing.B) {
				db := open(b, nil)
				ledger, err := credits.NewLedger(db.Credits(), nil)
				if err != nil {
					b.Fatal(err)
				}
				ids := make([]credits.AccountID, accounts)
				for i := range ids {
					ids[i] = credits.AccountID("account " + strconv.Itoa(i))
				}
				fill(b, ledger, ids)
				var next atomic.Int64
				debit := func() {
					n := int(next.Add(1))
					_, err := ledger.Debit(b.Context(), credits.Debit{
						Account: ids[n%accounts], ID: credits.OpID(strconv.Itoa(n)), Amount: credits.Credit, Operation: "image",
					})
					if err != nil {
						b.Error(err)
					}
				}
				before := db.Commits()
				b.ReportAllocs()
				if callers == 1 {
					for b.Loop() {
						debit()
					}
				} else {
					b.SetParallelism(callers / 2) // of two CPUs
					b.ResetTimer()
					b.RunParallel(func(p *testing.PB) {
						for p.Next() {
							debit()
						}
					})
				}
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
