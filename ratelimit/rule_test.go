package ratelimit_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

const noon = int64(1_700_000_000_000_000)

func ruleOf(t *testing.T, l ratelimit.Limit) *ratelimit.Rule {
	t.Helper()
	l.Name = "l"
	set := set(t, l)
	return set.Rule(0)
}

// What a settlement overdrew counts as a quota in the next window. Refunding an
// earlier take of the overdrawn window frees nothing of it, also when the next
// window has seen a take.
func TestRefundOfWhatTheOverdrawnWindowCoversFreesNothing(t *testing.T) {
	t.Parallel()
	r := ruleOf(t, ratelimit.Limit{Algorithm: ratelimit.SlidingWindow, Count: 10, Period: time.Second})
	c, first := r.Take(ratelimit.Cell{}, 5, noon)
	c = r.Charge(c, 20, noon)
	c, second := r.Take(c, 1, noon+1_900_000)
	if second.RetryAfter != 0 || second.Remaining != 8 {
		t.Fatalf("%+v late in the next window, want 8 free", second)
	}
	c = r.Settle(c, 5, 0, noon+first.ResetAfter, first.Rest, noon+1_900_000)
	if o := r.Peek(c, 0, noon+1_900_000); o.Remaining != 8 {
		t.Errorf("%d free after the refund, want 8: 20 units of the window before are in use", o.Remaining)
	}
}

// A debt that another limit overdrew is not cut to that limit's quota because
// the refunded take was under a larger one.
func TestRefundUnderALargerLimitLeavesTheRestOwed(t *testing.T) {
	t.Parallel()
	large := ruleOf(t, ratelimit.Limit{Count: 10, Period: time.Hour})
	small := ruleOf(t, ratelimit.Limit{Count: 5, Period: time.Hour})
	c, taken := large.Take(ratelimit.Cell{}, 1, noon)
	c = small.Charge(c, 7, noon)
	c = large.Settle(c, 1, 0, noon+taken.ResetAfter, taken.Rest, noon)
	if o := small.Peek(c, 1, noon); o.RetryAfter != (3 * time.Hour / 5).Microseconds() {
		t.Errorf("one unit passes after %dus, want what 3 units take: 7 are owed of 5", o.RetryAfter)
	}
}

// A log whose last lease ended is as good as none, also for a clock that goes
// back.
func TestEmptyLogHasSeenNoTime(t *testing.T) {
	t.Parallel()
	r := ruleOf(t, ratelimit.Limit{Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Minute})
	var log ratelimit.Log
	r.ChargeLog(&log, ratelimit.ID{1}, 1, noon)
	r.SettleLog(&log, ratelimit.ID{1}, 1, 0, noon)
	if o := r.TakeLog(&log, 1, noon-1e6); o.ResetAfter != 60e6 {
		t.Errorf("ResetAfter is %dus a second before the log's time, want the Period", o.ResetAfter)
	}
}

// Work that outlives the log's Period is charged for what it came to, as every
// other algorithm charges it; a lease that is over stays so.
func TestSettlementAfterTheLogForgotTheTakeIsCharged(t *testing.T) {
	t.Parallel()
	for a, want := range map[ratelimit.Algorithm]int64{ratelimit.SlidingLog: 1, ratelimit.Concurrency: 10} {
		r := ruleOf(t, ratelimit.Limit{Algorithm: a, Count: 10, Period: time.Second})
		var log ratelimit.Log
		r.ChargeLog(&log, ratelimit.ID{1}, 1, noon)
		r.SettleLog(&log, ratelimit.ID{1}, 1, 10, noon+2e6)
		if o := r.PeekLog(&log, 1, noon+2e6); o.Remaining != want {
			t.Errorf("%v: %d free after a take of 1 came to 10, want %d", a, o.Remaining, want)
		}
	}
}

// An overdrawn bucket takes longer than two fills to pay its debt back: so long
// the settlement that overdrew it is remembered.
func TestSettlementIsRememberedUntilItsDebtIsPaid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit        ratelimit.Limit
		cost, actual int64
		want         time.Duration
	}{
		{ratelimit.Limit{Count: 10, Period: time.Hour}, 1, 1001, 101 * time.Hour},
		{ratelimit.Limit{Count: 10, Period: time.Hour}, 1, 0, 0},
		{ratelimit.Limit{Count: 10, Period: time.Second}, 1, 2, time.Minute},
		{ratelimit.Limit{Count: 1, Period: ratelimit.MaxPeriod}, 1, 9, 2 * ratelimit.MaxPeriod},
		{ratelimit.Limit{Algorithm: ratelimit.FixedWindow, Count: 10, Period: time.Hour}, 1, 1001, 2 * time.Hour},
		{ratelimit.Limit{Algorithm: ratelimit.Concurrency, Count: 10, Period: time.Hour}, 2, 1, time.Hour},
	} {
		req := ratelimit.Request{Ops: []ratelimit.Op{{Rule: ruleOf(t, c.limit), Cost: c.cost, Actual: c.actual}}}
		if got := req.Hold(); got != c.want.Microseconds() {
			t.Errorf("%+v, %d settled to %d: held for %dus, want %v", c.limit, c.cost, c.actual, got, c.want)
		}
	}
}

// Whatever limit wrote a state, every other of its algorithm reads it: nothing
// overflows, and the answer is within its own bounds.
func TestStateOfOneLimitUnderAnyOther(t *testing.T) {
	t.Parallel()
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow} {
		var rules []*ratelimit.Rule
		for _, count := range []int64{1, 7, ratelimit.MaxCount} {
			for _, period := range []time.Duration{time.Microsecond, time.Hour, ratelimit.MaxPeriod} {
				rules = append(rules, ruleOf(t, ratelimit.Limit{Algorithm: a, Count: count, Period: period}))
			}
		}
		for _, writer := range rules {
			for _, reader := range rules {
				for _, charge := range []int64{1, writer.Quota(), ratelimit.MaxCount} {
					c := writer.Charge(writer.Charge(ratelimit.Cell{}, charge, noon), charge, noon+1)
					for _, later := range []int64{-5, 0, 2, 3_600_000_001, ratelimit.MaxPeriod.Microseconds() + 7} {
						now := noon + later
						o := reader.Peek(c, 1, now)
						if o.Remaining < 0 || o.Remaining > reader.Quota() || o.RetryAfter < 0 || o.ResetAfter < o.RetryAfter {
							t.Fatalf("%+v under %+v: %+v", c, reader.Limit(), o)
						}
						if o.RetryAfter > 0 && (reader.Peek(c, 1, now+o.RetryAfter).RetryAfter != 0 || reader.Peek(c, 1, now+o.RetryAfter-1).RetryAfter != 1) {
							t.Fatalf("%+v under %+v: RetryAfter %d is not the least", c, reader.Limit(), o.RetryAfter)
						}
						next := reader.Charge(c, charge, now)
						next = reader.Settle(next, 1, 0, now+1, 0, now)
						if o := writer.Peek(next, 1, now); o.Remaining < 0 || o.Remaining > writer.Quota() || o.RetryAfter < 0 {
							t.Fatalf("%+v under %+v: %+v", next, writer.Limit(), o)
						}
					}
				}
			}
		}
	}
}
