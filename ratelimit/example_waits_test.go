package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Callers of a partner's API wait for their turn instead of being refused, but
// not when the turn comes after their deadline.
func ExampleLimiter_Wait() {
	store, err := ratelimit.NewMemoryStore(nil)
	if err != nil {
		log.Fatal(err)
	}
	limits := mustLimits(
		ratelimit.Limit{Name: "pace", Count: 1000, Period: time.Second, Burst: 1},
		ratelimit.Limit{Name: "contract", Count: 3, Period: 3 * time.Hour})
	limiter, err := ratelimit.NewLimiter(store, limits, &ratelimit.Options{MaxWait: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for range 4 {
		res, err := limiter.Wait(ctx, "partner", 1)
		if err != nil {
			log.Fatal(err) // ctx is done, or the store failed
		}
		fmt.Println(res.Allowed, res.Limit, res.RetryAfter > 50*time.Minute)
	}
	// Output:
	// true pace false
	// true pace false
	// true contract false
	// false contract true
}

// At most two jobs of a customer run at once. Who started one may end it
// anywhere that knows its id; while it runs, its lease is renewed.
func ExampleLimiter_Renew() {
	limiter := newLimiter(ratelimit.Limit{Name: "jobs", Algorithm: ratelimit.Concurrency, Count: 2, Period: time.Minute, Unit: "jobs"})
	ctx := context.Background()
	var started []string // as text, in a queue or a table
	for range 3 {
		res, err := limiter.Take(ctx, "customer 7", 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Allowed, res.Remaining, res.RetryAfter)
		if res.Allowed {
			started = append(started, res.Reservation.ID().String())
		}
	}
	id, err := ratelimit.ParseID(started[0]) // in another process
	if err != nil {
		log.Fatal(err)
	}
	if err := limiter.Renew(ctx, "customer 7", id); err != nil {
		log.Fatal(err)
	}
	if err := limiter.Release(ctx, "customer 7", id); err != nil {
		log.Fatal(err)
	}
	fmt.Println(limiter.Renew(ctx, "customer 7", id))
	// Output:
	// true 1 0s
	// true 0 0s
	// false 0 1m0s
	// ratelimit.Renew: the lease has ended; take a new one
}
