package ratelimittest

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/keytoll/keytoll/ratelimit"
)

// shadowed returns ten of the algorithm that denies nobody, beside a thousand of
// another that may deny.
func shadowed(a ratelimit.Algorithm) (both, shadow, firm ratelimit.Limits) {
	s, f := ten(a).At(0), lasting("thousand", a, 1000).At(0)
	s.Shadow = true
	return limits(s, f), limits(s), limits(f)
}

func shadowNeverDenies(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		both, shadow, firm := shadowed(a)
		r := c.takes(true, charge("k", both, 7))
		if n := len(slices.Collect(r.Shadowed())); n != 0 {
			c.fail("%v: %d shadow limits refuse 7 of 10", a, n)
		}
		for _, cost := range []int64{4, 4, 11} { // one cost waits, the other never passes
			r = c.takes(true, charge("k", both, cost))
			got := slices.Collect(r.Shadowed())
			if len(got) != 1 || got[0].Allowed || got[0].Remaining != 3 || (got[0].RetryAfter == ratelimit.Never) != (cost > 10) {
				c.fail("%v: the shadow limit says %+v of cost %d", a, got, cost)
			}
			if r.RetryAfter != 0 {
				c.fail("%v: RetryAfter is %v though the take passed", a, r.RetryAfter)
			}
		}
		c.free(3, "k", shadow)
		c.free(1000-7-4-4-11, "k", firm)
		if !c.peek(charge("k", both, 4)).Allowed {
			c.fail("%v: a peek is refused by a shadow limit", a)
		}
	}
	return c.err
}

func shadowTakesWhatPasses(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		both, shadow, firm := shadowed(a)
		c.takes(true, charge("k", firm, 995))
		c.takes(false, charge("k", both, 6)) // passes the shadow limit alone
		c.free(10, "k", shadow)
		c.free(5, "k", firm)
		c.takes(true, charge("k", both, 5))
		c.free(5, "k", shadow)
		c.free(0, "k", firm)
	}
	return c.err
}

func shadowSpendsNothing(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		both, shadow, firm := shadowed(a)
		c.takes(true, charge("k", shadow, 10))
		if r := c.takes(true, charge("k", shadow, 1)); r.Reservation.ID() != (ratelimit.ID{}) {
			c.fail("%v: a take that only spent nothing has the ID %v", a, r.Reservation.ID())
		}
		r := c.takes(true, charge("k", both, 2))
		if r.Reservation.ID() == (ratelimit.ID{}) {
			c.fail("%v: a take that spent has no ID", a)
		}
		c.settle(r, 8) // concerns what was taken
		c.free(0, "k", shadow)
		c.free(992, "k", firm)
		r = c.takes(true, charge("k", both, 2))
		c.refund(r)
		c.free(0, "k", shadow)
		c.free(992, "k", firm)
	}
	return c.err
}

func takesUpTo(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		c.upTo(0, "k", l, 0)
		r := c.upTo(4, "k", l, 4)
		if r.Remaining != 6 {
			c.fail("%v: %d remain, want 6", a, r.Remaining)
		}
		c.refund(r)
		c.upTo(7, "k", l, 7)
		c.upTo(3, "k", l, 1<<62)
		r = c.upTo(0, "k", l, 5)
		one := c.takes(false, charge("k", l, 1))
		if got := states(r)[0]; got.Cost != 1 || got.RetryAfter <= 0 || r.Reservation.ID() != (ratelimit.ID{}) {
			c.fail("%v: refused as %+v, want as a take of 1: %+v", a, got, states(one)[0])
		}
		c.free(0, "k", l)
		narrow := lasting("narrow", a, 6).At(0)
		both := limits(l.At(0), narrow)
		c.upTo(6, "m", both, 9)
		c.free(4, "m", l)
		c.upTo(0, "m", both, 9)
		c.free(4, "m", l)
	}
	return c.err
}

func takesUpToOfSeveral(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := ten(a)
		shade := l.At(0)
		shade.Name, shade.Shadow = "shade", true
		shadow := limits(shade)
		c.takes(true, charge("a", l, 4))
		c.takes(true, charge("b", l, 7))
		c.takes(true, charge("c", shadow, 9))
		req := ratelimit.Request{Mode: ratelimit.ModeTakeUpTo, Ops: []ratelimit.Op{
			{Rule: l.Rule(0), Key: "a", Cost: 5}, {Rule: l.Rule(0), Key: "b", Cost: 5}, {Rule: shadow.Rule(0), Key: "c", Cost: 5},
		}}
		c.check(s.Apply(ctx, &req))
		if !req.Allowed || req.Ops[0].Cost != 3 || req.Ops[1].Cost != 3 || req.Ops[2].Cost != 3 {
			c.fail("%v: allowed is %v, costs became %d, %d and %d; want 3 of 5: 6, 3 and, in shadow, 1 are free",
				a, req.Allowed, req.Ops[0].Cost, req.Ops[1].Cost, req.Ops[2].Cost)
		}
		c.free(3, "a", l)
		c.free(0, "b", l)
		c.free(1, "c", shadow)
	}
	return c.err
}

func takesUpToAtOnce(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := lasting("many", a, 100)
		limiter := must(ratelimit.NewLimiter(s, l, nil))
		var won atomic.Int64
		err := atOnce(16, func(int) error {
			for range 5 {
				r, err := limiter.TakeUpTo(ctx, "k", 3)
				if err != nil {
					return err
				}
				won.Add(r.Taken)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if n := won.Load(); n != 100 {
			c.fail("%v: 80 takes of up to 3 at once took %d, want 100", a, n)
		}
	}
	return c.err
}
