package redisstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// skipping is the time with what a test skips of it.
type skipping struct{ ahead atomic.Int64 }

func (s *skipping) now() time.Time       { return time.Now().Add(time.Duration(s.ahead.Load())) }
func (s *skipping) skip(d time.Duration) { s.ahead.Add(int64(d)) }

// calls counts what reaches the store.
type calls struct {
	ratelimit.Store
	n atomic.Int64
}

func (c *calls) Apply(ctx context.Context, req *ratelimit.Request) error {
	c.n.Add(1)
	return c.Store.Apply(ctx, req)
}

type turns struct {
	mu  sync.Mutex
	all []ratelimit.Turn
}

func (o *turns) StoreTurned(_ context.Context, t ratelimit.Turn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, t)
}

func (o *turns) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.all)
}

// guarded is a fleet with one Redis, each node by a guard of its own.
type guarded struct {
	t      *testing.T
	server *redistest.Server
	clock  *skipping
	store  *calls
	turns  []*turns
	nodes  []*ratelimit.Limiter
	plain  *ratelimit.Limiter
}

const guardedCount = 1000

func newGuarded(t *testing.T, policy ratelimit.Policy, nodes int, deadline time.Duration) *guarded {
	t.Helper()
	// What the server has said yes to survives its end.
	g := &guarded{t: t, server: redistest.StartOwn(t, "--appendonly", "yes", "--appendfsync", "always"), clock: &skipping{}}
	limits, err := ratelimit.NewLimits(ratelimit.Limit{Name: "year", Algorithm: ratelimit.Calendar, Every: ratelimit.Year, Count: guardedCount})
	if err != nil {
		t.Fatal(err)
	}
	g.store = &calls{Store: newLimits(t, g.server.Client(t), redisstore.LimitsOptions{})}
	for range nodes {
		o := &turns{}
		store, err := ratelimit.NewGuardedStore(g.store, policy, &ratelimit.GuardOptions{
			Deadline: deadline, Nodes: nodes, Observer: o, Now: g.clock.now, Cooldown: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		l, err := ratelimit.NewLimiter(store, limits, nil)
		if err != nil {
			t.Fatal(err)
		}
		g.turns, g.nodes = append(g.turns, o), append(g.nodes, l)
	}
	if g.plain, err = ratelimit.NewLimiter(g.store.Store, limits, nil); err != nil {
		t.Fatal(err)
	}
	return g
}

// load has each node take so often, by four callers, and returns how many were
// let pass, by the store and by the policy, and how many errors there were.
func (g *guarded) load(times int) (stored, degraded, failures int64) {
	var s, d, f atomic.Int64
	var wg sync.WaitGroup
	for _, node := range g.nodes {
		for range 4 {
			wg.Go(func() {
				for range times / 4 {
					r, err := node.Take(g.t.Context(), "k", 1)
					switch {
					case err != nil:
						if errors.CodeOf(err) != errors.Unavailable {
							g.t.Error(err)
						}
						f.Add(1)
					case r.Allowed && r.Degraded:
						d.Add(1)
					case r.Allowed:
						s.Add(1)
					}
				}
			})
		}
	}
	wg.Wait()
	return s.Load(), d.Load(), f.Load()
}

// heal skips the cooldown, and asks until every guard is back at the store.
func (g *guarded) heal() {
	g.t.Helper()
	for begin := time.Now(); ; { // the client takes a second to believe that the server is back
		_, err := g.plain.Peek(g.t.Context(), "k", 0)
		if err == nil {
			break
		}
		if time.Since(begin) > 30*time.Second {
			g.t.Fatalf("the server does not come back: %v", err)
		}
	}
	for i, node := range g.nodes {
		back := false
		for range 1000 {
			g.clock.skip(time.Hour)
			r, err := node.Take(g.t.Context(), "k", 0)
			if back = err == nil && !r.Degraded && g.turns[i].len()%2 == 0; back {
				break
			}
		}
		if !back {
			g.t.Fatalf("node %d does not come back: %+v", i, g.turns[i].all)
		}
	}
}

// used returns what the store itself has in use.
func (g *guarded) used() int64 {
	g.t.Helper()
	r, err := g.plain.Peek(g.t.Context(), "k", 0)
	if err != nil {
		g.t.Fatal(err)
	}
	return guardedCount - r.Remaining
}

// A server that is killed in the middle of the work, and comes back, has the
// fleet let pass what the policy says, and no caller see more than that.
func TestGuardOfAServerThatIsKilled(t *testing.T) {
	for _, policy := range []ratelimit.Policy{ratelimit.Closed, ratelimit.Open, ratelimit.Local} {
		t.Run(policy.String(), func(t *testing.T) {
			const nodes = 2
			g := newGuarded(t, policy, nodes, 10*time.Second)
			before, _, _ := g.load(100)
			if before != 100*nodes {
				t.Fatalf("%d of %d let pass", before, 100*nodes)
			}
			var stored, degraded, failures atomic.Int64
			var during sync.WaitGroup
			during.Go(func() { // the end comes while they ask
				for range 5 {
					s, d, f := g.load(40)
					stored.Add(s)
					degraded.Add(d)
					failures.Add(f)
				}
			})
			g.server.Kill()
			during.Wait()
			s, d, f := g.load(400)
			if s != 0 {
				t.Errorf("%d decisions of a store that is gone", s)
			}
			stored.Add(before)
			degraded.Add(d)
			failures.Add(f)
			switch policy {
			case ratelimit.Closed:
				if f != 400*nodes || degraded.Load() != 0 {
					t.Errorf("closed: %d errors, want %d; %d let pass", f, 400*nodes, degraded.Load())
				}
			case ratelimit.Open:
				if d != 400*nodes || failures.Load() != 0 {
					t.Errorf("open: %d let pass, want %d; %d errors", d, 400*nodes, failures.Load())
				}
			case ratelimit.Local:
				if n := degraded.Load(); n > guardedCount || n == 0 || failures.Load() != 0 {
					t.Errorf("local: %d let pass, want 1 to %d; %d errors", n, guardedCount, failures.Load())
				}
			}
			for i, o := range g.turns {
				if n := o.len(); n != 1 {
					t.Errorf("node %d was told of %d turns, want 1", i, n)
				}
			}
			calls := g.store.n.Load()
			g.load(400)
			if n := g.store.n.Load() - calls; n != 0 {
				t.Errorf("%d calls of a store that is known to be gone", n)
			}

			g.server.Restart()
			g.heal()
			total := stored.Load()
			if policy == ratelimit.Local {
				total += degraded.Load()
			}
			if used := g.used(); used < min(total, guardedCount) {
				t.Errorf("the store has %d in use, want at least %d: what the policy let pass is charged", used, min(total, guardedCount))
			}
			// The client takes a second to believe that the server is back: single calls
			// may still fail.
			s, d, _ = g.load(2 * guardedCount)
			total += s
			most := int64(guardedCount)
			if policy == ratelimit.Local {
				total, most = total+d, most+guardedCount/nodes*nodes
			}
			if used := g.used(); total > most || used != guardedCount {
				t.Errorf("%d let pass, want at most %d; %d in use, want %d", total, most, used, guardedCount)
			}
		})
	}
}

// A server that hears and does not answer is the worst kind: what it was asked
// it does later, when nobody waits for it any more.
func TestGuardOfAServerThatHangs(t *testing.T) {
	for _, policy := range []ratelimit.Policy{ratelimit.Closed, ratelimit.Open, ratelimit.Local} {
		t.Run(policy.String(), func(t *testing.T) {
			const nodes = 2
			g := newGuarded(t, policy, nodes, 5*time.Millisecond)
			stored, early, _ := g.load(100)
			g.heal() // on a busy machine 5 ms may be over before an answer comes
			turned := g.turns[0].len() + g.turns[1].len()
			g.server.Pause()
			calls := g.store.n.Load()
			s, d, f := g.load(2000)
			// Ten failures open the breaker, and three more callers of each node may be
			// under way by then; each may pay what is owed first.
			if n := g.store.n.Load() - calls; n > 2*nodes*(20+3) {
				t.Errorf("%d calls of a store that hangs", n)
			}
			if n := g.turns[0].len() + g.turns[1].len() - turned; n != nodes {
				t.Errorf("%d turns, want %d", n, nodes)
			}
			switch most := int64(guardedCount); {
			case policy == ratelimit.Closed && (s+d != 0 || f != 2000*nodes),
				policy == ratelimit.Open && (s != 0 || d != 2000*nodes || f != 0),
				policy == ratelimit.Local && (s != 0 || d == 0 || d+early > most || f != 0):
				t.Errorf("the store let %d pass, the policy %d, and %d errors", s, d, f)
			}
			g.server.Resume()
			g.heal()
			total := stored
			if policy == ratelimit.Local {
				total += early + d
			}
			if used := g.used(); used < min(total, guardedCount) {
				t.Errorf("the store has %d in use, want at least %d", used, min(total, guardedCount))
			}
		})
	}
}
