package calendar

import "time"

// A Unit is what the steps of a [Series] are counted in.
type Unit uint8

const (
	Hours  Unit = 1 // that pass, whatever the clocks show
	Days   Unit = 2
	Weeks  Unit = 3
	Months Unit = 4
	Years  Unit = 5
)

// A Series is the instants 0, 1, 2, ... that lie Every units apart. Each is
// counted from Anchor itself, never from the one before it, so a month that is
// too short moves one instant and not those that follow: after 31 January come
// 28 February and 31 March.
//
// Instants lie on the anchor's day, or on the last day of a month that has no
// such day, at the anchor's wall-clock time in Zone. Instant 0 is Anchor.
type Series struct {
	Anchor time.Time // in the years 1 to 9999
	Unit   Unit
	Every  int64 // 1 or more
	Zone   *time.Location
}

// lastYear is the last that an instant can be in.
const lastYear = 9999

// most is more than there are steps of one hour until the end of lastYear, so
// that no product of steps overflows.
const most = (lastYear + 1) * 366 * 24

// At returns instant n, in UTC, and false when n is negative or the instant
// would be after the year 9999. It takes as long for any n.
func (s Series) At(n int64) (time.Time, bool) {
	if n < 0 || n > most || s.Every < 1 || n > 0 && s.Every > most/n {
		return time.Time{}, false
	}
	if n == 0 {
		return s.Anchor.UTC(), true // which may be the second of two that the clocks show alike
	}
	t, ok := s.step(int(n * s.Every))
	return t, ok && t.Year() <= lastYear
}

// step returns the instant that many units after the anchor.
func (s Series) step(units int) (time.Time, bool) {
	wall := s.wall(s.Anchor)
	switch s.Unit {
	case Hours: // in seconds, because a time.Duration holds no more than 292 years
		return time.Unix(s.Anchor.Unix()+int64(units)*3600, int64(s.Anchor.Nanosecond())).UTC(), true
	case Days:
		return s.on(wall.AddDate(0, 0, units))
	case Weeks:
		return s.on(wall.AddDate(0, 0, 7*units))
	case Years:
		units *= 12
	}
	then := wall.AddDate(0, units, 0)
	if then.Day() != wall.Day() { // that month is too short: these are days of the next one
		then = then.AddDate(0, 0, -then.Day())
	}
	return s.on(then)
}

// on returns when the clocks show a wall-clock time.
func (s Series) on(wall time.Time) (time.Time, bool) {
	if wall.Year() > lastYear+1 {
		return time.Time{}, false
	}
	return arrival(wall, s.Zone), true
}

// wall returns what the clocks of the zone show at t, as if it were a time of
// UTC.
func (s Series) wall(t time.Time) time.Time {
	t = t.In(s.Zone)
	y, m, d := t.Date()
	hour, minute, second := t.Clock()
	return time.Date(y, m, d, hour, minute, second, t.Nanosecond(), time.UTC)
}

// After returns the least n whose instant is after t. Where there is none, At
// says so for the n that it returns. It takes about as long for any t.
func (s Series) After(t time.Time) int64 {
	if s.Every < 1 || t.Before(s.Anchor) {
		return 0
	}
	n := max(s.passed(t)/s.Every, 0)
	for {
		if at, ok := s.At(n); !ok || at.After(t) {
			return n
		}
		n++
	}
}

// passed returns how many units have certainly passed from the anchor to t, and
// few less than have: the clocks show the instant of so many, or later.
func (s Series) passed(t time.Time) int64 {
	const hour, day = 3600, 24 * 3600
	from, to := s.wall(s.Anchor), s.wall(t)
	switch s.Unit {
	case Hours:
		return (t.Unix()-s.Anchor.Unix())/hour - 1
	case Days:
		return (to.Unix() - from.Unix()) / day
	case Weeks:
		return (to.Unix() - from.Unix()) / (7 * day)
	case Years:
		return int64(to.Year()-from.Year()) - 1
	}
	return int64(to.Year()-from.Year())*12 + int64(to.Month()-from.Month()) - 1
}
