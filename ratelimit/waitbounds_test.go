package ratelimit_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

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
			<-time.After(2 * time.Second)
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

// What is free belongs to who came first: a cost that would pass is refused when
// it cannot wait so long, and told how long that is.
func TestWaitBehindOthersIsRefusedThoughItsCostIsFree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := waiting(t, nil, ratelimit.Limit{Name: "s", Count: 10, Period: 10 * time.Second})
		drain(t, l, "k", 5)
		var wg sync.WaitGroup
		wg.Go(func() {
			if r, err := l.Wait(t.Context(), "k", 10); err != nil || !r.Allowed {
				t.Errorf("allowed %v, error %v", r.Allowed, err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r, err := l.Wait(ctx, "k", 1); err != nil || r.Allowed || r.RetryAfter != 5*time.Second || r.Reservation.ID() != (ratelimit.ID{}) {
			t.Errorf("allowed %v, RetryAfter %v, error %v", r.Allowed, r.RetryAfter, err)
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
				want, after := i < 2, []time.Duration{time.Second, 2 * time.Second}[min(i, 1)]
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
