package ratelimit_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

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
	g, err := ratelimit.NewGuardedStore(store, ratelimit.Local, &ratelimit.GuardOptions{Nodes: 1, Samples: 1, Probes: 1, Now: own.now, Deadline: patience})
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
