package ratelimit_test

import (
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

// counting returns a limit of 10 of each algorithm that counts.
func counting() []ratelimit.Limit {
	limits := []ratelimit.Limit{{Name: "d", Algorithm: ratelimit.Calendar, Count: 10, Every: ratelimit.Day}}
	for _, a := range []ratelimit.Algorithm{
		ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog, ratelimit.Concurrency,
	} {
		limits = append(limits, ratelimit.Limit{Name: "h", Algorithm: a, Count: 10, Period: time.Hour})
	}
	return limits
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
	for _, l := range counting() {
		w := newWorld(t, l)
		w.want(true, 10)
		for _, back := range []time.Duration{time.Microsecond, time.Hour, 48 * time.Hour} {
			w.now = w.now.Add(-back)
			w.want(true, 0) // a zero cost that rewinds the state would mint ten
			if r := w.want(false, 1); r.RetryAfter <= back {
				t.Errorf("%v: RetryAfter is %v after %v back", l.Algorithm, r.RetryAfter, back)
			}
			w.now = w.now.Add(back)
			w.want(false, 1)
		}
		w.now = w.now.Add(-time.Hour)
		r := w.want(false, 1)
		w.now = w.now.Add(r.RetryAfter - time.Microsecond)
		w.want(false, 1)
		w.now = w.now.Add(time.Microsecond)
		w.want(true, 1)
	}
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
	for _, l := range counting() {
		w := newWorld(t, l)
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

// A rate beyond the clock's tick must not become unlimited, or a round number.
func TestRatesBeyondTheClocksTick(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []int64{1500, 6000, 700_000_000, 1_500_000_001} {
		w := newWorld(t, ratelimit.Limit{Name: "s", Count: perSecond, Period: time.Second})
		w.want(true, perSecond)
		w.want(false, perSecond)
		for _, us := range []int64{1, 2, 1000, 333_333, 500_000} {
			w.now = w.now.Add(time.Duration(us) * time.Microsecond)
			r, err := w.Take(t.Context(), "k", 0)
			if err != nil {
				t.Fatal(err)
			}
			if want := us * perSecond / 1e6; r.Remaining != want && r.Remaining != want+1 { // a fraction may complete a unit
				t.Errorf("%d a second: %d came back in %dus, want %d", perSecond, r.Remaining, us, want)
			}
			if n := r.Remaining; n > 0 {
				w.want(true, n)
			}
		}
	}
}

// 65 535 in 100 ms came back as 1525 where the interval was inverted.
func TestManyTokensInAShortInterval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "s", Count: 65_535, Period: 100 * time.Millisecond})
	for range 3 {
		w.want(true, 65_535)
		w.now = w.now.Add(100 * time.Millisecond)
	}
	w.remain(65_535)
}

// A refused request that says "nothing remains" or "everything does" while
// neither is so sends the caller away for nothing.
func TestRefusalShowsWhatRemains(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		w := newWorld(t, l)
		w.want(true, 6)
		if r := w.want(false, 5); r.Remaining != 4 || r.RetryAfter <= 0 {
			t.Errorf("%v: %d remain, RetryAfter %v", l.Algorithm, r.Remaining, r.RetryAfter)
		}
	}
}

// Debt that grows by refusals is never paid.
func TestRefusalsMakeNoDebt(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		w := newWorld(t, l)
		w.want(true, 7)
		first := w.want(false, 7)
		for range 4 {
			if r := w.want(false, 7); r.RetryAfter != first.RetryAfter {
				t.Errorf("%v: RetryAfter was %v and is %v", l.Algorithm, first.RetryAfter, r.RetryAfter)
			}
		}
		w.now = w.now.Add(first.RetryAfter)
		w.want(true, 7)
	}
}

// A cost that can never pass is told apart from one that has to wait.
func TestCostAboveTheQuotaHasNoFiniteWait(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		w := newWorld(t, l)
		w.want(true, 10)
		if r := w.want(false, 11); r.RetryAfter != ratelimit.Never {
			t.Errorf("%v: RetryAfter is %v, want Never", l.Algorithm, r.RetryAfter)
		}
	}
	w := newWorld(t, ratelimit.Limit{Name: "s", Count: 10, Period: time.Second, Burst: 3})
	if r := w.want(false, 4); r.RetryAfter != ratelimit.Never {
		t.Errorf("above the burst: RetryAfter is %v, want Never", r.RetryAfter)
	}
}

// The end of the window is both too early and too late as RetryAfter: this
// very cost passes then, not before, whatever the window's length.
func TestRetryAfterIsNotTheWindow(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		for _, period := range []time.Duration{time.Hour, 300 * time.Millisecond, 7 * time.Microsecond} {
			if l.Algorithm != ratelimit.Calendar {
				l.Period = period
			}
			w := newWorld(t, l)
			for _, cost := range []int64{9, 3, 10, 1} {
				w.now = w.now.Add(l.Period * 2 / 5)
				w.take(cost)
				r := w.take(cost)
				if r.Allowed {
					continue
				}
				w.now = w.now.Add(r.RetryAfter - time.Microsecond)
				w.want(false, cost)
				w.now = w.now.Add(time.Microsecond)
				w.want(true, cost)
			}
		}
	}
}

// The weight of the window before is not rounded to the nearest: what is in use
// counts whole.
func TestSlidingWindowRoundsNothingDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "m", Algorithm: ratelimit.SlidingWindow, Count: 3, Period: time.Minute})
	w.want(true, 3)
	for _, tt := range []struct {
		into   time.Duration
		remain int64
	}{{0, 0}, {19 * time.Second, 0}, {20 * time.Second, 1}, {30 * time.Second, 1}, {40 * time.Second, 2}, {59 * time.Second, 2}, {time.Minute, 3}} {
		at := *w
		at.now = w.now.Add(time.Minute + tt.into)
		w.now, at.now = at.now, w.now
		w.remain(tt.remain)
		w.now = at.now
	}
}

// A clock read twice may decide in one window and answer about the next.
func TestOneReadingOfTheClockForADecision(t *testing.T) {
	t.Parallel()
	reads := 0
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: func() time.Time {
		reads++
		return time.Date(2026, 5, 1, 10, 0, reads, 0, time.UTC)
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(store, set(t, counting()[1:2]...), nil)
	if err != nil {
		t.Fatal(err)
	}
	reads = 0
	var charges []ratelimit.Charge
	for i := range 4 {
		charges = append(charges, ratelimit.Charge{Key: fmt.Sprint("k", i), Cost: 1})
	}
	if r, err := l.TakeAll(t.Context(), charges...); err != nil || !r.Allowed || reads != 1 {
		t.Errorf("allowed %v with %d readings, error %v", r.Allowed, reads, err)
	}
}
