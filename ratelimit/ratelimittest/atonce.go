package ratelimittest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// atOnce runs f for each of n callers at once and joins their errors.
func atOnce(n int, f func(i int) error) error {
	errs := make([]error, n)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range n {
		done.Go(func() {
			start.Wait()
			errs[i] = f(i)
		})
	}
	start.Done()
	done.Wait()
	return errors.Join(errs...)
}

func exactAtOnce(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range algorithms {
		l := lasting("many", a, 100)
		var won atomic.Int64
		err := atOnce(32, func(int) error {
			for range 8 {
				r, err := c.l.TakeAll(ctx, charge("k", l, 1))
				if err != nil {
					return err
				}
				if r.Allowed {
					won.Add(1)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if n := won.Load(); n != 100 {
			c.fail("%v: 256 takes at once: %d passed, want 100", a, n)
		}
	}
	return c.err
}

func allOrNoneAtOnce(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	l := limits(ratelimit.Limit{Name: "wide", Count: 1000, Period: 10 * year})
	narrow := limits(ratelimit.Limit{Name: "narrow", Count: 50, Period: 10 * year})
	var won atomic.Int64
	err := atOnce(16, func(i int) error {
		for range 10 {
			charges := []ratelimit.Charge{charge("a", l, 1), charge("narrow", narrow, 1), charge("b", l, 1)}
			if i%2 == 1 {
				slices.Reverse(charges)
			}
			r, err := c.l.TakeAll(ctx, charges...)
			if err != nil {
				return err
			}
			if r.Allowed {
				won.Add(1)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	n := won.Load()
	if n > 50 || n < 50 && !divided(s) {
		c.fail("%d of 160 passed, want 50", n)
	}
	c.free(1000-n, "a", l)
	c.free(1000-n, "b", l)
	c.free(50-n, "narrow", narrow)
	return c.err
}

func refundOnceAtOnce(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	l := ten(ratelimit.FixedWindow)
	c.takes(true, charge("k", l, 6))
	r := c.takes(true, charge("k", l, 1))
	if err := atOnce(16, func(int) error { return c.l.Refund(ctx, r.Reservation) }); err != nil {
		return err
	}
	c.free(4, "k", l)
	return c.err
}

func anyOrder(ctx context.Context, s ratelimit.Store) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c := on(ctx, s)
	l := limits(ratelimit.Limit{Name: "l", Count: ratelimit.MaxCount, Period: year})
	finished := make(chan error, 1)
	go func() {
		finished <- atOnce(8, func(i int) error {
			for j := range 50 {
				charges := make([]ratelimit.Charge, 5)
				for k := range charges {
					charges[k] = charge(fmt.Sprint("k", (i*7+j*3+k*(1+i%4))%20), l, 1)
				}
				if i%2 == 1 {
					slices.Reverse(charges)
				}
				if _, err := c.l.TakeAll(ctx, distinct(charges)...); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	select {
	case err := <-finished:
		return err
	case <-ctx.Done():
		return errors.New("callers that name subjects in different orders did not finish within 20 s")
	}
}

// distinct drops charges of a key already named.
func distinct(charges []ratelimit.Charge) []ratelimit.Charge {
	seen := map[string]bool{}
	return slices.DeleteFunc(charges, func(c ratelimit.Charge) bool {
		dup := seen[c.Key]
		seen[c.Key] = true
		return dup
	})
}
