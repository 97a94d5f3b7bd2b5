package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// A fleet is several leasing stores over one store, all under one clock. Its
// history holds what was really used, and when.
type leaseFleet struct {
	t     *testing.T
	seed  uint64
	rnd   *rand.Rand
	clock *sharedClock
	inner *ratelimit.MemoryStore
	nodes []*node
	share int64
	units int64
	calm  bool // no latency, no outages, no crashes, nothing given back

	uses    map[string][]*usage // of each key and limit
	taken   []*taken
	wasted  map[string]float64
	passed  int
	refused int
	memory  int // takes that passed without a trip
}

type usage struct {
	at   int64
	cost int64
}

// taken is a take that may be settled.
type taken struct {
	n    *node
	res  ratelimit.Result
	uses [][]*usage // of each charge

	settled bool
}

// A node's way to the store takes time and fails.
type node struct {
	*ratelimit.LeasingStore
	l     *ratelimit.Limiter
	down  bool
	took  int64 // when the store passed a take itself, 0 when it did not
	trips int
	holds map[string]int64 // of each bucket, counting what has died since the last trip
}

var errOutage = errors.New("the store does not answer")

type link struct {
	f *leaseFleet
	n *node
}

func (l *link) Apply(ctx context.Context, req *ratelimit.Request) error {
	f := l.f
	l.n.trips++
	f.latency()
	if l.n.down || !f.calm && f.rnd.IntN(50) == 0 {
		return errOutage // lost on the way there
	}
	before := f.debts(req)
	err := f.inner.Apply(ctx, req)
	f.waste(l.n, req, before)
	if err == nil && req.Mode == ratelimit.ModeTake && req.Allowed {
		l.n.took = f.now()
	}
	f.latency()
	if !f.calm && f.rnd.IntN(50) == 0 {
		return errOutage // lost on the way back
	}
	return err
}

// debts returns what the store is owed for each op of a bucket, in units.
func (f *leaseFleet) debts(req *ratelimit.Request) []float64 {
	debts := make([]float64, len(req.Ops))
	for i, op := range req.Ops {
		if l := op.Rule.Limit(); f.calm && l.Algorithm == ratelimit.TokenBucket {
			peek := ratelimit.Request{Mode: ratelimit.ModePeek, Ops: []ratelimit.Op{{Rule: op.Rule, Key: op.Key}}}
			if err := f.inner.Apply(f.t.Context(), &peek); err != nil {
				f.t.Fatal(err)
			}
			debts[i] = float64(peek.Ops[0].Outcome.ResetAfter) * float64(l.Count) / float64(l.Period.Microseconds())
		}
	}
	return debts
}

// waste notes what of a bucket died unused, and what was returned too late for
// all of it to come back, since the bucket was last full.
func (f *leaseFleet) waste(n *node, req *ratelimit.Request, before []float64) {
	after := f.debts(req)
	for i, op := range req.Ops {
		k := useKey(op.Key, op.Rule.Limit())
		switch {
		case op.Rule.Limit().Algorithm != ratelimit.TokenBucket:
		case before[i] == 0:
			f.wasted[k] = 0
		case req.Mode == ratelimit.ModeSettle:
			f.wasted[k] += float64(op.Cost-op.Actual) - (before[i] - after[i])
			n.holds[k] -= op.Cost - op.Actual
		}
		if req.Mode == ratelimit.ModeTakeUpTo {
			f.wasted[k] += float64(max(n.holds[k], 0))
			n.holds[k] = 0
			if req.Allowed && op.Outcome.RetryAfter == 0 {
				n.holds[k] = op.Cost
			}
		}
	}
}

func (f *leaseFleet) now() int64 { return f.clock.Now().UnixMicro() }

func (f *leaseFleet) latency() {
	if !f.calm && f.rnd.IntN(2) == 0 {
		f.clock.Advance(time.Duration(f.rnd.Int64N(1<<f.rnd.IntN(19))) * time.Microsecond)
	}
}

// start gives the node a store of its own that holds nothing.
func (f *leaseFleet) start(n *node) *node {
	n.holds = map[string]int64{}
	store, err := ratelimit.NewLeasingStore(&link{f, n}, f.units, &ratelimit.LeasingOptions{Share: f.share, Now: f.clock.Now})
	if err != nil {
		f.t.Fatal(err)
	}
	n.LeasingStore = store
	if n.l, err = ratelimit.NewLimiter(store, ratelimit.Limits{}, nil); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func useKey(key string, l ratelimit.Limit) string {
	return fmt.Sprint(key, "/", l.Name, "/", l.Algorithm)
}

// take has a node take, and holds what passes against the limits themselves.
func (f *leaseFleet) take(n *node, charges []ratelimit.Charge) {
	n.took = 0
	trips := n.trips
	res, err := n.l.TakeAll(f.t.Context(), charges...)
	if err != nil {
		if !errors.Is(err, errOutage) {
			f.t.Fatalf("seed %d: %v", f.seed, err)
		}
		return
	}
	if !res.Allowed {
		f.refused++
		f.couldPass(charges)
		return
	}
	f.passed++
	if n.trips == trips {
		f.memory++
	}
	at := f.now()
	if n.took != 0 {
		at = n.took
	}
	tk := &taken{n: n, res: res}
	for _, c := range charges {
		var us []*usage
		for i := range c.Limits.Len() {
			if c.Limits.At(i).Shadow {
				continue
			}
			k := useKey(c.Key, c.Limits.At(i))
			f.admit(k, c.Limits.Rule(i), c.Cost, at)
			u := &usage{at, c.Cost}
			f.uses[k] = append(f.uses[k], u)
			if n.took == 0 {
				n.holds[k] -= c.Cost
			}
			us = append(us, u)
		}
		tk.uses = append(tk.uses, us)
	}
	if res.Reservation.ID() != (ratelimit.ID{}) {
		f.taken = append(f.taken, tk)
	}
}

// replay returns the cell that the uses leave when each is charged exactly when
// it happened.
func (f *leaseFleet) replay(k string, r *ratelimit.Rule) ratelimit.Cell {
	var c ratelimit.Cell
	list := f.uses[k]
	for i, u := range list {
		if c.Expires != 0 && u.at >= c.Expires && i > 100 { // what was before does not matter any more
			f.uses[k] = list[i:]
		}
		c = r.Charge(c, u.cost, u.at)
	}
	return c
}

// admit wants the limit itself to let cost pass at the time at.
func (f *leaseFleet) admit(k string, r *ratelimit.Rule, cost, at int64) {
	if _, o := r.Take(f.replay(k, r), cost, at); o.RetryAfter != 0 {
		f.t.Fatalf("seed %d: %s: a cost of %d was let through beyond the limit: %d were free, it passes in %dµs", f.seed, k, cost, o.Remaining, o.RetryAfter)
	}
}

// couldPass wants a calm fleet's refusal to be within the bound.
func (f *leaseFleet) couldPass(charges []ratelimit.Charge) {
	if !f.calm {
		return
	}
	for _, c := range charges {
		for i := range c.Limits.Len() {
			r := c.Limits.Rule(i)
			spare := int64(0)
			if r.Limit().Algorithm == ratelimit.TokenBucket {
				spare = max(r.Quota()/f.share, 1)
			}
			k := useKey(c.Key, c.Limits.At(i))
			bound := int64(len(f.nodes))*min(f.units, r.Quota()/f.share) + spare + int64(f.wasted[k]+1)
			o := r.Peek(f.replay(k, r), 0, f.now())
			if !r.Shadow() && c.Cost > o.Remaining-bound {
				return // this one may have refused
			}
		}
	}
	f.t.Fatalf("seed %d: %v was refused, with more than the bound free", f.seed, charges)
}

// settle settles a random take to less or to more, or once again.
func (f *leaseFleet) settle() {
	if len(f.taken) == 0 {
		return
	}
	tk := f.taken[max(0, len(f.taken)-1-f.rnd.IntN(1<<f.rnd.IntN(8)))]
	var actual []int64
	for s := range tk.uses {
		was := int64(0)
		if len(tk.uses[s]) > 0 {
			was = tk.uses[s][0].cost
		}
		actual = append(actual, f.rnd.Int64N(was+1))
	}
	switch f.rnd.IntN(4) {
	case 0: // charges more, which makes the limits no wider
		actual[0] += 2 * f.units
	case 1, 2:
		clear(actual)
	}
	err := tk.n.l.Settle(f.t.Context(), tk.res.Reservation, actual...)
	if err != nil && !errors.Is(err, errOutage) {
		f.t.Fatalf("seed %d: %v", f.seed, err)
	}
	if tk.settled {
		return
	}
	// What was given back is not used any more, from the moment of the call.
	tk.settled = err == nil
	for s := range tk.uses {
		for _, u := range tk.uses[s] {
			u.cost = min(u.cost, actual[s])
		}
	}
}

func (f *leaseFleet) run(steps int, sets []ratelimit.Limits) {
	for range steps {
		if f.rnd.IntN(4) > 0 {
			f.clock.Advance(time.Duration(f.rnd.Int64N(1<<f.rnd.IntN(20))) * time.Microsecond)
		}
		n := f.nodes[f.rnd.IntN(len(f.nodes))]
		switch k := f.rnd.IntN(1000); {
		case k < 120 && !f.calm:
			f.settle()
		case k < 124 && !f.calm: // a crash, or an orderly end
			if k%2 == 0 {
				_ = n.Close(f.t.Context())
			}
			f.start(n)
		case k < 130 && !f.calm:
			n.down = !n.down
		case k < 150:
			if _, err := n.l.PeekAll(f.t.Context(), ratelimit.Charge{Key: "a", Limits: sets[0], Cost: 1}); err != nil && !errors.Is(err, errOutage) {
				f.t.Fatal(err)
			}
		default:
			charges := []ratelimit.Charge{{Key: "a", Limits: sets[0], Cost: 1}}
			if f.rnd.IntN(4) == 0 {
				charges = append(charges, ratelimit.Charge{Key: "b", Limits: sets[1], Cost: 1})
			}
			if f.rnd.IntN(8) == 0 {
				charges[0].Cost = 1 + f.rnd.Int64N(2*f.units)
			}
			for range 1 + f.rnd.IntN(1<<f.rnd.IntN(6)) {
				f.take(n, charges)
			}
		}
	}
}

func newLeaseFleet(t *testing.T, seed uint64, calm bool) *leaseFleet {
	f := &leaseFleet{
		t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 7)), clock: newClock(), calm: calm,
		uses: map[string][]*usage{}, wasted: map[string]float64{},
	}
	f.share, f.units = 2+f.rnd.Int64N(10), 2+f.rnd.Int64N(20)
	var err error
	if f.inner, err = ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: f.clock.Now}); err != nil {
		t.Fatal(err)
	}
	for range 1 + f.rnd.IntN(4) {
		f.nodes = append(f.nodes, f.start(new(node)))
	}
	return f
}

func (f *leaseFleet) limits(name string) ratelimit.Limits {
	algorithms := []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow}
	var ls []ratelimit.Limit
	for i := range 1 + f.rnd.IntN(2) {
		ls = append(ls, ratelimit.Limit{
			Name: fmt.Sprint(name, i), Algorithm: algorithms[f.rnd.IntN(3)],
			Count: 5 + f.rnd.Int64N(200), Period: time.Duration(1+f.rnd.IntN(3_000_000)) * time.Microsecond,
		})
	}
	if f.rnd.IntN(3) == 0 {
		ls = append(ls, ratelimit.Limit{Name: "shadow", Count: 1 + f.rnd.Int64N(100), Period: time.Second, Shadow: true})
	}
	return set(f.t, ls...)
}

// Whatever nodes, network and clock do, all nodes together let through what the
// limits let through, use by use.
func TestAFleetNeverAdmitsMore(t *testing.T) {
	t.Parallel()
	memory, passed, refused := 0, 0, 0
	for seed := range uint64(60) {
		f := newLeaseFleet(t, seed, false)
		f.run(400, []ratelimit.Limits{f.limits("a"), f.limits("b")})
		memory, passed, refused = memory+f.memory, passed+f.passed, refused+f.refused
	}
	if memory < passed/4 || refused < passed/10 {
		t.Errorf("%d takes passed, %d of them in memory, %d were refused: nothing is proven", passed, memory, refused)
	}
}

// What a fleet refuses, it refuses within its bound.
func TestAFleetLeavesLittleUnused(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		f := newLeaseFleet(t, seed, true)
		f.run(400, []ratelimit.Limits{f.limits("a"), f.limits("b")})
	}
}
