package ratelimit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
)

// An outage is how a frail store fails.
type outage int32

const (
	up      outage = iota
	refused        // it does nothing, and says so
	lost           // it does what it is asked, and its answer is lost
	hung           // it does nothing, and never answers
	hungToo        // it does what it is asked, and never answers
)

var errDown = errors.New("connection refused")

// frail is a memory store that fails as it is told to.
type frail struct {
	*ratelimit.MemoryStore
	how   atomic.Int32
	calls atomic.Int64
}

func (f *frail) Apply(ctx context.Context, req *ratelimit.Request) error {
	f.calls.Add(1)
	how := outage(f.how.Load())
	if how == up || how == lost || how == hungToo {
		if err := f.MemoryStore.Apply(ctx, req); err != nil || how == up {
			return err
		}
	}
	if how == hung || how == hungToo {
		<-ctx.Done()
		return ctx.Err()
	}
	return errDown
}

func (f *frail) fail(how outage) { f.how.Store(int32(how)) }

// hand is a clock that the test moves.
type hand struct{ us atomic.Int64 }

func newHand() *hand {
	h := new(hand)
	h.us.Store(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC).UnixMicro())
	return h
}

func (h *hand) now() time.Time                    { return time.UnixMicro(h.us.Load()) }
func (h *hand) pass(d time.Duration)              { h.us.Add(d.Microseconds()) }
func (h *hand) options() *ratelimit.MemoryOptions { return &ratelimit.MemoryOptions{Now: h.now} }

// turns notes what an observer is told.
type turns struct {
	mu  sync.Mutex
	all []ratelimit.Turn
}

func (o *turns) StoreTurned(_ context.Context, t ratelimit.Turn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, t)
}

func (o *turns) list() []ratelimit.Turn {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]ratelimit.Turn(nil), o.all...)
}

// A fleet is some nodes with limiters on guarded stores around one frail store.
type fleet struct {
	t     *testing.T
	hand  *hand
	store *frail
	turns *turns
	nodes []*ratelimit.Limiter
	plain *ratelimit.Limiter // without a guard
}

// newFleet opens the breaker on the first failure and closes it on the first
// success, so that a test knows who answers.
func newFleet(t *testing.T, policy ratelimit.Policy, nodes int, limits ...ratelimit.Limit) *fleet {
	t.Helper()
	f := &fleet{t: t, hand: newHand(), turns: &turns{}}
	memory, err := ratelimit.NewMemoryStore(f.hand.options())
	if err != nil {
		t.Fatal(err)
	}
	f.store = &frail{MemoryStore: memory}
	l := set(t, limits...)
	for range nodes {
		g, err := ratelimit.NewGuardedStore(f.store, policy, &ratelimit.GuardOptions{
			Samples: 1, MinSamples: 1, Probes: 1, Cooldown: time.Second, Nodes: nodes, Observer: f.turns, Now: f.hand.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		n, err := ratelimit.NewLimiter(g, l, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.nodes = append(f.nodes, n)
	}
	if f.plain, err = ratelimit.NewLimiter(memory, l, nil); err != nil {
		t.Fatal(err)
	}
	return f
}

// heal lets the store answer, and the next call try it.
func (f *fleet) heal() {
	f.store.fail(up)
	f.hand.pass(time.Second)
}

func (f *fleet) take(node int, key string, cost int64) ratelimit.Result {
	f.t.Helper()
	r, err := f.nodes[node].Take(f.t.Context(), key, cost)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// wants takes, and wants it allowed or not, by the policy or not.
func (f *fleet) wants(allowed, degraded bool, node int, cost int64) ratelimit.Result {
	f.t.Helper()
	r := f.take(node, "k", cost)
	if r.Allowed != allowed || r.Degraded != degraded {
		f.t.Fatalf("node %d, cost %d: allowed is %v and degraded %v, want %v and %v (%d remain)",
			node, cost, r.Allowed, r.Degraded, allowed, degraded, r.Remaining)
	}
	return r
}

// free wants n free in the store itself.
func (f *fleet) free(n int64) {
	f.t.Helper()
	r, err := f.plain.Peek(f.t.Context(), "k", 0)
	if err != nil || r.Remaining != n {
		f.t.Fatalf("%d remain in the store, want %d (error %v)", r.Remaining, n, err)
	}
}

func (f *fleet) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func hourly(n int64) ratelimit.Limit {
	return ratelimit.Limit{Name: "h", Algorithm: ratelimit.FixedWindow, Count: n, Period: time.Hour}
}

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
				g, err := ratelimit.NewGuardedStore(memory, policy, &ratelimit.GuardOptions{Nodes: 3})
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
			g, err := ratelimit.NewGuardedStore(saying{answer}, policy, &ratelimit.GuardOptions{Nodes: 1, MinSamples: 1, Observer: o})
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
	g, err := ratelimit.NewGuardedStore(f.store, ratelimit.Open, &ratelimit.GuardOptions{Observer: o})
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

// A line for each request buries the line that matters.
func TestATurnIsToldOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Local, 1, hourly(100))
	var want int
	for range 20 {
		f.store.fail(refused)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					_, _ = f.nodes[0].Take(t.Context(), "k", 1)
				}
			})
		}
		wg.Wait()
		want++
		all := f.turns.list()
		if len(all) != want || !all[want-1].Degraded || !errors.Is(all[want-1].Err, errDown) {
			t.Fatalf("%d turns, want %d: %+v", len(all), want, all)
		}
		f.heal()
		for range 8 {
			wg.Go(func() { _, _ = f.nodes[0].Take(t.Context(), "k", 1) })
		}
		wg.Wait()
		want++
		all = f.turns.list()
		if len(all) != want || all[want-1].Degraded || all[want-1].Err != nil || all[want-1].Policy != ratelimit.Local {
			t.Fatalf("%d turns, want %d: %+v", len(all), want, all)
		}
		if n := all[want-1].Allowed + all[want-1].Refused + all[want-2].Allowed + all[want-2].Refused; n < 160 {
			t.Fatalf("the policy answered %d times, want 160 or more: %+v", n, all[want-2:])
		}
		f.hand.pass(time.Hour)
	}
}

// An observer may use what it observes.
func TestAnObserverMayAskTheStore(t *testing.T) {
	t.Parallel()
	var l *ratelimit.Limiter
	var seen []bool
	var telling bool
	h := newHand()
	memory, err := ratelimit.NewMemoryStore(h.options())
	if err != nil {
		t.Fatal(err)
	}
	store := &frail{MemoryStore: memory}
	g, err := ratelimit.NewGuardedStore(store, ratelimit.Open, &ratelimit.GuardOptions{
		Samples: 1, Probes: 1, Now: h.now,
		Observer: observing(func(ctx context.Context, turn ratelimit.Turn) {
			if telling {
				t.Error("told of a turn while it is told of another")
			}
			telling = true
			defer func() { telling = false }()
			seen = append(seen, turn.Degraded)
			if turn.Degraded { // comes back while it is being told
				store.fail(up)
				h.pass(time.Second)
			}
			if _, err := l.Take(ctx, "k", 1); err != nil {
				t.Error(err)
			}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if l, err = ratelimit.NewLimiter(g, set(t, hourly(10)), nil); err != nil {
		t.Fatal(err)
	}
	store.fail(refused)
	if _, err := l.Take(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(seen) != "[true false]" {
		t.Errorf("told of %v", seen)
	}
}

type observing func(context.Context, ratelimit.Turn)

func (o observing) StoreTurned(ctx context.Context, t ratelimit.Turn) { o(ctx, t) }

func TestSlogObserver(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := ratelimit.NewSlogObserver(slog.New(slog.NewTextHandler(&out, nil)))
	o.StoreTurned(t.Context(), ratelimit.Turn{Degraded: true, Policy: ratelimit.Closed, Failures: 7, Err: errDown})
	o.StoreTurned(t.Context(), ratelimit.Turn{Policy: ratelimit.Closed, Lasted: time.Minute, Refused: 12})
	for _, part := range []string{"level=ERROR", "policy=closed", "failures=7", `error="connection refused"`, "level=INFO", "lasted=1m0s", "refused=12"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %s in:\n%s", part, out.String())
		}
	}
	ratelimit.NewSlogObserver(nil).StoreTurned(t.Context(), ratelimit.Turn{})
}
