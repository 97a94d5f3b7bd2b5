package benchcmp_test

import (
	"strconv"
	"testing"
	"time"
)

// A take asks for one unit for key and reports whether it may pass. An error of
// the limiter ends the test.
type take func(key string) bool

// period is long enough that no unit comes back between two looks at one key:
// a limiter that forgets what is whole again would be measured empty.
const period = 30 * 24 * time.Hour

// A limiterPeer is one way to hold keys to a limit in memory. one makes a limiter that
// holds each key to count in a period. many does the same by several limits of
// that kind at once; where it is nil, several limiters are asked in turn, until
// one refuses. Where one is nil, many makes one, too.
type limiterPeer struct {
	name string
	one  func(tb testing.TB, count int64) take
	many func(tb testing.TB, count int64, limits int) take
}

var limiterPeers = [...]limiterPeer{
	{name: "floor", one: floorLimiter},
	{name: "keytoll", many: keytollLimiter},
	{name: "x-time-rate", one: xTimeRate, many: xTimeRates},
	{name: "go-limiter", one: goLimiter},
	{name: "throttled", one: throttledLimiter},
	{name: "ulule", one: ululeLimiter},
	{name: "httprate", one: httprateLimiter},
	{name: "httprate-counter", one: httprateCounter},
	{name: "tollbooth", one: tollboothLimiter},
	{name: "mennanov", one: mennanovLimiter},
}

// build makes a take that asks about as many limits.
func (p limiterPeer) build(tb testing.TB, count int64, limits int) take {
	tb.Helper()
	if p.many != nil && (limits > 1 || p.one == nil) {
		return p.many(tb, count, limits)
	}
	list := make([]take, limits)
	for i := range list {
		list[i] = p.one(tb, count)
	}
	if limits == 1 {
		return list[0]
	}
	return func(key string) bool {
		for _, ask := range list {
			if !ask(key) {
				return false
			}
		}
		return true
	}
}

// together are the numbers of limits that one request is held to.
var together = [...]int{1, 3}

// Every limiter admits exactly its count for each key and then refuses: what is
// measured below is a decision.
func TestEveryLimiterDecides(t *testing.T) {
	const count = 5
	all := subjects(t, 1000)
	for _, p := range limiterPeers {
		for _, limits := range together {
			t.Run(p.name+"/limits="+strconv.Itoa(limits), func(t *testing.T) {
				allow := p.build(t, count, limits)
				for i := range count {
					if key, ok := all.each(allow); !ok {
						t.Fatalf("%s: unit %d of %d is refused", key, i+1, count)
					}
				}
				if key, ok := all.each(func(key string) bool { return !allow(key) }); !ok {
					t.Fatalf("%s: unit %d of %d is allowed", key, count+1, count)
				}
				if !allow("another") {
					t.Error("a key that was never seen is refused")
				}
			})
		}
	}
}

// plenty returns a count for each of n keys that no run uses up and of which one
// unit takes 260 microseconds to come back with one key, 4 minutes with 10^6.
func plenty(n int) int64 { return 1e10 / int64(n) }

// BenchmarkLimit asks for units that are there. Beside the time it tells what
// the table takes: heap bytes a key, and the milliseconds of a full collection.
func BenchmarkLimit(b *testing.B) {
	eachLimiter(b, together[:], func(b *testing.B, n, limits int, p limiterPeer) {
		all, before := subjects(b, n), heap()
		allow := p.build(b, plenty(n), limits)
		if key, ok := all.each(allow); !ok {
			b.Fatalf("%s is refused before the run", key)
		}
		var beside []metric
		if n > 1 {
			beside = []metric{{"B/key", (heap() - before) / float64(n)}, {"ms/GC", collection()}}
		}
		modes(b, n, func(i int) bool { return allow(all.at(i)) }, beside...)
	})
}

// BenchmarkLimitRefused is the other half of a limiter's life: keys that used up
// their limit and go on asking.
func BenchmarkLimitRefused(b *testing.B) {
	eachLimiter(b, together[:1], func(b *testing.B, n, limits int, p limiterPeer) {
		all, allow := subjects(b, n), p.build(b, 1, limits)
		if key, ok := all.each(allow); !ok {
			b.Fatalf("%s is refused before the run", key)
		}
		modes(b, n, func(i int) bool { return !allow(all.at(i)) })
	})
}

func eachLimiter(b *testing.B, limits []int, run func(b *testing.B, n, limits int, p limiterPeer)) {
	b.Helper()
	for _, n := range counts {
		for _, k := range limits {
			for _, p := range limiterPeers {
				b.Run(table(n)+"/limits="+strconv.Itoa(k)+"/peer="+p.name, func(b *testing.B) {
					skipLargest(b, n)
					run(b, n, k, p)
				})
			}
		}
	}
}
