package ratelimit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
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

func (h *hand) now() time.Time { return time.UnixMicro(h.us.Load()) }

func (h *hand) pass(d time.Duration) { h.us.Add(d.Microseconds()) }

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

// patience is a deadline that a busy machine does not miss. Where a test has a
// store hang, time is that of a bubble.
const patience = time.Minute

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
			Samples: 1, MinSamples: 1, Probes: 1, Cooldown: time.Second, Deadline: patience, Nodes: nodes, Observer: f.turns, Now: f.hand.now,
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

// everyLimit has each algorithm that keeps a state, twelve an hour where that is a
// choice.
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
