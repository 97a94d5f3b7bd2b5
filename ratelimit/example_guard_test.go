package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// A shared store that is down today.
type down struct{}

func (down) Apply(context.Context, *ratelimit.Request) error {
	return errors.New("connection refused")
}

func guardedLimiter(policy ratelimit.Policy) *ratelimit.Limiter {
	limits, err := ratelimit.NewLimits(ratelimit.Limit{Name: "hour", Count: 10, Period: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	store, err := ratelimit.NewGuardedStore(down{}, policy, &ratelimit.GuardOptions{Nodes: 4})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, limits, nil)
	if err != nil {
		log.Fatal(err)
	}
	return limiter
}

// By Local each of four nodes has 10/4 an hour while the store fails.
func ExampleNewGuardedStore() {
	limiter := guardedLimiter(ratelimit.Local)
	for range 3 {
		res, err := limiter.Take(context.Background(), "customer 7", 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Allowed, res.Degraded)
	}
	// Output:
	// true true
	// true true
	// false true
}

// Where somebody must be kept out, nothing is decided without the store.
func ExampleNewGuardedStore_closed() {
	limiter := guardedLimiter(ratelimit.Closed)
	res, err := limiter.Take(context.Background(), "address 192.0.2.7", 1)
	fmt.Println(res.Allowed, errors.CodeOf(err))
	fmt.Println(errors.MessageOf(err))
	// Output:
	// false unavailable
	// the store of the rate limits does not answer, and the policy is closed; try again later
}

// Where a wrong refusal would be worse than an excess, everybody passes.
func ExampleNewGuardedStore_open() {
	limiter := guardedLimiter(ratelimit.Open)
	res, err := limiter.Take(context.Background(), "customer 7", 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Allowed, res.Degraded)
	// Output: true true
}

// Turns from the store to the policy and back go to the log.
func ExampleNewGuardedStore_observed() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelError + 1})) // quiet, for the example
	store, limits := down{}, mustLimits(ratelimit.Limit{Name: "hour", Count: 10, Period: time.Hour})
	guarded, err := ratelimit.NewGuardedStore(store, ratelimit.Local, &ratelimit.GuardOptions{
		Nodes:    4, // processes that share the limits
		Observer: ratelimit.NewSlogObserver(logger),
	})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(guarded, limits, nil)
	if err != nil {
		log.Fatal(err)
	}
	res, err := limiter.Take(context.Background(), "customer 7", 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Allowed, res.Degraded)
	// Output: true true
}
