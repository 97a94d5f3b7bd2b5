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
	return [...]time.Duration{Day: 1, Week: 7, Month: 31, Year: 366}[s] * 24 * time.Hour
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
	n := 1 // spans after the guess: a clock that went back over midnight makes the guess one too early or too late
	for c.boundary(y, m, d, n) <= us {
		n++
	}
	for c.boundary(y, m, d, n-1) > us {
		n--
	}
	return window{c.boundary(y, m, d, n-1), c.boundary(y, m, d, n)}
}

// boundary returns when the n-th span after the one of that date starts.
func (c *calendar) boundary(y int, m time.Month, d, n int) int64 {
	switch c.span {
	case Week:
		noon := time.Date(y, m, d, 12, 0, 0, 0, time.UTC)
		d += 7*n - (int(noon.Weekday())+6)%7
	case Month:
		m, d = m+time.Month(n), 1
	case Year:
		y, m, d = y+n, time.January, 1
	default:
		d += n
	}
	return midnight(y, m, d, c.zone).UnixMicro()
}

// midnight returns the first instant of a date in a zone. Where the clock was
// put forward over midnight that is the instant of the change; where it was put
// back and midnight came twice, the first of the two.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	since, until := t.ZoneBounds()
	if hour, minute, second := t.Clock(); hour|minute|second != 0 { // no such midnight: Date chose either side of the change
		if day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Day(); t.Day() == day {
			return since
		}
		return until
	}
	if !since.IsZero() {
		_, before := since.Add(-1).Zone()
		_, now := t.Zone()
		if first := t.Add(time.Duration(now-before) * time.Second); first.Before(since) {
			return first
		}
	}
	return t
}
