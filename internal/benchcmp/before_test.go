package benchcmp_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/didip/tollbooth/v8"
	tollboothlimiter "github.com/didip/tollbooth/v8/limiter"
	"github.com/go-chi/httprate"
	"github.com/mennanov/limiters"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	"github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/store/memory"
	uber "go.uber.org/ratelimit"
	"golang.org/x/time/rate"
)

// Each example is the code that somebody has who comes from that library, and
// shows what docs/coming-from.md says of it.

// A caller whose time is older than the last one turns the bucket's time back,
// and the time between is paid out once more.
func Example_xTimeRate() {
	l := rate.NewLimiter(rate.Every(time.Second), 10)
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	fmt.Println(l.AllowN(now, 10), l.AllowN(now, 10))
	l.AllowN(now.Add(-time.Hour), 0) // a caller with an older time
	fmt.Println(l.AllowN(now, 10))
	// Output:
	// true false
	// true
}

// Costs other than one are not to be had.
func Example_goLimiter() {
	store, err := memorystore.New(&memorystore.Config{Tokens: 2, Interval: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer store.Close(ctx)
	for range 3 {
		tokens, remaining, _, ok, err := store.Take(ctx, "customer 7")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(ok, remaining, "of", tokens)
	}
	// Output:
	// true 1 of 2
	// true 0 of 2
	// false 0 of 2
}

// One request a day, and one of 106 752 units passes: the product has wrapped
// around.
func Example_throttled() {
	store, err := memstore.NewCtx(65536)
	if err != nil {
		log.Fatal(err)
	}
	l, err := throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerDay(1)})
	if err != nil {
		log.Fatal(err)
	}
	limited, _, err := l.RateLimitCtx(context.Background(), "customer 7", 106752)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("limited:", limited)
	// Output: limited: false
}

// A cost that is refused is charged, and takes the window with it.
func Example_ulule() {
	l := limiter.New(memory.NewStore(), limiter.Rate{Period: time.Hour, Limit: 10})
	ctx := context.Background()
	c, err := l.Increment(ctx, "customer 7", 11)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("11 of 10 refused:", c.Reached)
	c, err = l.Get(ctx, "customer 7")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the next 1 refused:", c.Reached)
	// Output:
	// 11 of 10 refused: true
	// the next 1 refused: true
}

// Retry-After is the length of the window, whenever it ends.
func Example_httprate() {
	limit := httprate.NewRateLimiter(1, time.Hour)
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	for range 2 {
		w := httptest.NewRecorder()
		refused := limit.RespondOnLimit(w, r, "customer 7")
		fmt.Printf("%v %q\n", refused, w.Header().Get("Retry-After"))
	}
	// Output:
	// false ""
	// true "3600"
}

// One request a minute, and the client is told to come back in a second. Without
// an IPLookup it finds no address, and limits nobody.
func Example_tollbooth() {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.RemoteAddr = "192.0.2.1:1234"
	ask := func(l *tollboothlimiter.Limiter) {
		h := tollbooth.LimitFuncHandler(l, func(http.ResponseWriter, *http.Request) {})
		for range 2 {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			fmt.Printf("%d reset %q retry %q\n", w.Code, w.Header().Get("RateLimit-Reset"), w.Header().Get("Retry-After"))
		}
	}
	ask(tollbooth.NewLimiter(1.0/60, nil).SetIPLookup(tollboothlimiter.IPLookup{Name: "RemoteAddr"}))
	ask(tollbooth.NewLimiter(1.0/60, nil))
	// Output:
	// 200 reset "1" retry ""
	// 429 reset "1" retry ""
	// 200 reset "" retry ""
	// 200 reset "" retry ""
}

// 11 of a bucket that holds 10 never pass, and it says to wait a second.
func Example_mennanov() {
	bucket := limiters.NewTokenBucket(10, time.Second, limiters.NewLockNoop(),
		limiters.NewTokenBucketInMemory(), limiters.NewSystemClock(), limiters.NewStdLogger())
	wait, err := bucket.Take(context.Background(), 11)
	fmt.Println(wait, err)
	// Output: 1s requests limit exhausted
}

// standing is a clock that moves on only when it is slept by.
type standing struct{ now, slept time.Duration }

func (c *standing) Now() time.Time        { return time.Unix(1, 0).Add(c.now) }
func (c *standing) Sleep(d time.Duration) { c.now += d; c.slept += d }

// 100 a second, one every 10 ms; after a second without any, eleven come at
// once.
func Example_uber() {
	c := new(standing)
	l := uber.New(100, uber.WithClock(c))
	l.Take()
	c.now += time.Second
	at := c.now
	for n := 0; ; n++ {
		if l.Take(); c.now > at {
			fmt.Println(n, "at once, then one after", c.slept)
			return
		}
	}
	// Output: 11 at once, then one after 10ms
}
