package ratelimit_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// FuzzTake gives arbitrary limits arbitrary sequences of costs and clock steps.
// Nothing may panic, and what passes may not exceed the documented bounds.
func FuzzTake(f *testing.F) {
	f.Add(uint8(0), int64(10), int64(time.Second), int64(0), []byte{1, 2, 3, 200, 5, 6, 7})
	f.Add(uint8(1), int64(3), int64(time.Microsecond), int64(0), []byte{9, 9, 9, 9})
	f.Add(uint8(2), int64(1)<<53, int64(100*365*24*time.Hour), int64(0), []byte{255, 0, 255, 1})
	f.Add(uint8(0), int64(1), int64(24*time.Hour), int64(36_500), []byte{1, 128, 1, 128})
	f.Fuzz(func(t *testing.T, algorithm uint8, count, period, burst int64, steps []byte) {
		l := ratelimit.Limit{Name: "f", Algorithm: ratelimit.Algorithm(algorithm), Count: count, Period: time.Duration(period), Burst: burst}
		set, err := ratelimit.NewLimits(l)
		if err != nil {
			return
		}
		rule := set.Rule(0)
		l = rule.Limit()
		now, start := int64(1_700_000_000_000_000), int64(1_700_000_000_000_000)
		quota, us := rule.Quota(), l.Period.Microseconds()
		var c ratelimit.Cell
		taken := int64(0)                                // since start, at most a period ago
		for _, b := range steps[:min(len(steps), 100)] { // not beyond the year 38505
			cost := int64(b&7) * (quota/5 + 1)
			if b&8 != 0 {
				now += int64(b>>4) * (us/7 + 1)
			} else if b&16 != 0 {
				now -= int64(b >> 5)
			}
			if now-start >= us || now < start { // what passed before counts in a span of its own
				start, taken = now, 0
			}
			before := c
			next, o := rule.Take(c, cost, now)
			switch {
			case o.RetryAfter < -1 || o.ResetAfter < 0 || o.Remaining < 0 || o.Remaining > quota:
				t.Fatalf("%+v: %+v", l, o)
			case o.RetryAfter == -1 && cost <= quota:
				t.Fatalf("%+v: cost %d never passes", l, cost)
			case o.RetryAfter != 0 && next != before:
				t.Fatalf("%+v: a refusal changed %+v to %+v", l, before, next)
			}
			if o.RetryAfter > 0 {
				if p := rule.Peek(c, cost, now+o.RetryAfter); p.RetryAfter != 0 {
					t.Fatalf("%+v: cost %d does not pass after %d: %+v", l, cost, o.RetryAfter, p)
				}
				if p := rule.Peek(c, cost, now+o.RetryAfter-1); p.RetryAfter != 1 {
					t.Fatalf("%+v: cost %d: a microsecond before, RetryAfter is %d", l, cost, p.RetryAfter)
				}
			}
			if o.RetryAfter != 0 {
				continue
			}
			c = next
			taken += cost
			bound := 2 * quota
			if l.Algorithm == ratelimit.TokenBucket {
				bound = quota + l.Count
			}
			if taken > bound {
				t.Fatalf("%+v: %d passed within one period, at most %d may", l, taken, bound)
			}
			if b&128 != 0 {
				c = rule.Settle(c, cost, 0, now+o.ResetAfter, o.Rest, now)
				taken -= cost
			}
		}
	})
}
