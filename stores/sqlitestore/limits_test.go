package sqlitestore_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
	"github.com/keytoll/keytoll/stores/sqlitestore"
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

func openTimed(t testing.TB) timed {
	t.Helper()
	c := newClock()
	return timed{open(t, &sqlitestore.Options{Now: c.now}).Limits(), c}
}

func TestLimitsKeepTheContract(t *testing.T) {
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return openTimed(t) })
}

func TestLimitsKeepTheContractByTheSystemsClock(t *testing.T) {
	ratelimittest.RunStill(t, func(t *testing.T) ratelimit.Store { return open(t, nil).Limits() })
}

func BenchmarkLimits(b *testing.B) {
	ratelimittest.Bench(b, func(b *testing.B) ratelimit.Store { return open(b, nil).Limits() })
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
