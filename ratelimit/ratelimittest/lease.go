package ratelimittest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func releases(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	l := ten(ratelimit.Concurrency)
	k, m := charge("k", l, 0), charge("m", l, 0)
	first := c.takes(true, charge("k", l, 2), charge("m", l, 3))
	second := c.takes(true, charge("k", l, 5))
	third := c.takes(true, charge("k", l, 3))
	c.takes(false, charge("k", l, 1))
	c.release(second, m) // holds nothing there
	c.free(0, "k", l)
	c.release(second, k)
	c.release(second, k)
	c.free(5, "k", l)
	c.release(first, k, m)
	c.free(7, "k", l)
	c.free(10, "m", l)
	c.renews(false, second, k)
	c.renews(true, third, k)
	unknown := ratelimit.ID{7: 1}
	c.check(c.l.ReleaseAll(ctx, unknown, k, m))
	if err := c.l.RenewAll(ctx, unknown, k); !errors.Is(err, ratelimit.ErrLapsed) {
		c.fail("renewal of an unknown lease: error is %v, want ErrLapsed", err)
	}
	c.free(7, "k", l)
	c.takes(true, charge("k", l, 7))
	return c.err
}

func renewsAllOrNone(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	l := hourly("hour", ratelimit.Concurrency, 10)
	k, m := charge("k", l, 0), charge("m", l, 0)
	r := c.takes(true, charge("k", l, 2), charge("m", l, 3))
	c.advance(30 * time.Minute)
	c.release(r, m)
	c.renews(false, r, k, m)
	c.renews(false, r, m, k)
	c.advance(30 * time.Minute)
	c.free(10, "k", l) // it was not renewed
	r = c.takes(true, charge("k", l, 2), charge("m", l, 3))
	c.advance(30 * time.Minute)
	c.renews(true, r, m, k)
	c.advance(59 * time.Minute)
	c.free(8, "k", l)
	c.free(7, "m", l)
	return c.err
}

func releaseAndRefund(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	lease, bucket := ten(ratelimit.Concurrency), lasting("bucket", ratelimit.TokenBucket, 10)
	both := limits(lease.At(0), bucket.At(0))
	r := c.takes(true, charge("k", both, 4))
	c.release(r, charge("k", both, 0))
	c.free(10, "k", lease)
	c.free(6, "k", bucket)
	c.takes(true, charge("k", lease, 10))
	c.refund(r) // the lease has ended, the bucket's units have not
	c.free(0, "k", lease)
	c.free(10, "k", bucket)
	c.refund(r)
	c.free(10, "k", bucket)
	return c.err
}

func leaseLapses(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	l := hourly("hour", ratelimit.Concurrency, 10)
	r := c.takes(true, charge("k", l, 6))
	c.advance(time.Hour)
	c.renews(false, r, charge("k", l, 0)) // at the microsecond of its end, and nobody has come since
	r = c.takes(true, charge("k", l, 6))
	c.advance(10 * time.Minute)
	c.takes(true, charge("k", l, 4))
	c.waits(50*time.Minute, charge("k", l, 6))
	c.renews(false, r, charge("k", l, 0))
	c.release(r, charge("k", l, 0))
	c.refund(r)
	c.free(0, "k", l)
	c.advance(10 * time.Minute)
	c.free(4, "k", l)
	c.renews(false, r, charge("k", l, 0)) // there would be room, but it is over
	return c.err
}

func renewedLease(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	l := hourly("hour", ratelimit.Concurrency, 10)
	r := c.takes(true, charge("k", l, 10))
	for range 5 {
		c.advance(59 * time.Minute)
		c.renews(true, r, charge("k", l, 0))
		c.takes(false, charge("k", l, 1))
	}
	c.settle(r, 4) // long after its first end
	c.free(6, "k", l)
	c.settle(r, 2)
	c.refund(r)
	c.advance(59 * time.Minute)
	c.settle(r, 2)
	c.refund(r)
	c.free(6, "k", l)
	c.advance(time.Minute)
	c.free(10, "k", l)
	r = c.takes(true, charge("k", l, 10))
	c.advance(30 * time.Minute)
	c.renews(true, r, charge("k", l, 0))
	c.advance(45 * time.Minute)
	c.refund(r)
	c.free(10, "k", l)
	r = c.takes(true, charge("k", l, 10)) // to the microsecond
	c.advance(30 * time.Minute)
	c.renews(true, r, charge("k", l, 0))
	c.waits(time.Hour, charge("k", l, 1))
	return c.err
}

// leasePeriod changes the Period of leases, which lasts for those taken or
// renewed afterwards; a renewal never ends a lease sooner.
func leasePeriod(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	of := func(d time.Duration) ratelimit.Limits {
		return limits(ratelimit.Limit{Name: "lease", Algorithm: ratelimit.Concurrency, Count: 10, Period: d})
	}
	hour, minute, day := of(time.Hour), of(time.Minute), of(24*time.Hour)
	r := c.takes(true, charge("k", hour, 6))
	c.takes(true, charge("k", minute, 4))
	c.renews(true, r, charge("k", minute, 0))
	c.advance(time.Minute)
	c.free(4, "k", hour)
	c.renews(true, r, charge("k", day, 0))
	c.advance(24*time.Hour - time.Microsecond)
	c.free(4, "k", minute)
	c.advance(time.Microsecond)
	c.free(10, "k", minute)
	return c.err
}

func logTrails(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range []ratelimit.Algorithm{ratelimit.SlidingLog, ratelimit.Concurrency} {
		l := hourly("hour", a, 10)
		for _, cost := range []int64{1, 2, 3, 4} { // at 0, 15, 30 and 45 minutes
			c.takes(true, charge("k", l, cost))
			c.advance(15 * time.Minute)
		}
		c.free(1, "k", l)
		c.takes(true, charge("k", l, 1))
		if r := c.peek(charge("k", l, 6)); r.RetryAfter != 45*time.Minute || r.ResetAfter != time.Hour {
			c.fail("%v: 6 pass after %v, all is free after %v; want 45m and 1h", a, r.RetryAfter, r.ResetAfter)
		}
		for _, free := range []int64{2, 5, 9, 10} {
			c.advance(15*time.Minute - time.Microsecond)
			if n := c.peek(charge("k", l, 0)).Remaining; n >= free {
				c.fail("%v: %d free one microsecond early", a, n)
			}
			c.advance(time.Microsecond)
			c.free(free, "k", l)
		}
	}
	return c.err
}

func leasesAtOnce(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	l := lasting("slots", ratelimit.Concurrency, 5)
	var held, most, got atomic.Int64
	err := atOnce(16, func(i int) error {
		for range 10 {
			r, err := c.l.TakeAll(ctx, charge("k", l, 1))
			if err != nil {
				return err
			}
			if !r.Allowed {
				continue
			}
			got.Add(1)
			if n := held.Add(1); n > 5 {
				most.Store(n)
			}
			id := r.Reservation.ID()
			renewed := c.l.RenewAll(ctx, id, charge("k", l, 0))
			held.Add(-1) // before it is free to others
			if err := errors.Join(renewed, c.l.ReleaseAll(ctx, id, charge("k", l, 0))); err != nil {
				return fmt.Errorf("caller %d: %w", i, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n := most.Load(); n > 5 {
		c.fail("%d leases of 5 at once", n)
	}
	if got.Load() < 5 {
		c.fail("%d of 160 takes got a lease", got.Load())
	}
	c.free(5, "k", l)
	return c.err
}
