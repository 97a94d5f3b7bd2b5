package calendar_test

import (
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata" // the same rules on every machine

	"github.com/keytoll/keytoll/internal/calendar"
)

// zones change their clocks at midnight, at two and at a minute past, by an hour,
// by half of one and by a day, in both hemispheres, or never.
var zones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "America/St_Johns", "America/Nuuk",
	"Australia/Lord_Howe", "Australia/Sydney", "Asia/Kolkata", "Asia/Tehran", "Asia/Gaza", "Africa/Cairo", "Africa/Casablanca",
	"Pacific/Apia", "Pacific/Kiritimati", "Pacific/Chatham", "Antarctica/Troll", "Europe/Dublin",
}

func zone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return z
}

func at(tb testing.TB, text string) time.Time {
	tb.Helper()
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		tb.Fatal(err)
	}
	return t.UTC()
}

// shown returns what the clocks of a zone show, as if it were a time of UTC.
func shown(z *time.Location, t time.Time) time.Time {
	t = t.In(z)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// firstShown watches the clocks of a zone, minute by minute, until they show a
// wall-clock time of whole minutes, or what is later.
func firstShown(z *time.Location, wall time.Time) time.Time {
	_, before := wall.Add(-48 * time.Hour).In(z).Zone()
	_, after := wall.Add(48 * time.Hour).In(z).Zone()
	t := wall.Add(-time.Duration(max(before, after))*time.Second - 2*time.Hour)
	for shown(z, t).Before(wall) {
		t = t.Add(time.Minute)
	}
	return t
}

// walk turns the pages of a calendar, day by day, until that many units have
// passed, and returns the date there: in a month without the day its last one.
func walk(from time.Time, unit calendar.Unit, units int) time.Time {
	date := from
	for range units {
		switch unit {
		case calendar.Days:
			date = date.AddDate(0, 0, 1)
		case calendar.Weeks:
			for weekday := date.Weekday(); ; {
				if date = date.AddDate(0, 0, 1); date.Weekday() == weekday {
					break
				}
			}
		case calendar.Months, calendar.Years:
			for {
				month := date.Month()
				for date.Month() == month {
					date = date.AddDate(0, 0, 1)
				}
				if unit == calendar.Months || date.Month() == from.Month() {
					break
				}
			}
		}
	}
	for unit >= calendar.Months && date.Day() < from.Day() && date.AddDate(0, 0, 1).Day() != 1 {
		date = date.AddDate(0, 0, 1)
	}
	return date
}

func TestSeriesOfNote(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, zone, anchor string
		unit               calendar.Unit
		every              int64
		want               []string // instants 0, 1, ...
	}{
		{
			"the 31st becomes the last day of a short month, and the 31st again", "UTC", "2026-01-31T09:00:00Z", calendar.Months, 1,
			[]string{"2026-01-31T09:00:00Z", "2026-02-28T09:00:00Z", "2026-03-31T09:00:00Z", "2026-04-30T09:00:00Z", "2026-05-31T09:00:00Z"},
		},
		{
			"the 31st in a leap year", "UTC", "2028-01-31T00:00:00Z", calendar.Months, 1,
			[]string{"2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"},
		},
		{
			"the 30th", "UTC", "2027-12-30T00:00:00Z", calendar.Months, 1,
			[]string{"2027-12-30T00:00:00Z", "2028-01-30T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-30T00:00:00Z"},
		},
		{
			"the 29th", "UTC", "2026-01-29T00:00:00Z", calendar.Months, 1,
			[]string{"2026-01-29T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-29T00:00:00Z"},
		},
		{
			"the 28th is every month's", "UTC", "2026-01-28T00:00:00Z", calendar.Months, 1,
			[]string{"2026-01-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-28T00:00:00Z"},
		},
		{
			"29 February, yearly", "UTC", "2028-02-29T12:00:00Z", calendar.Years, 1,
			[]string{"2028-02-29T12:00:00Z", "2029-02-28T12:00:00Z", "2030-02-28T12:00:00Z", "2031-02-28T12:00:00Z", "2032-02-29T12:00:00Z"},
		},
		{
			"29 February, over a century without", "UTC", "2096-02-29T00:00:00Z", calendar.Years, 4,
			[]string{"2096-02-29T00:00:00Z", "2100-02-28T00:00:00Z", "2104-02-29T00:00:00Z"},
		},
		{
			"quarters", "UTC", "2025-11-30T00:00:00Z", calendar.Months, 3,
			[]string{"2025-11-30T00:00:00Z", "2026-02-28T00:00:00Z", "2026-05-30T00:00:00Z"},
		},
		{
			"nine o'clock stays nine o'clock when summer begins", "Europe/Berlin", "2026-03-28T08:00:00Z", calendar.Days, 1,
			[]string{"2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z"},
		},
		{
			"half past two is skipped: three o'clock, which is the end of the gap", "Europe/Berlin", "2026-03-28T01:30:00Z", calendar.Days, 1,
			[]string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		},
		{
			"half past two comes twice: the first", "Europe/Berlin", "2026-10-24T00:30:00Z", calendar.Days, 1,
			[]string{"2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		},
		{
			"an anchor in the second half past two is instant 0 all the same", "Europe/Berlin", "2026-10-25T01:30:00Z", calendar.Weeks, 1,
			[]string{"2026-10-25T01:30:00Z", "2026-11-01T01:30:00Z"},
		},
		{
			"half an hour is skipped", "Australia/Lord_Howe", "2026-10-02T15:45:00Z", calendar.Days, 1, // 02:15
			[]string{"2026-10-02T15:45:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"},
		},
		{
			"midnight is skipped", "America/Sao_Paulo", "2018-10-04T03:00:00Z", calendar.Months, 1,
			[]string{"2018-10-04T03:00:00Z", "2018-11-04T03:00:00Z", "2018-12-04T02:00:00Z"},
		},
		{
			"a day is skipped: two begin with the next", "Pacific/Apia", "2011-12-29T22:00:00Z", calendar.Days, 1, // 29 December, noon
			[]string{"2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"},
		},
		{
			"hours pass, whatever the clocks show", "Europe/Berlin", "2026-03-28T23:30:00Z", calendar.Hours, 2,
			[]string{"2026-03-28T23:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T03:30:00Z"},
		},
		{
			"microseconds stay", "Asia/Kolkata", "2026-01-31T09:59:59.999999Z", calendar.Months, 1,
			[]string{"2026-01-31T09:59:59.999999Z", "2026-02-28T09:59:59.999999Z"},
		},
		{
			"the anchor's day is the zone's: 31 January in Tokyo", "Asia/Tokyo", "2026-01-30T15:00:00Z", calendar.Months, 1,
			[]string{"2026-01-30T15:00:00Z", "2026-02-27T15:00:00Z", "2026-03-30T15:00:00Z"},
		},
	} {
		s := calendar.Series{Anchor: at(t, tt.anchor), Unit: tt.unit, Every: tt.every, Zone: zone(t, tt.zone)}
		for n, want := range tt.want {
			if got, ok := s.At(int64(n)); !ok || !got.Equal(at(t, want)) || got.Location() != time.UTC {
				t.Errorf("%s: instant %d is %v, %v, want %s", tt.name, n, got, ok, want)
			}
		}
	}
}

// Anchors on the 28th to the 31st, in leap years, and around every change of the
// clocks, against a walk through the calendar and a watch of the clocks.
func TestSeriesAgreesWithAWalk(t *testing.T) {
	t.Parallel()
	const seed = 5
	for _, name := range zones {
		z := zone(t, name)
		rnd := rand.New(rand.NewPCG(seed, 2))
		var anchors []time.Time
		for _, date := range []string{
			"2024-01-28", "2023-01-29", "2024-01-30", "2023-12-31", "2024-02-29", "2023-02-28", "2027-10-31", "2099-08-31",
			"2011-11-30", "2018-10-04", "1994-11-30",
		} {
			anchors = append(anchors, at(t, date+"T00:00:00Z").Add(time.Duration(rnd.IntN(48*60))*time.Minute))
		}
		for change, n := time.Date(2004, 1, 1, 0, 0, 0, 0, z), 0; n < 4; n++ {
			_, until := change.ZoneBounds()
			if until.IsZero() {
				break
			}
			change = until.Add(time.Duration(rnd.IntN(30*30*24)) * time.Hour)
			anchors = append(anchors, until.AddDate(0, 0, -2).Add(time.Duration(rnd.IntN(240)-120)*time.Minute).UTC())
		}
		for _, anchor := range anchors {
			for unit := calendar.Days; unit <= calendar.Years; unit++ {
				every := int64(1 + rnd.IntN(3))
				s := calendar.Series{Anchor: anchor, Unit: unit, Every: every, Zone: z}
				for n := range 8 {
					want := anchor
					if n > 0 {
						want = firstShown(z, walk(shown(z, anchor), unit, n*int(every)))
					}
					got, ok := s.At(int64(n))
					if !ok || !got.Equal(want) {
						t.Fatalf("seed %d, %s: %d x %d of unit %d after %v is %v, %v, want %v", seed, name, n, every, unit, anchor, got, ok, want)
					}
					checkAfter(t, s, int64(n))
				}
			}
		}
	}
}

// checkAfter holds After to its definition around instant n.
func checkAfter(t *testing.T, s calendar.Series, n int64) {
	t.Helper()
	instant, ok := s.At(n)
	if !ok {
		t.Fatalf("%+v has no instant %d", s, n)
	}
	for _, around := range []time.Duration{-24 * time.Hour, -time.Microsecond, 0, time.Microsecond, 59 * time.Minute, 25 * time.Hour} {
		when := instant.Add(around)
		after := s.After(when)
		next, ok := s.At(after)
		if !ok || !next.After(when) {
			t.Fatalf("%+v: After(%v) is %d, at %v", s, when, after, next)
		}
		if after > 0 {
			if last, _ := s.At(after - 1); last.After(when) {
				t.Fatalf("%+v: After(%v) is %d, and %d is at %v", s, when, after, after-1, last)
			}
		}
	}
}

func TestSeriesFarAway(t *testing.T) {
	t.Parallel()
	for _, name := range zones {
		for unit := calendar.Hours; unit <= calendar.Years; unit++ {
			for _, every := range []int64{1, 7} {
				s := calendar.Series{Anchor: at(t, "1970-01-31T02:30:00.000001Z"), Unit: unit, Every: every, Zone: zone(t, name)}
				n := s.After(at(t, "9998-12-30T00:00:00Z")) - 1
				checkAfter(t, s, n)
				checkAfter(t, s, n/2)
				end := s.After(at(t, "9999-12-31T23:59:59Z"))
				if got, ok := s.At(end); ok {
					t.Errorf("%+v: instant %d is %v, and should be none", s, end, got)
				}
			}
		}
	}
}

func TestSeriesRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	s := calendar.Series{Anchor: at(t, "2026-01-31T00:00:00Z"), Unit: calendar.Months, Every: 1, Zone: time.UTC}
	for _, n := range []int64{-1, -1 << 63, 1<<63 - 1, 12 * 8000} {
		if got, ok := s.At(n); ok {
			t.Errorf("instant %d is %v", n, got)
		}
	}
	s.Every = 1<<63 - 1
	if got, ok := s.At(2); ok {
		t.Errorf("two huge steps make %v", got)
	}
	if n := s.After(s.Anchor); n != 1 {
		t.Errorf("After is %d, want 1", n)
	}
	s.Every = 0
	if got, ok := s.At(1); ok {
		t.Errorf("steps of nothing make %v", got)
	}
}

// A window is from the first instant whose date is in it to the first whose date
// is beyond it, for any span.
func TestWindowAgreesWithAWatch(t *testing.T) {
	t.Parallel()
	const seed = 6
	for _, name := range zones {
		z := zone(t, name)
		rnd := rand.New(rand.NewPCG(seed, 3))
		for range 40 {
			when := time.Unix(rnd.Int64N(4_102_444_800), 0)
			for span := calendar.Day; span <= calendar.Year; span++ {
				begins := shown(z, when).Truncate(24 * time.Hour)
				var ends time.Time
				switch span {
				case calendar.Day:
					ends = begins.AddDate(0, 0, 1)
				case calendar.Week:
					for begins.Weekday() != time.Monday {
						begins = begins.AddDate(0, 0, -1)
					}
					ends = begins.AddDate(0, 0, 7)
				case calendar.Month:
					begins = begins.AddDate(0, 0, 1-begins.Day())
					ends = begins.AddDate(0, 1, 0)
				case calendar.Year:
					begins = begins.AddDate(0, 0, 1-begins.YearDay())
					ends = begins.AddDate(1, 0, 0)
				}
				start, end := calendar.Window(span, z, when)
				if want := firstShown(z, begins); !start.Equal(want) {
					t.Fatalf("seed %d, %s: the window of span %d at %v starts at %v, want %v", seed, name, span, when, start, want)
				}
				if want := firstShown(z, ends); !end.Equal(want) {
					t.Fatalf("seed %d, %s: the window of span %d at %v ends at %v, want %v", seed, name, span, when, end, want)
				}
			}
		}
	}
}

// An hour is what the clocks show as one, and hours meet.
func TestHours(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ zone, at, start, end string }{
		{"UTC", "2026-05-01T10:59:59.999999Z", "2026-05-01T10:00:00Z", "2026-05-01T11:00:00Z"},
		{"Asia/Kolkata", "2026-05-01T10:30:00Z", "2026-05-01T10:30:00Z", "2026-05-01T11:30:00Z"},
		{"Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},       // two o'clock, the first
		{"Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},       // and the second
		{"Australia/Lord_Howe", "2026-10-03T15:40:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"}, // from half past two
		{"Australia/Lord_Howe", "2026-04-04T15:10:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"}, // half past one again
		{"Australia/Lord_Howe", "2026-04-04T14:59:59Z", "2026-04-04T14:00:00Z", "2026-04-04T15:00:00Z"}, // the one before
		{"America/St_Johns", "2006-10-29T02:30:30Z", "2006-10-29T02:30:00Z", "2006-10-29T02:31:00Z"},    // the first minute of the day
		{"America/St_Johns", "2006-10-29T02:31:00Z", "2006-10-29T02:31:00Z", "2006-10-29T03:30:00Z"},    // and 23:01 again
	} {
		start, end := calendar.Window(calendar.Hour, zone(t, tt.zone), at(t, tt.at))
		if !start.Equal(at(t, tt.start)) || !end.Equal(at(t, tt.end)) {
			t.Errorf("%s at %s: from %v to %v, want %s to %s", tt.zone, tt.at, start, end, tt.start, tt.end)
		}
	}
}

func BenchmarkSeries(b *testing.B) {
	s := calendar.Series{Anchor: at(b, "2026-01-31T02:30:00Z"), Unit: calendar.Months, Every: 1, Zone: zone(b, "Europe/Berlin")}
	late := at(b, "3026-01-31T02:30:00Z")
	b.Run("At", func(b *testing.B) {
		for b.Loop() {
			s.At(12_000)
		}
	})
	b.Run("After", func(b *testing.B) {
		for b.Loop() {
			s.After(late)
		}
	})
}
