package ratelimit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

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
		Samples: 1, Probes: 1, Deadline: patience, Now: h.now,
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
