package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func Example() {
	limits, err := ratelimit.NewLimits(
		ratelimit.Limit{Name: "second", Count: 2, Period: time.Second},
		ratelimit.Limit{Name: "day", Algorithm: ratelimit.FixedWindow, Count: 1000, Period: 24 * time.Hour},
	)
	if err != nil {
		log.Fatal(err)
	}
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: midnight})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, limits, nil)
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		res, err := limiter.Take(context.Background(), "customer 7", 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Allowed, res.Limit, res.Remaining, res.RetryAfter)
	}
	// Output:
	// true second 1 0s
	// true second 0 0s
	// false second 0 500ms
}

// A key, its owner and its address are charged together: when one of them is
// refused, none pays.
func ExampleLimiter_TakeAll() {
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: midnight})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, ratelimit.Limits{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	perKey := mustLimits(ratelimit.Limit{Name: "key", Count: 10, Period: time.Minute})
	perOwner := mustLimits(ratelimit.Limit{Name: "owner", Count: 12, Period: time.Minute})
	for _, key := range []string{"key a", "key b"} {
		res, err := limiter.TakeAll(context.Background(),
			ratelimit.Charge{Key: key, Limits: perKey, Cost: 8},
			ratelimit.Charge{Key: "owner 1", Limits: perOwner, Cost: 8})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(key, res.Allowed)
		for s := range res.States() {
			fmt.Printf("  %s: %v, %d of %d remain\n", s.Limit.Name, s.Allowed, s.Remaining, s.Quota)
		}
	}
	// Output:
	// key a true
	//   key: true, 2 of 10 remain
	//   owner: true, 4 of 12 remain
	// key b false
	//   key: true, 10 of 10 remain
	//   owner: false, 4 of 12 remain
}

// Work that failed is given back.
func ExampleLimiter_Refund() {
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: midnight})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, mustLimits(ratelimit.Limit{Name: "images", Count: 4, Period: time.Hour, Unit: "images"}), nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	res, err := limiter.Take(ctx, "customer 7", 3)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("taken, remaining", res.Remaining)
	for range 2 { // the second time changes nothing
		if err := limiter.Refund(ctx, res.Reservation); err != nil {
			log.Fatal(err)
		}
	}
	res, err = limiter.Peek(ctx, "customer 7", 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("refunded, remaining", res.Remaining)
	// Output:
	// taken, remaining 1
	// refunded, remaining 4
}

// A cost above the quota is told apart from one that has to wait.
func ExampleNever() {
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: midnight})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, mustLimits(ratelimit.Limit{Name: "minute", Count: 10, Period: time.Minute}), nil)
	if err != nil {
		log.Fatal(err)
	}
	res, err := limiter.Take(context.Background(), "customer 7", 11)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Allowed, res.RetryAfter == ratelimit.Never)
	// Output: false true
}

// Keys of different kinds that share limits of one name share their state: the
// owner and the key of one name below are one subject to the limiter.
func ExampleCharge_incorrect() {
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: midnight})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, mustLimits(ratelimit.Limit{Name: "minute", Count: 10, Period: time.Minute}), nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = limiter.TakeAll(context.Background(),
		ratelimit.Charge{Key: "42", Cost: 1}, // the key
		ratelimit.Charge{Key: "42", Cost: 1}) // its owner
	fmt.Println(err)
	// Output: ratelimit.TakeAll: two charges hold one key to limits of one name; add their costs up in one, or give the limits different names
}

func midnight() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func mustLimits(l ...ratelimit.Limit) ratelimit.Limits {
	limits, err := ratelimit.NewLimits(l...)
	if err != nil {
		log.Fatal(err)
	}
	return limits
}
