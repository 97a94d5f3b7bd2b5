package apikeytest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

var touchChecks = []check{
	{"Touch moves LastUsedAt forward and changes nothing else", func(ctx context.Context, s apikey.Store) error {
		one, two := record(1), bare(2)
		if err := insert(ctx, s, one, two, record(3)); err != nil {
			return err
		}
		at := begin.Add(time.Hour + 7*time.Microsecond)
		if err := want("Touch", s.Touch(ctx, uses(at, one, two)), nil); err != nil {
			return err
		}
		one.Key.LastUsedAt, two.Key.LastUsedAt = at, at
		return errors.Join(holds(ctx, s, one), holds(ctx, s, two), holds(ctx, s, record(3)))
	}},
	{"Touch never moves LastUsedAt back", func(ctx context.Context, s apikey.Store) error {
		rec := record(1)
		if err := insert(ctx, s, rec); err != nil {
			return err
		}
		for _, back := range []time.Duration{0, time.Microsecond, time.Hour, 50 * 365 * 24 * time.Hour} {
			err := want("Touch", s.Touch(ctx, uses(rec.Key.LastUsedAt.Add(-back), rec)), nil)
			if err := errors.Join(err, holds(ctx, s, rec)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"Touch skips unknown IDs and writes the others", func(ctx context.Context, s apikey.Store) error {
		rec := record(2)
		if err := insert(ctx, s, rec); err != nil {
			return err
		}
		at := begin.Add(time.Hour)
		err := want("Touch", s.Touch(ctx, uses(at, record(1), rec, record(3))), nil)
		rec.Key.LastUsedAt = at
		return errors.Join(err, holds(ctx, s, rec), lacks(ctx, s, record(1)), lacks(ctx, s, record(3)))
	}},
	{"Touch may name an ID more than once: the latest holds", func(ctx context.Context, s apikey.Store) error {
		rec := record(1)
		if err := insert(ctx, s, rec); err != nil {
			return err
		}
		at := begin.Add(time.Hour)
		many := append(uses(at.Add(-time.Second), rec), uses(at, rec)...)
		many = append(many, uses(at.Add(-time.Minute), rec)...)
		err := want("Touch", s.Touch(ctx, many), nil)
		rec.Key.LastUsedAt = at
		return errors.Join(err, holds(ctx, s, rec))
	}},
	{"Touch takes no uses and a thousand", func(ctx context.Context, s apikey.Store) error {
		var recs []apikey.Record
		for n := range 50 {
			recs = append(recs, bare(n))
		}
		if err := insert(ctx, s, recs...); err != nil {
			return err
		}
		for n := 50; n < 1000; n++ {
			recs = append(recs, bare(n))
		}
		at := begin.Add(time.Hour)
		faults := []error{want("Touch", s.Touch(ctx, nil), nil), want("Touch", s.Touch(ctx, uses(at, recs...)), nil)}
		for _, rec := range recs[:50] {
			rec.Key.LastUsedAt = at
			faults = append(faults, holds(ctx, s, rec))
		}
		return errors.Join(faults...)
	}},
	{"Touch and updates at once lose nothing of either", func(ctx context.Context, s apikey.Store) error {
		rec := record(1)
		if err := insert(ctx, s, rec); err != nil {
			return err
		}
		const n = 25
		var touched error
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range n {
				at := begin.Add(time.Hour + time.Duration(i)*time.Second)
				if touched = s.Touch(ctx, uses(at, rec)); touched != nil {
					return
				}
			}
		})
		after := rec
		var updated error
		for i := range n {
			after = next(after)
			after.Key.Name = fmt.Sprintf("name %d", i)
			if updated = update(ctx, s, after); updated != nil {
				break
			}
		}
		wg.Wait()
		after.Key.LastUsedAt = begin.Add(time.Hour + (n-1)*time.Second)
		return errors.Join(touched, updated, holds(ctx, s, after))
	}},
}

func uses(at time.Time, recs ...apikey.Record) []apikey.Use {
	var list []apikey.Use
	for _, rec := range recs {
		list = append(list, apikey.Use{ID: rec.Key.ID, At: at})
	}
	return list
}

var contextChecks = []check{
	{"a call whose context is over returns its error and changes nothing", func(ctx context.Context, s apikey.Store) error {
		rec := record(1)
		if err := insert(ctx, s, rec); err != nil {
			return err
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		late, stop := context.WithDeadline(ctx, longAgo)
		defer stop()
		changed := next(rec)
		changed.Key.Name = "changed"
		for over, is := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
			_, byHandle := s.ByHandle(over, rec.Handle)
			_, byID := s.ByID(over, rec.Key.ID)
			_, list := s.List(over, everything(10))
			_, owner := s.Owner(over, rec.Key.Owner)
			_, events := s.Events(over, apikey.EventQuery{AnyOwner: true, Limit: 10})
			_, census := s.Census(over)
			err := errors.Join(
				want("Apply", s.Apply(over, apikey.Change{Insert: []apikey.Record{record(2)}, Update: []apikey.Record{changed}}), is),
				want("Touch", s.Touch(over, uses(begin.Add(time.Hour), rec)), is),
				want("ByHandle", byHandle, is), want("ByID", byID, is), want("List", list, is),
				want("Owner", owner, is), want("Events", events, is), want("Census", census, is),
				want("Apply of nothing", s.Apply(over, apikey.Change{}), is), want("Touch of nothing", s.Touch(over, nil), is),
				holds(ctx, s, rec), lacks(ctx, s, record(2)),
			)
			if err != nil {
				return err
			}
		}
		return nil
	}},
}
