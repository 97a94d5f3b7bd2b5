package idempotencytest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/middleware/idempotency"
)

// A Fixture is a store under test.
type Fixture struct {
	// Store is empty, and has room for a hundred thousand keys and for a few answers
	// of [idempotency.MaxStored] bytes.
	Store idempotency.Store
	// Advance moves the clock of Store, and of Small, forward by d. Nil: only real
	// time does.
	Advance func(d time.Duration)
	// Small, unless nil, is an empty store that has room for fewer than 4096 keys. The
	// suite fills it; without one, what a store does that is full is not tested.
	Small idempotency.Store
}

// Run tests that the stores made by open keep the promises of [idempotency.Store],
// one subtest for each. open is called with t, and from several goroutines for
// subtests that need a store of their own.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	t.Helper()
	alone := checks
	shared := open(t)
	if shared.Advance != nil {
		alone = slices.Concat(checks, waits)
	} else {
		waitTogether(t, shared)
	}
	for _, c := range alone {
		t.Run(c.promise, func(t *testing.T) {
			t.Parallel()
			if err := c.run(t.Context(), newSubject(open(t))); err != nil {
				t.Error(err)
			}
		})
	}
	if shared.Small == nil {
		return
	}
	for _, c := range bounds {
		t.Run(c.promise, func(t *testing.T) {
			t.Parallel()
			if err := c.run(t.Context(), newSubject(open(t)).inSmall()); err != nil {
				t.Error(err)
			}
		})
	}
}

// waitTogether has all checks that wait do so at the same time, on one store,
// while nothing else is going on.
func waitTogether(t *testing.T, shared Fixture) {
	t.Helper()
	failures := make([]error, len(waits))
	var all sync.WaitGroup
	for i, c := range waits {
		s := newSubject(shared)
		s.corner = fmt.Sprintf("check%d.", i)
		all.Go(func() { failures[i] = c.run(t.Context(), s) })
	}
	all.Wait()
	for i, c := range waits {
		t.Run(c.promise, func(t *testing.T) {
			if err := failures[i]; err != nil {
				t.Error(err)
			}
		})
	}
}

// A check is one promise of [idempotency.Store]. It returns how a store breaks it,
// and takes a store that is empty.
type check struct {
	promise string
	run     func(ctx context.Context, s *subject) error
}
