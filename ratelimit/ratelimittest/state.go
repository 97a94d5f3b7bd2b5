package ratelimittest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// oddKeys hold what stores get wrong when they join, escape, trim, fold or
// shorten keys.
func oddKeys() []string {
	keys := []string{
		"a", "A", " a", "a ", "a\x00", "\x00a", "\x00", "a:b", "a|b", "a/b", "a{b}", "{a}b", "{}", "a*", "a?", "a%", "a_", "'", `"`, `\`,
		"a\n", "ä", "a\u0308", "ä\u200b", "\xff", "\xfe\xff", "ten", "a\x00ten", "ten:a", "0", "00", "-1", "null", "日本",
	}
	long := strings.Repeat("k", 1000)
	return append(keys, long, long+"1", long+"2", long[:999])
}

func anyKeys(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for i, k := range oddKeys() {
		c.takes(true, charge(k, ten(ratelimit.TokenBucket), int64(i%10)+1))
	}
	for i, k := range oddKeys() {
		c.free(9-int64(i%10), k, ten(ratelimit.TokenBucket))
	}
	return c.err
}

func namesApart(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	cost := int64(0)
	var sets []ratelimit.Limits
	for _, name := range []string{"a", "b", "A", "a.b", "a_b", "a-b", "ab"} {
		for _, a := range algorithms {
			sets = append(sets, lasting(name, a, 100))
		}
	}
	for _, l := range sets {
		cost++
		c.takes(true, charge("k", l, cost))
		c.takes(true, charge("k.a", l, 50))
	}
	for i, l := range sets {
		c.free(99-int64(i), "k", l)
	}
	return c.err
}

func freshIDs(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	seen := map[ratelimit.ID]bool{{}: true}
	l := limits(ratelimit.Limit{Name: "l", Count: 1000, Period: 10 * year})
	for i := range 200 {
		r := c.takes(true, charge(fmt.Sprint("k", i%3), l, 1))
		if seen[r.Reservation.ID()] {
			c.fail("the %d. take has the ID %x, zero or of an earlier one", i+1, r.Reservation.ID())
		}
		seen[r.Reservation.ID()] = true
	}
	for _, r := range []ratelimit.Result{c.takes(true, charge("k", l, 0)), c.takes(false, charge("k", l, 1001)), c.peek(charge("k", l, 1))} {
		if r.Reservation.ID() != (ratelimit.ID{}) {
			c.fail("a decision that spent nothing has the ID %x", r.Reservation.ID())
		}
	}
	return c.err
}

func refundFrees(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		c.takes(true, charge("k", l, 2), charge("m", l, 1))
		r := c.takes(true, charge("k", l, 8), charge("m", l, 5))
		c.takes(false, charge("k", l, 1))
		c.refund(r)
		c.free(8, "k", l)
		c.free(9, "m", l)
		c.takes(true, charge("k", l, 8))
		c.takes(false, charge("k", l, 1))
	}
	return c.err
}

func refundOnce(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		c.takes(true, charge("k", l, 6))
		r := c.takes(true, charge("k", l, 2))
		other := c.takes(true, charge("k", l, 2))
		for range 3 {
			c.refund(r)
		}
		c.free(2, "k", l)
		c.refund(other)
		c.refund(r)
		c.free(4, "k", l)
	}
	return c.err
}

func refundClamped(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		r := c.takes(true, charge("k", l, 7))
		c.check(c.l.ResetAll(ctx, charge("k", l, 0)))
		c.takes(true, charge("k", l, 2))
		c.refund(r)
		if n := c.peek(charge("k", l, 0)).Remaining; n > 10 {
			c.fail("%v: %d free of 10", a, n)
		}
		c.takes(false, charge("k", l, 11))
		c.takes(true, charge("k", l, 1))
	}
	return c.err
}

func refundAfterReset(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		r := c.takes(true, charge("k", l, 7))
		c.check(c.l.ResetAll(ctx, charge("k", l, 0)))
		c.refund(r)
		c.free(10, "k", l)
		c.takes(true, charge("k", l, 10))
		c.takes(false, charge("k", l, 1))
	}
	return c.err
}

func resetForgets(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		other := lasting("other", a, 10)
		c.takes(true, charge("k", l, 10), charge("m", l, 10), charge("k", other, 10))
		c.check(c.l.ResetAll(ctx, charge("k", l, 0)))
		c.free(10, "k", l)
		c.free(0, "m", l)
		c.free(0, "k", other)
		c.check(c.l.ResetAll(ctx, charge("never seen", l, 0)))
	}
	return c.err
}

func mostOps(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	var charges []ratelimit.Charge
	for i := range ratelimit.MaxOps {
		charges = append(charges, charge(fmt.Sprint("k", i/len(algorithms)), ten(algorithms[i%len(algorithms)]), 6))
		charges[i].Limits = lasting(algorithms[i%len(algorithms)].String(), algorithms[i%len(algorithms)], 10)
	}
	r := c.takes(true, charges...)
	if r.Len() != ratelimit.MaxOps {
		c.fail("%d states, want %d", r.Len(), ratelimit.MaxOps)
	}
	if refused := c.takes(false, charges...); len(slices.Collect(refused.Refused())) != ratelimit.MaxOps {
		c.fail("%d limits refuse, want all %d", len(slices.Collect(refused.Refused())), ratelimit.MaxOps)
	}
	c.refund(r)
	for _, ch := range charges {
		c.free(10, ch.Key, ch.Limits)
	}
	return c.err
}

func mixed(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	var all []ratelimit.Limit
	for _, a := range algorithms {
		all = append(all, lasting(a.String(), a, 10).At(0))
	}
	set := limits(all...)
	for i, full := range algorithms { // each is the one that refuses
		key := fmt.Sprint("k", i)
		c.takes(true, charge(key, set, 4))
		c.takes(true, charge(key, limits(all[i]), 6))
		c.takes(false, charge(key, set, 1))
		for _, st := range states(c.peek(charge(key, set, 0))) {
			if want := int64(6); st.Limit.Algorithm != full && st.Remaining != want || st.Limit.Algorithm == full && st.Remaining != 0 {
				c.fail("%v refuses: %d of %v are free", full, st.Remaining, st.Limit.Algorithm)
			}
		}
	}
	return c.err
}

func atBounds(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		big := ratelimit.Limit{Name: "big", Algorithm: a, Count: ratelimit.MaxCount, Period: ratelimit.MaxPeriod}
		switch a {
		case ratelimit.SlidingLog, ratelimit.Concurrency:
			big.Count = ratelimit.MaxLog
		case ratelimit.Calendar:
			big.Period, big.Every = 0, ratelimit.Year
		}
		l := limits(big)
		c.takes(true, charge("k", l, big.Count-1))
		c.takes(true, charge("k", l, 1))
		if r := c.takes(false, charge("k", l, big.Count)); r.RetryAfter <= 0 || r.RetryAfter > 2*ratelimit.MaxPeriod {
			c.fail("%v: RetryAfter is %v", a, r.RetryAfter)
		}
	}
	l := limits(ratelimit.Limit{Name: "daily", Count: 1, Period: 24 * time.Hour})
	for _, cost := range []int64{106_752, 213_504, 1 << 62} { // products with the interval wrap around 64 bits
		c.takes(false, charge("k", l, cost))
	}
	c.free(1, "k", l)
	return c.err
}

func keepsUsed(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		with := func(n int64) ratelimit.Limits {
			return lasting("plan", a, n)
		}
		c.takes(true, charge("k", with(10), 8))
		c.free(12, "k", with(20)) // upgraded
		c.takes(true, charge("k", with(20), 7))
		c.free(0, "k", with(10)) // downgraded
		c.takes(false, charge("k", with(10), 1))
		c.free(5, "k", with(20)) // the refusal under 10 forgot nothing
	}
	burst := func(n int64) ratelimit.Limits {
		return limits(ratelimit.Limit{Name: "burst", Count: 1, Period: 10 * year, Burst: n})
	}
	c.takes(true, charge("k", burst(5), 5))
	c.free(2, "k", burst(7))
	return c.err
}

func keepsUsedInTime(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	of := func(a ratelimit.Algorithm, n int64, d time.Duration) ratelimit.Limits {
		return limits(ratelimit.Limit{Name: "plan", Algorithm: a, Count: n, Period: d})
	}
	c.at(time.Date(2027, 1, 4, 10, 0, 0, 0, time.UTC))
	hour, slow := of(ratelimit.TokenBucket, 60, time.Hour), of(ratelimit.TokenBucket, 60, 10*time.Hour)
	c.takes(true, charge("k", hour, 60))
	c.advance(10 * time.Minute)
	c.free(10, "k", hour)
	c.free(1, "k", slow) // comes back at the new rate
	c.takes(true, charge("k", slow, 1))
	c.free(0, "k", hour) // and what came back slowly before is not paid again
	c.advance(time.Minute)
	c.free(1, "k", hour)
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingLog} {
		// Kept until the limit that last took has everything free.
		c.takes(true, charge("m", of(a, 60, time.Hour), 60))
		r := c.peek(charge("m", of(a, 60, time.Hour), 0))
		long := of(a, 60, 100*time.Hour)
		c.advance(r.ResetAfter - time.Microsecond)
		if n := c.peek(charge("m", long, 0)).Remaining; n > 1 {
			c.fail("%v: %d free under a longer Period just before the state ends", a, n)
		}
		c.advance(time.Microsecond)
		c.free(60, "m", long)
	}
	return c.err
}
