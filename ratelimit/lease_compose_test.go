package ratelimit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Leasing in front of remembered refusals in front of a guard: nodes composed so
// admit exactly the limit, and make few trips when it is used up.
func TestLeasingComposesWithTheOtherStores(t *testing.T) {
	clock := newClock()
	memory, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	inner := &lender{Store: memory}
	limits := set(t, perHour)
	var nodes []*ratelimit.Limiter
	for range 3 {
		guarded, err := ratelimit.NewGuardedStore(inner, ratelimit.Local, &ratelimit.GuardOptions{Nodes: 3, Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		blocked, err := ratelimit.NewBlockedStore(guarded, time.Second, &ratelimit.BlockedOptions{Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, limiterOf(t, leasing(t, blocked, 50, &ratelimit.LeasingOptions{Now: clock.Now}), limits))
	}
	passed := 0
	for range 4000 {
		for _, n := range nodes {
			passed += takeN(t, n, "k", 1)
		}
	}
	if passed != 10_000 {
		t.Errorf("%d of 12000 passed, want 10000", passed)
	}
	if n := inner.asked.Load(); n > 600 { // 200 leases, those near the end, and the first refusals
		t.Errorf("%d trips for 12000 takes", n)
	}
	// In an outage what is held is spent first; then the policy answers.
	down := errors.New("no answer")
	clock.Advance(time.Hour)
	takeN(t, nodes[0], "k", 100)
	inner.before = func(context.Context, *ratelimit.Request) error { return down }
	degraded := 0
	for range 4000 {
		r, err := nodes[0].Take(t.Context(), "k", 1)
		if err != nil {
			t.Fatal(err)
		}
		if r.Allowed && r.Degraded {
			degraded++
		}
	}
	if degraded == 0 || degraded > 10_000/3 {
		t.Errorf("the policy let %d pass, want up to a third of the limit", degraded)
	}
}

// What is fetched for a take that another subject refuses stays held, however
// often and for whatever cost it is fetched: none of it is lost.
func TestWhatARefusedTakeFetchedIsNotLost(t *testing.T) {
	for _, alg := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow} {
		s, inner, _ := lease(t, 100, ratelimit.LeasingOptions{})
		limits := set(t, ratelimit.Limit{Name: "free", Algorithm: alg, Count: 10_000, Period: time.Hour})
		used := set(t, ratelimit.Limit{Name: "used", Algorithm: alg, Count: 32, Period: time.Hour})
		plain, l := limiterOf(t, inner, limits), limiterOf(t, s, limits)
		if r, err := plain.TakeAll(t.Context(), ratelimit.Charge{Key: "busy", Limits: used, Cost: 32}); err != nil || !r.Allowed {
			t.Fatal(r.Allowed, err)
		}
		for cost := range int64(100) {
			r, err := l.TakeAll(t.Context(), ratelimit.Charge{Key: "k", Cost: 1 + cost}, ratelimit.Charge{Key: "busy", Limits: used, Cost: 1})
			if err != nil || r.Allowed {
				t.Fatal(r.Allowed, err)
			}
		}
		if r, err := plain.Peek(t.Context(), "k", 0); err != nil || r.Remaining < 10_000-100 {
			t.Errorf("%v: %d remain to others, want 100 held at most (error %v)", alg, r.Remaining, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if r, err := plain.Peek(t.Context(), "k", 0); err != nil || r.Remaining != 10_000 {
			t.Errorf("%v: %d remain after nothing was used, want 10000 (error %v)", alg, r.Remaining, err)
		}
	}
}
