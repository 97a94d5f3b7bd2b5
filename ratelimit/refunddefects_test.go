package ratelimit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Defects of refunds: see defects_test.go.

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

// Thousands of takes at rates that do not divide, given back in any order,
// leave neither a debt nor a gift. Rounding of a nanosecond each left one.
func TestCancelledTakesLoseNothing(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		if l.Count = 10_000; l.Algorithm != ratelimit.Calendar {
			l.Period = 7 * time.Hour / 3
			l.Period -= l.Period % time.Microsecond
		}
		w := newWorld(t, l)
		rnd := rand.New(rand.NewPCG(5, 5))
		var taken []ratelimit.Reservation
		for range 1000 {
			taken = append(taken, w.want(true, 1+rnd.Int64N(10)).Reservation)
		}
		rnd.Shuffle(len(taken), func(i, j int) { taken[i], taken[j] = taken[j], taken[i] })
		for _, r := range taken {
			if err := w.Refund(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		w.want(true, 10_000)
		w.want(false, 1)
	}
}

// A refund stops at the quota: no 1010 of 10.
func TestRefundNeverExceedsTheQuota(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		w := newWorld(t, l)
		r := w.want(true, 10)
		if err := w.Reset(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		w.want(true, 3)
		if err := w.Refund(t.Context(), r.Reservation); err != nil {
			t.Fatal(err)
		}
		free, err := w.Peek(t.Context(), "k", 0)
		if err != nil || free.Remaining > 10 {
			t.Errorf("%v: %d free of 10, error %v", l.Algorithm, free.Remaining, err)
		}
		w.want(false, 11)
	}
}

// A negative cost is no way to refund: nothing bounds it, nothing makes it act
// once.
func TestNegativeCostIsRefused(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		w := newWorld(t, l)
		w.want(true, 10)
		if r, err := w.Take(t.Context(), "k", -1000); err == nil || r.Allowed {
			t.Errorf("%v: allowed %v, error %v", l.Algorithm, r.Allowed, err)
		}
		w.want(false, 1)
	}
}

// What time has given back is not given back again by a refund.
func TestRefundGivesNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "h", Count: 60, Period: time.Hour})
	r := w.want(true, 20)
	w.now = w.now.Add(15 * time.Minute) // 15 of them are back
	w.want(true, 50)
	if err := w.Refund(t.Context(), r.Reservation); err != nil {
		t.Fatal(err)
	}
	w.remain(10)
	late := w.want(true, 10)
	w.now = w.now.Add(2 * time.Hour)
	w.want(true, 60)
	if err := w.Refund(t.Context(), late.Reservation); err != nil {
		t.Fatal(err)
	}
	w.want(false, 1)
}

// What the work came to is charged, where it does not pass as well: refusing it
// would leave the most expensive work unpaid.
func TestWorkBeyondItsEstimateIsCharged(t *testing.T) {
	t.Parallel()
	for _, l := range counting() {
		w := newWorld(t, l)
		r := w.want(true, 4)
		for range 2 { // acts once
			if err := w.Settle(t.Context(), r.Reservation, 25); err != nil {
				t.Fatal(err)
			}
		}
		refused := w.want(false, 1)
		if refused.Remaining != 0 || refused.RetryAfter <= 0 {
			t.Errorf("%v: %d remain, RetryAfter %v", l.Algorithm, refused.Remaining, refused.RetryAfter)
		}
		w.now = w.now.Add(refused.RetryAfter - time.Microsecond)
		w.want(false, 1)
		w.now = w.now.Add(time.Microsecond)
		w.want(true, 1)
	}
}
