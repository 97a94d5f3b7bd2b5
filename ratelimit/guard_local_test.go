package ratelimit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// every algorithm that has a state, ten an hour where that is a choice.
func everyLimit() []ratelimit.Limit {
	return []ratelimit.Limit{
		{Name: "bucket", Count: 12, Period: time.Hour},
		{Name: "fixed", Algorithm: ratelimit.FixedWindow, Count: 12, Period: time.Hour},
		{Name: "sliding", Algorithm: ratelimit.SlidingWindow, Count: 12, Period: time.Hour},
		{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 12, Period: time.Hour},
		{Name: "calendar", Algorithm: ratelimit.Calendar, Count: 12, Every: ratelimit.Day},
		{Name: "leases", Algorithm: ratelimit.Concurrency, Count: 12, Period: time.Hour},
	}
}

func forEveryLimit(t *testing.T, nodes int, run func(t *testing.T, f *fleet)) {
	for _, l := range everyLimit() {
		t.Run(l.Name, func(t *testing.T) {
			t.Parallel()
			run(t, newFleet(t, ratelimit.Local, nodes, l))
		})
	}
}

func TestLocalDecidesByTheShare(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 3, func(t *testing.T, f *fleet) {
		f.store.fail(refused)
		for node := range 3 {
			f.wants(true, true, node, 3)
			if r := f.wants(true, true, node, 1); r.Remaining != 0 {
				t.Errorf("%d remain of the share of 4", r.Remaining)
			}
			if r := f.wants(false, true, node, 1); r.RetryAfter <= 0 {
				t.Errorf("RetryAfter is %v", r.RetryAfter)
			}
			if r := f.wants(false, true, node, 5); r.RetryAfter <= 0 { // the store may let it pass
				t.Errorf("more than the share: RetryAfter is %v", r.RetryAfter)
			}
			if r := f.wants(false, true, node, 13); r.RetryAfter != ratelimit.Never {
				t.Errorf("more than the limit: RetryAfter is %v, want Never", r.RetryAfter)
			}
		}
		r, err := f.nodes[0].TakeUpTo(t.Context(), "other", 9)
		if err != nil || r.Taken != 4 || !r.Degraded {
			t.Errorf("took %d up to 9, degraded is %v, error %v", r.Taken, r.Degraded, err)
		}
	})
}

func TestAShareIsAtLeastOne(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Local, 5, ratelimit.Limit{Name: "b", Count: 2, Period: time.Hour, Burst: 3})
	f.store.fail(refused)
	for node := range 5 {
		f.wants(true, true, node, 1)
		f.wants(false, true, node, 1)
	}
}

// The bucket of a share must not take longer than a century to fill either.
func TestASharesBucketStaysWithinBounds(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Local, 3, ratelimit.Limit{Name: "b", Count: 5, Period: ratelimit.MaxPeriod / 1000, Burst: 5000})
	f.store.fail(refused)
	f.wants(true, true, 0, 1)
	f.wants(false, true, 0, 1)
}

// A fresh local limiter hands out its quota once more in each outage.
func TestAnOutageHandsOutNoFreshQuota(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 3, func(t *testing.T, f *fleet) {
		f.wants(true, false, 0, 3)
		f.wants(true, false, 1, 5) // more than its share
		f.store.fail(refused)
		f.wants(true, true, 0, 1)
		f.wants(false, true, 0, 1)
		f.wants(false, true, 1, 1)
		f.wants(true, true, 2, 4)
		f.wants(false, true, 2, 1)
	})
}

func TestRecoveryGrantsNoSecondAllowance(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 1, func(t *testing.T, f *fleet) {
		f.wants(true, false, 0, 2)
		f.store.fail(refused)
		f.wants(true, true, 0, 7)
		f.free(10)
		f.heal()
		f.wants(false, false, 0, 4)
		f.free(3)
		f.wants(true, false, 0, 3)
		f.wants(false, false, 0, 1)
		f.free(0)
		f.store.fail(refused) // what was charged is not charged again
		f.wants(false, true, 0, 1)
		f.heal()
		f.wants(false, false, 0, 1)
		f.hand.pass(24 * time.Hour)
		f.wants(true, false, 0, 12)
	})
}

// Also for a node of several, and in the first decision, of whatever kind.
func TestTheFirstDecisionAfterAnOutageIsOfTheWholeTruth(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 3, func(t *testing.T, f *fleet) {
		f.wants(true, false, 0, 1)
		f.wants(true, false, 1, 1)
		f.store.fail(refused)
		f.wants(true, true, 0, 3)
		f.wants(true, true, 2, 4)
		f.heal()
		r, err := f.nodes[0].Peek(t.Context(), "k", 1)
		if err != nil || r.Degraded || r.Remaining != 7 {
			t.Errorf("%d remain, want 12-2-3; degraded is %v, error %v", r.Remaining, r.Degraded, err)
		}
		f.wants(true, false, 2, 1)
		f.free(2)
	})
}

// A bucket refills during the outage, once: not in the store and again in what
// is owed.
func TestTimePaysADebtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Local, 1, ratelimit.Limit{Name: "b", Count: 60, Period: time.Minute})
	f.wants(true, false, 0, 30)
	f.store.fail(refused)
	f.wants(true, true, 0, 30)
	f.hand.pass(20 * time.Second)
	f.wants(true, true, 0, 20)
	f.store.fail(up)
	f.hand.pass(10 * time.Second)
	f.wants(true, false, 0, 0)
	f.free(10)
}

func TestAFailedChargeIsNotLost(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 1, func(t *testing.T, f *fleet) {
		f.store.fail(refused)
		f.wants(true, true, 0, 5)
		for range 3 {
			f.hand.pass(time.Second)
			f.wants(true, true, 0, 1) // the charge is tried, and fails
		}
		f.free(12)
		f.heal()
		f.wants(false, false, 0, 5)
		f.free(4)
	})
}

// The store may have taken what it did not answer for: that is never free.
func TestAnUnknownOutcomeIsNotFree(t *testing.T) {
	t.Parallel()
	for _, how := range []outage{lost, hungToo} {
		synctest.Test(t, func(t *testing.T) {
			for _, l := range everyLimit() {
				f := newFleet(t, ratelimit.Local, 1, l)
				f.store.fail(how)
				f.wants(true, true, 0, 3) // taken in the store, unknown, and here
				f.heal()
				f.wants(true, false, 0, 1)
				f.free(12 - 3 - 3 - 1)
			}
			f := newFleet(t, ratelimit.Closed, 1, hourly(10))
			f.store.fail(how)
			if r, err := f.nodes[0].Take(t.Context(), "k", 3); errors.CodeOf(err) != errors.Unavailable || r.Allowed {
				t.Errorf("allowed is %v, error %v", r.Allowed, err)
			}
			f.free(7)
			f = newFleet(t, ratelimit.Local, 1, hourly(10)) // also of the charge for what is owed
			f.store.fail(refused)
			f.wants(true, true, 0, 2)
			f.store.fail(how)
			f.hand.pass(time.Second)
			f.wants(true, true, 0, 1)
			f.heal()
			f.wants(true, false, 0, 1)
			f.free(10 - 2 - 3 - 1)
		})
	}
}

// While one decision pays what a subject owes, no other may be made on the
// store: it would come before the charge.
func TestDecisionsAtOnceAfterAnOutagePayOnce(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 1, func(t *testing.T, f *fleet) {
		f.store.fail(refused)
		f.wants(true, true, 0, 8)
		f.heal()
		var allowed atomic.Int64
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				if r, err := f.nodes[0].Take(t.Context(), "k", 1); err == nil && r.Allowed {
					allowed.Add(1)
				}
			})
		}
		wg.Wait()
		if n := allowed.Load(); n != 4 {
			t.Errorf("%d more were let pass, want 4", n)
		}
		f.hand.pass(time.Second)
		f.wants(false, false, 0, 1)
		f.free(0)
	})
}

// gate is a store whose charges wait for the test.
type gate struct {
	*frail
	open  chan struct{}
	takes atomic.Int64
}

func (g *gate) Apply(ctx context.Context, req *ratelimit.Request) error {
	switch req.Mode {
	case ratelimit.ModeCharge:
		<-g.open
	case ratelimit.ModeTake:
		g.takes.Add(1)
	}
	return g.frail.Apply(ctx, req)
}

// gated is a fleet of one whose charges wait.
func gated(t *testing.T, limit ratelimit.Limit) (*fleet, *gate) {
	t.Helper()
	f := newFleet(t, ratelimit.Local, 1, limit)
	g := &gate{frail: f.store, open: make(chan struct{})}
	guard, err := ratelimit.NewGuardedStore(g, ratelimit.Local, &ratelimit.GuardOptions{Samples: 1, Probes: 1, Nodes: 1, Now: f.hand.now})
	if err != nil {
		t.Fatal(err)
	}
	if f.nodes[0], err = ratelimit.NewLimiter(guard, set(t, limit), nil); err != nil {
		t.Fatal(err)
	}
	return f, g
}

func TestNoDecisionOvertakesAPayment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, g := gated(t, hourly(12))
		f.wants(true, false, 0, 1) // one at a time only tries while the breaker is open
		f.store.fail(refused)
		f.wants(true, true, 0, 8)
		f.heal()
		if r, err := f.nodes[0].Take(t.Context(), "other", 1); err != nil || r.Degraded {
			t.Fatalf("degraded is %v, error %v", r.Degraded, err)
		}
		before := g.takes.Load()
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { f.wants(true, false, 0, 1) })
			synctest.Wait()
		}
		if n := g.takes.Load(); n != before {
			t.Errorf("%d decisions were made before the charge", n-before)
		}
		close(g.open)
		both.Wait()
		f.free(1)
	})
}

func TestALeaseThatEndsWhileItIsChargedIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, g := gated(t, ratelimit.Limit{Name: "l", Algorithm: ratelimit.Concurrency, Count: 4, Period: time.Hour})
		f.store.fail(refused)
		id := f.lease(true)
		f.heal()
		if r, err := f.nodes[0].Take(t.Context(), "other", 1); err != nil || r.Degraded {
			t.Fatalf("degraded is %v, error %v", r.Degraded, err)
		}
		var payer sync.WaitGroup
		payer.Go(func() { f.wants(true, false, 0, 1) })
		synctest.Wait()
		f.check(f.nodes[0].Release(t.Context(), "k", id))
		close(g.open)
		payer.Wait()
		f.free(3)
	})
}

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

func TestAShadowLimitOwesWhatItTook(t *testing.T) {
	t.Parallel()
	shadow := hourly(4)
	shadow.Name, shadow.Shadow = "shadow", true
	log := ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 4, Period: time.Hour, Shadow: true}
	f := newFleet(t, ratelimit.Local, 1, hourly(10), shadow, log)
	f.store.fail(refused)
	f.wants(true, true, 0, 3)
	f.wants(true, true, 0, 3) // the shadow refuses, and takes nothing
	f.heal()
	r := f.wants(true, false, 0, 0)
	for s := range r.States() {
		if want := map[string]int64{"h": 4, "shadow": 1, "log": 1}[s.Limit.Name]; s.Remaining != want {
			t.Errorf("%s: %d remain, want %d", s.Limit.Name, s.Remaining, want)
		}
	}
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

func TestAResetForgetsWhatIsOwed(t *testing.T) {
	t.Parallel()
	forEveryLimit(t, 1, func(t *testing.T, f *fleet) {
		f.wants(true, false, 0, 2)
		f.store.fail(refused)
		f.wants(true, true, 0, 5)
		if err := f.nodes[0].Reset(t.Context(), "k"); errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("a reset that the store did not answer: %v", err)
		}
		f.wants(false, true, 0, 6)
		f.heal()
		f.check(f.nodes[0].Reset(t.Context(), "k"))
		f.wants(true, false, 0, 1)
		f.free(11)
		f.store.fail(refused)
		f.wants(true, true, 0, 11)
	})
}

// The windows of the policy are those of the store, wherever this node's clock
// stands.
func TestLocalFollowsTheStoresClock(t *testing.T) {
	t.Parallel()
	h, own := newHand(), newHand()
	own.pass(-40 * time.Minute)
	memory, err := ratelimit.NewMemoryStore(h.options())
	if err != nil {
		t.Fatal(err)
	}
	store := &frail{MemoryStore: memory}
	g, err := ratelimit.NewGuardedStore(store, ratelimit.Local, &ratelimit.GuardOptions{Nodes: 1, Samples: 1, Probes: 1, Now: own.now})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(g, set(t, hourly(10)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r, err := l.Take(t.Context(), "k", 5); err != nil || !r.Allowed {
			t.Fatalf("allowed is %v, error %v", r.Allowed, err)
		}
	}
	store.fail(refused)
	own.pass(30 * time.Minute) // the next hour by this node's clock, the same by the store's
	if r, err := l.Take(t.Context(), "k", 1); err != nil || r.Allowed || r.RetryAfter != 30*time.Minute {
		t.Errorf("allowed is %v, RetryAfter %v, error %v", r.Allowed, r.RetryAfter, err)
	}
}

func TestWhatIsOwedIsBounded(t *testing.T) {
	t.Parallel()
	h := newHand()
	memory, err := ratelimit.NewMemoryStore(h.options())
	if err != nil {
		t.Fatal(err)
	}
	store := &frail{MemoryStore: memory}
	g, err := ratelimit.NewGuardedStore(store, ratelimit.Local, &ratelimit.GuardOptions{Nodes: 1, Samples: 1, Probes: 1, Now: h.now, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(g, set(t, hourly(10)), nil)
	if err != nil {
		t.Fatal(err)
	}
	store.fail(refused)
	var refusedAfter int
	var last string
	for i := range 5000 {
		key := "subject " + time.Duration(i).String()
		r, err := l.Take(t.Context(), key, 3)
		if err != nil {
			if !errors.Is(err, ratelimit.ErrFull) || r.Allowed {
				t.Fatalf("allowed is %v, error %v", r.Allowed, err)
			}
			refusedAfter = i
			break
		}
		last = key
	}
	if refusedAfter < 300 || refusedAfter > 1000 {
		t.Errorf("refused after %d subjects", refusedAfter)
	}
	store.fail(up)
	h.pass(time.Second)
	if r, err := l.Take(t.Context(), last, 1); err != nil || !r.Allowed || r.Remaining != 6 {
		t.Errorf("%d remain, want 6; error %v", r.Remaining, err)
	}
	// What nobody asks for again is dropped when time has paid it.
	store.fail(refused)
	h.pass(2 * time.Hour)
	for i := range 2 * refusedAfter {
		if _, err := l.Take(t.Context(), "later "+time.Duration(i%10).String(), 1); err != nil {
			t.Fatalf("take %d: %v", i, err)
		}
	}
}
