package sqlitestore_test

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
)

// pile files messages that are due, all for each of these endpoints.
func pile(t testing.TB, db *sqlitestore.DB, messages int, endpoints ...string) {
	t.Helper()
	err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
		const numbers = `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT ?1) `
		err := exec(numbers+`INSERT INTO webhook_messages (id, account, type, endpoint, content_type, at, deliveries, payload)
			SELECT 'past-' || hex(randomblob(10)), 'a', 't', '', 'application/json', n, 1, zeroblob(300) FROM r`, messages)
		if err != nil {
			return err
		}
		for _, id := range endpoints {
			err = exec(`INSERT INTO webhook_deliveries (message, endpoint, due, created_at)
				SELECT seq, ?2, at, at FROM webhook_messages ORDER BY seq DESC LIMIT ?1`, messages, id)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// piles are how many deliveries are due; KEYTOLL_BENCH_DUE=1000000 adds a size.
func piles(b *testing.B) []int {
	list := []int{1_000, 100_000}
	if n, err := strconv.Atoi(os.Getenv("KEYTOLL_BENCH_DUE")); err == nil {
		list = append(list, n)
	}
	return list
}

// What a claim and its settlement cost must not depend on what waits.
func BenchmarkWebhooksClaimAndSettle(b *testing.B) {
	const batch = 64
	for _, due := range piles(b) {
		for _, endpoints := range []int{1, 200} {
			b.Run(fmt.Sprintf("due=%d/endpoints=%d", due, endpoints), func(b *testing.B) {
				db := open(b, nil)
				w := db.Webhooks()
				for i := range endpoints {
					id := fmt.Sprintf("e%03d", i)
					addEndpoints(b, w, id)
					change(b, w, id, func(e *webhook.Endpoint) { e.Settings.MaxInFlight = batch })
					pile(b, db, due/endpoints, id)
				}
				b.ReportAllocs()
				b.ResetTimer()
				n, last := 0, ""
				for b.Loop() {
					got, err := w.Claim(b.Context(), webhook.Claim{Token: "t", Limit: batch, Lease: time.Minute, After: last})
					if err != nil {
						b.Fatal(err)
					}
					if n += len(got.Deliveries); len(got.Deliveries) < batch/2 {
						b.StopTimer() // they have come to an end
						for i := range endpoints {
							pile(b, db, due/endpoints, fmt.Sprintf("e%03d", i))
						}
						b.StartTimer()
					}
					last = got.Last
					if err := deliver(b.Context(), w, got); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deliveries/s")
			})
		}
	}
}

// BenchmarkWebhooksPublish publishes to ten endpoints, alone and beside others, who
// share commits.
func BenchmarkWebhooksPublish(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run("callers="+strconv.Itoa(callers), func(b *testing.B) {
			w := open(b, nil).Webhooks()
			for i := range 10 {
				addEndpoints(b, w, "e"+strconv.Itoa(i))
			}
			var next atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var group sync.WaitGroup
			for range callers {
				group.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						if _, err := w.Publish(b.Context(), messageOf(strconv.FormatInt(n, 10))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
