// Package wire shows tests what a system says on the wire, byte for byte: a service
// with a clock, random bytes and request ids that the test holds, behind a real
// server that speaks HTTP/1.1 and HTTP/2.
package wire

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// A Stage is a system that runs for a test.
type Stage struct {
	testing.TB
	*host.Service
	Clock  *Clock
	Log    *Log
	Limits *Limits
	server *httptest.Server
	second *http.Client // over HTTP/2
}

// Open runs a system until the test ends.
func Open(tb testing.TB, sys host.System) *Stage {
	tb.Helper()
	s := &Stage{TB: tb, Clock: &Clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, Log: &Log{}}
	memory, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: s.Clock.Now})
	s.Must(err)
	s.Limits = &Limits{Store: memory}
	var ids atomic.Int64
	s.Service, err = host.Open(tb.Context(), sys, host.Options{
		Now: s.Clock.Now, Limits: s.Limits, Observer: s.Log, Rand: &source{from: rand.NewChaCha8([32]byte{1})},
		NewRequestID: func() string { return fmt.Sprintf("req_%06d", ids.Add(1)) },
	})
	s.Must(err)
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.Clock.Now().Format(http.TimeFormat)) // net/http sets it otherwise, by its own clock
		s.Handler.ServeHTTP(w, r)
	}))
	s.server.Config.Protocols = new(http.Protocols)
	s.server.Config.Protocols.SetHTTP1(true)
	s.server.Config.Protocols.SetUnencryptedHTTP2(true)
	s.server.Start()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	s.second = &http.Client{Transport: transport}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		s.server.Close()
	})
	return s
}

// Must ends the test when err is not nil.
func (s *Stage) Must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// Key returns the text of the sample key in that state.
func (s *Stage) Key(state string) string {
	s.Helper()
	secret, ok := s.Samples[state]
	if !ok {
		s.Fatalf("no sample key is %s", state)
	}
	return secret.Reveal()
}

// Known returns the record of the sample key in that state.
func (s *Stage) Known(state string) apikey.Key {
	s.Helper()
	key, err := s.Keys.Identify(s.Context(), s.Key(state))
	s.Must(err)
	return key
}

// Unknown returns a key of the right shape that nobody was given.
func (s *Stage) Unknown(environment string) string {
	s.Helper()
	secret, err := s.Keys.Format().Generate(environment, nil)
	s.Must(err)
	return secret.Reveal()
}

// Issue makes a key.
func (s *Stage) Issue(spec apikey.Spec) apikey.Issued {
	s.Helper()
	issued, err := s.Keys.Create(s.Context(), spec)
	s.Must(err)
	return issued
}

// Balance returns what the demo account has.
func (s *Stage) Balance() credits.Balance {
	s.Helper()
	b, err := s.Ledger.Balance(s.Context(), host.Demo)
	s.Must(err)
	return b
}

// A Clock is moved by the test.
type Clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Add moves the clock on.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// source makes random bytes safe for concurrent use.
type source struct {
	mu   sync.Mutex
	from io.Reader // guarded by mu
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from.Read(p)
}

// A Log keeps what the gate tells its observer.
type Log struct {
	mu        sync.Mutex
	decisions []middleware.Decision // guarded by mu
}

// Decided implements [middleware.Observer].
func (l *Log) Decided(_ context.Context, d middleware.Decision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decisions = append(l.decisions, d)
}

// Settled implements [middleware.Observer].
func (*Log) Settled(context.Context, middleware.Settled) {}

// Last returns the latest decision.
func (l *Log) Last() middleware.Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.decisions) == 0 {
		return middleware.Decision{}
	}
	return l.decisions[len(l.decisions)-1]
}

// Limits is a store of limits that can be told to fail.
type Limits struct {
	ratelimit.Store
	Down atomic.Bool
}

// Apply implements [ratelimit.Store].
func (l *Limits) Apply(ctx context.Context, req *ratelimit.Request) error {
	if l.Down.Load() {
		return io.ErrUnexpectedEOF
	}
	return l.Store.Apply(ctx, req)
}
