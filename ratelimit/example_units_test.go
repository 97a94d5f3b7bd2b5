package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func newLimiter(limits ...ratelimit.Limit) *ratelimit.Limiter {
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: midnight})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, mustLimits(limits...), nil)
	if err != nil {
		log.Fatal(err)
	}
	return limiter
}

// What a language model will answer is estimated before the call and settled to
// what it came to, under one reservation. The bucket then owes 3000 tokens.
func ExampleLimiter_Settle() {
	limiter := newLimiter(ratelimit.Limit{Name: "tokens", Count: 10_000, Period: time.Minute, Unit: "tokens"})
	ctx := context.Background()
	for _, call := range []struct{ estimate, actual int64 }{{4000, 1500}, {4000, 11_500}, {100, 0}} {
		res, err := limiter.Take(ctx, "customer 7", call.estimate)
		if err != nil {
			log.Fatal(err)
		}
		if !res.Allowed {
			fmt.Println("refused, retry after", res.RetryAfter)
			continue
		}
		if err := limiter.Settle(ctx, res.Reservation, call.actual); err != nil {
			log.Fatal(err)
		}
		left, err := limiter.Peek(ctx, "customer 7", 0)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("estimated", call.estimate, "came to", call.actual, "remaining", left.Remaining)
	}
	// Output:
	// estimated 4000 came to 1500 remaining 8500
	// estimated 4000 came to 11500 remaining 0
	// refused, retry after 18.6s
}

// A batch is cut to what passes instead of being refused as a whole.
func ExampleLimiter_TakeUpTo() {
	limiter := newLimiter(ratelimit.Limit{Name: "messages", Count: 100, Period: time.Minute, Unit: "messages"})
	for left := int64(150); ; {
		res, err := limiter.TakeUpTo(context.Background(), "newsletter", left)
		if err != nil {
			log.Fatal(err)
		}
		if !res.Allowed {
			fmt.Println("the next after", res.RetryAfter)
			break
		}
		left -= res.Taken
		fmt.Println("send", res.Taken, "left", left)
	}
	// Output:
	// send 100 left 50
	// the next after 600ms
}
