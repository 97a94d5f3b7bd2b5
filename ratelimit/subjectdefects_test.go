package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Defects of several limits, subjects and plans: see defects_test.go.

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

// Where limits are asked one after the other, those before the refusing one
// have been charged.
func TestOneLimitsRefusalBurnsNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t,
		ratelimit.Limit{Name: "minute", Count: 10, Period: time.Minute},
		ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 10, Period: time.Hour})
	month := set(t, ratelimit.Limit{Name: "month", Algorithm: ratelimit.Calendar, Count: 2, Every: ratelimit.Month})
	for range 50 {
		r, err := w.TakeAll(t.Context(), ratelimit.Charge{Key: "k", Cost: 3}, ratelimit.Charge{Key: "owner", Limits: month, Cost: 3})
		if err != nil || r.Allowed {
			t.Fatalf("allowed %v, error %v", r.Allowed, err)
		}
		var refused []string
		for s := range r.Refused() {
			refused = append(refused, s.Key+" "+s.Limit.Name)
		}
		if !slices.Equal(refused, []string{"owner month"}) {
			t.Fatalf("refused by %q", refused)
		}
	}
	w.want(true, 10)
}

// Adding first and taking back later has others refused who fit.
func TestDecisionsAtOnceRefuseNobodyFalsely(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "h", Algorithm: ratelimit.FixedWindow, Count: 4000, Period: time.Hour})
	if _, err := w.Take(t.Context(), "full", 4000); err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 500 {
				charges := []ratelimit.Charge{{Key: "shared", Cost: 1}, {Key: "full", Cost: 1}}
				if r, err := w.TakeAll(t.Context(), charges[:1+i%2]...); err != nil || r.Allowed != (i%2 == 0) {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := refused.Load(); n != 0 {
		t.Errorf("%d decisions were not as if made one after the other", n)
	}
}

// Check, then increment, lets everybody pass who checks before the first
// increments.
func TestCallersAtOnceGetExactlyTheLimit(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		w := newWorld(t, l)
		var won atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 20 {
					if r, err := w.Take(t.Context(), "k", 1); err == nil && r.Allowed {
						won.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if n := won.Load(); n != 10 {
			t.Errorf("%v: %d of 10 passed", l.Algorithm, n)
		}
	}
}

// Keys that are joined with a separator, or hashed to a few bits, share a
// bucket.
func TestKeysAreNeverJoinedOrCollide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"a", "a_b", "b", "a.b"} {
		l := set(t, ratelimit.Limit{Name: name, Count: 1, Period: time.Hour})
		for _, key := range []string{"a", "b_a", "_", "a:b", "b:", ":", "a_b_a", "\x00", "\x00a", "a\x00"} {
			if r, err := w.TakeAll(t.Context(), ratelimit.Charge{Key: key, Limits: l, Cost: 1}); err != nil || !r.Allowed {
				t.Errorf("%q under %q shares state: allowed %v, error %v", key, name, r.Allowed, err)
			}
		}
	}
	l := set(t, ratelimit.Limit{Name: "many", Count: 1, Period: time.Hour})
	for i := range 100_000 {
		if r, err := w.TakeAll(t.Context(), ratelimit.Charge{Key: fmt.Sprint(i), Limits: l, Cost: 1}); err != nil || !r.Allowed {
			t.Fatalf("key %d shares state: allowed %v, error %v", i, r.Allowed, err)
		}
	}
}

// Without a subject nobody is limited, or everybody together.
func TestEmptyKeyIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, counting()[1])
	if r, err := w.Take(t.Context(), "", 1); err == nil || r.Allowed {
		t.Errorf("allowed %v, error %v", r.Allowed, err)
	}
}

// Where refused requests were counted, or the limit was kept with the state, a
// better plan helps only in the next window.
func TestPlanUpgradeHelpsAtOnce(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		w := newWorld(t)
		free := set(t, l)
		l.Count = 100
		paid := set(t, l)
		take := func(plan ratelimit.Limits, cost int64) ratelimit.Result {
			t.Helper()
			r, err := w.TakeAll(t.Context(), ratelimit.Charge{Key: "k", Limits: plan, Cost: cost})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		take(free, 10)
		for range 20 {
			if take(free, 1).Allowed {
				t.Fatalf("%v: the free plan has no end", l.Algorithm)
			}
		}
		if r := take(paid, 90); !r.Allowed {
			t.Errorf("%v: %d remain after the upgrade, want 90", l.Algorithm, r.Remaining)
		}
		if r := take(paid, 1); r.Allowed {
			t.Errorf("%v: the upgrade forgot what was used", l.Algorithm)
		}
		if r := take(free, 1); r.Allowed || r.Remaining != 0 {
			t.Errorf("%v: the downgrade gave %d", l.Algorithm, r.Remaining)
		}
	}
}

// A limiter that cannot say which limit refused cannot be explained.
func TestEveryRefusingLimitIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t,
		ratelimit.Limit{Name: "second", Count: 1, Period: time.Second},
		ratelimit.Limit{Name: "hour", Count: 9, Period: time.Hour},
		ratelimit.Limit{Name: "minute", Count: 1, Period: time.Minute})
	w.want(true, 1)
	var names []string
	r := w.want(false, 1)
	for s := range r.Refused() {
		names = append(names, s.Limit.Name)
	}
	if !slices.Equal(names, []string{"second", "minute"}) {
		t.Errorf("refused by %q", names)
	}
}
