package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// What these examples come from, and what is different, is in
// docs/coming-from.md.

// From golang.org/x/time/rate: one limiter for all keys, and no map, lock or
// sweep around it. A clock that goes back mints nothing.
func ExampleLimiter_fromXTimeRate() {
	limits, err := ratelimit.NewLimits(ratelimit.Limit{Name: "calls", Count: 1, Period: time.Second, Burst: 10})
	if err != nil {
		log.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: func() time.Time { return now }})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, limits, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()

	res, err := limiter.Take(ctx, "customer 7", 10)
	fmt.Println(res.Allowed, err)
	now = now.Add(-time.Hour)
	res, err = limiter.Take(ctx, "customer 7", 0)
	fmt.Println(res.Allowed, err)
	now = now.Add(time.Hour)
	res, err = limiter.Take(ctx, "customer 7", 10)
	fmt.Println(res.Allowed, res.RetryAfter, err)
	// Output:
	// true <nil>
	// true <nil>
	// false 10s <nil>
}

// From sethvargo/go-limiter: any cost, and the rate is the one that was said.
func ExampleLimiter_fromGoLimiter() {
	now := midnight()
	limiter := limiterAt(&now, ratelimit.Limit{Name: "bytes", Count: 65535, Period: 100 * time.Millisecond})
	ctx := context.Background()
	res, err := limiter.Take(ctx, "customer 7", 65535)
	fmt.Println(res.Allowed, res.Remaining, err)
	now = now.Add(100 * time.Millisecond)
	res, err = limiter.Take(ctx, "customer 7", 65535)
	fmt.Println(res.Allowed, res.Remaining, err)
	// Output:
	// true 0 <nil>
	// true 0 <nil>
}

// From throttled: a cost that can never pass says so, whatever its size, and a
// peek is never a spend.
func ExampleLimiter_fromThrottled() {
	now := midnight()
	limiter := limiterAt(&now, ratelimit.Limit{Name: "day", Count: 1, Period: 24 * time.Hour})
	ctx := context.Background()
	res, err := limiter.Take(ctx, "customer 7", 106752)
	fmt.Println(res.Allowed, res.RetryAfter == ratelimit.Never, err)
	res, err = limiter.Peek(ctx, "customer 7", 1)
	fmt.Println(res.Allowed, res.Remaining, err)
	// Output:
	// false true <nil>
	// true 1 <nil>
}

// From ulule/limiter: who is refused is not charged.
func ExampleLimiter_fromUlule() {
	now := midnight()
	limiter := limiterAt(&now, ratelimit.Limit{Name: "hour", Algorithm: ratelimit.FixedWindow, Count: 10, Period: time.Hour})
	ctx := context.Background()
	res, err := limiter.Take(ctx, "customer 7", 11)
	fmt.Println(res.Allowed, res.RetryAfter == ratelimit.Never, err)
	res, err = limiter.Take(ctx, "customer 7", 1)
	fmt.Println(res.Allowed, res.Remaining, err)
	// Output:
	// false true <nil>
	// true 9 <nil>
}

// From go-chi/httprate: the same window, decided with or without HTTP, and a
// Retry-After that is true.
func ExampleLimiter_fromHTTPRate() {
	now := midnight().Add(40 * time.Minute)
	limiter := limiterAt(&now, ratelimit.Limit{Name: "hour", Algorithm: ratelimit.SlidingWindow, Count: 1, Period: time.Hour})
	limited := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			res, err := limiter.Take(r.Context(), r.Header.Get("X-Customer"), 1)
			switch {
			case err != nil:
				http.Error(w, "try again later", http.StatusServiceUnavailable)
			case res.RetryAfter == ratelimit.Never:
				http.Error(w, "too much at once", http.StatusForbidden)
			case !res.Allowed:
				seconds := (res.RetryAfter + time.Second - 1) / time.Second
				w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
				http.Error(w, "too many requests", http.StatusTooManyRequests)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}

	h := limited(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.Header.Set("X-Customer", "7")
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("Retry-After"))
	}
	// Output:
	// 200 ""
	// 429 "4800"
}

// From didip/tollbooth: a limit has a period of its own, not only a second, and
// a key that is missing is an error, not a way around the limit.
func ExampleLimiter_fromTollbooth() {
	now := midnight()
	limiter := limiterAt(&now, ratelimit.Limit{Name: "minute", Count: 1, Period: time.Minute})
	ctx := context.Background()
	for range 2 {
		res, err := limiter.Take(ctx, "192.0.2.1", 1)
		fmt.Println(res.Allowed, res.RetryAfter, err)
	}
	res, err := limiter.Take(ctx, "", 1)
	fmt.Println(res.Allowed, err)
	// Output:
	// true 0s <nil>
	// false 1m0s <nil>
	// false ratelimit.Take: the key is empty; name the subject
}

// From mennanov/limiters: one limiter for all keys, no registry, lock or backend
// for each, and no finite wait for what can never pass.
func ExampleLimiter_fromMennanov() {
	now := midnight()
	limiter := limiterAt(&now, ratelimit.Limit{Name: "bucket", Count: 1, Period: time.Second, Burst: 10})
	ctx := context.Background()
	res, err := limiter.Take(ctx, "customer 7", 11)
	fmt.Println(res.Allowed, res.RetryAfter == ratelimit.Never, err)
	res, err = limiter.Take(ctx, "customer 7", 10)
	fmt.Println(res.Allowed, err)
	now = now.Add(400 * time.Millisecond)
	res, err = limiter.Take(ctx, "customer 7", 1)
	fmt.Println(res.Allowed, res.RetryAfter, err)
	// Output:
	// false true <nil>
	// true <nil>
	// false 600ms <nil>
}

// From redis_rate: what is given back is back.
func ExampleLimiter_fromRedisRate() {
	now := midnight()
	limiter := limiterAt(&now, ratelimit.Limit{Name: "minute", Count: 10, Period: time.Minute})
	ctx := context.Background()
	res, err := limiter.Take(ctx, "customer 7", 10)
	if err != nil {
		log.Fatal(err)
	}
	if err := limiter.Refund(ctx, res.Reservation); err != nil {
		log.Fatal(err)
	}
	res, err = limiter.Take(ctx, "customer 7", 1)
	fmt.Println(res.Allowed, res.Remaining, err)
	// Output: true 9 <nil>
}

// From rueidislimiter: as many limits as wanted in one decision, and what one of
// them refuses is taken from none.
func ExampleLimiter_fromRueidislimiter() {
	now := midnight()
	limiter := limiterAt(&now,
		ratelimit.Limit{Name: "minute", Algorithm: ratelimit.FixedWindow, Count: 2, Period: time.Minute},
		ratelimit.Limit{Name: "day", Algorithm: ratelimit.FixedWindow, Count: 100, Period: 24 * time.Hour})
	ctx := context.Background()
	for range 3 {
		res, err := limiter.Take(ctx, "customer 7", 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(res.Allowed, " by ", res.Limit, ":")
		for s := range res.States() {
			fmt.Print(" ", s.Limit.Name, " ", s.Remaining)
		}
		fmt.Println()
	}
	// Output:
	// true by minute: minute 1 day 99
	// true by minute: minute 0 day 98
	// false by minute: minute 0 day 98
}

// From uber-go/ratelimit: pace per key, with a context, and no more at once than
// the burst that was said.
func ExampleLimiter_fromUber() {
	store, err := ratelimit.NewMemoryStore(nil)
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, mustLimits(
		ratelimit.Limit{Name: "pace", Count: 1000, Period: time.Second, Burst: 1}), nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	for range 2 {
		res, err := limiter.Wait(ctx, "crawler", 1)
		fmt.Println(res.Allowed, err)
	}
	cancel()
	res, err := limiter.Wait(ctx, "crawler", 1)
	fmt.Println(res.Allowed, err)
	// Output:
	// true <nil>
	// true <nil>
	// false ratelimit.Wait: context canceled
}

// limiterAt returns a limiter on a store of its own that reads the time from now.
func limiterAt(now *time.Time, limits ...ratelimit.Limit) *ratelimit.Limiter {
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: func() time.Time { return *now }})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, mustLimits(limits...), nil)
	if err != nil {
		log.Fatal(err)
	}
	return limiter
}
