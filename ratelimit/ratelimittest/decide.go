package ratelimittest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func wholeQuota(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		r := c.peek(charge("k", ten(a), 10))
		if !r.Allowed || r.Remaining != 10 || r.ResetAfter != 0 || r.RetryAfter != 0 {
			c.fail("%v: peek of 10 on a new key: allowed %v, %d free, retry %v, reset %v", a, r.Allowed, r.Remaining, r.RetryAfter, r.ResetAfter)
		}
		c.takes(true, charge("k", ten(a), 10))
	}
	return c.err
}

func takesEvery(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		c.takes(true, charge("a", ten(a), 3), charge("b", ten(a), 4))
		c.free(7, "a", ten(a))
		c.free(6, "b", ten(a))
	}
	return c.err
}

func refusedChangesNothing(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		c.takes(true, charge("full", ten(a), 10))
		before := states(c.peek(charge("full", ten(a), 0)))
		for range 3 { // the refusing subject first, last and in the middle
			c.takes(false, charge("full", ten(a), 1), charge("x", ten(a), 1))
			c.takes(false, charge("x", ten(a), 1), charge("full", ten(a), 1))
			c.takes(false, charge("x", ten(a), 1), charge("full", ten(a), 1), charge("y", ten(a), 1))
		}
		c.free(10, "x", ten(a))
		c.free(10, "y", ten(a))
		after := states(c.peek(charge("full", ten(a), 0)))
		if _, moves := s.(Clock); moves && fmt.Sprint(before) != fmt.Sprint(after) {
			c.fail("%v: the refusing subject changed from %v to %v", a, before, after)
		}
		c.free(0, "full", ten(a))
	}
	return c.err
}

func refusedPeeks(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		c.takes(true, charge("full", ten(a), 8))
		r := c.takes(false, charge("x", ten(a), 4), charge("full", ten(a), 4))
		got := states(r)
		if len(got) != 2 {
			c.fail("%d states, want 2", len(got))
			break
		}
		if !got[0].Allowed || got[0].Remaining != 10 || got[1].Allowed || got[1].Remaining != 2 || got[1].RetryAfter <= 0 {
			c.fail("%v: states are %+v", a, got)
		}
		if r.Key != "full" || r.RetryAfter <= 0 || r.Reservation.ID() != (ratelimit.ID{}) {
			c.fail("%v: the result speaks for %q, retry %v, id %v", a, r.Key, r.RetryAfter, r.Reservation.ID())
		}
	}
	return c.err
}

func states(r ratelimit.Result) []ratelimit.State {
	var all []ratelimit.State
	for s := range r.States() {
		all = append(all, s)
	}
	return all
}

func peekOnly(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		for range 20 {
			if r := c.peek(charge("k", ten(a), 6)); !r.Allowed || r.Remaining != 10 || r.Reservation.ID() != (ratelimit.ID{}) {
				c.fail("%v: peek of 6 on 10 free: allowed %v, %d free", a, r.Allowed, r.Remaining)
			}
		}
		c.takes(true, charge("k", ten(a), 6))
		if r := c.peek(charge("k", ten(a), 6)); r.Allowed || r.Remaining != 4 || r.RetryAfter <= 0 {
			c.fail("%v: peek of 6 on 4 free: allowed %v, %d free, retry %v", a, r.Allowed, r.Remaining, r.RetryAfter)
		}
		c.takes(true, charge("k", ten(a), 4))
	}
	return c.err
}

func costZero(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		c.takes(true, charge("k", ten(a), 0))
		c.takes(true, charge("k", ten(a), 10))
		c.takes(true, charge("k", ten(a), 0))
		c.takes(true, charge("k", ten(a), 0), charge("other", ten(a), 1))
		c.free(0, "k", ten(a))
		c.free(9, "other", ten(a))
	}
	return c.err
}

func costAboveQuota(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		for _, cost := range []int64{11, ratelimit.MaxCount, 1<<63 - 1} {
			if r := c.takes(false, charge("k", ten(a), cost)); r.RetryAfter != ratelimit.Never {
				c.fail("%v: cost %d: RetryAfter is %v, want Never", a, cost, r.RetryAfter)
			}
		}
		c.free(10, "k", ten(a))
	}
	return c.err
}

func staleRequest(ctx context.Context, s ratelimit.Store) error {
	l := ten(ratelimit.TokenBucket)
	op := func() []ratelimit.Op {
		return []ratelimit.Op{{
			Rule: l.Rule(0), Key: "k", Cost: 6,
			Outcome: ratelimit.Outcome{Remaining: 99, RetryAfter: 99, ResetAfter: 99, Rest: 99},
		}}
	}
	stale := ratelimit.ID{1, 2, 3}
	first := ratelimit.Request{Mode: ratelimit.ModeTake, ID: stale, Ops: op()}
	second := ratelimit.Request{Mode: ratelimit.ModeTake, ID: stale, Allowed: true, Ops: op()}
	if err := errors.Join(s.Apply(ctx, &first), s.Apply(ctx, &second)); err != nil {
		return err
	}
	if o := first.Ops[0].Outcome; !first.Allowed || first.ID == stale || o.Remaining != 4 || o.RetryAfter != 0 {
		return fmt.Errorf("first take: %+v", first)
	}
	if o := second.Ops[0].Outcome; second.Allowed || second.ID != (ratelimit.ID{}) || o.Remaining != 4 || o.RetryAfter <= 0 {
		return fmt.Errorf("second take: %+v", second)
	}
	if first.Now < time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() {
		return fmt.Errorf("the time of the decision is %d; want microseconds since the Unix epoch", first.Now)
	}
	return nil
}

func doneContext(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	done, cancel := context.WithCancel(ctx)
	cancel()
	l := ten(ratelimit.TokenBucket)
	if _, err := c.l.TakeAll(done, charge("k", l, 5)); !errors.Is(err, context.Canceled) {
		c.fail("error is %v; want context.Canceled in its tree", err)
	}
	c.free(10, "k", l)
	return c.err
}
