package benchcmp_test

import (
	"context"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	tollbooth "github.com/didip/tollbooth/v8/limiter"
	"github.com/go-chi/httprate"
	"github.com/mennanov/limiters"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	"github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

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
func floorLimiter(_ testing.TB, count int64) take {
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

// keytollLimits returns as many limits of one kind.
func keytollLimits(tb testing.TB, count int64, limits int) ratelimit.Limits {
	tb.Helper()
	list := make([]ratelimit.Limit, limits)
	for i := range list {
		list[i] = ratelimit.Limit{Name: "limit" + strconv.Itoa(i+1), Count: count, Period: period}
	}
	set, err := ratelimit.NewLimits(list...)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func keytollLimiter(tb testing.TB, count int64, limits int) take {
	tb.Helper()
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: 12 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	return keytollOver(tb, store, count, limits)
}

func keytollOver(tb testing.TB, store ratelimit.Store, count int64, limits int) take {
	tb.Helper()
	l, err := ratelimit.NewLimiter(store, keytollLimits(tb, count, limits), nil)
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

func xTimeRate(_ testing.TB, count int64) take {
	s := newShards[*rate.Limiter]()
	every := rate.Limit(float64(count) / period.Seconds())
	return func(key string) bool {
		p := &s.parts[maphash.String(s.seed, key)%256]
		p.mu.Lock()
		l := p.m[key]
		if l == nil {
			l = rate.NewLimiter(every, int(count))
			p.m[key] = l
		}
		p.mu.Unlock()
		return l.Allow()
	}
}

// xTimeRates finds up to three limiters of a key at once.
func xTimeRates(_ testing.TB, count int64, limits int) take {
	s := newShards[[3]*rate.Limiter]()
	every := rate.Limit(float64(count) / period.Seconds())
	return func(key string) bool {
		p := &s.parts[maphash.String(s.seed, key)%256]
		p.mu.Lock()
		list := p.m[key]
		if list[0] == nil {
			for i := range limits {
				list[i] = rate.NewLimiter(every, int(count))
			}
			p.m[key] = list
		}
		p.mu.Unlock()
		for _, l := range list[:limits] {
			if !l.Allow() {
				return false
			}
		}
		return true
	}
}

func goLimiter(tb testing.TB, count int64) take {
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

// throttledQuota is count a period.
func throttledQuota(count int64) throttled.RateQuota {
	return throttled.RateQuota{
		MaxRate:  throttled.PerDuration(int(count), period),
		MaxBurst: int(count) - 1, // beside the one that is always allowed
	}
}

func throttledLimiter(tb testing.TB, count int64) take {
	tb.Helper()
	store, err := memstore.NewCtx(0) // a map without bound
	if err != nil {
		tb.Fatal(err)
	}
	return throttledOver(tb, store, count)
}

func throttledOver(tb testing.TB, store throttled.GCRAStoreCtx, count int64) take {
	tb.Helper()
	l, err := throttled.NewGCRARateLimiterCtx(store, throttledQuota(count))
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

func ululeLimiter(tb testing.TB, count int64) take {
	return ululeOver(tb, memory.NewStore(), count)
}

func ululeOver(tb testing.TB, store limiter.Store, count int64) take {
	l := limiter.New(store, limiter.Rate{Period: period, Limit: count})
	ctx := context.Background()
	return func(key string) bool {
		c, err := l.Get(ctx, key)
		if err != nil {
			tb.Error(err)
		}
		return !c.Reached
	}
}

// httprateLimiter is its one keyed decision, made for a response; the headers,
// which would cost more than the decision, are left out.
func httprateLimiter(tb testing.TB, count int64) take { return httprateOver(tb, count) }

func httprateOver(tb testing.TB, count int64, options ...httprate.Option) take {
	l := httprate.NewRateLimiter(int(count), period, append(options,
		httprate.WithResponseHeaders(httprate.ResponseHeaders{}),
		httprate.WithErrorHandler(func(_ http.ResponseWriter, _ *http.Request, err error) { tb.Error(err) }))...)
	w := httptest.NewRecorder() // not written to
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	return func(key string) bool { return !l.OnLimit(w, r, key) }
}

// httprateCounter is the counter below it, asked and counted up as the limiter
// does, and under a lock as there, without what it prepares for headers.
func httprateCounter(tb testing.TB, count int64) take {
	c := httprate.NewLocalLimitCounter(period)
	start := time.Now()
	var mu sync.Mutex
	return func(key string) bool {
		since := time.Since(start)
		window := start.Add(since.Truncate(period))
		mu.Lock()
		defer mu.Unlock()
		now, before, err := c.Get(key, window, window.Add(-period))
		if err != nil {
			tb.Error(err)
		}
		falling := float64(before) * float64(period-since%period) / float64(period)
		if falling+float64(now+1) > float64(count) {
			return false
		}
		if err := c.IncrementBy(key, window, 1); err != nil {
			tb.Error(err)
		}
		return true
	}
}

// tollboothLimiter is its limiter without the middleware around it.
func tollboothLimiter(_ testing.TB, count int64) take {
	l := tollbooth.New(nil).SetMax(float64(count) / period.Seconds()).SetBurst(int(count))
	return func(key string) bool { return !l.LimitReached(key) }
}

// mennanovLimiter is its token bucket in memory, found by its registry.
func mennanovLimiter(tb testing.TB, count int64) take {
	registry, clock := limiters.NewRegistry(), limiters.NewSystemClock()
	lock, log := limiters.NewLockNoop(), limiters.NewStdLogger()
	every := period / time.Duration(count)
	bucket := func() any {
		return limiters.NewTokenBucket(count, every, lock, limiters.NewTokenBucketInMemory(), clock, log)
	}
	ctx := context.Background()
	return func(key string) bool {
		l := registry.GetOrCreate(key, bucket, period, clock.Now()).(*limiters.TokenBucket)
		_, err := l.Limit(ctx)
		if err != nil && !errors.Is(err, limiters.ErrLimitExhausted) {
			tb.Error(err)
		}
		return err == nil
	}
}
