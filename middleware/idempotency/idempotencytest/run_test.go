package idempotencytest

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/middleware/idempotency"
)

// A clock only moves by advance.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func memory(tb testing.TB, o *idempotency.MemoryOptions) *idempotency.MemoryStore {
	tb.Helper()
	store, err := idempotency.NewMemoryStore(o)
	if err != nil {
		tb.Fatal(err)
	}
	return store
}

// clocked is a fixture whose clock is moved by hand.
func clocked(tb testing.TB) Fixture {
	tb.Helper()
	c := &clock{at: time.Unix(1_700_000_000, 0)}
	return Fixture{
		Store:   memory(tb, &idempotency.MemoryOptions{Now: c.now}),
		Advance: c.advance,
		Small:   memory(tb, &idempotency.MemoryOptions{Now: c.now, MaxBytes: 10_000}),
	}
}

func TestMemoryKeepsThePromises(t *testing.T) {
	Run(t, func(t *testing.T) Fixture { return clocked(t) })
}

// A store whose clock nobody moves is waited for; the bubble makes that quick.
func TestMemoryKeepsThePromisesWhenWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range waits {
			if err := c.run(t.Context(), newSubject(Fixture{Store: memory(t, nil)})); err != nil {
				t.Errorf("%s: %v", c.promise, err)
			}
		}
	})
}

func BenchmarkMemory(b *testing.B) {
	Bench(b, func(b *testing.B) idempotency.Store { return memory(b, nil) })
}
