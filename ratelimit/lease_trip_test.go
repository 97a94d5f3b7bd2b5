package ratelimit_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// A lender counts what it is asked, and may do something first.
type lender struct {
	ratelimit.Store
	asked  atomic.Int64
	before func(context.Context, *ratelimit.Request) error
	after  func(*ratelimit.Request)
}

func (c *lender) Apply(ctx context.Context, req *ratelimit.Request) error {
	c.asked.Add(1)
	if c.before != nil {
		if err := c.before(ctx, req); err != nil {
			return err
		}
	}
	err := c.Store.Apply(ctx, req)
	if c.after != nil {
		c.after(req)
	}
	return err
}

// lease returns a leasing store over a lender memory store, all by one clock.
func lease(t *testing.T, units int64, o ratelimit.LeasingOptions) (*ratelimit.LeasingStore, *lender, *sharedClock) {
	t.Helper()
	clock := newClock()
	memory, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	inner := &lender{Store: memory}
	o.Now = clock.Now
	return leasing(t, inner, units, &o), inner, clock
}

func limiterOf(t *testing.T, s ratelimit.Store, l ratelimit.Limits) *ratelimit.Limiter {
	t.Helper()
	limiter, err := ratelimit.NewLimiter(s, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return limiter
}

// takeN takes n times one unit and returns how many passed.
func takeN(t *testing.T, l *ratelimit.Limiter, key string, n int) (passed int) {
	t.Helper()
	for range n {
		r, err := l.Take(t.Context(), key, 1)
		if err != nil {
			t.Fatal(err)
		}
		if r.Allowed {
			passed++
		}
	}
	return passed
}

func free(t *testing.T, s ratelimit.Store, key string, l ratelimit.Limits) int64 {
	t.Helper()
	r, err := limiterOf(t, s, l).Peek(t.Context(), key, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r.Remaining
}

var perHour = ratelimit.Limit{Name: "hour", Algorithm: ratelimit.FixedWindow, Count: 10_000, Period: time.Hour}

func TestABusySubjectCostsFewTrips(t *testing.T) {
	s, inner, _ := lease(t, 100, ratelimit.LeasingOptions{})
	if n := takeN(t, limiterOf(t, s, set(t, perHour)), "k", 5000); n != 5000 {
		t.Errorf("%d passed", n)
	}
	if n := inner.asked.Load(); n > 60 { // 1, 2, 4 ... 64, then 100 each
		t.Errorf("5000 takes made %d trips", n)
	}
}

func TestASubjectThatIsNotBusyHoldsNothing(t *testing.T) {
	s, inner, clock := lease(t, 100, ratelimit.LeasingOptions{})
	limits := set(t, ratelimit.Limit{Name: "bucket", Count: 6000, Period: time.Minute})
	l := limiterOf(t, s, limits)
	for range 50 {
		takeN(t, l, "k", 1)
		if n := free(t, inner.Store, "k", limits); n != 5999 {
			t.Fatalf("%d free in the store after one take", n)
		}
		clock.Advance(time.Minute)
	}
}

// What a subject did not use in time goes back at its next trip, and it is lent
// less.
func TestWhatDiedUnusedIsReturnedAndLessIsLent(t *testing.T) {
	for _, limit := range []ratelimit.Limit{
		{Name: "bucket", Count: 1600, Period: time.Minute},
		{Name: "sliding", Algorithm: ratelimit.SlidingWindow, Count: 1600, Period: time.Minute},
	} {
		s, inner, clock := lease(t, 100, ratelimit.LeasingOptions{})
		limits := set(t, limit)
		l := limiterOf(t, s, limits)
		takeN(t, l, "k", 130) // 1, 2, 4 ... 64 and 3 of 100
		clock.Advance(limit.Period / 16)
		if limit.Algorithm == ratelimit.SlidingWindow {
			clock.Advance(limit.Period)
		}
		before := free(t, inner.Store, "k", limits)
		takeN(t, l, "k", 1)
		if got := free(t, inner.Store, "k", limits) - before; got < 80 {
			t.Errorf("%s: %d more are free after the trip", limit.Name, got)
		}
		if held := free(t, s, "k", limits) - free(t, inner.Store, "k", limits); held > 3 {
			t.Errorf("%s: %d are held of a subject that used 3 in a life", limit.Name, held)
		}
	}
}

// Nodes that share a limit of which they use a part must not be refused, though
// each holds units that the others then do not have.
func TestAFleetBelowItsLimitIsNotRefused(t *testing.T) {
	clock := newClock()
	memory, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	limits := set(t, ratelimit.Limit{Name: "bucket", Count: 1000, Period: time.Second})
	var nodes []*ratelimit.Limiter
	for range 10 {
		nodes = append(nodes, limiterOf(t, leasing(t, memory, 100, &ratelimit.LeasingOptions{Now: clock.Now}), limits))
	}
	refused := 0
	for i := range 20_000 { // at 80 percent of the rate
		refused += 1 - takeN(t, nodes[i*7%10], "k", 1)
		clock.Advance(1250 * time.Microsecond)
	}
	if refused > 0 {
		t.Errorf("%d of 20000 takes at 80 percent of the limit were refused", refused)
	}
}

func TestCallersAtOnceShareATrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, err := ratelimit.NewMemoryStore(nil)
		if err != nil {
			t.Fatal(err)
		}
		inner := &lender{Store: memory}
		s := leasing(t, inner, 64, nil)
		l := limiterOf(t, s, set(t, perHour))
		takeN(t, l, "k", 127) // the next lease is of 64
		inner.asked.Store(0)
		gate := make(chan struct{})
		inner.before = func(context.Context, *ratelimit.Request) error { <-gate; return nil }
		var passed atomic.Int64
		for range 64 {
			go func() {
				if r, err := l.Take(t.Context(), "k", 1); err == nil && r.Allowed {
					passed.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := inner.asked.Load(); n != 1 {
			t.Errorf("%d trips under way for one subject", n)
		}
		// Another subject is not held up, nor one whose time is over.
		impatient, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { _, err := l.Take(impatient, "k", 1); failed <- err }()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("a waiter whose context ended got %v", err)
		}
		close(gate)
		synctest.Wait()
		if n, trips := passed.Load(), inner.asked.Load(); n != 64 || trips != 1 {
			t.Errorf("%d of 64 passed, with %d trips", n, trips)
		}
	})
}

// A caller whose own time is up must not fail those who wait for its trip.
func TestATripThatItsCallerGaveUpIsMadeByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, err := ratelimit.NewMemoryStore(nil)
		if err != nil {
			t.Fatal(err)
		}
		inner := &lender{Store: memory}
		l := limiterOf(t, leasing(t, inner, 64, nil), set(t, perHour))
		inner.before = func(ctx context.Context, _ *ratelimit.Request) error {
			if inner.asked.Load() > 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		hasty, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := l.Take(hasty, "k", 1); first <- err }()
		synctest.Wait()
		go func() { _, err := l.Take(t.Context(), "k", 1); second <- err }()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the hasty caller got %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("the patient caller got %v", err)
		}
	})
}

func TestWhatIsHeldIsReturned(t *testing.T) {
	limits := set(t, perHour, ratelimit.Limit{Name: "bucket", Count: 1600, Period: time.Hour})
	for name, c := range map[string]struct {
		do   func(*ratelimit.LeasingStore, *ratelimit.Limiter) error
		used int64
	}{
		"by Close": {func(s *ratelimit.LeasingStore, _ *ratelimit.Limiter) error { return s.Close(t.Context()) }, 500},
		"for a cost that needs it": {func(_ *ratelimit.LeasingStore, l *ratelimit.Limiter) error {
			r, err := l.Take(t.Context(), "k", 1000) // of 1500, less what is held
			if err == nil && !r.Allowed {
				err = errors.New("refused")
			}
			return err
		}, 1500},
		"for a take of as much as there is": {func(_ *ratelimit.LeasingStore, l *ratelimit.Limiter) error {
			r, err := l.TakeUpTo(t.Context(), "k", 5000)
			if err == nil && r.Taken != 1000 {
				err = errors.New("took " + time.Duration(r.Taken).String())
			}
			return err
		}, 1500},
	} {
		t.Run(name, func(t *testing.T) {
			s, inner, _ := lease(t, 50, ratelimit.LeasingOptions{})
			l := limiterOf(t, s, limits)
			takeN(t, l, "k", 500)
			if n := free(t, inner.Store, "k", limits); n >= 1600-500 {
				t.Fatalf("nothing is held: %d are free in the store", n)
			}
			if err := c.do(s, l); err != nil {
				t.Fatal(err)
			}
			if n := free(t, inner.Store, "k", limits); n != 1600-c.used {
				t.Errorf("%d are free in the store, want %d", n, 1600-c.used)
			}
		})
	}
}

func TestAfterCloseTheInnerStoreDecides(t *testing.T) {
	s, inner, _ := lease(t, 50, ratelimit.LeasingOptions{})
	limits := set(t, perHour)
	l := limiterOf(t, s, limits)
	takeN(t, l, "k", 40)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	inner.asked.Store(0)
	if n := takeN(t, l, "k", 10); n != 10 || inner.asked.Load() != 10 {
		t.Errorf("%d of 10 passed with %d trips", n, inner.asked.Load())
	}
	if n := free(t, inner.Store, "k", limits); n != 10_000-50 {
		t.Errorf("%d are free", n)
	}
}

func TestSubjectsBeyondTheRoomGiveWay(t *testing.T) {
	s, inner, _ := lease(t, 50, ratelimit.LeasingOptions{MaxLeases: 256}) // one in each shard
	limits := set(t, perHour)
	l := limiterOf(t, s, limits)
	keys := make([]string, 2000)
	for i := range keys {
		keys[i] = "key " + time.Duration(i).String()
		takeN(t, l, keys[i], 20)
	}
	holding := 0
	for _, k := range keys {
		if free(t, inner.Store, k, limits) != 10_000-20 {
			holding++
		}
	}
	if holding == 0 || holding > 256 {
		t.Errorf("units are held of %d subjects, want up to 256", holding)
	}
}

func TestAStoreThatFailsIsHeardAndLosesNoMoreThanALease(t *testing.T) {
	s, inner, _ := lease(t, 50, ratelimit.LeasingOptions{})
	limits := set(t, perHour)
	l := limiterOf(t, s, limits)
	takeN(t, l, "k", 64) // 1, 2, 4 ... 32 and 1 of 50
	down := errors.New("no answer")
	inner.before = func(context.Context, *ratelimit.Request) error { return down }
	if n := takeN(t, l, "k", 49); n != 49 {
		t.Errorf("%d of 49 units that are held passed without the store", n)
	}
	if _, err := l.Take(t.Context(), "k", 1); !errors.Is(err, down) {
		t.Errorf("error is %v, want the store's", err)
	}
	inner.before = nil
	if n := takeN(t, l, "k", 1); n != 1 {
		t.Error("refused when the store was back")
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := free(t, inner.Store, "k", limits); n != 10_000-114 {
		t.Errorf("%d are free, want %d", n, 10_000-114)
	}
}

// What a policy let pass while the store was away is not held.
func TestADegradedAnswerIsNotHeld(t *testing.T) {
	s, inner, _ := lease(t, 50, ratelimit.LeasingOptions{})
	l := limiterOf(t, s, set(t, perHour))
	inner.after = func(req *ratelimit.Request) { req.Degraded = true }
	for range 100 {
		r, err := l.Take(t.Context(), "k", 1)
		if err != nil || !r.Allowed || !r.Degraded {
			t.Fatalf("allowed %v, degraded %v, error %v", r.Allowed, r.Degraded, err)
		}
	}
	inner.after = nil
	inner.asked.Store(0)
	if r, err := l.Take(t.Context(), "k", 1); err != nil || r.Degraded || inner.asked.Load() == 0 {
		t.Errorf("degraded %v, error %v, %d trips", r.Degraded, err, inner.asked.Load())
	}
}

func TestTheHitPathDoesNotAllocate(t *testing.T) {
	s, _, _ := lease(t, 1000, ratelimit.LeasingOptions{})
	limits := set(t, perHour, ratelimit.Limit{Name: "bucket", Count: 1 << 40, Period: time.Hour},
		ratelimit.Limit{Name: "wide", Count: 1 << 40, Period: time.Hour})
	// The store's own part: what a limiter keeps in a pool the race detector drops.
	req := ratelimit.Request{Mode: ratelimit.ModeTake}
	for i, key := range []string{"k", "k", "owner"} {
		req.Ops = append(req.Ops, ratelimit.Op{Rule: limits.Rule(i), Key: key, Cost: 1})
	}
	take := func() {
		if err := s.Apply(t.Context(), &req); err != nil || !req.Allowed {
			t.Error(req.Allowed, err)
		}
	}
	for range 1100 {
		take()
	}
	if n := testing.AllocsPerRun(100, take); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
