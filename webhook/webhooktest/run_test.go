package webhooktest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// A clocked is a memory store whose clock only moves by Advance.
type clocked struct {
	webhook.ReplayStore

	mu  sync.Mutex
	now time.Time
}

func newClocked(tb testing.TB) *clocked {
	tb.Helper()
	c := &clocked{now: time.Unix(1_700_000_000, 0)}
	store, err := webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{Now: func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.now
	}})
	if err != nil {
		tb.Fatal(err)
	}
	c.ReplayStore = store
	return c
}

func (c *clocked) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestMemoryKeepsThePromises(t *testing.T) {
	RunReplay(t, func(t *testing.T) webhook.ReplayStore { return newClocked(t) })
}

// A store that is no Advancer is waited for; the bubble makes that quick.
func TestMemoryKeepsThePromisesWhenWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range slices.Concat(checks, waits) {
			store, err := webhook.NewMemoryReplayStore(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.run(t.Context(), newSubject(store)); err != nil {
				t.Errorf("%s: %v", c.promise, err)
			}
		}
	})
}

// Each promise has to be able to fail.
func TestEachPromiseRejectsSomeStore(t *testing.T) {
	for _, c := range slices.Concat(checks, waits) {
		store := &hooked{clocked: newClocked(t)}
		store.claim = func(context.Context, string, string, time.Duration) (webhook.ClaimState, error) { return 0, nil }
		if c.run(t.Context(), newSubject(store)) == nil {
			t.Errorf("%q holds for a store that does not answer", c.promise)
		}
	}
}
