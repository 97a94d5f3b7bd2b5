package ratelimit_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Defects of leases, windows and tables: see defects_test.go.

// A holder that died keeps its slot until its lease ends, and no longer; one
// that lives keeps it by renewing.
func TestLeaseOfADeadHolderEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "jobs", Algorithm: ratelimit.Concurrency, Count: 2, Period: time.Minute})
	alive, dead := w.want(true, 1).Reservation, w.want(true, 1).Reservation
	for range 3 {
		w.now = w.now.Add(30 * time.Second)
		if err := w.Renew(t.Context(), "k", alive.ID()); err != nil {
			t.Fatal(err)
		}
	}
	w.want(true, 1)
	w.want(false, 1)
	if err := w.Renew(t.Context(), "k", dead.ID()); !errors.Is(err, ratelimit.ErrLapsed) {
		t.Errorf("a lease that has ended is renewed: error %v", err)
	}
	if err := w.Release(t.Context(), "k", dead.ID()); err != nil { // late, and not of somebody else's slot
		t.Error(err)
	}
	w.want(false, 1)
}

// A counter of slots is decremented by whoever says so, twice if need be.
func TestReleaseEndsItsOwnLeaseOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "jobs", Algorithm: ratelimit.Concurrency, Count: 3, Period: time.Minute})
	r := w.want(true, 1).Reservation
	w.want(true, 2)
	for range 5 {
		if err := w.Release(t.Context(), "k", r.ID()); err != nil {
			t.Fatal(err)
		}
		if err := w.Release(t.Context(), "k", ratelimit.ID{1}); err != nil {
			t.Fatal(err)
		}
	}
	w.remain(1)
}

// A life for the whole set of leases, set anew or wiped by each of them, ends
// those of others early or never.
func TestLeasesEndEachForItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "jobs", Algorithm: ratelimit.Concurrency, Count: 3, Period: time.Minute})
	for i := range 3 {
		w.want(true, 1)
		w.remain(int64(2 - i))
		w.now = w.now.Add(10 * time.Second)
	}
	w.want(false, 1)
	w.now = w.now.Add(30*time.Second - time.Microsecond)
	w.want(false, 1)
	for i := range 3 {
		w.now = w.now.Add(time.Microsecond)
		w.remain(int64(i + 1))
		w.now = w.now.Add(10*time.Second - time.Microsecond)
	}
}

// A life that every request renews makes a window without end; one that starts
// with the first request makes the next start with the old count.
func TestBusyWindowStillEnds(t *testing.T) {
	t.Parallel()
	for _, a := range []ratelimit.Algorithm{ratelimit.FixedWindow, ratelimit.SlidingLog} {
		w := newWorld(t, ratelimit.Limit{Name: "m", Algorithm: a, Count: 10, Period: time.Minute})
		w.want(true, 10)
		for range 59 {
			w.now = w.now.Add(time.Second)
			w.want(false, 1)
		}
		w.now = w.now.Add(time.Second)
		w.remain(10)
		w.want(true, 10)
		w.want(false, 1)
	}
}

// A life in whole seconds, rounded down, forgets up to a second early.
func TestStateIsKeptToItsLastMicrosecond(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		if l.Algorithm != ratelimit.Calendar {
			l.Period = 1950 * time.Millisecond
		}
		w := newWorld(t, l)
		r := w.want(true, 10)
		w.now = w.now.Add(r.ResetAfter - time.Microsecond)
		for i := range 3000 { // whatever tidies up does so now
			if _, err := w.Take(t.Context(), fmt.Sprint("other", i), 1); err != nil {
				t.Fatal(err)
			}
		}
		w.want(false, 10)
		w.now = w.now.Add(time.Microsecond)
		w.want(true, 10)
	}
}

// A peek that makes a key lets anybody fill the table by asking.
func TestPeekCreatesNoKey(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: minBytes})
		if err != nil {
			t.Fatal(err)
		}
		lim, err := ratelimit.NewLimiter(store, set(t, l), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50_000 {
			key := fmt.Sprint(i)
			if r, err := lim.Peek(t.Context(), key, 1); err != nil || !r.Allowed {
				t.Fatalf("%v: allowed %v, error %v", l.Algorithm, r.Allowed, err)
			}
			if r, err := lim.Take(t.Context(), key, 11); err != nil || r.Allowed { // nor does a refusal
				t.Fatalf("%v: allowed %v, error %v", l.Algorithm, r.Allowed, err)
			}
		}
		if r, err := lim.Take(t.Context(), "k", 1); err != nil || !r.Allowed {
			t.Errorf("%v: the store is full of peeks: allowed %v, error %v", l.Algorithm, r.Allowed, err)
		}
	}
}

// Unlimited and denied are said, not spelled as 0, -1 or infinity.
func TestUnlimitedAndDeniedAreExplicit(t *testing.T) {
	t.Parallel()
	if _, err := ratelimit.NewLimits(ratelimit.Limit{Name: "zero", Period: time.Hour}); err == nil {
		t.Error("a count of 0 is accepted")
	}
	all := newWorld(t, ratelimit.Limit{Name: "all", Algorithm: ratelimit.Unlimited})
	all.want(true, 1<<62)
	all.want(true, 1<<62)
	none := newWorld(t, ratelimit.Limit{Name: "none", Algorithm: ratelimit.DenyAll})
	none.want(true, 0)
	if r := none.want(false, 1); r.RetryAfter != ratelimit.Never || r.Remaining != 0 {
		t.Errorf("RetryAfter is %v, %d remain", r.RetryAfter, r.Remaining)
	}
	// Beside a limit that counts, a denial takes nothing of it.
	both := newWorld(t, ratelimit.Limit{Name: "none", Algorithm: ratelimit.DenyAll}, ratelimit.Limit{Name: "h", Count: 10, Period: time.Hour})
	both.want(false, 1)
	if r, err := both.TakeUpTo(t.Context(), "k", 50); err != nil || r.Allowed || r.Taken != 0 || r.RetryAfter != ratelimit.Never {
		t.Errorf("allowed %v, took %d, RetryAfter %v, error %v", r.Allowed, r.Taken, r.RetryAfter, err)
	} else {
		for s := range r.States() {
			if s.Cost != 1 || s.Limit.Name == "h" && (s.Remaining != 10 || !s.Allowed) {
				t.Errorf("%+v", s)
			}
		}
	}
}
