package ratelimit

import "math/bits"

// A divisor divides by a fixed positive number with a multiplication, several
// times faster than the processor divides.
type divisor struct{ d, inverse uint64 }

func divisorOf(d int64) divisor { return divisor{uint64(d), ^uint64(0) / uint64(d)} }

// div returns quotient and remainder of n, which must not be negative.
//
// With inverse = floor((2^64-1)/d), the product's high word falls short of the
// quotient by less than n/2^64 + 1 + 1, so by at most 2.
func (v divisor) div(n int64) (q, rem int64) {
	hi, _ := bits.Mul64(uint64(n), v.inverse)
	r := uint64(n) - hi*v.d
	for r >= v.d {
		hi, r = hi+1, r-v.d
	}
	return int64(hi), int64(r)
}
