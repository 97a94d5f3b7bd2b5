package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// brokenAnswers is a store of answers that fails when it is told to.
type brokenAnswers struct {
	idempotency.Store

	claim, finish, abandon breaker
}

func (s *brokenAnswers) Claim(ctx context.Context, c idempotency.Claim) (f idempotency.Found, err error) {
	var got idempotency.Found
	if err = s.claim.around(ctx, func() error { got, err = s.Store.Claim(ctx, c); return err }); err != nil {
		return idempotency.Found{}, err
	}
	return got, nil
}

func (s *brokenAnswers) Finish(ctx context.Context, key idempotency.Key, token idempotency.Token, answer []byte, keep time.Duration) error {
	return s.finish.around(ctx, func() error { return s.Store.Finish(ctx, key, token, answer, keep) })
}

func (s *brokenAnswers) Abandon(ctx context.Context, key idempotency.Key, token idempotency.Token) error {
	return s.abandon.around(ctx, func() error { return s.Store.Abandon(ctx, key, token) })
}

// A desk is a house whose gate does things once. A handler of the desk counts how
// often it runs.
type desk struct {
	*house
	store  *brokenAnswers
	memory *idempotency.MemoryStore
	runs   atomic.Int64
}

// claimLease is the one of every desk.
const claimLease = time.Minute

func newDesk(tb testing.TB, b blueprint, edit ...func(*middleware.IdempotencyOptions)) *desk {
	tb.Helper()
	d := &desk{}
	var clock func() time.Time
	options := b.options
	b.options = func(o *middleware.Options) {
		clock = o.Now
		var err error
		d.memory, err = idempotency.NewMemoryStore(&idempotency.MemoryOptions{Now: clock})
		must(tb, err)
		d.store = &brokenAnswers{Store: d.memory}
		o.Idempotency = &middleware.IdempotencyOptions{Store: d.store, Lease: claimLease}
		for _, e := range edit {
			e(o.Idempotency)
		}
		if options != nil {
			options(o)
		}
	}
	d.house = build(tb, b)
	d.grant(1000)
	return d
}

// once is priced, under an Idempotency-Key if there is one.
func once() middleware.Operation {
	op := priced()
	op.Idempotency = middleware.IdempotencyOptional
	return op
}

// handler counts and then does f.
func (d *desk) handler(op middleware.Operation, f http.HandlerFunc) http.Handler {
	return d.gate.Handler(op)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.runs.Add(1)
		f(w, r)
	}))
}

// numbered answers with the number of the run.
func (d *desk) numbered(op middleware.Operation) http.Handler {
	return d.handler(op, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			d.Error(err)
		}
		w.Header().Set("X-Run", fmt.Sprint(d.runs.Load()))
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "run %d of %s", d.runs.Load(), body)
	})
}

func (d *desk) ran(n int64) {
	d.Helper()
	if got := d.runs.Load(); got != n {
		d.Errorf("the handler ran %d times, want %d", got, n)
	}
}

func idemKey(values ...string) func(*http.Request) { return raw("Idempotency-Key", values...) }

// posting is a body, as a client sends it.
func posting(body string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
}

func at(target string) func(*http.Request) {
	return func(r *http.Request) {
		u, err := r.URL.Parse(target)
		if err != nil {
			panic(err)
		}
		r.URL = u
	}
}

// A reply is what a client saw of an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

func seen(w *httptest.ResponseRecorder) reply {
	res := w.Result()
	body, _ := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(body)}
}

func (a reply) replayed() bool { return a.header.Get("Idempotent-Replayed") == "true" }

// send sends a request to a real server; an answer of status 0 is none.
func send(t *testing.T, client *http.Client, method, url, body string, edit ...func(*http.Request)) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must(t, err)
	for _, e := range edit {
		e(r)
	}
	res, err := client.Do(r)
	if err != nil {
		return reply{header: http.Header{}}
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(text)}
}

// lastSettled waits for n settlements, and returns the latest.
func (d *desk) lastSettled() middleware.Settled {
	d.Helper()
	all := d.journal.settlements()
	if len(all) == 0 {
		d.Fatal("nothing was settled")
	}
	return all[len(all)-1]
}

// survive serves and returns whether the handler ended by a panic or Goexit.
func survive(f func()) (died bool) {
	died = true
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { _ = recover() }()
		f()
		died = false
	})
	wg.Wait()
	return died
}

func bearerOf(secret apikey.Secret) func(*http.Request) {
	return raw("Authorization", "Bearer "+secret.Reveal())
}

// spy writes down everything that a store of answers is given.
type spy struct {
	idempotency.Store

	into *strings.Builder
}

func (s spy) Claim(ctx context.Context, c idempotency.Claim) (idempotency.Found, error) {
	fmt.Fprintf(s.into, "%s %s %s\n", c.Key[:], c.Fingerprint[:], c.Token[:])
	return s.Store.Claim(ctx, c)
}

func (s spy) Finish(ctx context.Context, key idempotency.Key, token idempotency.Token, answer []byte, keep time.Duration) error {
	fmt.Fprintf(s.into, "%s\n", answer)
	return s.Store.Finish(ctx, key, token, answer, keep)
}
