package redisstore_test

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
)

// Servers that share a Redis hold a customer to the same limits.
func ExampleNewLimits() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{"127.0.0.1:6379"}, ContextTimeoutEnabled: true,
	})
	defer client.Close()
	store, err := redisstore.NewLimits(redisstore.Coalesced(client), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	limits, err := ratelimit.NewLimits(
		ratelimit.Limit{Name: "second", Count: 10, Period: time.Second},
		ratelimit.Limit{Name: "day", Algorithm: ratelimit.Calendar, Count: 1000, Every: ratelimit.Day},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	limiter, err := ratelimit.NewLimiter(store, limits, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// For each request, in one round trip: limiter.Take(ctx, "customer 7", 1).
	for l := range limits.All() {
		fmt.Println(limiter != nil, l.Name, l.Count)
	}
	// Output:
	// true second 10
	// true day 1000
}
