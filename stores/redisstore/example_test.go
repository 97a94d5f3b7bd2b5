package redisstore_test

import (
	"context"
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
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	res, err := limiter.Take(ctx, "customer 7", 1)
	switch {
	case err != nil:
		fmt.Println("Redis did not answer:", err)
	case !res.Allowed:
		fmt.Println("refused by", res.Limit, "for", res.RetryAfter)
	}
}
