package ratelimittest

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func settles(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		r := c.takes(true, charge("k", l, 8), charge("m", l, 3))
		c.settle(r, 3, 5) // one down, one up
		c.free(7, "k", l)
		c.free(5, "m", l)
		r = c.takes(true, charge("k", l, 2))
		c.settle(r, 2)
		c.free(5, "k", l)
		r = c.takes(true, charge("k", l, 5))
		c.settle(r, 0)
		c.free(5, "k", l)
		c.takes(true, charge("k", l, 5))
		c.takes(false, charge("k", l, 1))
	}
	return c.err
}

func settlesBeyond(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		r := c.takes(true, charge("k", l, 3))
		c.settle(r, 25)
		c.free(0, "k", l)
		if r := c.takes(false, charge("k", l, 1)); r.RetryAfter <= 0 {
			c.fail("%v: RetryAfter is %v", a, r.RetryAfter)
		}
		// 25 of 30 are in use: a debt is not cut to the quota.
		c.free(5, "k", lasting("ten", a, 30))
		r = c.takes(true, charge("m", l, 3))
		c.settle(r, ratelimit.MaxCount)
		c.free(0, "m", l)
		c.takes(false, charge("m", l, 10))
	}
	return c.err
}

func settlesOnce(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		c.takes(true, charge("k", l, 1))
		r := c.takes(true, charge("k", l, 4))
		c.settle(r, 2)
		c.free(7, "k", l)
		c.refund(r)
		c.settle(r, 9)
		c.settle(r, 0)
		c.free(7, "k", l)
		r = c.takes(true, charge("k", l, 4)) // settled to what was taken, then refunded
		c.settle(r, 4)
		c.refund(r)
		c.free(3, "k", l)
		r = c.takes(true, charge("k", l, 2)) // settled to more, then refunded
		c.settle(r, 3)
		c.refund(r)
		c.settle(r, 3)
		c.free(0, "k", l)
		c.takes(true, charge("m", l, 1))
		r = c.takes(true, charge("m", l, 4)) // refunded, then settled
		c.refund(r)
		c.settle(r, 9)
		c.settle(r, 4)
		c.free(9, "m", l)
	}
	return c.err
}

func settlesOnceAtOnce(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		for i := range 4 {
			key := fmt.Sprint("k", i)
			c.takes(true, charge(key, l, 1))
			r := c.takes(true, charge(key, l, 4))
			if c.err != nil {
				return c.err
			}
			err := atOnce(12, func(i int) error {
				if i%2 == 0 {
					return c.l.Refund(ctx, r.Reservation)
				}
				return c.l.Settle(ctx, r.Reservation, 7)
			})
			if err != nil {
				return err
			}
			if n := c.peek(charge(key, l, 0)).Remaining; n != 9 && n != 2 {
				c.fail("%v: a take of 4 was refunded and settled to 7 at once: %d free, want 9 or 2", a, n)
			}
		}
	}
	return c.err
}

func charges(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	ids := map[ratelimit.ID]bool{{}: true}
	for _, a := range algorithms {
		l := ten(a)
		for _, cost := range []int64{4, 4, 4, 13} {
			req := ratelimit.Request{Mode: ratelimit.ModeCharge, Ops: []ratelimit.Op{
				{Rule: l.Rule(0), Key: "k", Cost: cost}, {Rule: l.Rule(0), Key: "none", Cost: 0},
			}}
			c.check(s.Apply(ctx, &req))
			if ids[req.ID] {
				c.fail("%v: the charge has the ID %v, zero or of an earlier one", a, req.ID)
			}
			ids[req.ID] = true
		}
		c.free(0, "k", l)
		c.takes(false, charge("k", l, 1))
		c.free(5, "k", lasting("ten", a, 30))
		c.free(10, "none", l)
		req := ratelimit.Request{Mode: ratelimit.ModeCharge, Ops: []ratelimit.Op{{Rule: l.Rule(0), Key: "none"}}}
		c.check(s.Apply(ctx, &req))
		if req.ID != (ratelimit.ID{}) {
			c.fail("%v: a charge of nothing has the ID %v", a, req.ID)
		}
	}
	return c.err
}

func debtIsPaid(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	overdraw := func(l ratelimit.Limits) {
		c.at(time.Date(2027, 1, 4, 10, 0, 0, 0, time.UTC))
		r := c.takes(true, charge("k", l, 10))
		c.settle(r, 180)
	}
	l := hourly("bucket", ratelimit.TokenBucket, 60)
	overdraw(l) // 120 beyond the quota, one a minute
	c.waits(130*time.Minute, charge("k", l, 10))
	l = hourly("fixed", ratelimit.FixedWindow, 60)
	overdraw(l)
	c.waits(time.Hour, charge("k", l, 60))
	l = hourly("sliding", ratelimit.SlidingWindow, 60)
	overdraw(l) // weighs a quota in the next window
	c.waits(90*time.Minute, charge("k", l, 30))
	l = hourly("log", ratelimit.SlidingLog, 60)
	overdraw(l)
	c.waits(time.Hour, charge("k", l, 60))
	l = limits(ratelimit.Limit{Name: "month", Algorithm: ratelimit.Calendar, Count: 60, Every: ratelimit.Month})
	overdraw(l)
	c.waits(27*24*time.Hour+14*time.Hour, charge("k", l, 60))
	return c.err
}

func settledLate(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := hourly("hour", a, 60)
		r := c.takes(true, charge("k", l, 10))
		c.advance(50 * time.Hour)
		c.settle(r, 40)
		want := int64(30)
		if a == ratelimit.Concurrency { // the lease is over
			want = 60
		}
		c.free(want, "k", l)
	}
	return c.err
}

func settlementRemembered(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := hourly("hour", a, 60)
		c.at(time.Date(2027, 1, 4, 10, 0, 0, 0, time.UTC))
		r := c.takes(true, charge("k", l, 10))
		c.settle(r, 600) // a bucket pays it back in 10 hours
		for range 9 {
			for i := range 8 { // keep the store busy: what sweeps, sweeps now
				c.take(charge(fmt.Sprint("busy", c.now(), i), l, 1))
			}
			c.advance(time.Hour)
			before := states(c.peek(charge("k", l, 0)))
			c.settle(r, 600)
			if after := states(c.peek(charge("k", l, 0))); fmt.Sprint(after) != fmt.Sprint(before) {
				c.fail("%v: settled again, the state went from %v to %v", a, before, after)
			}
			if a != ratelimit.TokenBucket {
				break
			}
		}
	}
	short := limits(ratelimit.Limit{Name: "short", Count: 10, Period: time.Millisecond})
	r := c.takes(true, charge("k", short, 1))
	c.settle(r, 2)
	for range 59 {
		c.advance(time.Second)
		c.settle(r, 2)
		c.free(10, "k", short)
	}
	return c.err
}

func overdraftCovers(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	l := hourly("sliding", ratelimit.SlidingWindow, 10)
	c.at(time.Date(2027, 1, 4, 10, 0, 0, 0, time.UTC))
	first := c.takes(true, charge("k", l, 5))
	c.settle(c.takes(true, charge("k", l, 1)), 21)
	c.advance(90 * time.Minute) // a quota weighs a half
	c.takes(true, charge("k", l, 1))
	c.free(4, "k", l)
	c.refund(first) // 21 of the window before are still in use
	c.free(4, "k", l)
	large, small := hourly("plan", ratelimit.TokenBucket, 10), hourly("plan", ratelimit.TokenBucket, 5)
	first = c.takes(true, charge("k", large, 1))
	c.settle(c.takes(true, charge("k", small, 1)), 7)
	c.refund(first) // 7 are still owed, of which the smaller quota forgives none
	if r := c.takes(false, charge("k", small, 1)); r.RetryAfter < 36*time.Minute {
		c.fail("RetryAfter is %v with 7 owed of 5 an hour, want 36m", r.RetryAfter)
	}
	return c.err
}

func debtEnds(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for i, n := range []int64{1, 3, 1000} {
		l := limits(ratelimit.Limit{Name: fmt.Sprint("slow", i), Count: n, Period: ratelimit.MaxPeriod})
		c.settle(c.takes(true, charge("k", l, 1)), 5000)
		if r := c.takes(false, charge("k", l, n)); r.RetryAfter != ratelimit.MaxPeriod || r.ResetAfter != ratelimit.MaxPeriod {
			c.fail("%d in %v: after 5000 the quota passes in %v, all is free in %v; want MaxPeriod", n, ratelimit.MaxPeriod, r.RetryAfter, r.ResetAfter)
		}
	}
	return c.err
}

func endedLog(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range []ratelimit.Algorithm{ratelimit.SlidingLog, ratelimit.Concurrency} {
		l := hourly("hour", a, 10)
		c.refund(c.takes(true, charge("k", l, 4)))
		c.advance(-20 * time.Minute)
		if r := c.takes(true, charge("k", l, 10)); r.ResetAfter != time.Hour {
			c.fail("%v: after all was given back and the clock went back, ResetAfter is %v, want the Period", a, r.ResetAfter)
		}
		c.waits(time.Hour, charge("k", l, 10))
	}
	return c.err
}
