package webhook_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/keytoll/keytoll/webhook"
)

// BenchmarkAttempt is one attempt over a connection that is there already, beside a
// bare POST of the same bytes.
func BenchmarkAttempt(b *testing.B) {
	s := newTarget(b, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	b.Run("bare", func(b *testing.B) {
		client := s.Client()
		b.ReportAllocs()
		for b.Loop() {
			res, err := client.Post(s.URL, "application/json", bytes.NewReader([]byte(testBody)))
			if err != nil {
				b.Fatal(err)
			}
			_ = res.Body.Close()
		}
	})
	b.Run("attempt", func(b *testing.B) {
		o, d, keys := webhook.SenderOptions{Transport: local(b)}, claimed(s.URL, webhook.Settings{}), keysOf(b, testSecret)
		b.ReportAllocs()
		for b.Loop() {
			if a, err := webhook.Try(b.Context(), o, d, keys, ""); err != nil || a.Failure != 0 {
				b.Fatal(a, err)
			}
		}
	})
}
