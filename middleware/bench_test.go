package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// A sink is a response writer that costs next to nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

func threeLimits() []middleware.Limit {
	const plenty = 1 << 40
	return []middleware.Limit{
		{Limit: ratelimit.Limit{Name: "second", Count: plenty, Period: time.Second}},
		{Limit: ratelimit.Limit{Name: "minute", Algorithm: ratelimit.SlidingWindow, Count: plenty, Period: time.Minute}},
		{Limit: ratelimit.Limit{Name: "day", Algorithm: ratelimit.FixedWindow, Count: plenty, Period: 24 * time.Hour}},
	}
}

func BenchmarkHandler(b *testing.B) {
	const keys = 1024
	empty := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, bb := range []struct {
		name string
		op   middleware.Operation
	}{
		{"key+scope", middleware.Operation{Name: "plain", Scopes: scopes.All("image:generate"), Price: middleware.Free()}},
		{"key+scope+3limits", middleware.Operation{Name: "limited", Scopes: scopes.All("image:generate"), Price: middleware.Free(), Limits: threeLimits()}},
		{"key+scope+3limits+credits", middleware.Operation{Name: "paid", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(credits.Micro), Limits: threeLimits()}},
	} {
		setUp := func(b *testing.B) (http.Handler, []*http.Request) {
			h := build(b, blueprint{options: func(o *middleware.Options) { o.Observer, o.Now, o.Limits = nil, nil, nil }})
			requests := make([]*http.Request, keys)
			seen := make(map[string]bool)
			for i := range requests {
				owner := fmt.Sprintf("%s-%d", account, i)
				issued := h.issue(apikey.Spec{Owner: owner}, "image:generate image:read")
				_, err := h.ledger.Grant(b.Context(), credits.Grant{Account: credits.AccountID(owner), ID: "grant", Amount: 1 << 50})
				must(b, err)
				requests[i] = httptest.NewRequest("POST", "/v1/images", nil)
				requests[i].Header = http.Header{
					"Authorization": {"Bearer " + issued.Secret.Reveal()}, "Accept": {"*/*"}, "User-Agent": {"bench"}, "Content-Length": {"0"},
				}
				seen[requests[i].Header.Get("Authorization")] = true
			}
			if len(seen) != keys {
				b.Fatalf("%d different keys, want %d", len(seen), keys)
			}
			handler := h.gate.Handler(bb.op)(empty)
			for _, r := range requests { // what a first call of a key sets up is not measured
				handler.ServeHTTP(&sink{header: make(http.Header)}, r)
			}
			return handler, requests
		}
		b.Run(bb.name, func(b *testing.B) {
			handler, requests := setUp(b)
			w := &sink{header: make(http.Header, 8)}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				clear(w.header)
				handler.ServeHTTP(w, requests[i%keys])
				i++
			}
			if w.status != 0 {
				b.Fatalf("status %d", w.status)
			}
		})
		b.Run(bb.name+"/parallel", func(b *testing.B) {
			handler, requests := setUp(b)
			var next atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				w := &sink{header: make(http.Header, 8)}
				i := int(next.Add(keys / 8))
				for pb.Next() {
					clear(w.header)
					handler.ServeHTTP(w, requests[i%keys])
					i++
				}
				if w.status != 0 {
					b.Errorf("status %d", w.status)
				}
			})
		})
	}
}

// TestAllocations holds the whole way through the gate, hold and capture
// included, to its budget.
func TestAllocations(t *testing.T) {
	if underRace {
		t.Skip("the race detector makes pools drop what they hold")
	}
	h := build(t, blueprint{options: func(o *middleware.Options) { o.Observer = nil }})
	h.grant(1 << 20)
	op := priced()
	op.Limits = threeLimits()
	handler := h.gate.Handler(op)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest("POST", "/v1/images", nil)
	bearer(h.key("image:generate"))(r)
	w := &sink{header: make(http.Header, 8)}
	n := testing.AllocsPerRun(500, func() {
		clear(w.header)
		handler.ServeHTTP(w, r)
	})
	if n > 8 || w.status != 0 {
		t.Errorf("%v allocations a request, want 8 or less; status %d", n, w.status)
	}
}
