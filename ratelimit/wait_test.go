package ratelimit_test

import (
	"context"
	"errors"
	"slices"
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
				n := int64(len(order))
				if got, want := time.Since(start).Microseconds(), (n*1_000_000+6)/7; got != want {
					t.Errorf("served as number %d after %dus, want %d", n, got, want)
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
		<-time.After(10 * time.Second)
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
		"refund": func(l *ratelimit.Limiter, r ratelimit.Result) error {
			return l.Refund(context.Background(), r.Reservation)
		},
		"settle": func(l *ratelimit.Limiter, r ratelimit.Result) error {
			return l.Settle(context.Background(), r.Reservation, 9)
		},
		"reset": func(l *ratelimit.Limiter, _ ratelimit.Result) error { return l.Reset(context.Background(), "k") },
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
