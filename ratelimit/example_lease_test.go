package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Two nodes share a limit. Each takes up to 100 units a trip from the store that
// they share, which is a memory store here to keep the example in one process.
func ExampleNewLeasingStore() {
	ctx := context.Background()
	limits, err := ratelimit.NewLimits(ratelimit.Limit{Name: "month", Algorithm: ratelimit.Calendar, Count: 10_000, Every: ratelimit.Month})
	if err != nil {
		log.Fatal(err)
	}
	shared, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{
		Now: func() time.Time { return time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		log.Fatal(err)
	}
	passed := 0
	for range 2 {
		node, err := ratelimit.NewLeasingStore(shared, 100, nil)
		if err != nil {
			log.Fatal(err)
		}
		limiter, err := ratelimit.NewLimiter(node, limits, nil)
		if err != nil {
			log.Fatal(err)
		}
		for range 6000 {
			res, err := limiter.Take(ctx, "customer 7", 1)
			if err != nil {
				log.Fatal(err)
			}
			if res.Allowed {
				passed++
			}
		}
		if err := node.Close(ctx); err != nil { // returns what is still held
			log.Fatal(err)
		}
	}
	fmt.Println(passed, "of 12000 passed")
	// Output: 10000 of 12000 passed
}
