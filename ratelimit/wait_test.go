package ratelimit_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// asked counts what a limiter asks of its store.
type asked struct {
	ratelimit.Store
	takes, peeks atomic.Int64
}

func (s *asked) Apply(ctx context.Context, req *ratelimit.Request) error {
	switch req.Mode {
	case ratelimit.ModeTake:
		s.takes.Add(1)
	case ratelimit.ModePeek:
		s.peeks.Add(1)
	}
	return s.Store.Apply(ctx, req)
}

// waiting returns a limiter on the bubble's clock, and what counts its
// questions.
func waiting(t *testing.T, o *ratelimit.Options, limits ...ratelimit.Limit) (*ratelimit.Limiter, *asked) {
	t.Helper()
	store, err := ratelimit.NewMemoryStore(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &asked{Store: store}
	l, err := ratelimit.NewLimiter(s, set(t, limits...), o)
	if err != nil {
		t.Fatal(err)
	}
	return l, s
}

func drain(t *testing.T, l *ratelimit.Limiter, key string, cost int64) ratelimit.Result {
	t.Helper()
	r, err := l.Take(t.Context(), key, cost)
	if err != nil || !r.Allowed {
		t.Fatalf("the first take: allowed %v, error %v", r.Allowed, err)
	}
	return r
}

// A thousand wait at 7 a second. Each is served in its turn, at the very
// microsecond at which its unit is there, and nobody asks before.
func TestWaitServesInOrderAtTheEarliestInstant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := waiting(t, nil, ratelimit.Limit{Name: "s", Count: 7, Period: time.Second, Burst: 2}) // a Burst of 1 holds no fraction beside its unit
		drain(t, l, "k", 2)
		start := time.Now()
		const waiters = 1000
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range waiters {
			wg.Go(func() {
				r, err := l.Wait(t.Context(), "k", 1)
				if err != nil || !r.Allowed {
					t.Errorf("waiter %d: allowed %v, error %v", i, r.Allowed, err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				n := time.Duration(len(order))
				want := (n*1_000_000 + 6) / 7 * time.Microsecond
				if got := time.Since(start); got != want {
					t.Errorf("served as number %d after %v, want %v", n, got, want)
				}
			})
			synctest.Wait() // it stands in line
		}
		wg.Wait()
		if len(order) != waiters || !slices.IsSorted(order) {
			t.Errorf("served in the order %v", order)
		}
		if n := s.takes.Load(); n != 1+2*waiters { // refused once, then served
			t.Errorf("the store was asked %d times, want %d", n, 1+2*waiters)
		}
		if n := s.peeks.Load(); n != 0 {
			t.Errorf("%d peeks", n)
		}
	})
}

// A cost that would pass waits behind a greater one that came before it.
func TestWaitLetsNoSmallCostOvertake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := waiting(t, nil, ratelimit.Limit{Name: "s", Count: 10, Period: 10 * time.Second})
		drain(t, l, "k", 5)
		start := time.Now()
		var wg sync.WaitGroup
		var large, small, other time.Duration
		wait := func(key string, cost int64, took *time.Duration) {
			wg.Go(func() {
				if r, err := l.Wait(t.Context(), key, cost); err != nil || !r.Allowed {
					t.Errorf("cost %d: allowed %v, error %v", cost, r.Allowed, err)
				}
				*took = time.Since(start)
			})
			synctest.Wait()
		}
		wait("k", 10, &large)
		wait("k", 1, &small)
		wait("other", 10, &other)
		wg.Wait()
		if large != 5*time.Second || small != 6*time.Second || other != 0 {
			t.Errorf("served after %v, %v and %v; want 5s, 6s and 0s", large, small, other)
		}
	})
}

func TestWaitIsRefusedAtOnceWhenInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hour := ratelimit.Limit{Name: "h", Algorithm: ratelimit.FixedWindow, Count: 10, Period: time.Hour}
		l, s := waiting(t, &ratelimit.Options{MaxWait: 30 * time.Minute}, hour)
		deny := set(t, ratelimit.Limit{Name: "none", Algorithm: ratelimit.DenyAll})
		drain(t, l, "k", 10)
		start := time.Now()
		left := start.Truncate(time.Hour).Add(time.Hour).Sub(start)
		soon, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for name, try := range map[string]struct {
			ctx    context.Context
			charge ratelimit.Charge
			want   time.Duration
		}{
			"more than the quota":   {t.Context(), ratelimit.Charge{Key: "new", Cost: 11}, ratelimit.Never},
			"denied for ever":       {t.Context(), ratelimit.Charge{Key: "new", Cost: 1, Limits: deny}, ratelimit.Never},
			"longer than MaxWait":   {t.Context(), ratelimit.Charge{Key: "k", Cost: 1}, left},
			"beyond ctx's deadline": {soon, ratelimit.Charge{Key: "k", Cost: 1}, left},
		} {
			r, err := l.WaitAll(try.ctx, try.charge)
			if err != nil || r.Allowed || r.RetryAfter != try.want {
				t.Errorf("%s: allowed %v, RetryAfter %v, want %v; error %v", name, r.Allowed, r.RetryAfter, try.want, err)
			}
			if err := l.Refund(t.Context(), r.Reservation); err != nil {
				t.Error(err)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("refused after %v", waited)
		}
		if r, err := l.Peek(t.Context(), "new", 0); err != nil || r.Remaining != 10 {
			t.Errorf("%d remain, error %v", r.Remaining, err)
		}
		if n := s.takes.Load(); n != 3 { // those of k alone
			t.Errorf("%d takes", n)
		}
	})
}

// A deadline that falls on the very instant at which the cost passes is too
// early; a MaxWait that does is enough.
func TestWaitOnTheEdgeOfItsBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := waiting(t, &ratelimit.Options{MaxWait: time.Second}, ratelimit.Limit{Name: "s", Count: 1, Period: time.Second})
		for _, tt := range []struct {
			deadline time.Duration
			allowed  bool
		}{{time.Second, false}, {time.Second + 1, true}, {time.Hour, true}} {
			drain(t, l, "k", 1)
			ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
			defer cancel()
			start := time.Now()
			r, err := l.Wait(ctx, "k", 1)
			if waited := time.Since(start); err != nil || r.Allowed != tt.allowed || tt.allowed != (waited == time.Second) {
				t.Errorf("deadline in %v: allowed %v after %v, error %v", tt.deadline, r.Allowed, waited, err)
			}
			time.Sleep(2 * time.Second)
		}
	})
}

// Who gives up in the middle of the queue leaves it at once, without spending,
// and nobody's turn comes later for it.
func TestWaitThatIsCancelledLeavesTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := waiting(t, nil, ratelimit.Limit{Name: "s", Count: 1, Period: time.Second})
		drain(t, l, "k", 1)
		start := time.Now()
		gone := errors.New("the client went away")
		var wg sync.WaitGroup
		took := make([]time.Duration, 6)
		for i := range took {
			ctx, cancel := context.WithCancelCause(t.Context())
			wg.Go(func() {
				r, err := l.Wait(ctx, "k", 1)
				took[i] = time.Since(start)
				switch {
				case i == 0 || i == 3: // the first and one in the middle
					if !errors.Is(err, context.Canceled) || !errors.Is(err, gone) || r.Allowed || r.Reservation.ID() != (ratelimit.ID{}) {
						t.Errorf("waiter %d: allowed %v, error %v", i, r.Allowed, err)
					}
				case err != nil || !r.Allowed:
					t.Errorf("waiter %d: allowed %v, error %v", i, r.Allowed, err)
				}
			})
			synctest.Wait()
			if i == 0 || i == 3 {
				time.AfterFunc(500*time.Millisecond-time.Since(start), func() { cancel(gone) })
			} else {
				defer cancel(nil)
			}
		}
		wg.Wait()
		half := 500 * time.Millisecond
		if want := []time.Duration{half, 2 * half, 4 * half, half, 6 * half, 8 * half}; !slices.Equal(took, want) {
			t.Errorf("answered after %v, want %v", took, want)
		}
	})
}

func TestWaitEndsWithItsDeadlineWhileInTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := waiting(t, nil, ratelimit.Limit{Name: "s", Count: 1, Period: time.Second})
		drain(t, l, "k", 1)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if r, err := l.Wait(t.Context(), "k", 1); err != nil || !r.Allowed {
					t.Errorf("allowed %v, error %v", r.Allowed, err)
				}
			})
		}
		synctest.Wait()
		// The first asks in a second: not known to be too late.
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		start := time.Now()
		if r, err := l.Wait(ctx, "k", 1); !errors.Is(err, context.DeadlineExceeded) || r.Allowed || time.Since(start) != 2500*time.Millisecond {
			t.Errorf("allowed %v after %v, error %v", r.Allowed, time.Since(start), err)
		}
		// This one is, because the first asks after its deadline.
		ctx, cancel = context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		start = time.Now()
		if r, err := l.Wait(ctx, "k", 1); err != nil || r.Allowed || r.RetryAfter != 500*time.Millisecond || time.Since(start) != 0 {
			t.Errorf("allowed %v, RetryAfter %v, after %v, error %v", r.Allowed, r.RetryAfter, time.Since(start), err)
		}
		wg.Wait()
	})
}

func TestWaitIsRefusedAfterMaxWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := waiting(t, &ratelimit.Options{MaxWait: 2500 * time.Millisecond}, ratelimit.Limit{Name: "s", Count: 1, Period: time.Second})
		drain(t, l, "k", 1)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				r, err := l.Wait(t.Context(), "k", 1)
				// The third becomes first after 2 s and hears that it is too long; the
				// fourth and the fifth then do so, too.
				want, after := i < 2, min(time.Duration(i+1), 2)*time.Second
				if err != nil || r.Allowed != want || time.Since(start) != after {
					t.Errorf("waiter %d: allowed %v after %v, want %v after %v; error %v", i, r.Allowed, time.Since(start), want, after, err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if n := s.takes.Load(); n != 1+2+2+3 {
			t.Errorf("%d takes", n)
		}
	})
}

// Where a lease ends early, its RetryAfter is no bound: it may be waited for
// until MaxWait, in the first place and behind others.
func TestWaitForALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		jobs := ratelimit.Limit{Name: "jobs", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Hour}
		l, s := waiting(t, &ratelimit.Options{MaxWait: time.Minute}, jobs)
		held := drain(t, l, "k", 1)
		start := time.Now()
		var wg sync.WaitGroup
		for i, want := range []struct {
			allowed bool
			after   time.Duration
		}{{true, 10 * time.Second}, {false, time.Minute}, {false, time.Minute}} {
			wg.Go(func() {
				r, err := l.Wait(t.Context(), "k", 1)
				if err != nil || r.Allowed != want.allowed || time.Since(start) != want.after {
					t.Errorf("waiter %d: allowed %v after %v, error %v", i, r.Allowed, time.Since(start), err)
				}
				if !r.Allowed && r.RetryAfter <= 0 {
					t.Errorf("waiter %d: RetryAfter is %v", i, r.RetryAfter)
				}
			})
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		if err := l.Release(t.Context(), "k", held.Reservation.ID()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if n := s.takes.Load(); n > 8 {
			t.Errorf("%d takes for four calls and a release", n)
		}
	})
}

func TestWaitHearsWhatThisLimiterGivesBack(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]func(*ratelimit.Limiter, ratelimit.Result) error{
		"refund": func(l *ratelimit.Limiter, r ratelimit.Result) error { return l.Refund(context.Background(), r.Reservation) },
		"settle": func(l *ratelimit.Limiter, r ratelimit.Result) error { return l.Settle(context.Background(), r.Reservation, 9) },
		"reset":  func(l *ratelimit.Limiter, _ ratelimit.Result) error { return l.Reset(context.Background(), "k") },
	} {
		synctest.Test(t, func(t *testing.T) {
			l, _ := waiting(t, nil, ratelimit.Limit{Name: "h", Count: 10, Period: 10 * time.Hour})
			held := drain(t, l, "k", 10)
			start := time.Now()
			time.AfterFunc(time.Minute, func() {
				if err := free(l, held); err != nil {
					t.Error(err)
				}
			})
			if r, err := l.Wait(t.Context(), "k", 1); err != nil || !r.Allowed || time.Since(start) != time.Minute {
				t.Errorf("%s: allowed %v after %v, error %v", name, r.Allowed, time.Since(start), err)
			}
		})
	}
}

func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := waiting(t, &ratelimit.Options{MaxWaiters: 3}, ratelimit.Limit{Name: "s", Count: 1, Period: time.Second})
		drain(t, l, "k", 1)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if r, err := l.Wait(t.Context(), "k", 1); err != nil || !r.Allowed {
					t.Errorf("allowed %v, error %v", r.Allowed, err)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		if r, err := l.Wait(t.Context(), "k", 1); err != nil || r.Allowed || r.RetryAfter != time.Second {
			t.Errorf("the fourth: allowed %v, RetryAfter %v, error %v", r.Allowed, r.RetryAfter, err)
		}
		// A full line of others keeps nobody from what is free.
		for _, allowed := range []bool{true, false} {
			if r, err := l.Wait(t.Context(), "other", 1); err != nil || r.Allowed != allowed {
				t.Errorf("another key: allowed %v, want %v; error %v", r.Allowed, allowed, err)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("refused after %v", waited)
		}
		wg.Wait()
		if r, err := l.Wait(t.Context(), "k", 1); err != nil || !r.Allowed { // there is room again
			t.Errorf("allowed %v, error %v", r.Allowed, err)
		}
	})
}

// Waiters for several keys in any order all come through, and none overtakes
// one that came before it for a common key.
func TestWaitAllForSeveralKeysInAnyOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := waiting(t, nil, ratelimit.Limit{Name: "s", Count: 10, Period: time.Second, Burst: 1})
		keys := []string{"a", "b", "c"}
		var mu sync.Mutex
		served := map[string][]int{}
		var wg sync.WaitGroup
		for i := range 120 {
			wg.Go(func() {
				var charges []ratelimit.Charge
				for j := range 1 + i%3 {
					charges = append(charges, ratelimit.Charge{Key: keys[(i*7+j*(1+i%2))%3], Cost: 1})
				}
				r, err := l.WaitAll(t.Context(), charges...)
				if err != nil || !r.Allowed {
					t.Errorf("waiter %d: allowed %v, error %v", i, r.Allowed, err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, c := range charges {
					served[c.Key] = append(served[c.Key], i)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		for _, k := range keys {
			if len(served[k]) == 0 || !slices.IsSorted(served[k]) {
				t.Errorf("%s was served in the order %v", k, served[k])
			}
		}
	})
}

// A call whose store answers after the caller has gone still tells what was
// taken.
func TestWaitTellsWhatItTookThoughTheCallerWent(t *testing.T) {
	t.Parallel()
	memory, err := ratelimit.NewMemoryStore(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l, err := ratelimit.NewLimiter(during{memory, cancel}, set(t, ratelimit.Limit{Name: "h", Count: 10, Period: time.Hour}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := l.Wait(ctx, "k", 4); err != nil || !r.Allowed || r.Remaining != 6 {
		t.Errorf("allowed %v, %d remain, error %v", r.Allowed, r.Remaining, err)
	}
	if r, err := l.Wait(ctx, "k", 4); !errors.Is(err, context.Canceled) || r.Allowed {
		t.Errorf("allowed %v, error %v", r.Allowed, err)
	}
	if r, err := l.Peek(t.Context(), "k", 0); err != nil || r.Remaining != 6 {
		t.Errorf("%d remain, error %v", r.Remaining, err)
	}
}

// during is a store whose caller goes away while it decides, and that gives up
// with its context, as a connection does.
type during struct {
	ratelimit.Store
	leave func()
}

func (s during) Apply(ctx context.Context, req *ratelimit.Request) error {
	if err := s.Store.Apply(ctx, req); err != nil {
		return err
	}
	s.leave()
	return ctx.Err()
}

func TestWaitOfNothingToWaitFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := waiting(t, nil, ratelimit.Limit{Name: "s", Count: 1, Period: time.Second})
		drain(t, l, "k", 1)
		var wg sync.WaitGroup
		wg.Go(func() { l.Wait(t.Context(), "k", 1) }) //nolint:errcheck // somebody to stand behind
		synctest.Wait()
		start := time.Now()
		free := set(t, ratelimit.Limit{Name: "all", Algorithm: ratelimit.Unlimited})
		shadow := set(t, ratelimit.Limit{Name: "shadow", Count: 1, Period: time.Hour, Shadow: true})
		for i, c := range []ratelimit.Charge{{Key: "k"}, {Key: "k", Cost: 1, Limits: free}, {Key: "k", Cost: 5, Limits: shadow}} {
			if r, err := l.WaitAll(t.Context(), c); err != nil || !r.Allowed {
				t.Errorf("charge %d: allowed %v, error %v", i, r.Allowed, err)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		for i, charges := range [][]ratelimit.Charge{nil, {{Cost: 1}}, {{Key: "k", Cost: -1}}} {
			if _, err := l.WaitAll(t.Context(), charges...); err == nil {
				t.Errorf("charges %d are accepted", i)
			}
		}
		wg.Wait()
		if n := s.takes.Load(); n != 5 {
			t.Errorf("%d takes", n)
		}
	})
}

func TestWaitOptionsNameTheirFaults(t *testing.T) {
	t.Parallel()
	store, err := ratelimit.NewMemoryStore(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ratelimit.NewLimiter(store, ratelimit.Limits{}, &ratelimit.Options{MaxWait: -1, MaxWaiters: -1})
	for _, want := range []string{"MaxWait is -1ns", "MaxWaiters is -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

