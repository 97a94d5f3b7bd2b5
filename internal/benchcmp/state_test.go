package benchcmp_test

import (
	"flag"
	"strconv"
	"sync"
	"sync/atomic"
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
	b.Run("store=redis", func(b *testing.B) {
		c := reach(b)
		peer := redisPeer{name: "keytoll-rueidis", many: keytollRueidis}
		eachState(b, 1e4, func(b *testing.B, n, limits int) {
			if n > 1e6 {
				b.Skip("only in memory")
			}
			all, allow := subjects(b, n), peer.build(b, c, plenty(n)/100, limits)
			before := c.used(b)
			fill(b, all, allow)
			bytes := (c.used(b) - before) / float64(n)
			for _, callers := range [...]int{1, most} {
				b.Run("callers="+strconv.Itoa(callers), func(b *testing.B) {
					c.crew(b, n, callers, func(i int) bool { return allow(all.at(i)) })
					b.ReportMetric(bytes, "B/key")
				})
			}
		})
	})
}

// fill asks about each key once, by as many callers as there may be.
func fill(b *testing.B, all keys, allow take) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range most {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < all.n; i = int(next.Add(1)) - 1 {
				if !allow(all.at(i)) {
					b.Errorf("%s is refused before the run", all.at(i))
					return
				}
			}
		})
	}
	wg.Wait()
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
