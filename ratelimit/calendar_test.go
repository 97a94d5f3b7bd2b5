package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same rules on every machine

	"github.com/keytoll/keytoll/ratelimit"
)

// zones change their clocks in every way there is: at midnight and a minute
// past, by half an hour and by a day, forward and back, twice a year and never.
var zones = strings.Fields(`
	UTC Africa/Cairo Africa/Casablanca Africa/El_Aaiun Africa/Johannesburg Africa/Monrovia
	America/Asuncion America/Caracas America/Godthab America/Havana America/Los_Angeles America/New_York
	America/Nuuk America/Santiago America/Sao_Paulo America/Scoresbysund America/St_Johns
	Antarctica/Troll Antarctica/Casey Asia/Amman Asia/Beirut Asia/Gaza Asia/Kathmandu Asia/Kolkata
	Asia/Manila Asia/Pyongyang Asia/Tehran Asia/Tokyo Atlantic/Azores Australia/Lord_Howe Australia/Sydney
	Europe/Berlin Europe/Dublin Europe/Lisbon Europe/London Europe/Moscow Pacific/Apia Pacific/Auckland
	Pacific/Chatham Pacific/Enderbury Pacific/Fakaofo Pacific/Honolulu Pacific/Kiritimati Pacific/Kwajalein
	Pacific/Marquesas`)

func zone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return z
}

func calendar(tb testing.TB, every ratelimit.Span, z *time.Location) *ratelimit.Rule {
	tb.Helper()
	return set(tb, ratelimit.Limit{Name: "c", Algorithm: ratelimit.Calendar, Count: 10, Every: every, Zone: z}).Rule(0)
}

// first returns the first date of the span that holds the date which the zone's
// clock shows at an instant.
func first(every ratelimit.Span, z *time.Location, us int64) time.Time {
	y, m, d := time.UnixMicro(us).In(z).Date()
	date := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	switch every {
	case ratelimit.Week:
		for date.Weekday() != time.Monday {
			date = date.AddDate(0, 0, -1)
		}
	case ratelimit.Month:
		date = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	case ratelimit.Year:
		date = time.Date(y, time.January, 1, 0, 0, 0, 0, time.UTC)
	}
	return date
}

// checkWindow says what is wrong with the window of an instant. A window of a
// date starts when the clock first shows that date or a later one, ends when it
// first shows one beyond the span, and meets its neighbours.
func checkWindow(rule *ratelimit.Rule, us int64) error {
	l := rule.Limit()
	start, end := rule.WindowAt(us)
	if us < start || us >= end {
		return fmt.Errorf("the window [%d, %d) does not hold the instant", start, end)
	}
	// A clock put back shows dates before the start's: never later than the end.
	begins := first(l.Every, l.Zone, start)
	for _, in := range []int64{us, end - 1, start + (end-start)/2} {
		if d := first(l.Every, l.Zone, in); d.After(begins) {
			return fmt.Errorf("the window that starts with %v holds %v", begins, d)
		}
	}
	if d := first(l.Every, l.Zone, end); !d.After(begins) {
		return fmt.Errorf("the window that starts with %v ends with %v", begins, d)
	}
	for _, back := range []time.Duration{time.Microsecond, time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 24 * time.Hour} {
		if d := first(l.Every, l.Zone, start-back.Microseconds()); !d.Before(begins) {
			return fmt.Errorf("%v before the window that starts with %v the clock shows %v", back, begins, d)
		}
	}
	if start > 0 {
		if _, before := rule.WindowAt(start - 1); before != start {
			return fmt.Errorf("the window before ends at %d, not at %d", before, start)
		}
	}
	if after, _ := rule.WindowAt(end); after != end {
		return fmt.Errorf("the window after starts at %d, not at %d", after, end)
	}
	if s, e := rule.WindowAt(us); s != start || e != end {
		return fmt.Errorf("asked again, the window is [%d, %d), not [%d, %d)", s, e, start, end)
	}
	return nil
}

func TestCalendarWindowsPartitionTime(t *testing.T) {
	t.Parallel()
	const seed = 11
	const year2100 = 4_102_444_800_000_000
	for _, name := range zones {
		z := zone(t, name)
		rnd := rand.New(rand.NewPCG(seed, 1))
		var instants []int64
		for range 60 {
			instants = append(instants, rnd.Int64N(year2100), rnd.Int64N(1<<60))
		}
		// Around every change of the clock, where midnight may be missing.
		for at := time.Unix(0, 0).In(z); at.Year() < 2040; {
			_, until := at.ZoneBounds()
			if until.IsZero() {
				break
			}
			at = until
			for range 6 {
				instants = append(instants, at.UnixMicro()+rnd.Int64N(int64(4*time.Hour/time.Microsecond))-int64(2*time.Hour/time.Microsecond))
			}
		}
		for year := 1972; year < 2200; year += 4 { // see arrival
			for hour := range 8 {
				instants = append(instants, time.Date(year, time.December, 30, 20+6*hour, 0, 0, 0, time.UTC).UnixMicro())
			}
		}
		instants = append(instants, 0, 1, 1<<60-int64(400*24*time.Hour/time.Microsecond))
		for every := ratelimit.Day; every <= ratelimit.Year; every++ {
			rule := calendar(t, every, z)
			for _, us := range instants {
				if us < 0 {
					continue
				}
				if err := checkWindow(rule, us); err != nil {
					t.Fatalf("seed %d, %s, %v, %d (%v): %v", seed, name, every, us, time.UnixMicro(us).In(z), err)
				}
			}
		}
	}
}

func FuzzCalendar(f *testing.F) {
	f.Add(uint8(1), uint16(3), int64(0), int64(1_325_239_200_000_000), []byte{1, 2, 3})
	f.Add(uint8(3), uint16(0), int64(3600*14), int64(1<<60), []byte{200, 7, 255})
	f.Fuzz(func(t *testing.T, every uint8, which uint16, offset, us int64, steps []byte) {
		z := time.FixedZone("fixed", int(offset%93_600))
		if which > 0 {
			z = zone(t, zones[int(which)%len(zones)])
		}
		set, err := ratelimit.NewLimits(ratelimit.Limit{Name: "c", Algorithm: ratelimit.Calendar, Count: 10, Every: ratelimit.Span(every), Zone: z})
		if err != nil {
			return
		}
		rule := set.Rule(0)
		us = int64(uint64(us) % (1 << 60))
		if err := checkWindow(rule, us); err != nil && us < 1<<59 {
			t.Fatalf("%v, %v, %d: %v", z, ratelimit.Span(every), us, err)
		}
		var c ratelimit.Cell
		inWindow, window := int64(0), int64(-1<<62)
		for _, b := range steps[:min(len(steps), 50)] {
			us += int64(b) * 3_600_000_000
			start, end := rule.WindowAt(us)
			if start != window {
				inWindow, window = 0, start
			}
			next, o := rule.Take(c, int64(b&7), us)
			if o.RetryAfter > 0 && us+o.RetryAfter != end && us < 1<<59 {
				t.Fatalf("%v: the window ends in %d, RetryAfter is %d", z, end-us, o.RetryAfter)
			}
			if o.RetryAfter != 0 {
				continue
			}
			if inWindow += int64(b & 7); inWindow > 10 {
				t.Fatalf("%v: %d passed in one window", z, inWindow)
			}
			c = next
		}
	})
}

// What the sources say of well-known days, in local time.
func TestCalendarDaysOfNote(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, zone  string
		every       ratelimit.Span
		at          string // an instant in UTC
		start, last string // of its window, in UTC
	}{
		{"a day in UTC", "UTC", ratelimit.Day, "2026-05-01T10:00:00Z", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"},
		{"a week starts on Monday", "UTC", ratelimit.Week, "2026-05-03T23:59:59Z", "2026-04-27T00:00:00Z", "2026-05-04T00:00:00Z"},
		{"a leap year's February", "UTC", ratelimit.Month, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"a year in Tokyo", "Asia/Tokyo", ratelimit.Year, "2025-12-31T15:00:00Z", "2025-12-31T15:00:00Z", "2026-12-31T15:00:00Z"},
		{"23 hours", "Europe/Berlin", ratelimit.Day, "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"25 hours", "Europe/Berlin", ratelimit.Day, "2026-10-25T10:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"no midnight: it becomes one o'clock", "America/Sao_Paulo", ratelimit.Day, "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"midnight becomes 23 o'clock: the hour repeats in the old day", "America/Sao_Paulo", ratelimit.Day, "2019-02-17T02:30:00Z", "2019-02-16T02:00:00Z", "2019-02-17T03:00:00Z"},
		{"one o'clock becomes midnight: the day has two", "America/Havana", ratelimit.Day, "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"a minute past midnight becomes 23:01: the hour repeats in the new day", "America/St_Johns", ratelimit.Day, "2006-10-29T03:00:00Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},
		{"and its month starts with the first midnight", "America/St_Johns", ratelimit.Day, "2006-10-29T02:30:30Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},
		{"the day before one that was skipped", "Pacific/Apia", ratelimit.Day, "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"the day after one that was skipped", "Pacific/Apia", ratelimit.Day, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"the week of a day that was skipped", "Pacific/Apia", ratelimit.Week, "2011-12-30T10:00:00Z", "2011-12-26T10:00:00Z", "2012-01-01T10:00:00Z"},
		{"a year whose last day was skipped", "Pacific/Kiritimati", ratelimit.Year, "1994-12-31T09:59:59Z", "1994-01-01T10:00:00Z", "1994-12-31T10:00:00Z"},
	} {
		rule := calendar(t, tt.every, zone(t, tt.zone))
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		start, end := rule.WindowAt(at.UnixMicro())
		if s, e := time.UnixMicro(start).UTC().Format(time.RFC3339), time.UnixMicro(end).UTC().Format(time.RFC3339); s != tt.start || e != tt.last {
			t.Errorf("%s: from %s to %s, want from %s to %s", tt.name, s, e, tt.start, tt.last)
		}
	}
}

// A fixed window of 24 hours ends at midnight UTC, whatever the customer's day.
func TestCalendarDayIsTheZonesDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "day", Algorithm: ratelimit.Calendar, Count: 10, Every: ratelimit.Day, Zone: zone(t, "America/Los_Angeles")})
	w.now = time.Date(2026, 5, 2, 6, 59, 59, 0, time.UTC) // 23:59:59 on 1 May
	w.want(true, 10)
	if r := w.want(false, 1); r.RetryAfter != time.Second {
		t.Errorf("RetryAfter is %v, want 1s", r.RetryAfter)
	}
	w.now = w.now.Add(time.Second)
	w.want(true, 10)
	w.now = w.now.Add(24*time.Hour - time.Microsecond)
	w.want(false, 1)
}

// The window is sought once, not with every decision; concurrent decisions may
// look into different windows.
func TestCalendarDecisionsDoNotAllocate(t *testing.T) {
	w := newWorld(t, ratelimit.Limit{Name: "day", Algorithm: ratelimit.Calendar, Count: 1 << 40, Every: ratelimit.Month, Zone: zone(t, "Europe/Berlin")})
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if r, err := w.Take(ctx, "k", 1); err != nil || !r.Allowed {
			t.Error(r.Allowed, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
