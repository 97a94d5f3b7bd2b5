package ratelimit

// A Cell is what a store keeps for one subject under one limit. The zero Cell
// is the same as an absent one: nothing used. What the words mean belongs to
// the algorithm; a store keeps them as they are, at least until Expires.
type Cell struct {
	At   int64 // the latest time the cell has seen, in microseconds since the Unix epoch
	Used int64 // units in use; of a token bucket that a settlement overdrew the same, negated
	Part int64 // token bucket: further 1/period parts of a unit; fixed window and calendar: its start; sliding window: units used in the window before

	Expires int64 // the time from which the cell is as good as absent, in microseconds since the Unix epoch
}

// An Outcome is what one limit says about one cost. Times are microseconds from
// the time of the decision.
type Outcome struct {
	Remaining  int64 // units free now, after the cost when it was taken
	RetryAfter int64 // least wait after which this cost passes, if nothing else is taken; 0 when it passes now, -1 when it never can
	ResetAfter int64 // wait after which the whole quota is free, if nothing else is taken
	Rest       int64 // token bucket: by how many 1/count parts of a microsecond ResetAfter is rounded up
}

// maxNow bounds times, so that no sum with them overflows: the year 38505.
const maxNow = 1 << 60

// never is the RetryAfter of a cost that no waiting helps.
const never = -1

// Take decides about cost at the time now, and returns the cell to keep with
// what to tell. A refused cost, and a cost of 0, return the cell unchanged.
//
// A now before the cell's time mints nothing: the decision is made at the
// cell's time, and the waits are counted from now.
//
// A cell that was written under another Count, Burst or Period of the same
// limit keeps what was used: see the package documentation.
func (r *Rule) Take(c Cell, cost, now int64) (Cell, Outcome) {
	now = min(max(now, 0), maxNow)
	kept := c
	if now >= c.Expires {
		c = Cell{}
	}
	at := max(now, c.At)
	var next Cell
	var o Outcome
	switch r.limit.Algorithm {
	case FixedWindow, Calendar:
		next, o = r.takeFixed(c, cost, at)
	case SlidingWindow:
		next, o = r.takeSliding(c, cost, at)
	default:
		next, o = r.takeTokens(c, cost, at)
	}
	if at > now {
		o = o.delayed(at - now)
	}
	if o.RetryAfter == 0 && cost != 0 {
		next.Expires = now + o.ResetAfter
		return next, o
	}
	if left := max(c.Expires-now, 0); o.ResetAfter > left { // written under a faster limit, it is forgotten first
		o.ResetAfter, o.Rest = left, 0
		o.RetryAfter = min(o.RetryAfter, left)
	}
	return kept, o
}

// Peek is what Take would tell, with nothing taken: Remaining is what is free
// before the cost.
func (r *Rule) Peek(c Cell, cost, now int64) Outcome {
	_, o := r.Take(c, cost, now)
	if o.RetryAfter == 0 && cost != 0 {
		_, o = r.Take(c, 0, now)
	}
	return o
}

// Charge takes cost at the time now whether it passes or not, and returns the
// cell to keep. What goes beyond the quota is owed: a token bucket refills it
// first, up to what takes [MaxPeriod] to refill; a window counts it until it
// ends.
func (r *Rule) Charge(c Cell, cost, now int64) Cell {
	if cost <= 0 {
		return c
	}
	now = min(max(now, 0), maxNow)
	if now >= c.Expires {
		c = Cell{}
	}
	cost = min(cost, MaxCount)
	at := max(now, c.At)
	var reset int64
	switch r.limit.Algorithm {
	case FixedWindow, Calendar:
		c, reset = r.chargeFixed(c, cost, at)
	case SlidingWindow:
		c, reset = r.chargeSliding(c, cost, at)
	default:
		c, reset = r.chargeTokens(c, cost, at)
	}
	c.Expires = at + reset
	return c
}

// Settle brings a cost that [Rule.Take] took to what it actually came to, and
// returns the cell to keep: it gives back what is still in use of the
// difference, or charges it as [Rule.Charge] does. Until and rest are the time
// of the take plus its ResetAfter, and its Rest. Giving back never frees more
// than the quota, nor what time has given back already. The cell is zero when
// nothing stays in use.
func (r *Rule) Settle(c Cell, cost, actual, until, rest, now int64) Cell {
	if actual > cost {
		return r.Charge(c, actual-cost, now)
	}
	if now >= c.Expires {
		return Cell{}
	}
	at := max(now, c.At)
	if cost <= actual || at >= until {
		return c
	}
	switch r.limit.Algorithm {
	case FixedWindow, Calendar:
		return r.refundFixed(c, cost-actual, until)
	case SlidingWindow:
		return r.refundSliding(c, cost-actual, until)
	default:
		return r.refundTokens(c, cost-actual, until, rest, at)
	}
}

func (o Outcome) delayed(by int64) Outcome {
	if o.RetryAfter > 0 {
		o.RetryAfter += by
	}
	if o.ResetAfter > 0 {
		o.ResetAfter += by
	}
	return o
}
