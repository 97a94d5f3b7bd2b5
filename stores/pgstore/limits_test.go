package pgstore_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// A clock stands still until it is advanced.
type clock struct{ us atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.us.Store(1_700_000_000_123_456)
	return c
}

func (c *clock) now() time.Time { return time.UnixMicro(c.us.Load()) }

// Advance implements ratelimittest.Clock.
func (c *clock) Advance(d time.Duration) { c.us.Add(d.Microseconds()) }

// timed is a store with the clock that it goes by.
type timed struct {
	ratelimit.Store
	*clock
}

func (d *database) openTimed(t testing.TB) timed {
	t.Helper()
	c := newClock()
	return timed{d.open(t).Limits(&pgstore.LimitsOptions{Now: c.now}), c}
}

func TestLimitsKeepTheContract(t *testing.T) {
	d := newDatabase(t)
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return d.openTimed(t) })
}

func TestLimitsKeepTheContractByTheServersClock(t *testing.T) {
	d := newDatabase(t)
	ratelimittest.RunStill(t, func(t *testing.T) ratelimit.Store { return d.open(t).Limits(nil) })
}

func limiter(t testing.TB, s ratelimit.Store, limits ...ratelimit.Limit) *ratelimit.Limiter {
	t.Helper()
	set, err := ratelimit.NewLimits(limits...)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(s, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTheExampleOfLimits(t *testing.T) {
	var out strings.Builder
	if err := estimate(t.Context(), pgtest.Database(t), &out); err != nil {
		t.Fatal(err)
	}
	if want := "true, 2000 left\nfalse, by burst\n"; out.String() != want {
		t.Errorf("said %q, want %q", out.String(), want)
	}
}
