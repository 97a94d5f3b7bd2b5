package sqlitestore_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

func BenchmarkWebhooks(b *testing.B) {
	webhooktest.Bench(b, func(b *testing.B) webhook.Store { return open(b, nil).Webhooks() })
}

// BenchmarkOutbox publishes to ten endpoints, alone and beside others, who share
// commits.
func BenchmarkOutbox(b *testing.B) {
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
