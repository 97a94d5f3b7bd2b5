package ratelimit_test

import (
	"math"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// Charged in the window after its own, a cost is not given back in its own:
// that is of others.
func TestARefundInTheNextWindowTakesNothingOfOthers(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Local, 1, ratelimit.Limit{Name: "s", Algorithm: ratelimit.SlidingWindow, Count: 12, Period: time.Hour})
	if r, err := f.plain.Take(t.Context(), "k", 6); err != nil || !r.Allowed {
		t.Fatalf("allowed is %v, error %v", r.Allowed, err)
	}
	f.store.fail(refused)
	r := f.wants(true, true, 0, 6)
	f.hand.pass(time.Hour)
	f.store.fail(up)
	f.wants(true, false, 0, 0)
	f.free(0) // 6 charged now, and 6 of the window before
	f.check(f.nodes[0].Refund(t.Context(), r.Reservation))
	f.free(0)
}

func TestRefundsOfTheStoresTakesDuringAnOutage(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 1, func(t *testing.T, f *fleet) {
		r := f.wants(true, false, 0, 12)
		f.store.fail(refused)
		f.wants(false, true, 0, 1)
		for range 3 {
			f.check(f.nodes[0].Refund(t.Context(), r.Reservation))
		}
		f.wants(true, true, 0, 5)
		f.free(0)
		f.heal()
		f.wants(true, false, 0, 1)
		f.free(6)
		f.check(f.nodes[0].Refund(t.Context(), r.Reservation))
		f.free(6)
	})
}

func TestSettlementsOfTheStoresTakesDuringAnOutage(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 1, func(t *testing.T, f *fleet) {
		less, more := f.wants(true, false, 0, 6), f.wants(true, false, 0, 3)
		f.store.fail(lost) // the store settles, and nobody knows
		f.check(f.nodes[0].Settle(t.Context(), less.Reservation, 2))
		f.store.fail(refused)
		f.check(f.nodes[0].Settle(t.Context(), more.Reservation, 7))
		f.wants(false, true, 0, 4)
		f.wants(true, true, 0, 3)
		f.heal()
		f.wants(false, false, 0, 1)
		f.free(0)
	})
}

// Work that came to more than any number holds is owed as the most that can be,
// whatever is owed beside.
func TestTheLargestSettlementDuringAnOutageIsOwed(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 1, func(t *testing.T, f *fleet) {
		f.store.fail(refused)
		f.wants(true, true, 0, 2)
		r := f.wants(true, true, 0, 1)
		f.check(f.nodes[0].Settle(t.Context(), r.Reservation, math.MaxInt64))
		f.wants(false, true, 0, 1)
		f.heal()
		f.wants(false, false, 0, 1)
		f.free(0)
	})
}

// What the policy let pass can be refunded at any time: while it is owed, and
// after it was charged.
func TestRefundsOfLocalTakes(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 1, func(t *testing.T, f *fleet) {
		refund := func(r ratelimit.Result) {
			t.Helper()
			for range 3 {
				f.check(f.nodes[0].Refund(t.Context(), r.Reservation))
			}
		}
		f.store.fail(refused)
		a, b, c := f.wants(true, true, 0, 3), f.wants(true, true, 0, 4), f.wants(true, true, 0, 5)
		refund(a)
		f.wants(true, true, 0, 1)
		f.store.fail(up)
		f.hand.pass(time.Second)
		refund(b) // healthy again, not charged yet
		f.wants(true, false, 0, 1)
		f.free(12 - 5 - 1 - 1)
		refund(c) // charged
		refund(a)
		left := int64(12 - 1 - 1)
		if t.Name() == "TestRefundsOfLocalTakes/bucket" {
			left-- // the second that passed is not certain to have paid for the other takes
		}
		f.free(left)
		f.wants(true, false, 0, left)
		f.wants(false, false, 0, 1)
	})
}

func TestSettlementsOfLocalTakes(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 1, func(t *testing.T, f *fleet) {
		f.store.fail(refused)
		a, b, c, d := f.wants(true, true, 0, 1), f.wants(true, true, 0, 3), f.wants(true, true, 0, 2), f.wants(true, true, 0, 2)
		f.check(f.nodes[0].Settle(t.Context(), a.Reservation, 2))
		f.check(f.nodes[0].Settle(t.Context(), b.Reservation, 1))
		f.wants(false, true, 0, 6)
		f.heal()
		f.wants(true, false, 0, 1)
		f.free(12 - 2 - 1 - 4 - 1)
		f.check(f.nodes[0].Settle(t.Context(), c.Reservation, 1))
		f.check(f.nodes[0].Settle(t.Context(), d.Reservation, 4))
		f.check(f.nodes[0].Settle(t.Context(), d.Reservation, 0))
		f.wants(true, false, 0, 0)
		f.free(12 - 2 - 1 - 1 - 4 - 1)
	})
}

// Refunding late gives back nothing that time gave back.
func TestALateRefundOfALocalTakeMintsNothing(t *testing.T) {
	t.Parallel()
	for _, l := range everyLimit()[:4] {
		f := newFleet(t, ratelimit.Local, 1, l)
		f.store.fail(refused)
		r := f.wants(true, true, 0, 6)
		f.heal()
		f.wants(true, false, 0, 1)
		f.hand.pass(2 * time.Hour)
		f.wants(true, false, 0, 10)
		f.check(f.nodes[0].Refund(t.Context(), r.Reservation))
		f.free(2)
	}
}

func (f *fleet) lease(degraded bool) ratelimit.ID {
	f.t.Helper()
	r := f.wants(true, degraded, 0, 1)
	return r.Reservation.ID()
}

func TestLeasesLiveThroughAnOutage(t *testing.T) {
	t.Parallel()
	l := ratelimit.Limit{Name: "l", Algorithm: ratelimit.Concurrency, Count: 4, Period: time.Minute}
	f := newFleet(t, ratelimit.Local, 1, l)
	n, ctx := f.nodes[0], t.Context()
	old, end := f.lease(false), f.lease(false)
	f.store.fail(refused)
	local, gone := f.lease(true), f.lease(true)
	f.wants(false, true, 0, 1)
	f.check(n.Release(ctx, "k", end))
	f.check(n.Release(ctx, "k", gone))
	for range 4 { // longer than the store keeps a lease that is not renewed
		f.hand.pass(30 * time.Second)
		f.check(n.Renew(ctx, "k", old))
		f.check(n.Renew(ctx, "k", local))
	}
	if err := n.Renew(ctx, "k", gone); !errors.Is(err, ratelimit.ErrLapsed) {
		t.Errorf("renewing a lease that was released: %v", err)
	}
	f.free(4)
	f.heal()
	f.wants(true, false, 0, 0)
	f.free(2) // the store has both again
	for range 4 {
		f.hand.pass(30 * time.Second)
		f.check(n.Renew(ctx, "k", old))
		f.check(n.Renew(ctx, "k", local))
	}
	f.free(2)
	f.check(n.Release(ctx, "k", old))
	f.free(3)
	f.check(n.Release(ctx, "k", local))
	f.check(n.Release(ctx, "k", local))
	f.free(4)
	if err := n.Renew(ctx, "k", local); !errors.Is(err, ratelimit.ErrLapsed) {
		t.Errorf("renewing a lease that was released: %v", err)
	}
	// A second outage finds the leases of the first.
	f.store.fail(refused)
	again := f.lease(true)
	f.heal()
	f.wants(true, false, 0, 0)
	f.store.fail(refused)
	f.check(n.Renew(ctx, "k", again))
	f.check(n.Release(ctx, "k", again))
	f.heal()
	f.wants(true, false, 0, 0)
	f.free(4)
}

// An ID of the policy of one node is nothing to another, and is never asked of
// the store, to which it may mean something.
func TestIDsOfOtherNodesAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Local, 2, ratelimit.Limit{Name: "l", Algorithm: ratelimit.Concurrency, Count: 4, Period: time.Minute})
	f.store.fail(refused)
	r := f.wants(true, true, 0, 1)
	f.heal()
	f.wants(true, false, 0, 0)
	calls := f.store.calls.Load()
	if err := f.nodes[1].Refund(t.Context(), r.Reservation); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("refund: %v", err)
	}
	if err := f.nodes[1].Release(t.Context(), "k", r.Reservation.ID()); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("release: %v", err)
	}
	if err := f.nodes[1].Renew(t.Context(), "k", r.Reservation.ID()); !errors.Is(err, ratelimit.ErrLapsed) {
		t.Errorf("renewal: %v", err)
	}
	if n := f.store.calls.Load(); n != calls {
		t.Errorf("the store was asked %d times", n-calls)
	}
	f.free(3)
}
