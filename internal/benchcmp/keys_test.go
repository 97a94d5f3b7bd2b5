package benchcmp_test

import (
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
)

// counts are the numbers of keys that every table is measured with.
var counts = [...]int{1, 1e4, 1e6}

// table names the part of a benchmark that has n keys.
func table(n int) string { return "keys=" + strconv.Itoa(n) }

func skipLargest(b *testing.B, n int) {
	b.Helper()
	if n > 1e5 && testing.Short() {
		b.Skip("-short leaves out 10^6 keys")
	}
}

// subjects returns n texts that look like the keys of a service.
func subjects(tb testing.TB, n int) []string {
	tb.Helper()
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key_%016x", mix(uint64(i)))
	}
	mustVary(tb, keys)
	return keys
}

// mix is the finalizer of SplitMix64: a bijection, so that n numbers stay n.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A walk visits n places, each once in n steps, far apart from step to step.
type walk struct{ at, n int }

const stride = 7919 // prime, and no divisor of any count

func (w *walk) next() int {
	if w.at += stride; w.at >= w.n {
		w.at %= w.n
	}
	return w.at
}

// mustVary fails unless all keys differ and a walk over them misses none.
func mustVary(tb testing.TB, keys []string) {
	tb.Helper()
	seen := make(map[string]bool, len(keys))
	for w := (walk{n: len(keys)}); len(seen) < len(keys); {
		key := keys[w.next()]
		if seen[key] {
			tb.Fatalf("the keys do not vary: %q came again after %d of %d", key, len(seen), len(keys))
		}
		seen[key] = true
	}
}

// modes measures step from one goroutine and from all. step gets a place of the
// walk and reports whether the answer was the expected one. perKey, unless zero,
// is reported with the serial figure.
func modes(b *testing.B, n int, perKey float64, step func(i int) bool) {
	b.Helper()
	b.Run("mode=serial", func(b *testing.B) {
		b.ReportAllocs()
		w := walk{n: n}
		for b.Loop() {
			if !step(w.next()) {
				b.Fatal("unexpected answer")
			}
		}
		if perKey != 0 {
			b.ReportMetric(perKey, "B/key")
		}
	})
	b.Run("mode=parallel", func(b *testing.B) {
		b.ReportAllocs()
		var started atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			w := walk{n: n, at: int(started.Add(1)) * n / runtime.GOMAXPROCS(0) % n}
			for pb.Next() {
				if !step(w.next()) {
					b.Error("unexpected answer")
					return
				}
			}
		})
	})
}

// heap returns the bytes in use after a collection.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func TestWalkVisitsEverything(t *testing.T) {
	for _, n := range counts {
		seen, w := make([]bool, n), walk{n: n}
		for step := range n {
			i := w.next()
			if seen[i] {
				t.Fatalf("place %d of %d came again at step %d", i, n, step)
			}
			seen[i] = true
		}
	}
}

func TestKeysVary(t *testing.T) {
	subjects(t, 1e4)
}
