package ratelimit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// A limit that changes is another limit: what was held of the former goes back.
func TestWhatIsHeldIsOfOneLimitAlone(t *testing.T) {
	s, inner, _ := lease(t, 100, ratelimit.LeasingOptions{})
	small, large := perHour, perHour
	small.Count, large.Count = 2000, 5000
	was, is := set(t, small), set(t, large)
	takeN(t, limiterOf(t, s, was), "k", 150)
	held := 2000 - 150 - free(t, inner.Store, "k", was)
	if held <= 0 {
		t.Fatal("nothing is held")
	}
	inner.asked.Store(0)
	if n := takeN(t, limiterOf(t, s, is), "k", 1); n != 1 || inner.asked.Load() != 2 {
		t.Errorf("%d passed with %d trips; want one that returns and one that leases", n, inner.asked.Load())
	}
	if n := free(t, inner.Store, "k", is); n != 5000-151 {
		t.Errorf("%d are free, want %d", n, 5000-151)
	}
	// The same limit made anew is the same.
	takeN(t, limiterOf(t, s, is), "k", 40)
	inner.asked.Store(0)
	if takeN(t, limiterOf(t, s, set(t, large)), "k", 1); inner.asked.Load() != 0 {
		t.Error("the same limit, made twice, is taken for another")
	}
}

// A request that one subject refuses takes nothing of the others.
func TestOfSeveralSubjectsAllAreTakenOrNone(t *testing.T) {
	s, inner, _ := lease(t, 20, ratelimit.LeasingOptions{})
	wide, narrow := perHour, perHour
	narrow.Name, narrow.Count = "narrow", 320
	both := []ratelimit.Charge{{Key: "key", Limits: set(t, wide), Cost: 1}, {Key: "owner", Limits: set(t, narrow), Cost: 2}}
	l := limiterOf(t, s, ratelimit.Limits{})
	passed := 0
	for range 200 {
		r, err := l.TakeAll(t.Context(), both...)
		if err != nil {
			t.Fatal(err)
		}
		if r.Allowed {
			passed++
		} else if r.Key != "owner" || r.RetryAfter <= 0 || r.Reservation.ID() != (ratelimit.ID{}) {
			t.Fatalf("the refusal speaks for %q, retry %v", r.Key, r.RetryAfter)
		}
	}
	if passed != 160 {
		t.Errorf("%d passed, want 160", passed)
	}
	if n := inner.asked.Load(); n > 130 { // a refusal needs 2
		t.Errorf("%d trips", n)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := free(t, inner.Store, "key", set(t, wide)); n != 10_000-160 {
		t.Errorf("%d are free of the subject that did not refuse, want %d", n, 10_000-160)
	}
}

func TestAShadowLimitThatIsLeasedDeniesNobody(t *testing.T) {
	s, _, clock := lease(t, 20, ratelimit.LeasingOptions{})
	shadow := ratelimit.Limit{Name: "shadow", Algorithm: ratelimit.FixedWindow, Count: 100, Period: time.Hour, Shadow: true}
	l := limiterOf(t, s, set(t, perHour, shadow))
	told := 0
	for range 300 {
		r, err := l.Take(t.Context(), "k", 1)
		if err != nil || !r.Allowed {
			t.Fatalf("allowed %v, error %v", r.Allowed, err)
		}
		for st := range r.Shadowed() {
			told++
			if st.Limit.Name != "shadow" || st.RetryAfter <= 0 {
				t.Fatalf("told of %q, retry %v", st.Limit.Name, st.RetryAfter)
			}
		}
	}
	if told < 200 || told > 220 {
		t.Errorf("%d of 300 refusals told, want 200 to 220", told)
	}
	clock.Advance(time.Hour)
	if r, err := l.Take(t.Context(), "k", 1); err != nil || !r.Allowed {
		t.Errorf("allowed %v, error %v", r.Allowed, err)
	} else {
		for range r.Shadowed() {
			t.Error("refused in the next window")
		}
	}
}

func TestAResetForgetsWhatIsHeld(t *testing.T) {
	s, inner, _ := lease(t, 100, ratelimit.LeasingOptions{})
	limits := set(t, perHour)
	l := limiterOf(t, s, limits)
	takeN(t, l, "k", 150)
	if err := l.Reset(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if n := free(t, s, "k", limits); n != 10_000 {
		t.Errorf("%d are free after a reset", n)
	}
	takeN(t, l, "k", 1)
	if n := free(t, inner.Store, "k", limits); n != 9999 {
		t.Errorf("%d are free in the store", n)
	}
}

// What was spent from what is held is given back and charged once, whoever asks.
func TestATakeFromMemoryIsSettledOnce(t *testing.T) {
	s, inner, _ := lease(t, 100, ratelimit.LeasingOptions{})
	limits := set(t, perHour)
	l := limiterOf(t, s, limits)
	takeN(t, l, "k", 130)
	r, err := l.Take(t.Context(), "k", 10)
	if err != nil || !r.Allowed {
		t.Fatal(r.Allowed, err)
	}
	other := r
	steps := []struct {
		settle func() error
		free   int64
	}{
		{func() error { return l.Settle(t.Context(), r.Reservation, 4) }, 10_000 - 134},
		{func() error { return l.Settle(t.Context(), r.Reservation, 1) }, 10_000 - 134},
		{func() error { return l.Refund(t.Context(), other.Reservation) }, 10_000 - 134},
	}
	for i, step := range steps {
		if err := step.settle(); err != nil {
			t.Fatal(err)
		}
		if n := free(t, s, "k", limits); n != step.free {
			t.Errorf("step %d: %d are free, want %d", i, n, step.free)
		}
	}
	if r, err = l.Take(t.Context(), "k", 1); err != nil || !r.Allowed {
		t.Fatal(r.Allowed, err)
	}
	inner.asked.Store(0)
	if err := l.Settle(t.Context(), r.Reservation, 501); err != nil { // more than is held: charged to the store
		t.Fatal(err)
	}
	if n := inner.asked.Load(); n != 1 {
		t.Errorf("%d trips", n)
	}
	if n := free(t, s, "k", limits); n != 10_000-134-501 {
		t.Errorf("%d are free, want %d", n, 10_000-134-501)
	}
}

// A settlement that the store did not carry out is not settled, also where the
// store panics.
func TestASettlementThatFailsMayBeRepeated(t *testing.T) {
	s, inner, _ := lease(t, 100, ratelimit.LeasingOptions{})
	limits := set(t, perHour)
	l := limiterOf(t, s, limits)
	r, err := l.Take(t.Context(), "k", 1)
	if err != nil || !r.Allowed {
		t.Fatal(r.Allowed, err)
	}
	down := errors.New("no answer")
	settle := func() (failed any) {
		defer func() {
			if p := recover(); p != nil {
				failed = p
			}
		}()
		if err := l.Settle(t.Context(), r.Reservation, 501); err != nil {
			return err
		}
		return nil
	}
	inner.before = func(context.Context, *ratelimit.Request) error { return down }
	if failed, ok := settle().(error); !ok || !errors.Is(failed, down) {
		t.Errorf("the settlement ends with %v, want %v", failed, down)
	}
	inner.before = func(context.Context, *ratelimit.Request) error { panic("the driver") }
	if failed := settle(); failed != "the driver" {
		t.Errorf("the settlement ends with %v, want a panic", failed)
	}
	inner.before = nil
	for range 2 {
		if failed := settle(); failed != nil {
			t.Errorf("the settlement ends with %v", failed)
		}
		if n := free(t, s, "k", limits); n != 10_000-501 {
			t.Errorf("%d are free, want %d", n, 10_000-501)
		}
	}
}

func TestLeasingStoreReportsEveryFault(t *testing.T) {
	_, err := ratelimit.NewLeasingStore(nil, 1, &ratelimit.LeasingOptions{Share: 1, MaxLeases: 1})
	for _, text := range []string{"store is nil", "units is 1", "Share is 1", "MaxLeases is 1"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v; want it to say %q", err, text)
		}
	}
}

// Of a bucket only what time has not given back comes back, though units of the
// node's next lease are held by then.
func TestARefundFromMemoryGivesBackNothingThatTimeGaveBack(t *testing.T) {
	s, inner, clock := lease(t, 100, ratelimit.LeasingOptions{})
	limits := set(t, ratelimit.Limit{Name: "bucket", Count: 1600, Period: time.Minute})
	l := limiterOf(t, s, limits)
	takeN(t, l, "k", 64)
	r, err := l.Take(t.Context(), "k", 30) // the debt is 94, paid back in 3.5 s
	if err != nil || !r.Allowed {
		t.Fatal(r.Allowed, err)
	}
	late, err := l.Take(t.Context(), "k", 30) // the debt is 124, paid back in 4.65 s
	if err != nil || !late.Allowed {
		t.Fatal(late.Allowed, err)
	}
	clock.Advance(4 * time.Second)
	takeN(t, l, "k", 100)
	held := func() int64 { return free(t, s, "k", limits) - free(t, inner.Store, "k", limits) }
	before := held()
	if err := l.Refund(t.Context(), r.Reservation); err != nil {
		t.Fatal(err)
	}
	if n := held() - before; n != 0 {
		t.Errorf("%d came back of a cost that time had given back", n)
	}
	if err := l.Refund(t.Context(), late.Reservation); err != nil {
		t.Fatal(err)
	}
	if n := held() - before; n < 15 || n > 17 { // 0.65 s of it
		t.Errorf("%d came back of 30 of which time had given back some 13", n)
	}
	if r, err = l.Take(t.Context(), "k", 30); err != nil || !r.Allowed {
		t.Fatal(r.Allowed, err)
	}
	before = held()
	if err := l.Refund(t.Context(), r.Reservation); err != nil {
		t.Fatal(err)
	}
	if n := held() - before; n != 30 {
		t.Errorf("%d came back at once, want 30", n)
	}
}

func TestANodeHoldsItsShareAtMost(t *testing.T) {
	s, inner, _ := lease(t, 100, ratelimit.LeasingOptions{Share: 8})
	limits := set(t, ratelimit.Limit{Name: "small", Algorithm: ratelimit.FixedWindow, Count: 160, Period: time.Hour})
	l := limiterOf(t, s, limits)
	for i := range 160 {
		takeN(t, l, "k", 1)
		if held := free(t, s, "k", limits) - free(t, inner.Store, "k", limits); held > 20 {
			t.Fatalf("%d of 160 are held after %d takes", held, i+1)
		}
	}
}
