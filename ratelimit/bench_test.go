package ratelimit_test

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func benchLimits(tb testing.TB, n int) ratelimit.Limits {
	tb.Helper()
	all := []ratelimit.Limit{
		{Name: "second", Count: 1e9, Period: time.Second},
		{Name: "minute", Count: 1e10, Period: time.Minute, Algorithm: ratelimit.SlidingWindow},
		{Name: "day", Count: 1e12, Period: 24 * time.Hour, Algorithm: ratelimit.FixedWindow},
	}
	l, err := ratelimit.NewLimits(all[:n]...)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func benchLimiter(tb testing.TB, limits ratelimit.Limits) *ratelimit.Limiter {
	tb.Helper()
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: 1 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(store, limits, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// BenchmarkTake takes from 1 or 3 limits, over 1, 10^4 and 10^6 keys in random
// order, from one goroutine and from all cores.
func BenchmarkTake(b *testing.B) {
	for _, keys := range []int{1, 1e4, 1e6} {
		for _, limits := range []int{1, 3} {
			b.Run(fmt.Sprintf("keys=%d/limits=%d", keys, limits), func(b *testing.B) {
				l := benchLimiter(b, benchLimits(b, limits))
				names := make([]string, keys)
				for i := range names {
					names[i] = fmt.Sprintf("key_%016x", i)
					if _, err := l.Take(b.Context(), names[i], 1); err != nil {
						b.Fatal(err)
					}
				}
				if !slices.IsSorted(names) || keys > 1 && names[0] == names[keys-1] {
					b.Fatal("the keys do not vary")
				}
				b.Run("serial", func(b *testing.B) {
					b.ReportAllocs()
					ctx, r := b.Context(), rand.New(rand.NewPCG(1, 2))
					for b.Loop() {
						if _, err := l.Take(ctx, names[r.IntN(keys)], 1); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("parallel", func(b *testing.B) {
					b.ReportAllocs()
					ctx := b.Context()
					b.RunParallel(func(pb *testing.PB) {
						r := rand.New(rand.NewPCG(rand.Uint64(), 2))
						for pb.Next() {
							if _, err := l.Take(ctx, names[r.IntN(keys)], 1); err != nil {
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

// BenchmarkFloor is what no keyed limiter can go below: a hash of the key, a
// lock, the clock and a map of integers.
func BenchmarkFloor(b *testing.B) {
	seed, base, key := maphash.MakeSeed(), time.Now(), "key_0000000000000000"
	var mu sync.Mutex
	m := map[uint64]int64{}
	b.ReportAllocs()
	for b.Loop() {
		h := maphash.String(seed, key)
		mu.Lock()
		m[h] = int64(time.Since(base))
		mu.Unlock()
	}
}

// BenchmarkTakeAll charges a key, its owner and its address, each under limits
// of its own, in one decision.
func BenchmarkTakeAll(b *testing.B) {
	l := benchLimiter(b, ratelimit.Limits{})
	charges := []ratelimit.Charge{
		{Key: "key_0123456789abcdef", Limits: benchLimits(b, 3), Cost: 1},
		{Key: "owner_42", Limits: benchLimits(b, 1), Cost: 1},
		{Key: "203.0.113.7", Limits: benchLimits(b, 1), Cost: 1},
	}
	b.ReportAllocs()
	ctx := b.Context()
	for b.Loop() {
		if _, err := l.TakeAll(ctx, charges...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefund takes from and refunds to 1 and 10^4 keys in random order.
func BenchmarkRefund(b *testing.B) {
	for _, keys := range []int{1, 1e4} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			l := benchLimiter(b, benchLimits(b, 1))
			names := make([]string, keys)
			for i := range names {
				names[i] = fmt.Sprintf("key_%016x", i)
			}
			b.ReportAllocs()
			ctx, r := b.Context(), rand.New(rand.NewPCG(1, 2))
			for b.Loop() {
				res, err := l.Take(ctx, names[r.IntN(keys)], 1)
				if err == nil {
					err = l.Refund(ctx, res.Reservation)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWait waits for what is free, so for its place in line alone.
func BenchmarkWait(b *testing.B) {
	l := benchLimiter(b, benchLimits(b, 1))
	names := make([]string, 1e4)
	for i := range names {
		names[i] = fmt.Sprintf("key_%016x", i)
	}
	b.ReportAllocs()
	ctx, r := b.Context(), rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		if _, err := l.Wait(ctx, names[r.IntN(len(names))], 1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCrowd has ten million keys of an attacker come, each once, into a store
// that tracks about 1.5 million and into one that tracks them all. It reports the
// longest decisions: what the machine does meanwhile is in them.
func BenchmarkCrowd(b *testing.B) {
	const keys = 10_000_000
	for _, bytes := range []int64{64 << 20, 1 << 30} {
		b.Run(fmt.Sprintf("MiB=%d", bytes>>20), func(b *testing.B) {
			limits, err := ratelimit.NewLimits(ratelimit.Limit{Name: "day", Count: 10, Period: 24 * time.Hour})
			if err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			tracked := 0
			for b.Loop() {
				store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: bytes})
				if err != nil {
					b.Fatal(err)
				}
				l, err := ratelimit.NewLimiter(store, limits, nil)
				if err != nil {
					b.Fatal(err)
				}
				took, tracked = took[:0], 0
				for i := range keys {
					key, start := strconv.Itoa(i), time.Now()
					_, err := l.Take(b.Context(), key, 10)
					if took = append(took, time.Since(start)); err == nil {
						tracked++
					}
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "ns/median")
			b.ReportMetric(float64(took[len(took)-len(took)/100_000].Nanoseconds()), "ns/99.999%")
			b.ReportMetric(float64(took[len(took)-1].Nanoseconds()), "ns/max")
			b.ReportMetric(float64(tracked), "tracked")
		})
	}
}
