package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Each test here is named for a defect that a widely used limiter has or had.

// world is a limiter on a memory store whose clock the test holds.
type world struct {
	*ratelimit.Limiter
	t   *testing.T
	now time.Time
}

func newWorld(t *testing.T, limits ...ratelimit.Limit) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)}
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	if w.Limiter, err = ratelimit.NewLimiter(store, set(t, limits...), nil); err != nil {
		t.Fatal(err)
	}
	return w
}

func set(tb testing.TB, limits ...ratelimit.Limit) ratelimit.Limits {
	tb.Helper()
	if len(limits) == 0 {
		return ratelimit.Limits{}
	}
	l, err := ratelimit.NewLimits(limits...)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func (w *world) take(cost int64) ratelimit.Result {
	w.t.Helper()
	r, err := w.Take(w.t.Context(), "k", cost)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) want(allowed bool, cost int64) ratelimit.Result {
	w.t.Helper()
	r := w.take(cost)
	if r.Allowed != allowed {
		w.t.Fatalf("cost %d: allowed is %v, want %v (%d remain)", cost, r.Allowed, allowed, r.Remaining)
	}
	return r
}

func (w *world) remain(n int64) {
	w.t.Helper()
	if r, err := w.Peek(w.t.Context(), "k", 0); err != nil || r.Remaining != n {
		w.t.Fatalf("%d remain, want %d (error %v)", r.Remaining, n, err)
	}
}

func TestBackwardsClockMintsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "s", Count: 10, Period: time.Second})
	w.want(true, 10)
	w.now = w.now.Add(-time.Hour)
	w.want(true, 0) // a zero cost that rewinds the bucket would mint ten tokens
	w.want(false, 1)
	w.now = w.now.Add(time.Hour)
	w.want(false, 1)
}

// A Duration holds 292 years of nanoseconds.
func TestWaitsOfCenturiesDoNotWrapAround(t *testing.T) {
	t.Parallel()
	const century = 100 * 365 * 24 * time.Hour
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow} {
		w := newWorld(t, ratelimit.Limit{Name: "c", Algorithm: a, Count: 1, Period: century})
		for range 5 {
			w.now = w.now.Add(century)
		}
		w.want(true, 1)
		for range 4 {
			w.now = w.now.Add(-century)
			r := w.want(false, 1)
			if r.RetryAfter < century || r.ResetAfter < r.RetryAfter {
				t.Errorf("%v: RetryAfter is %v, ResetAfter %v", a, r.RetryAfter, r.ResetAfter)
			}
			for s := range r.Refused() {
				if s.RetryAfter != r.RetryAfter || s.ResetAfter != r.ResetAfter {
					t.Errorf("%v: the state says %v and %v", a, s.RetryAfter, s.ResetAfter)
				}
			}
		}
		if r := w.want(false, 1); r.RetryAfter != 1<<63-1 {
			t.Errorf("%v: RetryAfter is %v, want the longest Duration", a, r.RetryAfter)
		}
	}
}

func TestOlderCallersInARaceMintNothing(t *testing.T) {
	t.Parallel()
	var ticks atomic.Int64
	start := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: func() time.Time {
		// Neighbouring readings in the wrong order, as unlocked callers see them.
		return start.Add(time.Duration(ticks.Add(1)^1) * time.Microsecond)
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(store, set(t, ratelimit.Limit{Name: "s", Count: 1000, Period: time.Second, Burst: 1}), nil)
	if err != nil {
		t.Fatal(err)
	}
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if r, err := l.Take(t.Context(), "k", 1); err == nil && r.Allowed {
					won.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := won.Load(); n > 9 { // 8001 microseconds at one a millisecond, and the burst
		t.Errorf("%d takes in %d microseconds passed, want at most 9", n, ticks.Load())
	}
}

func TestHugeCostDoesNotWrapAround(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "d", Count: 1, Period: 24 * time.Hour})
	for _, cost := range []int64{106_752, 1 << 53, 1<<63 - 1} {
		if r := w.want(false, cost); r.RetryAfter != ratelimit.Never {
			t.Errorf("cost %d: RetryAfter is %v, want Never", cost, r.RetryAfter)
		}
	}
	w.want(true, 1)
}

func TestLargeBurstDoesNotWrapAround(t *testing.T) {
	t.Parallel()
	if _, err := ratelimit.NewLimits(ratelimit.Limit{Name: "d", Count: 1, Period: 24 * time.Hour, Burst: 1e6}); err == nil {
		t.Error("a bucket that takes 2700 years to fill is accepted")
	}
	w := newWorld(t, ratelimit.Limit{Name: "d", Count: 1, Period: 24 * time.Hour, Burst: 36_500})
	w.want(true, 36_500)
	if r := w.want(false, 36_500); r.RetryAfter != 36_500*24*time.Hour {
		t.Errorf("RetryAfter is %v", r.RetryAfter)
	}
}

func TestIntervalIsNotTruncated(t *testing.T) {
	t.Parallel()
	// 700 000/s is an interval of 1.43 microseconds; truncated to 1 it would
	// admit a million.
	w := newWorld(t, ratelimit.Limit{Name: "s", Count: 700_000, Period: time.Second, Burst: 10})
	w.want(true, 10)
	passed := int64(0)
	for range 100_000 {
		w.now = w.now.Add(time.Microsecond)
		if w.take(1).Allowed {
			passed++
		}
	}
	if passed != 70_000 {
		t.Errorf("%d passed in 100 ms, want 70000", passed)
	}
}

func TestPeekNeverSpends(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "h", Count: 1e6, Period: 1000 * time.Hour})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 500 {
				var err error
				if i%2 == 0 {
					_, err = w.Peek(t.Context(), "k", 1)
				} else {
					_, err = w.Take(t.Context(), "k", 1)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	w.remain(1e6 - 2000)
}

func TestDeniedRequestsAreNotCharged(t *testing.T) {
	t.Parallel()
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow} {
		w := newWorld(t, ratelimit.Limit{Name: "h", Algorithm: a, Count: 10, Period: time.Hour})
		w.want(true, 3)
		for range 100 {
			w.want(false, 8)
			w.want(false, 11)
		}
		w.remain(7)
		w.want(true, 7)
	}
}

func TestDenialKeepsFractionalRefill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "s", Count: 1, Period: time.Second})
	w.want(true, 1)
	for range 9 { // asking in between must not push the next token away
		w.now = w.now.Add(100 * time.Millisecond)
		w.want(false, 1)
	}
	w.now = w.now.Add(100 * time.Millisecond)
	w.want(true, 1)
}

func TestIdleBucketMintsNoCredit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "s", Count: 1, Period: time.Second, Burst: 3})
	w.want(true, 3)
	w.now = w.now.Add(90 * 365 * 24 * time.Hour) // long idle: no overflow, no more than the burst
	w.want(true, 3)
	w.want(false, 1)
}

func TestRefundReallyRestores(t *testing.T) {
	t.Parallel()
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow} {
		for _, period := range []time.Duration{time.Hour, 7 * time.Microsecond} {
			w := newWorld(t, ratelimit.Limit{Name: "h", Algorithm: a, Count: 10, Period: period})
			r := w.want(true, 10)
			w.want(false, 1)
			for range 3 { // the second and third change nothing
				if err := w.Refund(t.Context(), r.Reservation); err != nil {
					t.Fatal(err)
				}
			}
			w.remain(10)
			w.want(true, 10)
			w.want(false, 1)
		}
	}
}

func TestRefundOfADenialIsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "h", Count: 10, Period: time.Hour})
	w.want(true, 8)
	for _, r := range []ratelimit.Reservation{{}, w.want(false, 5).Reservation, w.want(true, 0).Reservation} {
		if err := w.Refund(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	w.remain(2)
}

func TestRefundOutlivesItsResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := set(t, ratelimit.Limit{Name: "h", Count: 10, Period: time.Hour})
	var charges []ratelimit.Charge
	for i := range 9 { // more than a reservation holds inline
		charges = append(charges, ratelimit.Charge{Key: fmt.Sprint("k", i), Limits: h, Cost: 4})
	}
	r, err := w.TakeAll(t.Context(), charges...)
	if err != nil || !r.Allowed {
		t.Fatal(r.Allowed, err)
	}
	request := struct{ paid ratelimit.Reservation }{r.Reservation}
	clear(charges)
	if err := w.Refund(context.WithoutCancel(t.Context()), request.paid); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		if r, err := w.PeekAll(t.Context(), ratelimit.Charge{Key: fmt.Sprint("k", i), Limits: h}); err != nil || r.Remaining != 10 {
			t.Errorf("key %d: %d remain, error %v", i, r.Remaining, err)
		}
	}
}

func TestFixedWindowWorstCaseAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "m", Algorithm: ratelimit.FixedWindow, Count: 100, Period: time.Minute})
	w.now = w.now.Add(time.Minute - time.Microsecond)
	w.want(true, 100)
	w.now = w.now.Add(time.Microsecond)
	w.want(true, 100) // 200 within two microseconds, and no more
	w.want(false, 1)
}

func TestSlidingWindowWorstCaseAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "m", Algorithm: ratelimit.SlidingWindow, Count: 100, Period: time.Minute})
	w.now = w.now.Add(time.Minute - time.Microsecond)
	w.want(true, 100)
	w.now = w.now.Add(time.Minute - time.Microsecond) // the last instant of the trailing minute
	w.want(true, 99)
	w.want(false, 1)
}

func TestTokenBucketWorstCaseAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "m", Count: 60, Period: time.Minute, Burst: 5})
	w.want(true, 5)
	passed := int64(5)
	for range 59_999 { // the rest of one minute
		w.now = w.now.Add(time.Millisecond)
		if w.take(1).Allowed {
			passed++
		}
	}
	if passed != 64 { // Burst + floor(Count * 59.999/60)
		t.Errorf("%d passed, want 64", passed)
	}
}

func TestDuplicateLimitsAreRefused(t *testing.T) {
	t.Parallel()
	h := ratelimit.Limit{Name: "h", Count: 10, Period: time.Hour}
	if _, err := ratelimit.NewLimits(h, h); err == nil {
		t.Error("a set with one name twice is accepted")
	}
	w := newWorld(t, h)
	if _, err := w.TakeAll(t.Context(), ratelimit.Charge{Key: "k", Cost: 1}, ratelimit.Charge{Key: "k", Cost: 1}); err == nil {
		t.Error("one state twice in one decision is accepted") // locked twice, it would never return
	}
	w.remain(10)
}

func TestSubjectsInAnyOrderDoNotDeadlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "h", Count: 1 << 40, Period: time.Hour})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				a, b := fmt.Sprint(j%7), fmt.Sprint(j%7+1)
				if i%2 == 0 {
					a, b = b, a
				}
				if _, err := w.TakeAll(t.Context(), ratelimit.Charge{Key: a, Cost: 1}, ratelimit.Charge{Key: b, Cost: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestSpeaksForTheLongestWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t,
		ratelimit.Limit{Name: "second", Count: 1, Period: time.Second},
		ratelimit.Limit{Name: "hour", Count: 1, Period: time.Hour},
		ratelimit.Limit{Name: "minute", Count: 1, Period: time.Minute})
	w.want(true, 1)
	if r := w.want(false, 1); r.Limit != "hour" || r.RetryAfter != time.Hour {
		t.Errorf("refused by %q for %v", r.Limit, r.RetryAfter)
	}
}

func TestErrorsOfACall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "h", Count: 10, Period: time.Hour})
	long := string(make([]byte, 1025))
	for name, charges := range map[string][]ratelimit.Charge{
		"none":          {},
		"empty key":     {{Cost: 1}},
		"long key":      {{Key: long, Cost: 1}},
		"negative cost": {{Key: "a", Cost: 1}, {Key: "b", Cost: -1}},
	} {
		if r, err := w.TakeAll(t.Context(), charges...); err == nil || r.Allowed {
			t.Errorf("%s: allowed %v, error %v", name, r.Allowed, err)
		}
	}
	if r, err := newWorld(t).Take(t.Context(), "k", 1); err == nil || r.Allowed {
		t.Errorf("a decision about no limit: allowed %v, error %v", r.Allowed, err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Take(done, "k", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

func TestRefundAcrossAPeriodChangeFreesNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	with := func(p time.Duration) ratelimit.Charge {
		return ratelimit.Charge{Key: "k", Cost: 10, Limits: set(t, ratelimit.Limit{Name: "w", Algorithm: ratelimit.FixedWindow, Count: 10, Period: p})}
	}
	take := func(c ratelimit.Charge) ratelimit.Result {
		t.Helper()
		r, err := w.TakeAll(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	day := take(with(24 * time.Hour))
	w.now = w.now.Add(5 * time.Minute)
	if !take(with(time.Minute)).Allowed {
		t.Fatal("a new minute is not free")
	}
	if err := w.Refund(t.Context(), day.Reservation); err != nil {
		t.Fatal(err)
	}
	if take(with(time.Minute)).Allowed {
		t.Error("what the day gave back was freed in a minute that never took it")
	}
}
