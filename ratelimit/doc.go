// Package ratelimit decides how much a subject may use in which time: several
// limits and several subjects in one atomic decision, with exact integer
// arithmetic.
//
//	limits, err := ratelimit.NewLimits(
//		ratelimit.Limit{Name: "minute", Count: 60, Period: time.Minute},
//		ratelimit.Limit{Name: "day", Algorithm: ratelimit.FixedWindow, Count: 1000, Period: 24 * time.Hour},
//	)
//	store, err := ratelimit.NewMemoryStore(nil)
//	limiter, err := ratelimit.NewLimiter(store, limits, nil)
//
//	res, err := limiter.Take(ctx, "customer 7", 1)
//	if err == nil && !res.Allowed {
//		// refused by res.Limit; try again after res.RetryAfter
//	}
package ratelimit
