package redisstore_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/webhook"
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

// Servers that share a Redis handle each webhook once.
func ExampleNewReplays() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{"127.0.0.1:6379"}, ContextTimeoutEnabled: true,
	})
	defer client.Close()
	replays, err := redisstore.NewReplays(redisstore.Coalesced(client), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret()}) // in truth the sender's
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := webhook.NewVerifier(keys, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	handled := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		message, _ := webhook.FromContext(r.Context())
		fmt.Println("handled", message.ID)
	})
	guarded, err := verifier.Handler(handled, &webhook.HandlerOptions{Replay: replays, Source: "billing"})
	fmt.Println(guarded != nil, err)
	// Output: true <nil>
}
