package ratelimit_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
)

// leasing returns a leasing store over inner.
func leasing(t testing.TB, inner ratelimit.Store, units int64, o *ratelimit.LeasingOptions) *ratelimit.LeasingStore {
	t.Helper()
	s, err := ratelimit.NewLeasingStore(inner, units, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A widened store takes subjects to buckets so much larger than asked that,
// less what a leasing store with Share 2 spares, they are as asked.
type widened struct {
	*ratelimit.LeasingStore
	clock *sharedClock
}

func (s *widened) Advance(d time.Duration) { s.clock.Advance(d) }

func (s *widened) Leasing() bool { return true }

func (s *widened) Apply(ctx context.Context, req *ratelimit.Request) error {
	rules := make([]*ratelimit.Rule, len(req.Ops))
	for i := range req.Ops {
		r := req.Ops[i].Rule
		if rules[i] = r; r.Limit().Algorithm == ratelimit.TokenBucket && r.Quota() > 1 {
			req.Ops[i].Rule = ratelimit.WithBurst(r, 2*r.Quota())
		}
	}
	err := s.LeasingStore.Apply(ctx, req)
	for i := range req.Ops {
		req.Ops[i].Rule = rules[i]
	}
	return err
}

func TestLeasingConformance(t *testing.T) {
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store {
		clock := newClock()
		inner, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		return &widened{leasing(t, inner, 5, &ratelimit.LeasingOptions{Share: 2, Now: clock.Now}), clock}
	})
}

// A clock is one time for all, that a test moves.
type sharedClock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *sharedClock {
	return &sharedClock{t: time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)}
}

func (c *sharedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *sharedClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}
