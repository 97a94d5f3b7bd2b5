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
	guard, err := ratelimit.NewGuardedStore(g, ratelimit.Local, &ratelimit.GuardOptions{Samples: 1, Probes: 1, Nodes: 1, Now: f.hand.now, Deadline: patience})
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

// While one decision pays what a subject owes, this node lets others pass by its
// share: what they took is paid as well, before that decision is made.
func TestADecisionPaysWhatIsTakenDuringItsPayment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, g := gated(t, hourly(12))
		f.wants(true, false, 0, 1)
		f.store.fail(refused)
		f.wants(true, true, 0, 8)
		f.heal()
		var payer sync.WaitGroup
		payer.Go(func() { f.wants(false, false, 0, 1) })
		synctest.Wait()
		f.wants(true, true, 0, 3)
		close(g.open)
		payer.Wait()
		f.free(0)
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

// Two subjects wait for one refund, and two payers come at once: it is carried
// out by one of them.
func TestARefundThatTwoSubjectsWaitForIsMadeOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := hourly(12)
		f, g := gated(t, limit)
		limits := set(t, limit)
		both := []ratelimit.Charge{{Key: "a", Limits: limits, Cost: 3}, {Key: "b", Limits: limits, Cost: 3}}
		if r, err := f.plain.TakeAll(t.Context(), both...); err != nil || !r.Allowed {
			t.Fatalf("allowed is %v, error %v", r.Allowed, err)
		}
		f.store.fail(refused)
		r, err := f.nodes[0].TakeAll(t.Context(), both...)
		if err != nil || !r.Allowed || !r.Degraded {
			t.Fatalf("allowed is %v, degraded %v, error %v", r.Allowed, r.Degraded, err)
		}
		back := func() {
			t.Helper()
			f.heal()
			if r := f.take(0, "other", 0); r.Degraded {
				t.Fatal("the guard is not back at the store")
			}
		}
		back()
		go func() { g.open <- struct{}{} }()
		if _, err := f.nodes[0].PeekAll(t.Context(), both...); err != nil { // charges both
			t.Fatal(err)
		}
		f.store.fail(refused)
		go func() { g.open <- struct{}{} }() // for the ID of the refund, which the store does not give
		f.check(f.nodes[0].Refund(t.Context(), r.Reservation))
		back()
		var payers sync.WaitGroup
		for _, key := range []string{"a", "b"} {
			payers.Go(func() { f.take(0, key, 0) })
			synctest.Wait()
		}
		close(g.open)
		payers.Wait()
		f.take(0, "b", 0)
		for _, key := range []string{"a", "b"} {
			if r, err := f.plain.Peek(t.Context(), key, 0); err != nil || r.Remaining != 12-3 {
				t.Errorf("%s: %d remain, want 9; error %v", key, r.Remaining, err)
			}
		}
	})
}

// parting is a store whose caller is gone when it answers.
type parting struct {
	*frail
	leave context.CancelFunc
}

func (p parting) Apply(ctx context.Context, req *ratelimit.Request) error {
	defer p.leave()
	return p.frail.Apply(ctx, req)
}

func TestACallerWhoLeavesAtTheAnswerIsNoted(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Local, 1, hourly(12))
	ctx, leave := context.WithCancel(t.Context())
	g, err := ratelimit.NewGuardedStore(parting{f.store, leave}, ratelimit.Local, &ratelimit.GuardOptions{Samples: 1, Nodes: 1, Now: f.hand.now, Deadline: patience})
	if err != nil {
		t.Fatal(err)
	}
	if f.nodes[0], err = ratelimit.NewLimiter(g, set(t, hourly(12)), nil); err != nil {
		t.Fatal(err)
	}
	if r, err := f.nodes[0].Take(ctx, "k", 12); err != nil || !r.Allowed {
		t.Fatalf("allowed is %v, error %v", r.Allowed, err)
	}
	f.store.fail(refused)
	f.wants(false, true, 0, 1)
}

// A lease that the store takes up just while it is released is released there
// too.
func TestALeaseIsReleasedWhileItIsPaid(t *testing.T) {
	t.Parallel()
	jobs := ratelimit.Limit{Name: "jobs", Algorithm: ratelimit.Concurrency, Count: 12, Period: time.Hour}
	f := newFleet(t, ratelimit.Local, 1, jobs)
	var pay func() // at the next look at the clock
	g, err := ratelimit.NewGuardedStore(f.store, ratelimit.Local, &ratelimit.GuardOptions{
		Samples: 1, Probes: 1, Nodes: 1, Deadline: patience,
		Now: func() time.Time {
			if now := pay; now != nil {
				pay = nil
				now()
			}
			return f.hand.now()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(g, set(t, jobs), nil)
	if err != nil {
		t.Fatal(err)
	}
	f.nodes[0] = l
	f.store.fail(refused)
	r := f.wants(true, true, 0, 5)
	f.heal()
	pay = func() {
		if r, err := l.Peek(t.Context(), "k", 1); err != nil || r.Degraded || r.Remaining != 7 {
			t.Errorf("%d remain once the lease is paid, degraded %v, error %v", r.Remaining, r.Degraded, err)
		}
	}
	f.check(l.Release(t.Context(), "k", r.Reservation.ID()))
	f.free(12)
}
