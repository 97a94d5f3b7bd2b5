package ratelimittest

import (
	"math/big"
	"slices"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// rate is in units a microsecond.
func (r reading) rate() *big.Rat { return big.NewRat(r.Count, r.us()) }

// most is what a bucket can owe: what takes MaxPeriod to pay back, in whole
// units.
func (r reading) most() *big.Rat {
	n := new(big.Int).Mul(big.NewInt(ratelimit.MaxPeriod.Microseconds()), big.NewInt(r.Count))
	n.Quo(n, big.NewInt(r.us()))
	return least(new(big.Rat).SetInt(n), rat(ratelimit.MaxCount))
}

// debt returns the debt of s at its own time as r reads it.
func (r reading) debt(s *state) *big.Rat {
	debt := new(big.Rat).Add(rat(s.units), least(big.NewRat(s.parts, r.us()), rat(1)))
	if s.deep {
		return least(debt, r.most())
	}
	return least(debt, rat(r.quota()))
}

// owe makes debt what s owes, in parts of a period.
func (s *state) owe(debt *big.Rat, period int64) {
	units := new(big.Int).Quo(debt.Num(), debt.Denom())
	s.units = units.Int64()
	parts := new(big.Rat).Sub(debt, new(big.Rat).SetInt(units))
	s.parts = parts.Mul(parts, rat(period)).Num().Int64()
}

// rolled returns what s holds of the sliding window of the time t, and of the
// one before it.
func (r reading) rolled(s *state, t int64) (used, before int64) {
	if s = r.kept(s, t); s == nil {
		return 0, 0
	}
	now, was := r.window(t), r.window(s.at)
	switch was.start {
	case now.start:
		return s.used, s.before
	case now.start - r.us():
		return 0, s.used
	}
	return 0, 0
}

// insert keeps what does not count any more: a store may have it or not.
func (r reading) insert(s *state, e entry) *state {
	s.entries = append(s.entries, e)
	slices.SortStableFunc(s.entries, func(a, b entry) int { return int(a.until - b.until) })
	return s
}

// find returns the index of the entry of id if it counts, else -1.
func (r reading) find(s *state, id ratelimit.ID) int {
	if s == nil {
		return -1
	}
	return slices.IndexFunc(s.entries, func(e entry) bool { return e.id == id && e.until > max(r.m.now, s.at) })
}

func (r reading) settleLog(s *state, id ratelimit.ID, cost, actual int64) *state {
	i := r.find(s, id)
	if i < 0 {
		if actual > cost && r.Algorithm == ratelimit.SlidingLog {
			return r.charge(s, id, actual-cost)
		}
		return s
	}
	next := *s
	next.entries = slices.Clone(s.entries)
	if actual == 0 {
		next.entries = slices.Delete(next.entries, i, i+1)
		if len(next.entries) == 0 {
			return nil
		}
		return &next
	}
	others := r.inUse(s, r.m.now).Num().Int64() - s.entries[i].units
	next.entries[i].units = min(actual, ratelimit.MaxCount-others)
	return &next
}

func (r reading) renew(s *state, id ratelimit.ID) *state {
	i := r.find(s, id)
	e := s.entries[i]
	next := r.from(s)
	next.entries = slices.Delete(next.entries, i, i+1)
	e.until, e.passed = max(e.until, next.at+r.us()), false
	return r.insert(next, e)
}

// A span is the time from start to before end.
type span struct{ start, end int64 }

type calendarOf struct {
	every ratelimit.Span
	zone  *time.Location
}

// window returns the window of the limit that the time t lies in.
func (r reading) window(t int64) span {
	if r.Algorithm != ratelimit.Calendar {
		start := t - t%max(r.us(), 1)
		return span{start, start + r.us()}
	}
	of := calendarOf{r.Every, r.Zone}
	if w := r.m.windows[of]; w.start <= t && t < w.end {
		return w
	}
	// From a date well before the instant on, the last span that has begun.
	local := time.UnixMicro(t).In(r.Zone)
	first := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC)
	switch r.Every {
	case ratelimit.Week:
		for first.Weekday() != time.Monday {
			first = first.AddDate(0, 0, -1)
		}
	case ratelimit.Month:
		first = first.AddDate(0, 0, 1-first.Day())
	case ratelimit.Year:
		first = first.AddDate(0, 0, 1-first.YearDay())
	}
	next := func(d time.Time, n int) time.Time {
		switch r.Every {
		case ratelimit.Week:
			return d.AddDate(0, 0, 7*n)
		case ratelimit.Month:
			return d.AddDate(0, n, 0)
		case ratelimit.Year:
			return d.AddDate(n, 0, 0)
		}
		return d.AddDate(0, 0, n)
	}
	first = next(first, -1)
	w := span{begins(first, r.Zone), begins(next(first, 1), r.Zone)}
	for n := 2; w.end <= t; n++ {
		w = span{w.end, begins(next(first, n), r.Zone)}
	}
	r.m.windows[of] = w
	return w
}

// begins returns the first instant at which a clock in the zone shows the date,
// which is given as its midnight in UTC, or a later one.
func begins(date time.Time, zone *time.Location) int64 {
	for t := date.Add(-36 * time.Hour).In(zone); ; {
		_, end := t.ZoneBounds()
		if !end.IsZero() && !end.After(t) { // on the last day of a leap year after 2037, ZoneBounds ends a day early
			end = t.Add(24 * time.Hour)
		}
		_, offset := t.Zone()
		shows := date.Add(-time.Duration(offset) * time.Second)
		if shows.Before(t) {
			shows = t
		}
		if end.IsZero() || shows.Before(end) {
			return shows.UnixMicro()
		}
		t = end
	}
}
