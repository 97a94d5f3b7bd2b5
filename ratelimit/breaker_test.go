package ratelimit_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// A limiter that waits five seconds for each decision is an outage of its own.
func TestAnOutageCostsCallersNoWaiting(t *testing.T) {
	t.Parallel()
	for _, policy := range []ratelimit.Policy{ratelimit.Closed, ratelimit.Open, ratelimit.Local} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, policy, 1, hourly(1000))
				f.store.fail(hung)
				var g *ratelimit.GuardedStore
				g, err := ratelimit.NewGuardedStore(f.store, policy, &ratelimit.GuardOptions{Nodes: 1})
				if err != nil {
					t.Fatal(err)
				}
				l, err := ratelimit.NewLimiter(g, set(t, hourly(1000)), nil)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				var wg sync.WaitGroup
				for range 100 { // who come while nobody knows of the outage wait for one deadline
					wg.Go(func() { _, _ = l.Take(t.Context(), "k", 1) })
				}
				wg.Wait()
				if d := time.Since(began); d != 250*time.Millisecond {
					t.Errorf("the first hundred took %v, want one deadline of 250ms", d)
				}
				calls := f.store.calls.Load()
				for range 800 {
					_, _ = l.Take(t.Context(), "k", 1)
				}
				if d := time.Since(began); d != 250*time.Millisecond {
					t.Errorf("those after them waited %v", d-250*time.Millisecond)
				}
				if n := f.store.calls.Load(); n != calls {
					t.Errorf("%d calls of a store that is known to fail", n-calls)
				}
			})
		})
	}
}

func TestOneCallAtATimeTriesAStoreThatFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, h := &turns{}, newHand()
		memory, err := ratelimit.NewMemoryStore(h.options())
		if err != nil {
			t.Fatal(err)
		}
		store := &frail{MemoryStore: memory}
		g, err := ratelimit.NewGuardedStore(store, ratelimit.Open, &ratelimit.GuardOptions{
			Samples: 4, MinSamples: 2, Probes: 3, Cooldown: time.Second, Observer: o, Now: h.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		l, err := ratelimit.NewLimiter(g, set(t, hourly(1000)), nil)
		if err != nil {
			t.Fatal(err)
		}
		degraded := func(want bool) {
			t.Helper()
			if r, err := l.Take(t.Context(), "k", 1); err != nil || r.Degraded != want {
				t.Fatalf("degraded is %v, want %v (error %v)", r.Degraded, want, err)
			}
		}
		store.fail(refused)
		degraded(true)
		degraded(true)
		if n := len(o.list()); n != 1 {
			t.Fatalf("%d turns after the second failure, want 1", n)
		}
		// A try that hangs keeps nobody else waiting.
		store.fail(hung)
		h.pass(time.Second)
		calls := store.calls.Load()
		began := time.Now()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { degraded(true) })
		}
		wg.Wait()
		if n, d := store.calls.Load()-calls, time.Since(began); n != 1 || d != 250*time.Millisecond {
			t.Errorf("%d calls tried within %v, want 1 within 250ms", n, d)
		}
		// Two good tries are not enough, and a bad one starts over.
		store.fail(up)
		degraded(true) // cooling down again
		h.pass(time.Second)
		degraded(false)
		degraded(false)
		store.fail(refused)
		degraded(true)
		store.fail(up)
		degraded(true)
		h.pass(time.Second)
		degraded(false)
		degraded(false)
		if n := len(o.list()); n != 1 {
			t.Errorf("%d turns before the third good try, want 1", n)
		}
		degraded(false)
		if all := o.list(); len(all) != 2 || !all[0].Degraded || all[1].Degraded {
			t.Errorf("turns are %+v", all)
		}
		// A clock that is put back delays the next try by no more than a cooldown.
		store.fail(refused)
		degraded(true)
		degraded(true)
		store.fail(up)
		h.pass(-100 * time.Hour)
		degraded(true)
		h.pass(time.Second)
		degraded(false)
	})
}

func TestFewFailuresAreNoOutage(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Open, 1, hourly(1000))
	o := &turns{}
	g, err := ratelimit.NewGuardedStore(f.store, ratelimit.Open, &ratelimit.GuardOptions{Observer: o, Deadline: patience})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(g, set(t, hourly(1000)), nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(how outage, times int) {
		t.Helper()
		f.store.fail(how)
		for range times {
			if r, err := l.Take(t.Context(), "k", 1); err != nil || r.Degraded != (how == refused) {
				t.Fatalf("degraded is %v, error %v", r.Degraded, err)
			}
		}
	}
	ask(refused, 4) // all of four, which are too few to tell
	ask(up, 16)
	for range 20 { // 9 of the latest 20
		ask(refused, 9)
		ask(up, 11)
	}
	if n := len(o.list()); n != 0 {
		t.Fatalf("%d turns", n)
	}
	ask(refused, 10)
	if all := o.list(); len(all) != 1 || !all[0].Degraded || all[0].Failures != 4+180+10 || all[0].Allowed != 4+180+9 {
		t.Errorf("turns are %+v", all)
	}
}

// A call that outlives a turn says nothing about the store after it.
func TestLateAnswersTurnNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, ratelimit.Open, 1, hourly(100))
		f.store.fail(hung)
		var late sync.WaitGroup
		late.Go(func() { f.wants(true, true, 0, 1) })
		synctest.Wait()
		f.store.fail(refused)
		f.wants(true, true, 0, 1)
		f.heal()
		f.wants(true, false, 0, 1)
		late.Wait()
		f.wants(true, false, 0, 1)
		if n := len(f.turns.list()); n != 2 {
			t.Errorf("%d turns, want 2", n)
		}
	})
}
