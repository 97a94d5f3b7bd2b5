// Package ratelimittest proves that a [ratelimit.Store] keeps its contract.
//
//	func TestConformance(t *testing.T) {
//		ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return open(t) })
//	}
//
// Each subtest is one sentence of the contract. The last ones compare every
// answer of the store with a model in rational numbers, over random sequences
// of everything a [ratelimit.Limiter] can ask, at times that jump back and
// forth; a failure names its seed and step.
//
// # What the author of a store does
//
// Test twice: by [RunStill] the store as its users get it, and by [Run] one
// whose time is the test's, which implements [Clock]. Where a server decides at its own time, give the store
// an option to pass the time along with each request. The server must then not
// forget by its own clock what still counts by the test's: state whose Period is
// a few microseconds has to be there seconds later while the time stands still.
//
// A store over several machines that cannot decide about several keys in one
// step says so by [Divided]. All subtests apply to it but one word of them: of
// callers at once who name several keys fewer may pass than one step would let
// pass. What was refused must still be given back in full.
//
// A store in front of another that refuses by itself what the other would says
// so by [Remembering]. Of what it refuses every RetryAfter must be exact, but
// Remaining and ResetAfter may be those of the refusal that it remembers.
//
// A store in front of another that takes more than it was asked for, to spend it
// later by itself, says so by [Leasing]. The random sequences do not apply to
// it, because what it tells is in part what it knew before, and what it has taken
// nobody else can have; its own tests must show that nothing passes beyond the
// limits, and how much may be left unused.
package ratelimittest

import (
	"context"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// A Clock is a store whose time stands still unless it is advanced.
type Clock interface {
	// Advance moves the time by d; a negative d moves it back.
	Advance(d time.Duration)
}

// A Divided store may be unable to decide about several keys in one step.
type Divided interface {
	// Divided reports whether it is.
	Divided() bool
}

func divided(s ratelimit.Store) bool {
	d, ok := s.(Divided)
	return ok && d.Divided()
}

// A Remembering store may refuse from what it remembers of an earlier refusal.
type Remembering interface {
	// Remembering reports whether it may.
	Remembering() bool
}

func remembering(s ratelimit.Store) bool {
	r, ok := s.(Remembering)
	return ok && r.Remembering()
}

// A Leasing store may spend what it took from another store before.
type Leasing interface {
	// Leasing reports whether it may.
	Leasing() bool
}

func leasing(s ratelimit.Store) bool {
	l, ok := s.(Leasing)
	return ok && l.Leasing()
}

// Run runs the suite on a store that implements [Clock]; one that does not fails.
// The function open returns an empty store, each time it is called; what it opens
// it cleans up itself. Subtests run in parallel.
func Run(t *testing.T, open func(t *testing.T) ratelimit.Store) {
	t.Helper()
	first := open(t)
	if _, ok := first.(Clock); !ok {
		t.Fatal("the store has no method Advance, so its promises about time cannot be proven; implement Clock, or RunStill what needs none")
	}
	all := append(still(), moving()...)
	if !leasing(first) { // its own tests prove what it lets pass
		all = append(all, walks()...)
	}
	run(t, all, open)
}

// RunStill runs those subtests of the suite during which time need not move: on
// a store as its users get it, beside Run on the same store with a [Clock].
func RunStill(t *testing.T, open func(t *testing.T) ratelimit.Store) {
	t.Helper()
	run(t, still(), open)
}

func run(t *testing.T, checks []check, open func(t *testing.T) ratelimit.Store) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.sentence, func(t *testing.T) {
			t.Parallel()
			if err := c.run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A check proves one sentence on an empty store.
type check struct {
	sentence string
	run      func(ctx context.Context, s ratelimit.Store) error
}

// Bench measures the store: one key and many, one limit to eight, alone and in
// parallel.
func Bench(b *testing.B, open func(b *testing.B) ratelimit.Store) {
	b.Helper()
	for _, keys := range []int{1, 10_000} {
		for _, limits := range []int{1, 2, 4, 8} {
			b.Run(benchName(keys, limits), func(b *testing.B) {
				l := must(ratelimit.NewLimiter(open(b), manyLimits(limits), nil))
				names := benchKeys(keys)
				b.Run("serial", func(b *testing.B) {
					b.ReportAllocs()
					next := keyOrder(1, keys)
					for b.Loop() {
						if _, err := l.Take(b.Context(), names[next()], 1); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("parallel", func(b *testing.B) {
					b.ReportAllocs()
					b.RunParallel(func(pb *testing.PB) {
						next := keyOrder(2, keys)
						for pb.Next() {
							if _, err := l.Take(b.Context(), names[next()], 1); err != nil {
								b.Error(err)
								return
							}
						}
					})
				})
			})
		}
	}
}
