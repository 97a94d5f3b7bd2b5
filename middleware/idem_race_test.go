package middleware_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
)

// Of 64 that come at once under one key, one is done and charged.
func TestIdemRaceUnderOneKey(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			const n = 64
			d := newDesk(t, blueprint{})
			issued := d.key("image:generate")
			all := make(chan struct{})
			s, client := serve(t, protocol, d.handler(once(), func(w http.ResponseWriter, _ *http.Request) {
				<-all
				_, _ = io.WriteString(w, "done")
			}))
			var wg sync.WaitGroup
			statuses := make(chan int, n)
			for range n {
				wg.Go(func() {
					statuses <- send(t, client, "POST", s.URL, "a cat", bearer(issued), idemKey("k")).status
				})
			}
			for range n - 1 { // all but the one that runs
				if got := <-statuses; got != 409 {
					t.Errorf("status %d, want 409", got)
				}
			}
			close(all)
			wg.Wait()
			if got := <-statuses; got != 200 {
				t.Errorf("the one that ran: status %d", got)
			}
			d.ran(1)
			d.spent(5, 0)
		})
	}
}

// Many keys, many times each, with handlers that fail now and then: each key is
// done and charged once.
func TestIdemRaceUnderManyKeys(t *testing.T) {
	const keys, times = 24, 12
	d := newDesk(t, blueprint{}, func(o *middleware.IdempotencyOptions) {
		o.Replays = ratelimit.Limit{Count: 1 << 40, Period: time.Second} // who is told to wait here asks again at once
	})
	issued := d.key("image:generate")
	var mu sync.Mutex
	done, tries := make(map[string]int), make(map[string]int)
	handler := d.handler(once(), func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		mu.Lock()
		defer mu.Unlock()
		if tries[key]++; tries[key] < 3 {
			w.WriteHeader(500)
			return
		}
		done[key]++
	})
	var wg sync.WaitGroup
	for i := range keys * times {
		key := fmt.Sprint(i % keys)
		wg.Go(func() {
			for {
				w := d.call(handler, bearer(issued), idemKey(key))
				if w.Code == 200 {
					return
				}
				if w.Code != 409 && w.Code != 500 {
					t.Errorf("status %d: %s", w.Code, w.Body)
					return
				}
			}
		})
	}
	wg.Wait()
	for key, n := range done {
		if n != 1 || tries[key] != 3 {
			t.Errorf("key %s was done %d times in %d tries", key, n, tries[key])
		}
	}
	d.ran(3 * keys)
	d.spent(5*keys, 0)
}

// Go's client sends a POST with an Idempotency-Key again by itself when a
// connection that it has used before dies without an answer (net/http,
// Request.isReplayable): a handler that panics is asked twice, and charged once.
func TestIdemTheTransportResendsByItself(t *testing.T) {
	d := newDesk(t, blueprint{})
	issued := d.key("image:generate")
	free := open()
	warm := d.gate.Handler(free)(says(204))
	s, client := serve(t, "h1", route{"/warm": warm, "/work": d.handler(once(), func(w http.ResponseWriter, r *http.Request) {
		if d.runs.Load() == 1 {
			panic(http.ErrAbortHandler)
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}), "/charged": d.handler(renamed(once(), "charged"), func(_ http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		_ = p.Charge(2 * credits.Credit)
		panic(http.ErrAbortHandler)
	})})
	if got := send(t, client, "GET", s.URL+"/warm", "", bearer(issued)); got.status != 204 {
		t.Fatalf("%+v", got)
	}
	if got := send(t, client, "POST", s.URL+"/work", "a cat", bearer(issued), idemKey("k")); got.status != 200 || got.body != "a cat" {
		t.Errorf("%+v", got)
	}
	d.ran(2) // the client asked once
	d.spent(5, 0)
	if got := send(t, client, "POST", s.URL+"/charged", "a cat", bearer(issued), idemKey("k")); got.status != 409 || !strings.Contains(got.body, "not_replayable") {
		t.Errorf("%+v", got)
	}
	d.ran(3)
	d.spent(7, 0)
}

type route map[string]http.Handler

func (rt route) ServeHTTP(w http.ResponseWriter, r *http.Request) { rt[r.URL.Path].ServeHTTP(w, r) }

func renamed(op middleware.Operation, name string) middleware.Operation {
	op.Name = name
	return op
}

// What is kept holds no credential and no Idempotency-Key, and neither does what
// the Observer is told.
func TestIdemNoSecretIsKept(t *testing.T) {
	var kept strings.Builder
	d := newDesk(t, blueprint{options: func(o *middleware.Options) {
		o.Profile.Credentials = []middleware.Location{middleware.Bearer(), middleware.InsecureQuery("key")}
		o.Idempotency.Store = spy{o.Idempotency.Store, &kept}
	}})
	issued := d.key("image:generate")
	secret := issued.Secret.Reveal()
	handler := d.handler(once(), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", fmt.Sprint(r.URL, r.RequestURI, r.Header["Authorization"]))
		w.Header().Set("Set-Cookie", "session=cookie-secret")
		w.Header().Set("Www-Authenticate", "Basic cookie-secret")
		_, _ = fmt.Fprint(w, r.URL, r.RequestURI, r.Header["Authorization"])
	})
	for _, credential := range []func(*http.Request){bearer(issued), at("/?key=" + secret), bearer(issued)} {
		d.call(handler, credential, idemKey("the-clients-own-secret"))
	}
	d.ran(1)
	for _, decision := range d.journal.decisions {
		fmt.Fprintf(&kept, "%+v\n", decision)
	}
	for _, settled := range d.journal.settlements() {
		fmt.Fprintf(&kept, "%+v\n", settled)
	}
	if !strings.Contains(kept.String(), "X-Echo") {
		t.Fatal("nothing was kept")
	}
	for _, part := range []string{secret, secret[:20], secret[len(secret)-20:], "cookie-secret", "the-clients-own-secret"} {
		if strings.Contains(kept.String(), part) {
			t.Errorf("%.6q... is in what is kept", part)
		}
	}
}

// With many keys; a replay reads what a fresh call has written.
func BenchmarkIdempotency(b *testing.B) {
	const keys = 1024
	newHandler := func(b *testing.B, mode middleware.Idempotency) (http.Handler, func(i int) *http.Request) {
		d := newDesk(b, blueprint{options: func(o *middleware.Options) { o.Observer, o.Now, o.Limits = nil, nil, nil }}, func(o *middleware.IdempotencyOptions) {
			o.Replays.Count, o.Replays.Period = 1<<40, time.Second
			o.Keep = time.Second // so that a long run does not fill the store, whose clock is a real one
			store, err := idempotency.NewMemoryStore(nil)
			must(b, err)
			o.Store = store
		})
		op := once()
		op.Price, op.Idempotency = middleware.Free(), mode
		issued := d.key("image:generate")
		requests := make([]*http.Request, keys)
		for i := range requests {
			requests[i] = httptest.NewRequest("POST", "/v1/images", nil)
			bearer(issued)(requests[i])
		}
		handler := d.gate.Handler(op)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") }))
		return handler, func(i int) *http.Request {
			r := requests[i%keys]
			r.Header["Idempotency-Key"] = []string{strconv.Itoa(i)}
			return r
		}
	}
	for _, bb := range []struct {
		name string
		mode middleware.Idempotency
		most int // different Idempotency-Keys; 0: each its own
	}{
		{"off", middleware.IdempotencyOff, 0}, {"fresh", middleware.IdempotencyOptional, 0}, {"replayed", middleware.IdempotencyOptional, keys},
	} {
		b.Run(bb.name, func(b *testing.B) {
			handler, request := newHandler(b, bb.mode)
			w := &sink{header: make(http.Header, 8)}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				clear(w.header)
				n := i
				if bb.most > 0 {
					n %= bb.most
				}
				if handler.ServeHTTP(w, request(n)); w.status >= 300 {
					b.Fatal(w.status)
				}
				i++
			}
		})
	}
}
