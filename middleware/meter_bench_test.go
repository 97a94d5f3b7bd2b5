package middleware_test

import (
	"net/http"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
)

// BenchmarkMeter is a stream of pieces that are counted one by one, against the
// same one unmetered: what one count costs, and what a whole stream does, with the
// holds that it makes.
func BenchmarkMeter(b *testing.B) {
	const pieces = 1000
	one := []byte("data: word\n\n")
	for _, bb := range []struct {
		name  string
		meter bool
	}{{"stream/unmetered", false}, {"stream/metered", true}} {
		b.Run(bb.name, func(b *testing.B) {
			h := build(b, blueprint{options: func(o *middleware.Options) { o.Observer, o.Now = nil, nil }})
			h.grant(1 << 40)
			handler := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p, _ := middleware.PassFrom(r.Context())
				for range pieces {
					if bb.meter {
						if err := p.Meter().Add(r.Context(), credits.Credit); err != nil {
							b.Error(err)
						}
					}
					_, _ = w.Write(one)
				}
			}))
			issued := h.key("image:generate")
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				h.call(handler, bearer(issued))
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*pieces), "ns/piece")
		})
	}
	b.Run("add", func(b *testing.B) {
		h := build(b, blueprint{options: func(o *middleware.Options) { o.Now = nil }})
		h.grant(1 << 40)
		m := h.admit(priced()).Meter()
		b.ReportAllocs()
		for b.Loop() {
			if err := m.Add(b.Context(), credits.Micro); err != nil {
				b.Fatal(err)
			}
		}
	})
}
