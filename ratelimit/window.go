package ratelimit

import "math/bits"

// A fixed window's cell holds Used units, the first of them counted in the
// window that started at Part, the last at At. They count while At lies in the
// window of now.

func (r *Rule) takeFixed(c Cell, cost, at int64) (Cell, Outcome) {
	w := r.window(at)
	used, since := c.within(w)
	used = min(used, r.quota)
	var o Outcome
	left := w.end - at
	switch {
	case cost > r.quota:
		o.RetryAfter = never
	case cost > r.quota-used:
		o.RetryAfter = left
	default:
		used += cost
	}
	o.Remaining = r.quota - used
	if used > 0 {
		o.ResetAfter = left
	}
	return Cell{At: at, Used: used, Part: since}, o
}

// WindowAt returns the start and the end of the window that an instant lies in,
// of a [FixedWindow] or a [Calendar] rule, all in microseconds since the Unix
// epoch.
func (r *Rule) WindowAt(at int64) (start, end int64) {
	w := r.window(min(max(at, 0), maxNow))
	return w.start, w.end
}

func (r *Rule) window(at int64) window {
	if r.calendar != nil {
		return r.calendar.at(at)
	}
	_, into := r.byPeriod.div(at)
	return window{at - into, at - into + r.period}
}

// within returns what c counts in a window, and the start of the first window
// that it counts from.
func (c Cell) within(w window) (used, since int64) {
	if c.Used > 0 && c.At >= w.start {
		return c.Used, c.Part
	}
	return 0, w.start
}

func (r *Rule) chargeFixed(c Cell, cost, at int64) (Cell, int64) {
	w := r.window(at)
	used, since := c.within(w)
	return Cell{At: at, Used: min(used+cost, MaxCount), Part: since}, w.end - at
}

func (r *Rule) refundFixed(c Cell, cost, until int64) Cell {
	if c.Part > r.window(until-1).start { // counts from a later start: the cost is not in it
		return c
	}
	c.Used = max(c.Used-cost, 0)
	if c.Used == 0 {
		return Cell{}
	}
	return c
}

// A sliding window's cell holds Used units of the window that At lies in, and
// Part units of the window before it. Either may be more than the quota, which
// is as much of it as counts: a refund of what the rest covers frees nothing.

func (r *Rule) takeSliding(c Cell, cost, at int64) (Cell, Outcome) {
	index, into := r.byPeriod.div(at)
	used, before := r.rolled(c, index)
	w, quota := r.period, r.quota
	cur, prev := min(used, quota), min(before, quota)
	left := w - into // of the window, which is also what the window before still weighs
	var o Outcome
	weight := r.times(prev, left, w, true)
	switch {
	case cost > quota:
		o.RetryAfter = never
	case cost == 0 || cost <= quota-cur-weight:
		cur += cost
	case cost <= quota-cur:
		o.RetryAfter = left - r.times(quota-cur-cost, w, prev, false)
	default:
		o.RetryAfter = left + w - r.times(quota-cost, w, cur, false)
	}
	o.Remaining = max(quota-cur-weight, 0)
	switch {
	case cur > 0:
		o.ResetAfter = left + w
	case prev > 0:
		o.ResetAfter = left
	}
	return Cell{At: at, Used: cur, Part: before}, o
}

// rolled returns what c holds of the window of that index and of the one before
// it.
func (r *Rule) rolled(c Cell, index int64) (cur, prev int64) {
	was, _ := r.byPeriod.div(c.At)
	switch index - was {
	case 0:
		return c.Used, c.Part
	case 1:
		return 0, c.Used
	}
	return 0, 0
}

// times returns a*b/c, rounded up or down, where a is at most the quota, b at
// most the period, and the result fits in 63 bits.
func (r *Rule) times(a, b, c int64, up bool) int64 {
	if a == 0 {
		return 0
	}
	if r.small {
		p := a * b
		q := p / c
		if up && q*c < p {
			q++
		}
		return q
	}
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if up {
		return int64(divUp(hi, lo, uint64(c)))
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(q)
}

func (r *Rule) chargeSliding(c Cell, cost, at int64) (Cell, int64) {
	index, into := r.byPeriod.div(at)
	used, before := r.rolled(c, index)
	return Cell{At: at, Used: min(used+cost, MaxCount), Part: before}, r.period - into + r.period
}

func (r *Rule) refundSliding(c Cell, cost, until int64) Cell {
	switch until/r.period - 2 - c.At/r.period { // the window of the cost against the cell's
	case 0:
		c.Used = max(c.Used-cost, 0)
	case -1:
		c.Part = max(c.Part-cost, 0)
	}
	if c.Used|c.Part == 0 {
		return Cell{}
	}
	return c
}
