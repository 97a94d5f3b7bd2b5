package ratelimit

import "math/bits"

// A token bucket's cell holds its debt: Used + Part/period units, as of At. The
// debt falls by count/period units a microsecond, which in the unit of Part is
// exactly count: nothing is ever rounded.

// takeTokens decides at the time at, which is not before c.At.
func (r *Rule) takeTokens(c Cell, cost, at int64) (Cell, Outcome) {
	used, part := r.debt(c, at)
	var o Outcome
	switch {
	case cost > r.quota:
		o.RetryAfter = never
	case cost > 0 && (used+cost > r.quota || used+cost == r.quota && part > 0):
		over, _ := r.refilled(used+cost-r.quota, part)
		o.RetryAfter = over
	default:
		used += cost
	}
	o.Remaining = r.quota - used
	if part > 0 {
		o.Remaining--
	}
	o.ResetAfter, o.Rest = r.refilled(used, part)
	return Cell{At: at, Used: used, Part: part}, o
}

// debt returns what is left of c's debt at the time at, at most the quota.
func (r *Rule) debt(c Cell, at int64) (used, part int64) {
	used, part = c.Used, c.Part
	if part >= r.period { // written under a longer period
		used, part = used+1, 0
	}
	if used >= r.quota {
		used, part = r.quota, 0
	}
	elapsed := at - c.At
	if used|part == 0 || elapsed >= r.fill {
		return 0, 0
	}
	if elapsed == 0 {
		return used, part
	}
	if r.small {
		back := elapsed * r.limit.Count
		whole, rest := r.byPeriod.div(back)
		used -= whole
		part -= rest
	} else {
		hi, lo := bits.Mul64(uint64(elapsed), uint64(r.limit.Count))
		whole, rest := bits.Div64(hi, lo, uint64(r.period))
		used -= int64(whole)
		part -= int64(rest)
	}
	if part < 0 {
		used--
		part += r.period
	}
	if used < 0 {
		return 0, 0
	}
	return used, part
}

// refilled returns the microseconds, rounded up, in which used + part/period
// units come back, and by how many 1/count parts they were rounded. The units
// must be at most the quota.
func (r *Rule) refilled(used, part int64) (us, rest int64) {
	if r.small {
		us, rest = r.byCount.div(used*r.period + part)
		if rest > 0 {
			return us + 1, r.limit.Count - rest
		}
		return us, 0
	}
	hi, lo := bits.Mul64(uint64(used), uint64(r.period))
	lo, carry := bits.Add64(lo, uint64(part), 0)
	q, rem := bits.Div64(hi+carry, lo, uint64(r.limit.Count))
	if rem > 0 {
		return int64(q) + 1, r.limit.Count - int64(rem)
	}
	return int64(q), 0
}

// refundTokens takes off the debt what time has not yet paid of cost: the debt
// that the decision left was to be paid at until - rest/count, and the cost was
// the last part of it. Paying earlier debt first can only give back too little,
// and does so only where the bucket stayed in debt throughout.
func (r *Rule) refundTokens(c Cell, cost, until, rest, at int64) Cell {
	used, part := c.Used, c.Part
	// Unpaid of the cost, in units and parts: at most cost.
	hi, lo := bits.Mul64(uint64(min(until-at, r.fill)), uint64(r.limit.Count))
	lo, borrow := bits.Sub64(lo, uint64(rest), 0)
	hi -= borrow
	units, parts := cost, int64(0)
	if hi < uint64(r.period) {
		q, rem := bits.Div64(hi, lo, uint64(r.period))
		if q < uint64(cost) {
			units, parts = int64(q), int64(rem)
		}
	}
	used, part = used-units, part-parts
	if part < 0 {
		used, part = used-1, part+r.period
	}
	if used < 0 || used|part == 0 {
		return Cell{}
	}
	c.Used, c.Part = used, part
	return c
}
