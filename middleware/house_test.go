package middleware_test

import (
	"context"
	"encoding/json"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

const account = "acme"

// A clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// A journal keeps what an Observer is told.
type journal struct {
	mu        sync.Mutex
	decisions []middleware.Decision
	settled   []middleware.Settled
}

func (j *journal) Decided(_ context.Context, d middleware.Decision) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.decisions = append(j.decisions, d)
}

func (j *journal) Settled(_ context.Context, s middleware.Settled) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.settled = append(j.settled, s)
}

func (j *journal) verdicts() []middleware.Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	var vs []middleware.Verdict
	for _, d := range j.decisions {
		vs = append(vs, d.Verdict)
	}
	return vs
}

// last returns the latest decision.
func (j *journal) last() middleware.Decision {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.decisions[len(j.decisions)-1]
}

func (j *journal) settlements() []middleware.Settled {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.settled)
}

// A house is a gate on memory stores with everything that tests look at.
type house struct {
	testing.TB
	clock   *clock
	journal *journal
	keys    *apikey.Service
	ledger  *credits.Ledger
	gate    *middleware.Gate
}

// blueprint says what a house is built of; zero fields are memory.
type blueprint struct {
	keys    func(apikey.Store) apikey.Store
	limits  func(ratelimit.Store) ratelimit.Store
	credits func(credits.Store) credits.Store
	options func(*middleware.Options)
	ledger  *credits.Options
	cache   *apikey.CacheOptions
}

func build(tb testing.TB, b blueprint) *house {
	tb.Helper()
	h := &house{TB: tb, clock: newClock(), journal: &journal{}}
	tb.Cleanup(func() { h.journal.kept(tb) })
	format, err := apikey.NewFormat("kt", nil)
	must(tb, err)
	keyStore := apikey.Store(apikey.NewMemoryStore())
	if b.keys != nil {
		keyStore = b.keys(keyStore)
	}
	h.keys, err = apikey.NewService(keyStore, format, &apikey.Options{Now: h.clock.now, Cache: b.cache})
	must(tb, err)
	creditStore := credits.Store(credits.NewMemoryStore(&credits.MemoryOptions{Now: h.clock.now}))
	if b.credits != nil {
		creditStore = b.credits(creditStore)
	}
	h.ledger, err = credits.NewLedger(creditStore, b.ledger)
	must(tb, err)
	o := &middleware.Options{Credits: h.ledger, Observer: h.journal, Now: h.clock.now}
	memory, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: h.clock.now})
	must(tb, err)
	o.Limits = memory
	if b.limits != nil {
		o.Limits = b.limits(memory)
	}
	if b.options != nil {
		b.options(o)
	}
	h.gate, err = middleware.NewGate(h.keys, o)
	must(tb, err)
	return h
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// key issues a key of the account with the given scopes.
func (h *house) key(list string) apikey.Issued {
	h.Helper()
	return h.issue(apikey.Spec{Owner: account}, list)
}

func (h *house) issue(spec apikey.Spec, list string) apikey.Issued {
	h.Helper()
	set, err := scopes.Parse(list)
	must(h, err)
	spec.Scopes = set
	issued, err := h.keys.Create(context.Background(), spec)
	must(h, err)
	return issued
}

// grant gives the account n credits.
func (h *house) grant(n credits.Amount) {
	h.Helper()
	_, err := h.ledger.Grant(context.Background(), credits.Grant{Account: account, ID: "grant", Amount: n * credits.Credit})
	must(h, err)
}

func (h *house) totals() credits.Totals {
	h.Helper()
	b, err := h.ledger.Balance(context.Background(), account)
	must(h, err)
	return b.Totals
}

// spent is what was consumed and what is still held, in whole credits.
func (h *house) spent(consumed, held credits.Amount) {
	h.Helper()
	got := h.totals()
	if got.Consumed != consumed*credits.Credit || got.Held != held*credits.Credit {
		h.Errorf("consumed %v and held %v, want %d and %d", got.Consumed, got.Held, consumed, held)
	}
}

// priced is an operation that costs 5 credits.
func priced() middleware.Operation {
	return middleware.Operation{Name: "image", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit)}
}

// open is an operation that any key may call for nothing.
func open() middleware.Operation {
	return middleware.Operation{Name: "open", Scopes: scopes.None(), Price: middleware.Free()}
}

func perMinute(name string, n int64) middleware.Limit {
	return middleware.Limit{Limit: ratelimit.Limit{Name: name, Algorithm: ratelimit.FixedWindow, Count: n, Period: time.Minute}}
}

// call serves one request in process.
func (h *house) call(handler http.Handler, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/", nil)
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	keptAnswer(h, w)
	return w
}

func bearer(issued apikey.Issued) func(*http.Request) {
	return raw("Authorization", "Bearer "+issued.Secret.Reveal())
}

func raw(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

func from(addr string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = addr }
}

// says is a handler that answers status.
func says(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// checksum is the public one of the default format: CRC-32 in six base62 digits.
func checksum(body string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum, out := crc32.ChecksumIEEE([]byte(body)), make([]byte, 6)
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = digits[sum%62]
		sum /= 62
	}
	return string(out)
}

type problem struct {
	Type      string
	Title     string
	Status    int
	Detail    string
	Code      string
	RequestID string   `json:"request_id"`
	Violated  []string `json:"violated-policies"`
	Missing   []string `json:"missing_scopes"`
}

// refusal checks that an answer is a well-formed refusal of that code.
func refusal(tb testing.TB, status int, header http.Header, body io.Reader, wantStatus int, wantCode string) problem {
	tb.Helper()
	text, err := io.ReadAll(body)
	must(tb, err)
	var p problem
	if err := json.Unmarshal(text, &p); err != nil {
		tb.Fatalf("status %d, body %q: %v", status, text, err)
	}
	if status != wantStatus || p.Code != wantCode || p.Status != status {
		tb.Errorf("status %d, body %s; want %d and code %q", status, text, wantStatus, wantCode)
	}
	if got := header.Get("Content-Type"); got != "application/problem+json" {
		tb.Errorf("Content-Type %q", got)
	}
	if id := header.Get("X-Request-Id"); id == "" || id != p.RequestID {
		tb.Errorf("X-Request-Id %q, request_id %q", id, p.RequestID)
	}
	if got := header.Get("Cache-Control"); got != "no-store" {
		tb.Errorf("Cache-Control %q, want no-store", got)
	}
	if got := header.Get("X-Content-Type-Options"); got != "nosniff" {
		tb.Errorf("X-Content-Type-Options %q, want nosniff", got)
	}
	challenge := header.Get("WWW-Authenticate")
	if (status == http.StatusUnauthorized) != strings.HasPrefix(challenge, "Bearer realm=") && status != http.StatusForbidden {
		tb.Errorf("status %d with challenge %q", status, challenge)
	}
	if status == http.StatusUnauthorized && (header.Get("RateLimit") != "" || header.Get("RateLimit-Policy") != "") {
		tb.Error("limit fields on a 401")
	}
	if p.Title == "" || p.Detail == "" {
		tb.Errorf("title %q, detail %q", p.Title, p.Detail)
	}
	return p
}

func refused(tb testing.TB, w *httptest.ResponseRecorder, status int, code string) problem {
	tb.Helper()
	return refusal(tb, w.Code, w.Header(), w.Body, status, code)
}
