package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Two processes before one store, random work: what a process refuses from
// memory the store refuses too, unless the other process gave something back
// within the bound; and the waits it tells are never longer than the store's.
func TestBlockedRefusesWhatTheStoreRefuses(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	const bound = 300 * time.Millisecond
	for range 40 {
		a := newFront(t, bound, nil)
		second, err := ratelimit.NewBlockedStore(a.inner, bound, &ratelimit.BlockedOptions{Now: func() time.Time {
			a.mu.Lock()
			defer a.mu.Unlock()
			return *a.now
		}})
		if err != nil {
			t.Fatal(err)
		}
		var processes [2]*ratelimit.Limiter
		limits := set(t,
			ratelimit.Limit{Name: "b", Count: 1 + r.Int64N(9), Burst: 1 + r.Int64N(9), Period: time.Second},
			ratelimit.Limit{Name: "w", Algorithm: ratelimit.Algorithm(1 + r.IntN(3)), Count: 1 + r.Int64N(9), Period: time.Second})
		for i, s := range []ratelimit.Store{a, second} {
			if processes[i], err = ratelimit.NewLimiter(s, limits, nil); err != nil {
				t.Fatal(err)
			}
		}
		store, err := ratelimit.NewLimiter(a.inner, limits, nil)
		if err != nil {
			t.Fatal(err)
		}
		var taken []ratelimit.Reservation
		gaveBack := [2]time.Time{}
		for range 300 {
			who := r.IntN(2)
			a.mu.Lock()
			now := *a.now
			a.mu.Unlock()
			switch r.IntN(10) {
			case 0:
				if len(taken) > 0 {
					i := r.IntN(len(taken))
					if err := processes[who].Refund(t.Context(), taken[i]); err != nil {
						t.Fatal(err)
					}
					taken = slices.Delete(taken, i, i+1)
					gaveBack[who] = now
				}
			case 1, 2, 3:
				a.Advance(time.Duration(r.Int64N(int64(200 * time.Millisecond))))
			default:
				cost := r.Int64N(5)
				want, err := store.Peek(t.Context(), "k", cost)
				if err != nil {
					t.Fatal(err)
				}
				before := a.calls.Load()
				got, err := processes[who].Take(t.Context(), "k", cost)
				if err != nil {
					t.Fatal(err)
				}
				if got.Allowed {
					taken = append(taken, got.Reservation)
				}
				remembered := a.calls.Load() == before
				if remembered && now.Sub(gaveBack[1-who]) < bound {
					continue
				}
				if got.Allowed != want.Allowed || got.RetryAfter > want.RetryAfter && want.RetryAfter != ratelimit.Never {
					t.Fatalf("process %d (from memory: %t), cost %d: allowed %t after %v, the store says %t after %v",
						who, remembered, cost, got.Allowed, got.RetryAfter, want.Allowed, want.RetryAfter)
				}
			}
		}
	}
}

// BenchmarkBlocked refuses from memory, over 1 and 10^4 subjects in random order.
func BenchmarkBlocked(b *testing.B) {
	for _, keys := range []int{1, 1e4} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			memory, err := ratelimit.NewMemoryStore(nil)
			if err != nil {
				b.Fatal(err)
			}
			var calls atomic.Int64
			blocked, err := ratelimit.NewBlockedStore(counted{memory, &calls}, time.Hour, nil)
			if err != nil {
				b.Fatal(err)
			}
			l, err := ratelimit.NewLimiter(blocked, set(b, ratelimit.Limit{Name: "year", Count: 1, Period: 365 * 24 * time.Hour}), nil)
			if err != nil {
				b.Fatal(err)
			}
			names := make([]string, keys)
			for i := range names {
				names[i] = fmt.Sprintf("key_%016x", i)
				for range 2 {
					if _, err := l.Take(b.Context(), names[i], 1); err != nil {
						b.Fatal(err)
					}
				}
			}
			calls.Store(0)
			b.ReportAllocs()
			ctx, r := b.Context(), rand.New(rand.NewPCG(1, 2))
			for b.Loop() {
				if res, err := l.Take(ctx, names[r.IntN(keys)], 1); res.Allowed || err != nil {
					b.Fatal(res.Allowed, err)
				}
			}
			if n := calls.Load(); n > 0 {
				b.Fatalf("%d calls of the store", n)
			}
		})
	}
}
