package benchcmp_test

import (
	"context"
	"hash/maphash"
	"sync"
	"testing"
	"time"

	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	"github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"

	"github.com/keytoll/keytoll/ratelimit"
)

// A take asks for one unit for key and reports whether it may pass. An error of
// the limiter ends the test.
type take func(key string) bool

// period is long enough that no unit comes back between two looks at one key:
// a limiter that forgets what is whole again would be measured empty.
const period = 30 * 24 * time.Hour

// limiters are the peers: build makes a limiter that holds each key to count in a
// period, by as many limits of that kind as said.
var limiters = [...]struct {
	name   string
	limits int
	build  func(tb testing.TB, count int64, limits int) take
}{
	{"floor", 1, floorLimiter},
	{"keytoll", 1, ourLimiter},
	{"keytoll-3", 3, ourLimiter},
	{"x-time-rate", 1, xTimeRate},
	{"x-time-rate-3", 3, xTimeRate},
	{"go-limiter", 1, goLimiter},
	{"throttled", 1, throttledLimiter},
	{"ulule", 1, ululeLimiter},
}

// shards is a map in 256 parts, each under its own lock, as programs build it.
type shards[V any] struct {
	seed  maphash.Seed
	parts [256]struct {
		mu sync.Mutex
		m  map[string]V
		_  [48]byte // one cache line each
	}
}

func newShards[V any]() *shards[V] {
	s := &shards[V]{seed: maphash.MakeSeed()}
	for i := range s.parts {
		s.parts[i].m = make(map[string]V)
	}
	return s
}

// floorLimiter counts and refuses what is beyond count, for ever.
func floorLimiter(_ testing.TB, count int64, _ int) take {
	s := newShards[int64]()
	return func(key string) bool {
		p := &s.parts[maphash.String(s.seed, key)%256]
		p.mu.Lock()
		n := p.m[key] + 1
		p.m[key] = n
		p.mu.Unlock()
		return n <= count
	}
}

func ourLimiter(tb testing.TB, count int64, limits int) take {
	tb.Helper()
	var list []ratelimit.Limit
	for _, name := range []string{"a", "b", "c"}[:limits] {
		list = append(list, ratelimit.Limit{Name: name, Count: count, Period: period})
	}
	set, err := ratelimit.NewLimits(list...)
	if err != nil {
		tb.Fatal(err)
	}
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: 4 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(store, set, nil)
	if err != nil {
		tb.Fatal(err)
	}
	ctx := context.Background()
	return func(key string) bool {
		res, err := l.Take(ctx, key, 1)
		if err != nil {
			tb.Error(err)
		}
		return res.Allowed
	}
}

func xTimeRate(_ testing.TB, count int64, limits int) take {
	s := newShards[[]*rate.Limiter]()
	every := rate.Limit(float64(count) / period.Seconds())
	return func(key string) bool {
		p := &s.parts[maphash.String(s.seed, key)%256]
		p.mu.Lock()
		list := p.m[key]
		if list == nil {
			for range limits {
				list = append(list, rate.NewLimiter(every, int(count)))
			}
			p.m[key] = list
		}
		p.mu.Unlock()
		for _, l := range list {
			if !l.Allow() {
				return false
			}
		}
		return true
	}
}

func goLimiter(tb testing.TB, count int64, _ int) take {
	tb.Helper()
	store, err := memorystore.New(&memorystore.Config{Tokens: uint64(count), Interval: period})
	if err != nil {
		tb.Fatal(err)
	}
	ctx := context.Background()
	tb.Cleanup(func() {
		if err := store.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	return func(key string) bool {
		_, _, _, ok, err := store.Take(ctx, key)
		if err != nil {
			tb.Error(err)
		}
		return ok
	}
}

func throttledLimiter(tb testing.TB, count int64, _ int) take {
	tb.Helper()
	store, err := memstore.NewCtx(0) // a map without bound
	if err != nil {
		tb.Fatal(err)
	}
	l, err := throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{
		MaxRate:  throttled.PerDuration(int(count), period),
		MaxBurst: int(count) - 1, // beside the one that is always allowed
	})
	if err != nil {
		tb.Fatal(err)
	}
	// It gives up when others were faster ten times in a row, which one hot key
	// on several cores brings about: let it go on, as a service would have to.
	l.SetMaxCASAttemptsLimit(1e6)
	ctx := context.Background()
	return func(key string) bool {
		limited, _, err := l.RateLimitCtx(ctx, key, 1)
		if err != nil {
			tb.Error(err)
		}
		return !limited
	}
}

func ululeLimiter(tb testing.TB, count int64, _ int) take {
	tb.Helper()
	l := limiter.New(memory.NewStore(), limiter.Rate{Period: period, Limit: count})
	ctx := context.Background()
	return func(key string) bool {
		c, err := l.Get(ctx, key)
		if err != nil {
			tb.Error(err)
		}
		return !c.Reached
	}
}

// Every limiter admits exactly its count for each key and then refuses: what is
// measured below is a decision.
func TestEveryLimiterDecides(t *testing.T) {
	const count = 5
	keys := subjects(t, 1000)
	for _, l := range limiters {
		t.Run(l.name, func(t *testing.T) {
			allow := l.build(t, count, l.limits)
			for i := range count {
				for _, key := range keys {
					if !allow(key) {
						t.Fatalf("%s: unit %d of %d is refused", key, i+1, count)
					}
				}
			}
			for _, key := range keys {
				if allow(key) {
					t.Fatalf("%s: unit %d of %d is allowed", key, count+1, count)
				}
			}
			if !allow("another") {
				t.Error("a key that was never seen is refused")
			}
		})
	}
}

// plenty returns a count for each of n keys that no run uses up and of which one
// unit takes 260 microseconds to come back with one key, 4 minutes with 10^6.
func plenty(n int) int64 { return 1e10 / int64(n) }

func BenchmarkLimit(b *testing.B) {
	for _, n := range counts {
		for _, l := range limiters {
			b.Run(table(n)+"/peer="+l.name, func(b *testing.B) {
				skipLargest(b, n)
				keys, before := subjects(b, n), heap()
				allow := l.build(b, plenty(n), l.limits)
				for _, key := range keys {
					if !allow(key) {
						b.Fatalf("%s is refused before the run", key)
					}
				}
				perKey := 0.0
				if n > 1 {
					perKey = (heap() - before) / float64(n)
				}
				modes(b, n, perKey, func(i int) bool { return allow(keys[i]) })
			})
		}
	}
}

// BenchmarkLimitRefused is the other half of a limiter's life: keys that used up
// their limit and go on asking.
func BenchmarkLimitRefused(b *testing.B) {
	for _, n := range counts {
		for _, l := range limiters {
			b.Run(table(n)+"/peer="+l.name, func(b *testing.B) {
				skipLargest(b, n)
				keys, allow := subjects(b, n), l.build(b, 1, l.limits)
				for _, key := range keys {
					allow(key)
				}
				modes(b, n, 0, func(i int) bool { return !allow(keys[i]) })
			})
		}
	}
}
