package ratelimittest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func benchName(keys, limits int) string { return fmt.Sprintf("keys=%d/limits=%d", keys, limits) }

func benchKeys(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("key_%016x", i)
	}
	return names
}

// keyOrder returns a function that yields indexes below n in a fixed random
// order.
func keyOrder(seed uint64, n int) func() int {
	r := rand.New(rand.NewPCG(seed, 0))
	return func() int { return r.IntN(n) }
}

// manyLimits returns n generous limits, one of each algorithm in turn.
func manyLimits(n int) ratelimit.Limits {
	limits := make([]ratelimit.Limit, n)
	for i := range limits {
		limits[i] = ratelimit.Limit{
			Name: fmt.Sprintf("limit%d", i), Algorithm: ratelimit.Algorithm(i % 3),
			Count: 1e12, Period: 24 * time.Hour,
		}
	}
	return must(ratelimit.NewLimits(limits...))
}
