package ratelimit_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
)

// A front is a blocked store in front of a memory store whose time is moved by
// hand. It counts the calls that get through.
type front struct {
	*ratelimit.BlockedStore
	inner ratelimit.Store
	calls *atomic.Int64
	mu    *sync.Mutex
	now   *time.Time
}

func (f front) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*f.now = f.now.Add(d)
}

// Remembering implements ratelimittest.Remembering.
func (f front) Remembering() bool { return true }

// counted counts the calls of a store.
type counted struct {
	ratelimit.Store
	calls *atomic.Int64
}

func (c counted) Apply(ctx context.Context, req *ratelimit.Request) error {
	c.calls.Add(1)
	return c.Store.Apply(ctx, req)
}

func newFront(tb testing.TB, bound time.Duration, o *ratelimit.BlockedOptions) front {
	tb.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := front{calls: new(atomic.Int64), mu: new(sync.Mutex), now: &now}
	clock := func() time.Time {
		f.mu.Lock()
		defer f.mu.Unlock()
		return now
	}
	memory, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: clock})
	if err != nil {
		tb.Fatal(err)
	}
	f.inner = counted{memory, f.calls}
	var opts ratelimit.BlockedOptions
	if o != nil {
		opts = *o
	}
	opts.Now = clock
	if f.BlockedStore, err = ratelimit.NewBlockedStore(f.inner, bound, &opts); err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestBlockedStoreConformance(t *testing.T) {
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return newFront(t, time.Hour, nil) })
}

// asked checks how many calls of the inner store some work makes.
func (f front) asked(t *testing.T, want int64, work func()) {
	t.Helper()
	before := f.calls.Load()
	work()
	if n := f.calls.Load() - before; n != want {
		t.Errorf("%d calls of the inner store, want %d", n, want)
	}
}

func (f front) take(t *testing.T, key string, limits ratelimit.Limits, cost int64) ratelimit.Result {
	t.Helper()
	l, err := ratelimit.NewLimiter(f, limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Take(t.Context(), key, cost)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Upstash's cache holds a refusal until the window's end, whatever the cost: its
// bucket has tokens again long before.
func TestBlockedEndsAtTheRetryAfterOfEachCost(t *testing.T) {
	f := newFront(t, time.Hour, nil)
	limits := set(t, ratelimit.Limit{Name: "ten", Count: 10, Period: 10 * time.Second})
	f.take(t, "k", limits, 8)
	f.asked(t, 1, func() { f.take(t, "k", limits, 5) })
	f.asked(t, 0, func() {
		for cost, want := range map[int64]time.Duration{3: time.Second, 5: 3 * time.Second, 10: 8 * time.Second, 11: ratelimit.Never} {
			if r := f.take(t, "k", limits, cost); r.Allowed || r.RetryAfter != want || r.Remaining != 2 {
				t.Errorf("cost %d: allowed %t, RetryAfter %v, remaining %d; want a wait of %v on 2", cost, r.Allowed, r.RetryAfter, r.Remaining, want)
			}
		}
	})
	f.Advance(time.Second - time.Microsecond)
	f.asked(t, 0, func() {
		if r := f.take(t, "k", limits, 3); r.Allowed || r.RetryAfter != time.Microsecond {
			t.Errorf("allowed %t, RetryAfter %v, want 1µs", r.Allowed, r.RetryAfter)
		}
	})
	f.Advance(time.Microsecond)
	f.asked(t, 1, func() {
		if r := f.take(t, "k", limits, 3); !r.Allowed {
			t.Errorf("refused at its RetryAfter for %v more", r.RetryAfter)
		}
	})
}

// A refusal of a large cost does not block a small one, as it does in Upstash's
// cache.
func TestBlockedLetsASmallerCostAsk(t *testing.T) {
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog, ratelimit.Concurrency} {
		f := newFront(t, time.Hour, nil)
		limits := set(t, ratelimit.Limit{Name: "ten", Algorithm: a, Count: 10, Period: time.Hour})
		f.take(t, "k", limits, 8)
		for _, cost := range []int64{5, 5, 100} {
			if r := f.take(t, "k", limits, cost); r.Allowed {
				t.Errorf("%v: cost %d passed on 2", a, cost)
			}
		}
		if r := f.take(t, "k", limits, 2); !r.Allowed {
			t.Errorf("%v: a cost of 2 refused on 2", a)
		}
		f.take(t, "k", limits, 1)
		f.asked(t, 0, func() {
			for range 100 {
				if f.take(t, "k", limits, 1).Allowed {
					t.Errorf("%v: a cost of 1 passed on nothing", a)
				}
			}
		})
	}
}

func TestBlockedFeelsWhatIsGivenBackThroughIt(t *testing.T) {
	limits := set(t, ratelimit.Limit{Name: "one", Count: 1, Period: time.Hour})
	for name, giveBack := range map[string]func(*ratelimit.Limiter, ratelimit.Reservation) error{
		"refund": func(l *ratelimit.Limiter, r ratelimit.Reservation) error { return l.Refund(t.Context(), r) },
		"settle": func(l *ratelimit.Limiter, r ratelimit.Reservation) error { return l.Settle(t.Context(), r, 0) },
		"reset":  func(l *ratelimit.Limiter, _ ratelimit.Reservation) error { return l.Reset(t.Context(), "k") },
	} {
		f := newFront(t, time.Hour, nil)
		l, err := ratelimit.NewLimiter(f, limits, nil)
		if err != nil {
			t.Fatal(err)
		}
		taken := f.take(t, "k", limits, 1)
		f.take(t, "k", limits, 1)
		f.asked(t, 0, func() { f.take(t, "k", limits, 1) })
		if err := giveBack(l, taken.Reservation); err != nil {
			t.Fatal(err)
		}
		if !f.take(t, "k", limits, 1).Allowed {
			t.Errorf("refused after a %s", name)
		}
	}
}

// What another process gives back is felt after the bound, to the microsecond.
func TestBlockedOutlivesAnotherProcessByTheBound(t *testing.T) {
	f := newFront(t, time.Second, nil)
	limits := set(t, ratelimit.Limit{Name: "one", Count: 1, Period: time.Hour})
	other, err := ratelimit.NewLimiter(f.inner, limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.take(t, "k", limits, 1)
	f.take(t, "k", limits, 1)
	if err := other.Reset(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	f.Advance(time.Second - time.Microsecond)
	if f.take(t, "k", limits, 1).Allowed {
		t.Error("nothing was remembered")
	}
	f.Advance(time.Microsecond)
	if !f.take(t, "k", limits, 1).Allowed {
		t.Error("refused after the bound")
	}
}

// A limit that was raised asks at once, and so does one of the same name that
// differs in anything.
func TestBlockedKnowsTheVersionOfALimit(t *testing.T) {
	f := newFront(t, time.Hour, nil)
	plan := ratelimit.Limit{Name: "plan", Count: 1, Period: time.Hour}
	f.take(t, "k", set(t, plan), 1)
	f.take(t, "k", set(t, plan), 1)
	f.asked(t, 0, func() { f.take(t, "k", set(t, plan), 1) }) // the same limit, compiled again
	plan.Count = 5
	if !f.take(t, "k", set(t, plan), 1).Allowed {
		t.Error("refused under the plan that was raised")
	}
}

// delayed lets something happen after a request was decided and before its
// answer arrives.
type delayed struct {
	ratelimit.Store
	after *func()
}

func (d delayed) Apply(ctx context.Context, req *ratelimit.Request) error {
	err := d.Store.Apply(ctx, req)
	if f := *d.after; f != nil {
		*d.after = nil
		f()
	}
	return err
}

// A store that panics may have given back what it was asked to.
func TestBlockedForgetsWhatARefundThatPanickedGaveBack(t *testing.T) {
	memory, err := ratelimit.NewMemoryStore(nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := delayed{memory, new(func())}
	blocked, err := ratelimit.NewBlockedStore(slow, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(blocked, set(t, ratelimit.Limit{Name: "one", Count: 1, Period: time.Hour}), nil)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := l.Take(t.Context(), "k", 1)
	if err != nil || !taken.Allowed {
		t.Fatalf("allowed %t, error %v", taken.Allowed, err)
	}
	if r, err := l.Take(t.Context(), "k", 1); r.Allowed || err != nil {
		t.Fatalf("allowed %t, error %v", r.Allowed, err)
	}
	*slow.after = func() { panic("the driver") }
	func() {
		defer func() { _ = recover() }()
		t.Errorf("the refund ends with %v, want a panic", l.Refund(t.Context(), taken.Reservation))
	}()
	if r, err := l.Take(t.Context(), "k", 1); !r.Allowed || err != nil {
		t.Errorf("refused after the refund, error %v", err)
	}
}

// A refusal that was overtaken by a refund is not remembered.
func TestBlockedForgetsARefusalThatARefundOvertook(t *testing.T) {
	memory, err := ratelimit.NewMemoryStore(nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := delayed{memory, new(func())}
	blocked, err := ratelimit.NewBlockedStore(slow, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(blocked, set(t, ratelimit.Limit{Name: "one", Count: 1, Period: time.Hour}), nil)
	if err != nil {
		t.Fatal(err)
	}
	taken, _ := l.Take(t.Context(), "k", 1)
	*slow.after = func() {
		if err := l.Refund(t.Context(), taken.Reservation); err != nil {
			t.Error(err)
		}
	}
	if r, err := l.Take(t.Context(), "k", 1); r.Allowed || err != nil {
		t.Fatalf("allowed %t, error %v", r.Allowed, err)
	}
	if r, err := l.Take(t.Context(), "k", 1); !r.Allowed || err != nil {
		t.Errorf("refused after the refund, error %v", err)
	}
}

// A store whose clock went back stands still; its refusals then look like a
// debt that is not there, and must not block what it admits.
func TestBlockedReadsNoDebtFromAClockThatWentBack(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	memory, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	blocked, err := ratelimit.NewBlockedStore(memory, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(blocked, set(t, ratelimit.Limit{Name: "ten", Count: 10, Period: time.Hour}), nil)
	if err != nil {
		t.Fatal(err)
	}
	take := func(cost int64, want bool) {
		t.Helper()
		if r, err := l.Take(t.Context(), "k", cost); r.Allowed != want || err != nil {
			t.Errorf("cost %d: allowed %t, error %v", cost, r.Allowed, err)
		}
	}
	take(3, true)
	now = now.Add(-time.Hour)
	take(8, false)
	take(7, true)
}

// A slow answer blocks no longer than a quick one: the wait counts from before
// the call was sent.
func TestBlockedCountsTheWayOfTheAnswer(t *testing.T) {
	f := newFront(t, time.Hour, nil)
	slow := delayed{f.inner, new(func())}
	blocked, err := ratelimit.NewBlockedStore(slow, time.Hour, &ratelimit.BlockedOptions{Now: func() time.Time {
		f.mu.Lock()
		defer f.mu.Unlock()
		return *f.now
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.BlockedStore = blocked
	limits := set(t, ratelimit.Limit{Name: "one", Count: 1, Period: time.Minute})
	f.take(t, "k", limits, 1)
	*slow.after = func() { f.Advance(10 * time.Second) }
	if r := f.take(t, "k", limits, 1); r.RetryAfter != time.Minute {
		t.Fatalf("RetryAfter %v, want 1m", r.RetryAfter)
	}
	if r := f.take(t, "k", limits, 1); r.RetryAfter != 50*time.Second {
		t.Errorf("RetryAfter %v from memory, want 50s", r.RetryAfter)
	}
	f.Advance(50 * time.Second)
	if !f.take(t, "k", limits, 1).Allowed {
		t.Error("refused when the wait was over")
	}
}

// Of several limits the one that is used up blocks, and the others say what they
// last said. A limit in Shadow blocks nobody.
func TestBlockedBySomeOfSeveralLimits(t *testing.T) {
	f := newFront(t, time.Hour, nil)
	limits := set(t,
		ratelimit.Limit{Name: "minute", Count: 2, Period: time.Minute, Algorithm: ratelimit.FixedWindow},
		ratelimit.Limit{Name: "day", Count: 100, Period: 24 * time.Hour, Algorithm: ratelimit.SlidingWindow},
		ratelimit.Limit{Name: "trial", Count: 1, Period: 24 * time.Hour, Shadow: true})
	f.take(t, "k", limits, 1)
	f.take(t, "k", limits, 1)
	first := f.take(t, "k", limits, 1)
	f.asked(t, 0, func() {
		again := f.take(t, "k", limits, 1)
		if again.Limit != "minute" || again.RetryAfter != first.RetryAfter || again.Len() != 3 {
			t.Errorf("refused by %q for %v with %d states, want minute for %v with 3", again.Limit, again.RetryAfter, again.Len(), first.RetryAfter)
		}
		for s := range again.States() {
			if s.Limit.Name == "day" && s.Remaining != 98 {
				t.Errorf("the day has %d left, want 98", s.Remaining)
			}
		}
	})
	f.asked(t, 1, func() { f.take(t, "stranger", limits, 1) })
	shadow := set(t, ratelimit.Limit{Name: "trial", Count: 1, Period: 24 * time.Hour, Shadow: true})
	for range 3 {
		if !f.take(t, "k2", shadow, 1).Allowed {
			t.Error("a shadow limit denied")
		}
	}
}

// degraded answers as a policy for a failing store does.
type degraded struct{ calls int }

func (d *degraded) Apply(_ context.Context, req *ratelimit.Request) error {
	d.calls++
	req.Allowed, req.Degraded = false, true
	req.Ops[0].Outcome = ratelimit.Outcome{RetryAfter: 1e9, ResetAfter: 1e9}
	return nil
}

func TestBlockedRemembersNothingDegraded(t *testing.T) {
	inner := new(degraded)
	blocked, err := ratelimit.NewBlockedStore(inner, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(blocked, set(t, ratelimit.Limit{Name: "one", Count: 1, Period: time.Hour}), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if r, err := l.Take(t.Context(), "k", 1); r.Allowed || !r.Degraded || err != nil {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if inner.calls != 3 {
		t.Errorf("%d calls, want 3", inner.calls)
	}
}

func TestBlockedHitsDoNotAllocate(t *testing.T) {
	f := newFront(t, time.Hour, nil)
	limits := set(t, ratelimit.Limit{Name: "one", Count: 1, Period: time.Hour})
	f.take(t, "k", limits, 1)
	f.take(t, "k", limits, 1)
	l, err := ratelimit.NewLimiter(f, limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	n := testing.AllocsPerRun(100, func() {
		if r, err := l.Take(ctx, "k", 1); r.Allowed || err != nil {
			t.Error(r.Allowed, err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNewBlockedStoreNamesEveryFault(t *testing.T) {
	_, err := ratelimit.NewBlockedStore(nil, 0, &ratelimit.BlockedOptions{MaxEntries: 1})
	for _, want := range []string{"store is nil", "bound is 0s", "MaxEntries is 1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}
