package benchcmp_test

import (
	"encoding/hex"
	"math/bits"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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

// keys are n texts that look like the keys of a service. They lie in one string,
// so that the collector's work is the limiter's alone.
type keys struct {
	text string
	n    int
}

const keyBytes = len("key_0123456789abcdef")

func (k keys) at(i int) string { return k.text[i*keyBytes : (i+1)*keyBytes] }

// made are the keys of each number so far.
var made sync.Map

// subjects returns n keys, the same ones each time.
func subjects(tb testing.TB, n int) keys {
	tb.Helper()
	if k, ok := made.Load(n); ok {
		return k.(keys)
	}
	text := make([]byte, 0, n*keyBytes)
	for i := range n {
		var number [8]byte
		for j := range number {
			number[j] = byte(mix(uint64(i)) >> (8 * j))
		}
		text = hex.AppendEncode(append(text, "key_"...), number[:])
	}
	k := keys{string(text), n}
	if n <= 1e6 { // more are as distinct, and too many to look at
		mustVary(tb, n, k.at)
	}
	made.Store(n, k)
	return k
}

// each asks about all keys, once, in a text of their own, as requests bring
// them: a limiter that keeps the text pays for it.
func (k keys) each(ask func(key string) bool) (last string, all bool) {
	for i := range k.n {
		if key := strings.Clone(k.at(i)); !ask(key) {
			return key, false
		}
	}
	return "", true
}

// mix is the finalizer of SplitMix64: a bijection, so that n numbers stay n.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A draw picks one of n places at random, all with the same chance: SplitMix64.
type draw struct {
	state uint64
	n     int
}

func (d *draw) next() int {
	at, _ := bits.Mul64(mix(d.state), uint64(d.n))
	d.state += 0x9e3779b97f4a7c15
	return int(at)
}

// mustVary fails unless all of n keys differ.
func mustVary(tb testing.TB, n int, at func(i int) string) {
	tb.Helper()
	seen := make(map[string]bool, n)
	for i := range n {
		if seen[at(i)] {
			tb.Fatalf("the keys do not vary: %q came again after %d of %d", at(i), i, n)
		}
		seen[at(i)] = true
	}
}

// A metric is reported beside the time of the serial run.
type metric struct {
	unit  string
	value float64
}

// modes measures step from one goroutine and from all. step gets one of n places,
// drawn at random, and reports whether the answer was the expected one.
func modes(b *testing.B, n int, step func(i int) bool, beside ...metric) {
	b.Helper()
	b.Run("mode=serial", func(b *testing.B) {
		b.ReportAllocs()
		d, last, same := draw{n: n}, -1, 0
		for b.Loop() {
			i := d.next()
			if !step(i) {
				b.Fatal("unexpected answer")
			}
			if i == last {
				same++
			}
			last = i
		}
		if n > 1 && same > 100+2*b.N/n {
			b.Fatalf("the keys did not vary: %d of %d were the one before", same, b.N)
		}
		for _, m := range beside {
			b.ReportMetric(m.value, m.unit)
		}
	})
	b.Run("mode=parallel", func(b *testing.B) {
		b.ReportAllocs()
		var started atomic.Uint64
		b.RunParallel(func(pb *testing.PB) {
			d := draw{n: n, state: mix(started.Add(1))}
			for pb.Next() {
				if !step(d.next()) {
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

// collection returns the milliseconds that a full collection takes, the least of
// three.
func collection() float64 {
	least := time.Hour
	for range 3 {
		start := time.Now()
		runtime.GC()
		least = min(least, time.Since(start))
	}
	return float64(least.Nanoseconds()) / 1e6
}

// Every key comes, all as often as chance has it, and what n draws miss is what
// they miss by chance.
func TestDrawsAreUniform(t *testing.T) {
	for _, n := range counts[1:] {
		seen, tenths, distinct := make([]bool, n), [10]int{}, 0
		for d, k := (draw{n: n}), 0; k < n; k++ {
			i := d.next()
			tenths[i*10/n]++
			if !seen[i] {
				seen[i] = true
				distinct++
			}
		}
		if share := float64(distinct) / float64(n); share < 0.62 || share > 0.645 {
			t.Errorf("%d draws of %d keys found %.3f of them; chance finds 0.632", n, n, share)
		}
		for i, k := range tenths {
			if k < n/10*9/10 || k > n/10*11/10 {
				t.Errorf("%d of %d draws are in tenth %d", k, n, i+1)
			}
		}
	}
}

func TestKeysVary(t *testing.T) {
	subjects(t, 1e4)
}
