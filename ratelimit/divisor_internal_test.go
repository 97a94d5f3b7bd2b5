package ratelimit

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The divisor is not visible from outside, and only its worst cases could fail.
func TestDivisorDividesExactly(t *testing.T) {
	t.Parallel()
	const seed = 3
	r := rand.New(rand.NewPCG(seed, 0))
	check := func(n, d int64) {
		t.Helper()
		if q, rem := divisorOf(d).div(n); q != n/d || rem != n%d {
			t.Fatalf("%d / %d is %d rest %d, want %d rest %d", n, d, q, rem, n/d, n%d)
		}
	}
	for range 100_000 {
		d := r.Int64N(1<<r.IntN(63)) + 1
		n := r.Int64N(1<<r.IntN(63) + 1)
		check(n, d)
		check(n/d*d, d)
		check(max(n/d*d-1, 0), d)
	}
	for _, d := range []int64{1, 2, 3, 1 << 53, math.MaxInt64} {
		for _, n := range []int64{0, 1, d - 1, d, math.MaxInt64, math.MaxInt64 - 1} {
			check(n, d)
		}
	}
}
