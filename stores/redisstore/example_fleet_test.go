package redisstore_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
)

// One of four servers that share their limits at memory speed: what is held of
// busy subjects in front, then refusals that are known, then what happens while
// Redis fails.
func ExampleNewLimits_fleet() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	limits, err := ratelimit.NewLimits(ratelimit.Limit{Name: "minute", Count: 6000, Period: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	shared, err := redisstore.NewLimits(redisstore.GoRedis(client), nil)
	if err != nil {
		log.Fatal(err)
	}
	guarded, err := ratelimit.NewGuardedStore(shared, ratelimit.Local, &ratelimit.GuardOptions{Nodes: 4})
	if err != nil {
		log.Fatal(err)
	}
	blocked, err := ratelimit.NewBlockedStore(guarded, time.Second, nil)
	if err != nil {
		log.Fatal(err)
	}
	leasing, err := ratelimit.NewLeasingStore(blocked, 100, nil)
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(leasing, limits, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(limiter != nil)
	err = leasing.Close(ctx) // when the server shuts down: returns what it holds
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}
