package webhooktest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/internal/suite"
	"github.com/keytoll/keytoll/webhook"
)

// An Advancer is a store whose clock a test can move. The suites look for it.
type Advancer interface {
	// Advance moves the store's clock forward by d.
	Advance(d time.Duration)
}

// RunReplay tests that the stores made by newStore keep the promises of
// [webhook.ReplayStore], one subtest for each. newStore is called with t, and from
// several goroutines for subtests that need a store of their own; each store has
// to be empty.
func RunReplay(t *testing.T, newStore func(t *testing.T) webhook.ReplayStore) {
	t.Helper()
	alone := checks
	if shared := newStore(t); isAdvancer(shared) {
		alone = slices.Concat(checks, waits)
	} else {
		waitTogether(t, shared)
	}
	for _, c := range alone {
		t.Run(c.promise, func(t *testing.T) {
			t.Parallel()
			if err := c.run(t.Context(), newSubject(newStore(t))); err != nil {
				t.Error(err)
			}
		})
	}
}

// waitTogether has all checks that wait do so at the same time, on one store,
// while nothing else is going on.
func waitTogether(t *testing.T, store webhook.ReplayStore) {
	t.Helper()
	failures := make([]error, len(waits))
	var all sync.WaitGroup
	for i, c := range waits {
		all.Go(func() { failures[i] = c.run(t.Context(), newSubject(corner{store, fmt.Sprintf("check%d.", i)})) })
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

// A corner is those keys of a store that begin with a prefix.
type corner struct {
	store  webhook.ReplayStore
	prefix string
}

func (c corner) Claim(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
	return c.store.Claim(ctx, c.prefix+key, owner, lease)
}

func (c corner) Done(ctx context.Context, key string, keep time.Duration) error {
	return c.store.Done(ctx, c.prefix+key, keep)
}

func (c corner) Release(ctx context.Context, key, owner string) error {
	return c.store.Release(ctx, c.prefix+key, owner)
}

func isAdvancer(store webhook.ReplayStore) bool {
	_, ok := store.(Advancer)
	return ok
}

// A subject is a store under test and the means to let time pass.
type subject struct {
	webhook.ReplayStore
	suite.Clock
}

// long never ends within a test that does not move the clock.
const long = time.Hour

func newSubject(store webhook.ReplayStore) *subject {
	if a, ok := store.(Advancer); ok {
		return &subject{store, suite.NewClock(a.Advance)}
	}
	return &subject{store, suite.NewClock(nil)}
}

// BenchReplay measures the store made by newStore: what one message costs, fresh and
// repeated.
func BenchReplay(b *testing.B, newStore func(b *testing.B) webhook.ReplayStore) {
	b.Helper()
	b.Run("claim and done", func(b *testing.B) {
		store, keys := newStore(b), newKeys()
		b.ReportAllocs()
		for b.Loop() {
			handle(b, store, keys(), brief)
		}
	})
	b.Run("claim and done in parallel", func(b *testing.B) {
		store, keys := newStore(b), newKeys()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				handle(b, store, keys(), brief)
			}
		})
	})
	b.Run("duplicate", func(b *testing.B) {
		store, keys := newStore(b), newKeys()
		var handled []string
		for range 1024 {
			handled = append(handled, keys())
			handle(b, store, handled[len(handled)-1], long)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if state, err := store.Claim(b.Context(), handled[i%len(handled)], "owner", long); err != nil || state != webhook.ClaimDone {
				b.Fatalf("Claim of a done key = %v, %v", state, err)
			}
		}
	})
}

// brief is so short that a bounded store never fills up with what a benchmark
// leaves behind.
const brief = time.Millisecond

// handle claims key and marks it done for keep.
func handle(b *testing.B, store webhook.ReplayStore, key string, keep time.Duration) {
	b.Helper()
	ctx := b.Context()
	if state, err := store.Claim(ctx, key, key, long); err != nil || state != webhook.ClaimGranted {
		b.Errorf("Claim of a free key = %v, %v", state, err)
	}
	if err := store.Done(ctx, key, keep); err != nil {
		b.Error(err)
	}
}

// newKeys returns a function that returns a new key at each call.
func newKeys() func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprintf("msg_%026d", n.Add(1)) }
}
