package ratelimit_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
)

// guardedClock is a guarded store whose clock the suite moves.
type guardedClock struct {
	*ratelimit.GuardedStore
	hand *hand
}

func (g guardedClock) Advance(d time.Duration) { g.hand.pass(d) }

func TestGuardedStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	for _, policy := range []ratelimit.Policy{ratelimit.Closed, ratelimit.Open, ratelimit.Local} {
		t.Run(policy.String(), func(t *testing.T) {
			ratelimittest.Run(t, func(t *testing.T) ratelimit.Store {
				h := newHand()
				memory, err := ratelimit.NewMemoryStore(h.options())
				if err != nil {
					t.Fatal(err)
				}
				g, err := ratelimit.NewGuardedStore(memory, policy, &ratelimit.GuardOptions{Nodes: 3, Deadline: patience})
				if err != nil {
					t.Fatal(err)
				}
				return guardedClock{g, h}
			})
		})
	}
}

func TestEveryFaultOfAGuardIsNamed(t *testing.T) {
	t.Parallel()
	_, err := ratelimit.NewGuardedStore(nil, 0, &ratelimit.GuardOptions{
		Deadline: -1, Samples: 65, MinSamples: -1, FailurePercent: 101, Cooldown: -1, Probes: -1, MaxBytes: 1,
	})
	for _, part := range []string{"store is nil", "policy is 0", "Deadline", "Samples", "MinSamples", "FailurePercent", "Cooldown", "Probes", "MaxBytes"} {
		if err == nil || !strings.Contains(err.Error(), part) || errors.CodeOf(err) != errors.Invalid {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
	memory, err := ratelimit.NewMemoryStore(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ratelimit.NewGuardedStore(memory, ratelimit.Local, nil); err == nil || !strings.Contains(err.Error(), "Nodes is 0") {
		t.Errorf("Local without Nodes: %v", err)
	}
	g, err := ratelimit.NewGuardedStore(memory, ratelimit.Closed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ratelimit.NewGuardedStore(g, ratelimit.Closed, nil); err == nil {
		t.Error("a guard around a guard is accepted")
	}
	if ratelimit.Policy(9).String() != "unknown" {
		t.Errorf("policy 9 is called %q", ratelimit.Policy(9))
	}
}

// Several limiters send 500, or let pass after five seconds; the answer here is
// the one that was chosen, at once.
func TestClosedRefusesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Closed, 1, hourly(10))
	f.wants(true, false, 0, 1)
	f.store.fail(refused)
	for range 5 {
		r, err := f.nodes[0].Take(t.Context(), "k", 1)
		if errors.CodeOf(err) != errors.Unavailable || !strings.Contains(errors.MessageOf(err), "closed") || !errors.Is(err, errDown) || r.Allowed {
			t.Fatalf("allowed is %v, error %v", r.Allowed, err)
		}
	}
	if n := f.store.calls.Load(); n != 2 {
		t.Errorf("the store was called %d times, want 2: one take, one failure", n)
	}
	f.heal()
	f.wants(true, false, 0, 1)
	f.free(8)
}

func TestOpenLetsPassAndKnowsNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Open, 1, hourly(10))
	f.store.fail(refused)
	for range 30 {
		if r := f.wants(true, true, 0, 1); r.Remaining != 0 || r.Reservation.ID() != (ratelimit.ID{}) {
			t.Fatalf("%d remain, ID %v", r.Remaining, r.Reservation.ID())
		}
	}
	if r := f.wants(false, true, 0, 11); r.RetryAfter != ratelimit.Never {
		t.Errorf("more than the limit can ever have free: RetryAfter is %v", r.RetryAfter)
	}
	r, err := f.nodes[0].TakeUpTo(t.Context(), "k", 40)
	if err != nil || r.Taken != 10 || !r.Degraded {
		t.Errorf("took %d of 40, degraded is %v, error %v", r.Taken, r.Degraded, err)
	}
	f.check(f.nodes[0].Refund(t.Context(), r.Reservation))
	if err := f.nodes[0].Reset(t.Context(), "k"); errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("a reset that did not happen: %v", err)
	}
	f.heal()
	f.wants(true, false, 0, 10)
	f.wants(false, false, 0, 1)
}

// Insurance limiters fell back on denials too, to a looser limiter.
func TestADenialIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, policy := range []ratelimit.Policy{ratelimit.Closed, ratelimit.Open, ratelimit.Local} {
		f := newFleet(t, policy, 1, hourly(1))
		f.wants(true, false, 0, 1)
		for range 100 {
			f.wants(false, false, 0, 1)
		}
		if n := len(f.turns.list()); n != 0 {
			t.Errorf("%v: %d turns", policy, n)
		}
	}
}

// Whoever fills a store, or asks it wrongly, must not be handed the policy.
func TestAnswersThatAreErrorsAreNoFailures(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]error{
		"full":    errors.Wrap("redisstore", ratelimit.ErrFull),
		"invalid": &errors.Error{Code: errors.Invalid, Msg: "the key is too long"},
	} {
		for _, policy := range []ratelimit.Policy{ratelimit.Closed, ratelimit.Open, ratelimit.Local} {
			o := &turns{}
			g, err := ratelimit.NewGuardedStore(saying{answer}, policy, &ratelimit.GuardOptions{Nodes: 1, MinSamples: 1, Observer: o, Deadline: patience})
			if err != nil {
				t.Fatal(err)
			}
			l, err := ratelimit.NewLimiter(g, set(t, hourly(1)), nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				if r, err := l.Take(t.Context(), "k", 1); !errors.Is(err, answer) || r.Allowed {
					t.Fatalf("%s, %v: allowed is %v, error %v", name, policy, r.Allowed, err)
				}
			}
			if n := len(o.list()); n != 0 {
				t.Errorf("%s, %v: %d turns", name, policy, n)
			}
		}
	}
}

// saying is a store with one answer.
type saying struct{ err error }

func (s saying) Apply(context.Context, *ratelimit.Request) error { return s.err }

func TestACallerWhoGivesUpIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, ratelimit.Open, 1, hourly(1))
		f.store.fail(hung)
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			r, err := f.nodes[0].Take(ctx, "k", 1)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || r.Allowed {
				t.Fatalf("allowed is %v, error %v", r.Allowed, err)
			}
		}
		if n := len(f.turns.list()); n != 0 {
			t.Errorf("%d turns", n)
		}
		f.store.fail(up)
		f.wants(true, false, 0, 1)
	})
}
