package ratelimit

import "math/bits"

// A token bucket's cell holds its debt: Used + Part/period units, as of At. The
// debt falls by count/period units a microsecond, which in the unit of Part is
// exactly count: nothing is ever rounded. A bucket in debt beyond its quota
// holds -Used units, so that a limit that was lowered, whose debt is cut to the
// new quota, can be told from one that was overdrawn, whose debt is not.

// takeTokens decides at the time at, which is not before c.At.
func (r *Rule) takeTokens(c Cell, cost, at int64) (Cell, Outcome) {
	used, part := r.debt(c, at)
	var o Outcome
	switch {
	case cost > r.quota:
		o.RetryAfter = never
	case cost > 0 && r.exceeds(used+cost, part):
		over, _ := r.refilled(used+cost-r.quota, part)
		o.RetryAfter = over
	default:
		used += cost
	}
	o.Remaining = r.quota - used
	if part > 0 {
		o.Remaining--
	}
	o.Remaining = max(o.Remaining, 0)
	o.ResetAfter, o.Rest = r.refilled(used, part)
	return Cell{At: at, Used: used, Part: part}, o
}

// debt returns what is left of c's debt at the time at: at most the quota,
// unless it was overdrawn.
func (r *Rule) debt(c Cell, at int64) (used, part int64) {
	used, part = c.Used, c.Part
	if part >= r.period { // written under a longer period
		used, part = used+1, 0
		if c.Used < 0 {
			used -= 2
		}
	}
	elapsed := at - c.At
	if used < 0 {
		return r.overdrawn(-used, part, elapsed)
	}
	if used >= r.quota {
		used, part = r.quota, 0
	}
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
	return normal(used, part, r.period)
}

// overdrawn returns what is left of a debt beyond the quota.
func (r *Rule) overdrawn(used, part, elapsed int64) (int64, int64) {
	if used >= r.most {
		used, part = r.most, 0
	}
	hi, lo := bits.Mul64(uint64(elapsed), uint64(r.limit.Count))
	if hi >= uint64(r.period) {
		return 0, 0
	}
	whole, rest := bits.Div64(hi, lo, uint64(r.period))
	if whole > uint64(used) {
		return 0, 0
	}
	return normal(used-int64(whole), part-int64(rest), r.period)
}

// normal brings part to 0 to below period, and a debt below zero to zero.
func normal(used, part, period int64) (int64, int64) {
	if part < 0 {
		used, part = used-1, part+period
	}
	if used < 0 {
		return 0, 0
	}
	return used, part
}

// chargeTokens adds cost to the debt, beyond the quota if need be.
func (r *Rule) chargeTokens(c Cell, cost, at int64) (Cell, int64) {
	used, part := r.debt(c, at)
	if used += cost; used >= r.most {
		used, part = r.most, 0
	}
	reset, _ := r.refilled(used, part)
	if r.exceeds(used, part) {
		used = -used
	}
	return Cell{At: at, Used: used, Part: part}, reset
}

// exceeds reports whether a debt is more than the quota.
func (r *Rule) exceeds(used, part int64) bool {
	return used > r.quota || used == r.quota && part > 0
}

// refilled returns the microseconds, rounded up, in which used + part/period
// units come back, and by how many 1/count parts they were rounded. The units
// must be at most what a bucket can owe.
func (r *Rule) refilled(used, part int64) (us, rest int64) {
	if r.small && used <= r.quota {
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

// repaid returns the debt that takes us less rest/count microseconds to come
// back: the opposite of refilled.
func (r *Rule) repaid(us, rest int64) (used, part int64) {
	hi, lo := bits.Mul64(uint64(us), uint64(r.limit.Count))
	lo, borrow := bits.Sub64(lo, uint64(rest), 0)
	if hi -= borrow; hi >= uint64(r.period) {
		return r.most, 0
	}
	q, rem := bits.Div64(hi, lo, uint64(r.period))
	return int64(min(q, uint64(r.most))), int64(rem)
}

// owed returns the microseconds in which a charge of more units comes back: of a
// window, at most one beside the one that the charge falls into.
func (r *Rule) owed(more int64) int64 {
	if r.limit.Algorithm != TokenBucket {
		return r.fill
	}
	us, _ := r.refilled(min(more, r.most), 0)
	return us
}

// refundTokens takes off the debt what time has not yet paid of cost: the debt
// that the decision left was to be paid at until - rest/count, and the cost was
// the last part of it. Paying earlier debt first can only give back too little,
// and does so only where the bucket stayed in debt throughout.
func (r *Rule) refundTokens(c Cell, cost, until, rest, at int64) Cell {
	used, part, overdrawn := c.Used, c.Part, c.Used < 0
	if overdrawn {
		used = -used
	}
	units, parts := r.repaid(min(until-at, r.fill), rest)
	if units >= cost {
		units, parts = cost, 0
	}
	if used, part = normal(used-units, part-parts, r.period); used|part == 0 {
		return Cell{}
	}
	if c.Used, c.Part = used, part; overdrawn { // also of a debt below the quota: another limit's may be lower
		c.Used = -used
	}
	return c
}
