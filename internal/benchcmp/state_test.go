package benchcmp_test

import (
	"flag"
	"strconv"
	"testing"
)

var large = flag.Bool("large", false, "BenchmarkState also with 10^7 keys in memory, which takes up to 8 GiB, and 10^6 in Redis")

// held are the numbers of limits that a key's state is measured with.
var held = [...]int{1, 2, 4, 8}

// BenchmarkState tells what Keytoll's own state costs: bytes a key, and the time
// of one decision, against the number of keys and of the limits that each is
// held to at once.
func BenchmarkState(b *testing.B) {
	b.Run("store=memory", func(b *testing.B) {
		eachState(b, 1e6, func(b *testing.B, n, limits int) {
			all, before := subjects(b, n), heap()
			allow := keytollLimiter(b, plenty(n), limits)
			if key, ok := all.each(allow); !ok {
				b.Fatalf("%s is refused before the run", key)
			}
			bytes := (heap() - before) / float64(n)
			b.Run("callers=1", func(b *testing.B) {
				d := draw{n: n}
				for b.Loop() {
					if !allow(all.at(d.next())) {
						b.Fatal("unexpected answer")
					}
				}
				b.ReportMetric(bytes, "B/key")
			})
		})
	})
}

func eachState(b *testing.B, most int, run func(b *testing.B, n, limits int)) {
	b.Helper()
	for _, n := range [...]int{1e4, 1e6, 1e7} {
		for _, limits := range held {
			b.Run(table(n)+"/limits="+strconv.Itoa(limits), func(b *testing.B) {
				if n > most && !*large {
					b.Skip("only with -large")
				}
				run(b, n, limits)
			})
		}
	}
}
