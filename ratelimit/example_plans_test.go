package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Each plan has its own limits of the same names, given with each call. A
// customer who moves up keeps what was used and gains the rest at once; one who
// pays for everything is not counted.
func Example_plans() {
	plans := map[string]ratelimit.Limits{
		"free":       mustLimits(ratelimit.Limit{Name: "day", Algorithm: ratelimit.FixedWindow, Count: 10, Period: 24 * time.Hour}),
		"pro":        mustLimits(ratelimit.Limit{Name: "day", Algorithm: ratelimit.FixedWindow, Count: 1000, Period: 24 * time.Hour}),
		"enterprise": mustLimits(ratelimit.Limit{Name: "day", Algorithm: ratelimit.Unlimited}),
		"suspended":  mustLimits(ratelimit.Limit{Name: "day", Algorithm: ratelimit.DenyAll}),
	}
	limiter := newLimiter(ratelimit.Limit{Name: "day", Algorithm: ratelimit.DenyAll}) // who brings no plan
	for _, plan := range []string{"free", "free", "pro", "enterprise", "suspended"} {
		res, err := limiter.TakeAll(context.Background(), ratelimit.Charge{Key: "customer 7", Limits: plans[plan], Cost: 8})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(plan, res.Allowed, res.Remaining, res.RetryAfter)
	}
	// Output:
	// free true 2 0s
	// free false 2 24h0m0s
	// pro true 984 0s
	// enterprise true 9007199254740992 0s
	// suspended false 0 -1ns
}

// A day of the customer's, not of UTC: the store's clock stands at midnight UTC,
// which is 19:00 in New York.
func ExampleLimit_calendar() {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		log.Fatal(err)
	}
	limiter := newLimiter(
		ratelimit.Limit{Name: "day", Algorithm: ratelimit.Calendar, Count: 2, Every: ratelimit.Day, Zone: zone},
		ratelimit.Limit{Name: "month", Algorithm: ratelimit.Calendar, Count: 1000, Every: ratelimit.Month, Zone: zone})
	for range 3 {
		res, err := limiter.Take(context.Background(), "customer 7", 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Allowed, res.Limit, res.Remaining, res.RetryAfter)
	}
	// Output:
	// true day 1 0s
	// true day 0 0s
	// false day 0 5h0m0s
}

// A limit that is to come decides in the shadow first: it denies nobody and
// tells what it would have denied.
func ExampleResult_Shadowed() {
	limiter := newLimiter(
		ratelimit.Limit{Name: "hour", Count: 100, Period: time.Hour},
		ratelimit.Limit{Name: "second", Count: 2, Period: time.Second, Shadow: true})
	for range 3 {
		res, err := limiter.Take(context.Background(), "customer 7", 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Allowed, res.Limit, res.Remaining)
		for s := range res.Shadowed() {
			fmt.Printf("  %s would have refused, for %v\n", s.Limit.Name, s.RetryAfter)
		}
	}
	// Output:
	// true hour 99
	// true hour 98
	// true hour 97
	//   second would have refused, for 500ms
}
