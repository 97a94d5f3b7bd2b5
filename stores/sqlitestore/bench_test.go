package sqlitestore_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/sqlitestore"
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

// What a hold and its capture cost must not depend on what the account has done
// before: on the entries and the ops of its past.
func BenchmarkHoldAfterEntries(b *testing.B) {
	for _, entries := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run("entries="+strconv.Itoa(entries), func(b *testing.B) {
			db := open(b, nil)
			ledger, err := credits.NewLedger(db.Credits(), nil)
			if err != nil {
				b.Fatal(err)
			}
			fill(b, ledger, []credits.AccountID{"a"})
			err = db.Write(b.Context(), func(exec sqlitestore.Exec) error {
				for _, text := range []string{
					`WITH RECURSIVE r(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM r LIMIT ?1)
						INSERT INTO entries SELECT 'a', n, 0, 7, 'past' || n, 1, 3, 5, 1, '', '', '', zeroblob(32) FROM r`,
					`WITH RECURSIVE r(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM r LIMIT ?1)
						INSERT INTO ops (account, id, kind, hold, intent, at, amount, target, parts, charges, terms, totals, seq, key, operation, price, note, denied)
						SELECT 'a', 'past' || n, 7, 0, zeroblob(32), 0, 1, '', '1:1:1:0:0', '', '', '', n, '', '', '', '', 0 FROM r`,
					`UPDATE accounts SET seq = 1 + ?1`,
				} {
					if err := exec(text, entries); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				id := credits.OpID(strconv.Itoa(i))
				if _, err := ledger.Hold(b.Context(), credits.Hold{Account: "a", ID: id, Amount: 5}); err != nil {
					b.Fatal(err)
				}
				if _, err := ledger.Capture(b.Context(), credits.Capture{Account: "a", Hold: id, All: true}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
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
