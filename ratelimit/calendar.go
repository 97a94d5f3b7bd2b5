package ratelimit

import (
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/internal/calendar"
)

// A Span is a calendar window: from midnight to midnight of a time zone.
type Span uint8

const (
	Day   Span = 1 + iota // the numbers are those of internal/calendar
	Week                  // from Monday
	Month                 // from the first
	Year                  // from 1 January
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

// A windows finds the calendar window of an instant. It remembers the last one
// found, because most decisions fall into it.
type windows struct {
	span Span
	zone *time.Location
	last atomic.Pointer[window]
}

// A window is a span of time in microseconds since the Unix epoch, without its
// end.
type window struct{ start, end int64 }

// at returns the window that the instant lies in.
func (w *windows) at(us int64) window {
	if last := w.last.Load(); last != nil && last.start <= us && us < last.end {
		return *last
	}
	found := w.find(us)
	w.last.Store(&found)
	return found
}

func (w *windows) find(us int64) window {
	start, end := calendar.Window(calendar.Span(w.span), w.zone, time.UnixMicro(us))
	return window{start.UnixMicro(), end.UnixMicro()}
}
