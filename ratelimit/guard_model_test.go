package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// still has limits under which nothing comes back while a test runs.
func still() []ratelimit.Limit {
	const day = 24 * time.Hour
	return []ratelimit.Limit{
		{Name: "bucket", Count: 60, Period: ratelimit.MaxPeriod / 100}, // of which a debt may take a hundred to pay
		{Name: "fixed", Algorithm: ratelimit.FixedWindow, Count: 60, Period: day},
		{Name: "sliding", Algorithm: ratelimit.SlidingWindow, Count: 60, Period: day},
		{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 60, Period: day},
		{Name: "calendar", Algorithm: ratelimit.Calendar, Count: 60, Every: ratelimit.Month},
		{Name: "leases", Algorithm: ratelimit.Concurrency, Count: 60, Period: day},
	}
}

type holding struct {
	node int
	key  string
	r    ratelimit.Reservation
	cost int64
}

// Over outages of any kind and length, N nodes admit at most the count and the
// shares of N-1 of them; and every unit that was let pass is charged to the
// store, once.
func TestModelOfOutages(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		runOutages(t, seed)
	}
}

func runOutages(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	all := still()
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	limits, nodes := all[:1+rng.IntN(2)], 1+rng.IntN(4)
	settles, loses := rng.IntN(2) == 0, rng.IntN(3) == 0
	f := newFleet(t, ratelimit.Local, nodes, limits...)
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("seed %d (%d nodes, %v, settles %v, loses %v): %s", seed, nodes, limits, settles, loses, fmt.Sprintf(format, args...))
	}
	keys := []string{"a", "b"}
	used := map[string]int64{}
	var held []holding
	for range 300 {
		switch n := rng.IntN(20); {
		case n == 0:
			f.store.fail(refused)
			if loses && rng.IntN(2) == 0 {
				f.store.fail(lost)
			}
		case n == 1:
			f.store.fail(up)
		case n == 2:
			f.hand.pass(time.Duration(rng.IntN(3)) * time.Second)
		case n < 6 && settles && len(held) > 0:
			i := rng.IntN(len(held))
			h := held[i]
			actual := rng.Int64N(h.cost + 1)
			if err := f.nodes[h.node].Settle(t.Context(), h.r, actual); err != nil {
				fail("settle: %v", err)
			}
			if rng.IntN(2) == 0 { // again changes nothing
				if err := f.nodes[h.node].Refund(t.Context(), h.r); err != nil {
					fail("refund: %v", err)
				}
			}
			used[h.key] += actual - h.cost
			held = append(held[:i], held[i+1:]...)
		default:
			h := holding{node: rng.IntN(nodes), key: keys[rng.IntN(len(keys))], cost: 1 + rng.Int64N(6)}
			r, err := f.nodes[h.node].Take(t.Context(), h.key, h.cost)
			if err != nil {
				fail("take: %v", err)
			}
			if r.Allowed {
				h.r = r.Reservation
				held = append(held, h)
				used[h.key] += h.cost
			}
			if n, most := used[h.key], int64(60+(nodes-1)*(60/nodes)); n > most {
				fail("%d of %q let pass, want at most %d", n, h.key, most)
			}
		}
	}
	f.heal()
	for _, key := range keys {
		for node := range nodes {
			for range 4 { // a try each, if need be
				f.hand.pass(time.Second)
				if _, err := f.nodes[node].Take(t.Context(), key, 0); err != nil {
					fail("take of 0: %v", err)
				}
			}
		}
		for _, l := range limits {
			const plenty = 9000
			l.Count = plenty
			r, err := f.plain.PeekAll(t.Context(), ratelimit.Charge{Key: key, Limits: set(t, l)})
			if err != nil {
				fail("peek: %v", err)
			}
			got, want := plenty-r.Remaining, used[key]
			most := want
			if l.Algorithm == ratelimit.TokenBucket && settles {
				most++ // a refund leaves the fraction that time may have paid
			}
			if loses {
				most = plenty // unknown outcomes are charged at least once
			}
			if got < want || got > most {
				fail("%s: the store has %d of %q in use, want %d to %d", l.Name, got, key, want, most)
			}
		}
	}
}

// One node behind a guard is never freer than a store that had decided it all
// itself, whatever time does to what is owed.
func TestModelOfTimeDuringOutages(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 8))
		limit := everyLimit()[rng.IntN(6)]
		limit.Count = 2 + rng.Int64N(40)
		f := newFleet(t, ratelimit.Local, 1, limit)
		whole, err := ratelimit.NewMemoryStore(f.hand.options())
		if err != nil {
			t.Fatal(err)
		}
		l := set(t, limit)
		truth, err := ratelimit.NewLimiter(whole, l, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			switch n := rng.IntN(12); {
			case n == 0:
				f.store.fail(refused)
			case n == 1:
				f.heal()
			case n < 5:
				f.hand.pass(time.Duration(rng.Int64N(int64(20*time.Minute)) << rng.IntN(5)))
			default:
				cost := 1 + rng.Int64N(max(limit.Count/2, 1))
				want, err := truth.Peek(t.Context(), "k", cost)
				if err != nil {
					t.Fatal(err)
				}
				r := f.take(0, "k", cost)
				if r.Allowed && !want.Allowed {
					t.Fatalf("seed %d, %+v: cost %d let pass with %d free, degraded is %v", seed, limit, cost, want.Remaining, r.Degraded)
				}
				// Nor does it refuse without need, where time pays evenly or by whole windows.
				exact := limit.Algorithm == ratelimit.FixedWindow || limit.Algorithm == ratelimit.Calendar ||
					limit.Algorithm == ratelimit.TokenBucket && want.Remaining > cost
				if exact && !r.Allowed && want.Allowed {
					t.Fatalf("seed %d, %+v: cost %d refused with %d free, degraded is %v", seed, limit, cost, want.Remaining, r.Degraded)
				}
				if r.Allowed {
					req := ratelimit.Request{Mode: ratelimit.ModeCharge, Ops: []ratelimit.Op{{Rule: l.Rule(0), Key: "k", Cost: cost}}}
					if err := whole.Apply(t.Context(), &req); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

type admission struct{ at, cost int64 }

// The bound holds in each window, in each trailing Period of a log, and for a
// bucket in each span of time, however outages and windows fall together.
func TestModelOfAFleetInTime(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 9))
		limit := everyLimit()[[]int{0, 1, 3, 4}[rng.IntN(4)]]
		limit.Count = 1 + rng.Int64N(40)
		nodes := 2 + rng.IntN(3)
		f := newFleet(t, ratelimit.Local, nodes, limit)
		share := max(limit.Count/int64(nodes), 1)
		var all []admission
		for range 250 {
			switch n := rng.IntN(12); {
			case n == 0:
				f.store.fail(refused)
			case n == 1:
				f.heal()
			case n < 4:
				f.hand.pass(time.Duration(rng.Int64N(int64(20*time.Minute)) << rng.IntN(3)))
			default:
				cost := 1 + rng.Int64N(max(limit.Count/3, 1))
				if r := f.take(rng.IntN(nodes), "k", cost); r.Allowed {
					all = append(all, admission{f.hand.us.Load(), cost})
				}
			}
		}
		r := set(t, limit)
		for i := range all {
			sum, most := int64(0), limit.Count+int64(nodes-1)*share
			for _, a := range all[i:] {
				span := a.at - all[i].at
				switch limit.Algorithm {
				case ratelimit.TokenBucket: // all in units times the period
					us := limit.Period.Microseconds()
					store, here := limit.Count*(us+span), share*(us+span)
					if sum += a.cost; sum*us > store+int64(nodes)*here {
						t.Fatalf("seed %d, %d nodes, %+v: %d let pass in %dus", seed, nodes, limit, sum, span)
					}
					continue
				case ratelimit.SlidingLog:
					if span >= limit.Period.Microseconds() {
						continue
					}
				default:
					if _, end := r.Rule(0).WindowAt(all[i].at); a.at >= end {
						continue
					}
				}
				if sum += a.cost; sum > most {
					t.Fatalf("seed %d, %d nodes, %+v: %d let pass, want at most %d", seed, nodes, limit, sum, most)
				}
			}
		}
	}
}

// While nodes decide at once and the store comes and goes, no more passes than
// the count and all shares, and nothing of it is free.
func TestFlappingStoreUnderLoad(t *testing.T) {
	t.Parallel()
	const nodes, count = 2, 400
	var limits []ratelimit.Limit
	for _, l := range still() {
		l.Count = count
		limits = append(limits, l)
	}
	f := newFleet(t, ratelimit.Local, nodes, limits...)
	var allowed atomic.Int64
	var workers, flapper sync.WaitGroup
	stop := make(chan struct{})
	flapper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				f.store.fail([]outage{up, refused, up, lost}[i%4])
				if i < 20_000 { // the window must not end
					f.hand.pass(time.Second)
				}
				runtime.Gosched()
			}
		}
	})
	for w := range 8 {
		workers.Go(func() {
			n := f.nodes[w%nodes]
			for i := range 150 {
				r, err := n.Take(t.Context(), "k", 1)
				if err != nil {
					t.Error(err)
					return
				}
				if r.Allowed && i%3 == 0 {
					if err := n.Refund(t.Context(), r.Reservation); err != nil {
						t.Error(err)
						return
					}
				} else if r.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	flapper.Wait()
	got := allowed.Load()
	if most := int64(count + nodes*(count/nodes)); got > most {
		t.Errorf("%d let pass, want at most %d", got, most)
	}
	f.heal()
	for node := range nodes {
		for range 4 {
			f.hand.pass(time.Second)
			f.take(node, "k", 0)
		}
	}
	r, err := f.plain.Peek(t.Context(), "k", 0)
	if err != nil {
		t.Fatal(err)
	}
	for s := range r.States() {
		if used := count - s.Remaining; used < min(got, count) {
			t.Errorf("%s: %d in use, %d were let pass", s.Limit.Name, used, got)
		}
	}
}
