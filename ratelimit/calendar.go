package ratelimit

import (
	"sync/atomic"
	"time"
)

// A Span is a calendar window: from midnight to midnight of a time zone.
type Span uint8

const (
	Day   Span = 1 + iota
	Week       // from Monday
	Month      // from the first
	Year       // from 1 January
)

// String returns the span's name in lower case.
func (s Span) String() string {
	if s < Day || s > Year {
		return "unknown"
	}
	return [...]string{Day: "day", Week: "week", Month: "month", Year: "year"}[s]
}

// longest returns the length of the longest such span, to the day: a day of 25
// hours counts as one day.
func (s Span) longest() time.Duration {
	return [...]time.Duration{Day: day, Week: 7 * day, Month: 31 * day, Year: 366 * day}[s]
}

// A calendar finds the window of an instant. It remembers the last one found,
// because most decisions fall into it.
type calendar struct {
	span Span
	zone *time.Location
	last atomic.Pointer[window]
}

// A window is a span of time in microseconds since the Unix epoch, without its
// end.
type window struct{ start, end int64 }

// at returns the window that the instant lies in.
func (c *calendar) at(us int64) window {
	if w := c.last.Load(); w != nil && w.start <= us && us < w.end {
		return *w
	}
	w := c.find(us)
	c.last.Store(&w)
	return w
}

func (c *calendar) find(us int64) window {
	y, m, d := time.UnixMicro(us).In(c.zone).Date()
	w := window{c.start(y, m, d, 0), c.start(y, m, d, 1)}
	for n := 2; w.end <= us; n++ { // the clock was put back into a date before, or a date was skipped
		w = window{w.end, c.start(y, m, d, n)}
	}
	return w
}

// start returns when the n-th span after the one of that date starts.
func (c *calendar) start(y int, m time.Month, d, n int) int64 {
	switch c.span {
	case Week:
		weekday := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Weekday()
		d += 7*n - (int(weekday)+6)%7
	case Month:
		m, d = m+time.Month(n), 1
	case Year:
		y, m, d = y+n, time.January, 1
	default:
		d += n
	}
	return arrival(time.Date(y, m, d, 0, 0, 0, 0, time.UTC), c.zone)
}

// arrival returns the first instant, in microseconds since the Unix epoch, at
// which the clock of a zone shows the midnight or what is later. So midnight
// may be skipped or come twice, and no instant precedes the start of its date.
func arrival(midnight time.Time, zone *time.Location) int64 {
	t := midnight.Add(-48 * time.Hour).In(zone) // before it in every zone: offsets are below 26 hours (RFC 8536, section 3.2)
	for {
		since, until := t.ZoneBounds()
		_, offset := t.Zone()
		first := midnight.Add(-time.Duration(offset) * time.Second)
		if first.Before(since) {
			first = since
		}
		if !until.IsZero() { // which package time puts too early, up to before t, on 31 December of some leap years
			until = latest(until, t.Add(time.Hour))
		}
		if until.IsZero() || first.Before(until) {
			return first.UnixMicro()
		}
		t = until
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
