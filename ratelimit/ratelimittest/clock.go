package ratelimittest

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// unevenLimits have rates that do not divide: their exact intervals are
// fractions of a microsecond.
func unevenLimits() []ratelimit.Limits {
	var all []ratelimit.Limits
	for _, a := range algorithms {
		for i, r := range []struct {
			count  int64
			period time.Duration
		}{{7, time.Second}, {3, 10 * time.Microsecond}, {700_000, time.Second}, {1500, time.Second}, {1000, 24 * time.Hour}, {7, 3 * time.Microsecond}} {
			l := ratelimit.Limit{Name: fmt.Sprint("uneven", i), Algorithm: a, Count: r.count, Period: r.period}
			switch a {
			case ratelimit.SlidingLog, ratelimit.Concurrency:
				l.Count = min(l.Count, ratelimit.MaxLog)
			case ratelimit.Calendar:
				l.Period, l.Every, l.Zone = 0, ratelimit.Day, zones()[i]
			}
			all = append(all, limits(l))
		}
	}
	return append(all,
		limits(ratelimit.Limit{Name: "small", Count: 3, Period: time.Second, Burst: 1}),
		limits(ratelimit.Limit{Name: "large", Count: 3, Period: time.Second, Burst: 100}))
}

func leastWait(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, l := range unevenLimits() {
		quota := l.Rule(0).Quota()
		for _, cost := range []int64{1, (quota + 1) / 2, quota} {
			c.advance(l.Rule(0).Window() / 3)
			for n := 0; n < 20 && c.take(charge("k", l, max(quota/3, 1))).Allowed; n++ {
				if quota > 10 {
					c.advance(time.Microsecond) // less than a third of the quota comes back
				}
			}
			r := c.peek(charge("k", l, cost))
			if r.Allowed {
				continue
			}
			if r.RetryAfter <= 0 {
				c.fail("%+v: cost %d: RetryAfter is %v", l.At(0), cost, r.RetryAfter)
				break
			}
			c.advance(r.RetryAfter - time.Microsecond)
			if c.take(charge("k", l, cost)).Allowed {
				c.fail("%+v: cost %d passed one microsecond before RetryAfter, %v", l.At(0), cost, r.RetryAfter)
			}
			c.advance(time.Microsecond)
			if !c.take(charge("k", l, cost)).Allowed {
				c.fail("%+v: cost %d did not pass after RetryAfter, %v", l.At(0), cost, r.RetryAfter)
			}
		}
	}
	return c.err
}

// exactRate knows what comes back by the rule of three, in big numbers.
func exactRate(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for i, r := range []struct {
		count  int64
		period time.Duration
	}{
		{7, time.Second}, {700_000, time.Second}, {1500, time.Second}, {3, 10 * time.Microsecond}, {7, 3 * time.Microsecond},
		{1000, 24 * time.Hour}, {ratelimit.MaxCount - 1, ratelimit.MaxPeriod}, {1<<52 + 1, 99*year - time.Microsecond},
	} {
		l := limits(ratelimit.Limit{Name: fmt.Sprint("rate", i), Count: r.count, Period: r.period})
		us := big.NewInt(r.period.Microseconds())
		cost := r.count/2 + 1
		reset := new(big.Int).Mul(big.NewInt(cost), us)
		reset.Add(reset, big.NewInt(r.count-1)).Quo(reset, big.NewInt(r.count))
		if got := c.takes(true, charge("k", l, cost)).ResetAfter.Microseconds(); got != reset.Int64() {
			c.fail("%d of %d in %v come back in %dus, want %d", cost, r.count, r.period, got, reset)
		}
		c.takes(true, charge("k", l, r.count-cost))
		past, taken := int64(0), int64(0)
		for range 3 { // in steps that leave fractions of a unit, which add up
			step := max((r.period/10).Truncate(time.Microsecond)-time.Microsecond, time.Microsecond)
			c.advance(step)
			past += step.Microseconds()
			back := new(big.Int).Mul(big.NewInt(past), big.NewInt(r.count))
			free := back.Quo(back, us).Int64() - taken
			c.free(free, "k", l)
			if free > 0 {
				c.takes(true, charge("k", l, 1))
				taken++
			}
		}
	}
	return c.err
}

func resetAfter(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, l := range unevenLimits() {
		quota := l.Rule(0).Quota()
		r := c.takes(true, charge("k", l, quota))
		if r.ResetAfter > time.Microsecond {
			c.advance(r.ResetAfter - time.Microsecond)
			if n := c.peek(charge("k", l, 0)).Remaining; n >= quota {
				c.fail("%+v: %d free one microsecond before ResetAfter, %v", l.At(0), n, r.ResetAfter)
			}
			c.advance(time.Microsecond)
		} else {
			c.advance(r.ResetAfter)
		}
		c.free(quota, "k", l)
	}
	return c.err
}

func clockBack(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := hourly("hour", a, 10)
		for _, back := range []time.Duration{time.Microsecond, time.Minute, time.Hour, 100 * time.Hour} {
			key := back.String()
			c.advance(200 * time.Hour)
			c.takes(true, charge(key, l, 10))
			c.advance(-back)
			for range 3 { // neither a peek nor a refused take may move the cell's time
				c.takes(true, charge(key, l, 0))
				r := c.takes(false, charge(key, l, 1))
				if r.RetryAfter < back {
					c.fail("%v: %v back: RetryAfter is %v", a, back, r.RetryAfter)
				}
			}
			c.advance(back)
			c.takes(false, charge(key, l, 1))
		}
	}
	return c.err
}

func refundLate(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := hourly("hour", a, 60)
		r := c.takes(true, charge("k", l, 60))
		c.advance(50 * time.Hour)
		c.takes(true, charge("k", l, 60))
		c.refund(r)
		c.takes(false, charge("k", l, 2))
	}
	// Half of a cost has come back by itself: the other half is refunded.
	l := limits(ratelimit.Limit{Name: "bucket", Count: 60, Period: time.Hour})
	r := c.takes(true, charge("k", l, 20))
	c.advance(10 * time.Minute)
	c.takes(true, charge("k", l, 50))
	c.refund(r)
	c.free(10, "k", l)
	return c.err
}

func refundRemembered(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := hourly("hour", a, 60)
		c.advance(2 * time.Hour)
		r := c.takes(true, charge("k", l, 30))
		c.refund(r)
		c.takes(true, charge("k", l, 60))
		for step := range 30 {
			for i := range 8 { // keep the store busy: what sweeps, sweeps now
				c.take(charge(fmt.Sprint(step, i), l, 1))
			}
			c.refund(r)
			c.advance((r.ResetAfter / 30).Truncate(time.Microsecond))
			if n := c.peek(charge("k", l, 0)).Remaining; n > 60 {
				c.fail("%v: %d free of 60", a, n)
			}
		}
		if a == ratelimit.FixedWindow {
			continue
		}
		c.advance(10 * time.Hour)
		r = c.takes(true, charge("k", l, 30))
		c.refund(r)
		c.takes(true, charge("k", l, 60))
		c.advance(20 * time.Minute)
		free := c.peek(charge("k", l, 0)).Remaining
		c.refund(r)
		c.free(free, "k", l)
	}
	return c.err
}

func peekLeavesNoTime(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := hourly("hour", a, 10)
		c.at(time.Date(2027, 1, 5, 0, 0, 0, 0, time.UTC))
		first := c.takes(true, charge("before", l, 10))
		c.advance(100 * time.Hour)
		c.peek(charge("k", l, 10))
		c.takes(false, charge("k", l, 11))
		c.takes(true, charge("k", l, 0))
		c.advance(-100 * time.Hour)
		if r := c.takes(true, charge("k", l, 10)); r.ResetAfter != first.ResetAfter {
			c.fail("%v: what was asked at a later time is felt: ResetAfter is %v, want %v", a, r.ResetAfter, first.ResetAfter)
		}
	}
	return c.err
}
