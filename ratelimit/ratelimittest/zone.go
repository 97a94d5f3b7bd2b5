package ratelimittest

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// turns are starts of calendar windows, and how long these last, by the rules of
// the time zone database.
func turns() []turn {
	const h = time.Hour
	at := func(y int, m time.Month, d, h, minute int) time.Time {
		return time.Date(y, m, d, h, minute, 0, 0, time.UTC)
	}
	return []turn{
		{"America/Sao_Paulo", ratelimit.Day, at(2018, 11, 4, 3, 0), 23 * h}, // 00:00 was 01:00
		{"America/Sao_Paulo", ratelimit.Day, at(2018, 11, 5, 2, 0), 24 * h},
		{"America/Sao_Paulo", ratelimit.Day, at(2019, 2, 17, 3, 0), 24 * h}, // after a day of 25 hours
		{"Pacific/Apia", ratelimit.Day, at(2011, 12, 30, 10, 0), 24 * h},    // the 31st: there was no 30th
		{"America/Havana", ratelimit.Day, at(2027, 11, 7, 4, 0), 25 * h},    // 00:00 comes twice
		{"UTC", ratelimit.Day, at(2028, 2, 29, 0, 0), 24 * h},
		{"Asia/Kathmandu", ratelimit.Day, at(2027, 3, 9, 18, 15), 24 * h},
		{"America/New_York", ratelimit.Day, at(2027, 3, 14, 5, 0), 23 * h},
		{"America/New_York", ratelimit.Day, at(2027, 11, 7, 4, 0), 25 * h},
		{"Australia/Lord_Howe", ratelimit.Day, at(2027, 4, 3, 13, 0), 24*h + 30*time.Minute},
		{"Europe/Berlin", ratelimit.Week, at(2027, 3, 21, 23, 0), 7*24*h - h},
		{"Europe/Berlin", ratelimit.Month, at(2027, 2, 28, 23, 0), 31*24*h - h},
		{"Europe/Berlin", ratelimit.Month, at(2027, 9, 30, 22, 0), 31*24*h + h},
		{"Europe/Berlin", ratelimit.Year, at(2027, 12, 31, 23, 0), 366 * 24 * h},
		{"UTC", ratelimit.Week, at(2029, 1, 1, 0, 0), 7 * 24 * h},
	}
}

type turn struct {
	zone  string
	every ratelimit.Span
	start time.Time
	lasts time.Duration
}

func calendarTurns(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, w := range turns() {
		l := limits(ratelimit.Limit{
			Name: "calendar", Algorithm: ratelimit.Calendar, Count: 10, Every: w.every, Zone: must(time.LoadLocation(w.zone)),
		})
		key := w.zone + w.start.String()
		c.at(w.start.Add(-time.Microsecond))
		c.takes(true, charge(key, l, 10))
		c.waits(time.Microsecond, charge(key, l, 4))
		r := c.takes(true, charge(key, l, 6))
		if r.ResetAfter != w.lasts {
			c.fail("%v in %s from %v: ends after %v, want %v", w.every, w.zone, w.start, r.ResetAfter, w.lasts)
		}
		c.advance(-2 * time.Hour) // over the turn, and back
		c.takes(false, charge(key, l, 1))
		c.advance(2 * time.Hour)
		c.waits(w.lasts, charge(key, l, 10))
	}
	return c.err
}

// windowTurns proves that windows are aligned to the Unix epoch.
func windowTurns(ctx context.Context, s ratelimit.Store) error {
	c := on(ctx, s)
	for _, a := range []ratelimit.Algorithm{ratelimit.FixedWindow, ratelimit.SlidingWindow} {
		l := limits(ratelimit.Limit{Name: "week", Algorithm: a, Count: 10, Period: 7 * 24 * time.Hour})
		thursday := time.Date(2027, 1, 7, 0, 0, 0, 0, time.UTC)
		c.at(thursday.Add(-time.Microsecond))
		c.takes(true, charge("k", l, 10))
		if a == ratelimit.SlidingWindow {
			c.waits(time.Microsecond+7*24*time.Hour/10, charge("k", l, 1)) // a tenth of it weighs no more
			continue
		}
		c.waits(time.Microsecond, charge("k", l, 10))
		c.waits(7*24*time.Hour, charge("k", l, 10))
	}
	return c.err
}
