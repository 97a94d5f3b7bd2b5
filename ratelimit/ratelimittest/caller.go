package ratelimittest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones, wherever the suite runs

	"github.com/keytoll/keytoll/ratelimit"
)

// The algorithms that keep state.
var algorithms = [...]ratelimit.Algorithm{
	ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow,
	ratelimit.SlidingLog, ratelimit.Calendar, ratelimit.Concurrency,
}

const year = 365 * 24 * time.Hour

// ten allows 10 of the algorithm in so long that nothing comes back while a
// check runs on a clock that cannot be moved.
func ten(a ratelimit.Algorithm) ratelimit.Limits { return lasting("ten", a, 10) }

// lasting allows count in ten years; of a calendar, in one.
func lasting(name string, a ratelimit.Algorithm, count int64) ratelimit.Limits {
	l := ratelimit.Limit{Name: name, Algorithm: a, Count: count, Period: 10 * year}
	if a == ratelimit.Calendar {
		l.Period, l.Every = 0, ratelimit.Year
	}
	return limits(l)
}

// hourly allows count in an hour; of a calendar, in a day.
func hourly(name string, a ratelimit.Algorithm, count int64) ratelimit.Limits {
	l := ratelimit.Limit{Name: name, Algorithm: a, Count: count, Period: time.Hour}
	if a == ratelimit.Calendar {
		l.Period, l.Every = 0, ratelimit.Day
	}
	return limits(l)
}

// zones have days of 23 to 25 hours, clocks that change at midnight, a day that
// never was, and offsets of minutes.
var zones = sync.OnceValue(func() []*time.Location {
	all := []*time.Location{time.UTC}
	for _, name := range []string{
		"America/New_York", "America/Sao_Paulo", "Asia/Beirut", "Asia/Kathmandu", "Australia/Lord_Howe", "Europe/Berlin", "Pacific/Apia",
	} {
		all = append(all, must(time.LoadLocation(name)))
	}
	return all
})

func limits(l ...ratelimit.Limit) ratelimit.Limits { return must(ratelimit.NewLimits(l...)) }

// must is for arguments that are right by construction.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err) //nolint:forbidigo // a mistake in the suite itself
	}
	return v
}

// A caller asks one store, and keeps the first failure.
type caller struct {
	ctx context.Context
	l   *ratelimit.Limiter
	s   ratelimit.Store
	err error
}

func on(ctx context.Context, s ratelimit.Store) *caller {
	return &caller{ctx: ctx, l: must(ratelimit.NewLimiter(s, ratelimit.Limits{}, nil)), s: s}
}

func (c *caller) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *caller) check(err error) {
	if err != nil {
		c.fail("unexpected error: %w", err)
	}
}

func (c *caller) take(charges ...ratelimit.Charge) ratelimit.Result {
	r, err := c.l.TakeAll(c.ctx, charges...)
	c.check(err)
	return r
}

func (c *caller) peek(charges ...ratelimit.Charge) ratelimit.Result {
	r, err := c.l.PeekAll(c.ctx, charges...)
	c.check(err)
	return r
}

func (c *caller) refund(r ratelimit.Result) { c.check(c.l.Refund(c.ctx, r.Reservation)) }

func (c *caller) settle(r ratelimit.Result, actual ...int64) {
	c.check(c.l.Settle(c.ctx, r.Reservation, actual...))
}

// upTo takes up to most and wants so much to be taken.
func (c *caller) upTo(taken int64, key string, l ratelimit.Limits, most int64) ratelimit.Result {
	r, err := must(ratelimit.NewLimiter(c.s, l, nil)).TakeUpTo(c.ctx, key, most)
	c.check(err)
	if r.Taken != taken || r.Allowed != (taken > 0 || most == 0) {
		c.fail("key %q: take up to %d: took %d, allowed is %v; want %d", key, most, r.Taken, r.Allowed, taken)
	}
	return r
}

// renews wants the leases of r renewed, or lapsed.
func (c *caller) renews(alive bool, r ratelimit.Result, charges ...ratelimit.Charge) {
	err := c.l.RenewAll(c.ctx, r.Reservation.ID(), charges...)
	if !alive && errors.Is(err, ratelimit.ErrLapsed) {
		return
	}
	c.check(err)
	if !alive {
		c.fail("renewal of %s passed, want ErrLapsed", list(charges))
	}
}

func (c *caller) release(r ratelimit.Result, charges ...ratelimit.Charge) {
	c.check(c.l.ReleaseAll(c.ctx, r.Reservation.ID(), charges...))
}

// now returns the store's time.
func (c *caller) now() int64 {
	l := ten(ratelimit.TokenBucket)
	req := ratelimit.Request{Mode: ratelimit.ModePeek, Ops: []ratelimit.Op{{Rule: l.Rule(0), Key: "time"}}}
	c.check(c.s.Apply(c.ctx, &req))
	return req.Now
}

// at moves the store's clock to a time.
func (c *caller) at(t time.Time) { c.advance(time.Duration(t.UnixMicro()-c.now()) * time.Microsecond) }

// waits wants the charges to be refused for exactly so long, and then to pass.
func (c *caller) waits(d time.Duration, charges ...ratelimit.Charge) {
	if r := c.takes(false, charges...); r.RetryAfter != d {
		c.fail("take of %s: RetryAfter is %v, want %v", list(charges), r.RetryAfter, d)
	}
	c.advance(d - time.Microsecond)
	c.takes(false, charges...)
	c.advance(time.Microsecond)
	c.takes(true, charges...)
}

func (c *caller) advance(d time.Duration) { c.s.(Clock).Advance(d) }

// takes wants the charges allowed, or refused.
func (c *caller) takes(allowed bool, charges ...ratelimit.Charge) ratelimit.Result {
	r := c.take(charges...)
	if r.Allowed != allowed {
		c.fail("take of %s: allowed is %v, want %v", list(charges), r.Allowed, allowed)
	}
	return r
}

// free wants n units free for the key.
func (c *caller) free(n int64, key string, l ratelimit.Limits) {
	if got := c.peek(ratelimit.Charge{Key: key, Limits: l}).Remaining; got != n {
		c.fail("key %q: %d free, want %d", key, got, n)
	}
}

func list(charges []ratelimit.Charge) string {
	var s strings.Builder
	for _, c := range charges {
		fmt.Fprintf(&s, "[%q cost %d]", c.Key, c.Cost)
	}
	return s.String()
}

func charge(key string, l ratelimit.Limits, cost int64) ratelimit.Charge {
	return ratelimit.Charge{Key: key, Limits: l, Cost: cost}
}
