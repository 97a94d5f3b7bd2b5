package calendar

import "time"

// A Span is how long a window lasts: from midnight to midnight, but for an Hour.
type Span uint8

const (
	Day   Span = 1
	Week  Span = 2 // from Monday
	Month Span = 3 // from the first
	Year  Span = 4 // from 1 January
	Hour  Span = 5 // that the clocks show; less than one where they are changed within it
)

// Window returns the window of the zone's calendar that t lies in, without its
// end. Windows meet: where one ends the next one starts. A span that is not one
// of the constants is a Day.
func Window(span Span, zone *time.Location, t time.Time) (start, end time.Time) {
	if span == Hour {
		return hour(t.In(zone))
	}
	y, m, d := t.In(zone).Date()
	start, end = span.start(y, m, d, 0, zone), span.start(y, m, d, 1, zone)
	for n := 2; !end.After(t); n++ { // the clock was put back into a date before, or a date was skipped
		start, end = end, span.start(y, m, d, n, zone)
	}
	return start, end
}

// hour returns the hour that the clocks show at t.
func hour(t time.Time) (start, end time.Time) {
	since, until := t.ZoneBounds()
	into := time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
	start = t.Add(-into)
	end = start.Add(time.Hour)
	if start.Before(since) {
		start = since
	}
	if until.After(t) && until.Before(end) {
		end = until
	}
	return start.UTC(), end.UTC()
}

// start returns when the n-th span after the one of that date starts.
func (s Span) start(y int, m time.Month, d, n int, zone *time.Location) time.Time {
	switch s {
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
	return arrival(time.Date(y, m, d, 0, 0, 0, 0, time.UTC), zone)
}

// arrival returns the first instant, in UTC, at which the clocks of a zone show
// the wall-clock time, which is given as if it were one of UTC, or what is later.
// So it may be skipped or come twice, and no instant before shows what is later.
func arrival(wall time.Time, zone *time.Location) time.Time {
	t := wall.Add(-48 * time.Hour).In(zone) // before it in every zone: offsets are below 26 hours (RFC 8536, section 3.2)
	for {
		since, until := t.ZoneBounds()
		_, offset := t.Zone()
		first := wall.Add(-time.Duration(offset) * time.Second)
		if first.Before(since) {
			first = since
		}
		if soon := t.Add(time.Hour); !until.IsZero() && until.Before(soon) {
			until = soon // package time puts it too early, up to before t, on 31 December of some leap years
		}
		if until.IsZero() || first.Before(until) {
			return first.UTC()
		}
		t = until
	}
}
