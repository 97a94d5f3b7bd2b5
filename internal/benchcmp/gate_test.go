package benchcmp_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/httprate"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// gatePeers put different things in front of one handler, and have the keys of so
// many owners. Each returns the handler and the keys.
var gatePeers = [...]struct {
	name  string
	build func(tb testing.TB, n int, next http.Handler) (http.Handler, []string)
}{
	{"floor", bareHandler},
	{"handwritten", handwritten},
	{"handwritten-httprate", func(tb testing.TB, n int, next http.Handler) (http.Handler, []string) {
		limit := httprate.LimitBy(endless, time.Minute, func(r *http.Request) (string, error) {
			return r.Header.Get("Authorization"), nil
		})
		return handwritten(tb, n, limit(next))
	}},
	{"keytoll-key", ours(middleware.Operation{Price: middleware.Free()})},
	{"keytoll-limits", ours(middleware.Operation{Price: middleware.Free(), Limits: gateLimits()})},
	{"keytoll-credits", ours(middleware.Operation{Price: middleware.Fixed(credits.Micro), Limits: gateLimits()})},
	{"keytoll-leased", leased(middleware.Operation{Price: middleware.Fixed(credits.Micro), Limits: gateLimits()})},
}

// endless is what no run uses up.
const endless = 1 << 40

// gateLimits are three, of different kinds.
func gateLimits() []middleware.Limit {
	return []middleware.Limit{
		{Limit: ratelimit.Limit{Name: "second", Count: endless, Period: time.Second}},
		{Limit: ratelimit.Limit{Name: "minute", Algorithm: ratelimit.SlidingWindow, Count: endless, Period: time.Minute}},
		{Limit: ratelimit.Limit{Name: "day", Algorithm: ratelimit.FixedWindow, Count: endless, Period: 24 * time.Hour}},
	}
}

func bareHandler(_ testing.TB, n int, next http.Handler) (http.Handler, []string) {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("acme_%054d", i)
	}
	return next, keys
}

// handwritten is what most services begin with: the SHA-256 of the key, and a map.
func handwritten(tb testing.TB, n int, next http.Handler) (http.Handler, []string) {
	tb.Helper()
	_, keys := bareHandler(tb, n, nil)
	known := make(map[[sha256.Size]byte]string, n)
	for i, key := range keys {
		known[sha256.Sum256([]byte(key))] = ownerName(i)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if ok {
			_, ok = known[sha256.Sum256([]byte(key))]
		}
		if !ok {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}), keys
}

func ownerName(i int) string { return fmt.Sprintf("owner-%d", i) }

// ours is a gate on memory stores in front of the operation.
func ours(op middleware.Operation) func(testing.TB, int, http.Handler) (http.Handler, []string) {
	return gateOver(op, nil)
}

// leased is ours with credits that are spent through leases.
func leased(op middleware.Operation) func(testing.TB, int, http.Handler) (http.Handler, []string) {
	return gateOver(op, func(tb testing.TB, ledger *credits.Ledger, o *middleware.Options) {
		lessee, err := credits.NewLessee(ledger, nil)
		must(tb, err)
		tb.Cleanup(func() { _ = lessee.Close(tb.Context()) })
		o.Leases = lessee
	})
}

func gateOver(op middleware.Operation, edit func(testing.TB, *credits.Ledger, *middleware.Options)) func(testing.TB, int, http.Handler) (http.Handler, []string) {
	return func(tb testing.TB, n int, next http.Handler) (http.Handler, []string) {
		tb.Helper()
		service, err := apikey.NewService(apikey.NewMemoryStore(), newFormat(tb, nil), nil)
		must(tb, err)
		ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
		must(tb, err)
		o := &middleware.Options{Credits: ledger}
		if edit != nil {
			edit(tb, ledger, o)
		}
		gate, err := middleware.NewGate(service, o)
		must(tb, err)
		op.Name, op.Scopes = "image", scopes.All("image:generate")
		return gate.Handler(op)(next), sold(tb, service, ledger, n)
	}
}

// sold makes a key with endless of credits for each of n owners.
func sold(tb testing.TB, service *apikey.Service, ledger *credits.Ledger, n int) []string {
	tb.Helper()
	granted, err := scopes.Parse("image:generate image:read")
	must(tb, err)
	keys := make([]string, n)
	for i := range keys {
		issued, err := service.Create(tb.Context(), apikey.Spec{Owner: ownerName(i), Scopes: granted})
		must(tb, err)
		_, err = ledger.Grant(tb.Context(), credits.Grant{Account: credits.AccountID(ownerName(i)), ID: "grant", Amount: endless})
		must(tb, err)
		keys[i] = issued.Secret.Reveal()
	}
	return keys
}

// requests returns one request for each key, as net/http makes them of what curl
// sends.
func requests(keys []string) []*http.Request {
	list := make([]*http.Request, len(keys))
	for i, key := range keys {
		list[i] = httptest.NewRequest(http.MethodPost, "/v1/images", nil)
		list[i].Header = http.Header{"Authorization": {"Bearer " + key}, "Accept": {"*/*"}, "User-Agent": {"curl/8.5.0"}, "Content-Length": {"0"}}
	}
	return list
}

// A blank is a response that is thrown away.
type blank struct {
	header http.Header
	status int
}

func (w *blank) Header() http.Header         { return w.header }
func (w *blank) Write(b []byte) (int, error) { return len(b), nil }
func (w *blank) WriteHeader(status int)      { w.status = status }

func TestEveryGateDecides(t *testing.T) {
	for _, p := range gatePeers {
		t.Run("peer="+p.name, func(t *testing.T) {
			calls := 0
			handler, keys := p.build(t, 3, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				calls++
				w.WriteHeader(http.StatusNoContent)
			}))
			for _, r := range requests(keys) {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != http.StatusNoContent {
					t.Errorf("a good key has status %d: %s", w.Code, w.Body)
				}
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, requests([]string{keys[0][:len(keys[0])-1]})[0])
			if p.name != "floor" && (w.Code != http.StatusUnauthorized || calls != 3) {
				t.Errorf("a wrong key has status %d, and the handler ran %d times", w.Code, calls)
			}
		})
	}
}

// BenchmarkGate is one request through the handler, called in process.
func BenchmarkGate(b *testing.B) {
	const n = 10_000
	for _, p := range gatePeers {
		b.Run("peer="+p.name, func(b *testing.B) {
			handler, keys := p.build(b, n, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			mustVary(b, n, func(i int) string { return keys[i] })
			all := requests(keys)
			serve := func(i int) bool {
				w := blank{header: make(http.Header, 8)}
				handler.ServeHTTP(&w, all[i])
				return w.status == http.StatusNoContent
			}
			for i := range n { // what a first call of a key sets up is not measured
				if !serve(i) {
					b.Fatalf("key %d is refused", i)
				}
			}
			modes(b, n, serve)
		})
	}
}
