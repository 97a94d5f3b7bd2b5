package apikeytest

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// capped returns a change with these inserts under a cap on owner "o" of keys
// that are active or disabled, and not expired at begin.
func capped(most int, recs ...apikey.Record) apikey.Change {
	return apikey.Change{Insert: recs, Cap: &apikey.Cap{
		Owner: "o", Most: most, States: []apikey.State{apikey.StateActive, apikey.StateDisabled}, LiveAt: begin,
	}}
}

// counted returns nil if so many records of "o" count under c: as many as it
// allows may be there, and not one more.
func counted(ctx context.Context, s apikey.Store, c apikey.Cap, count int) error {
	c.Most = count
	if err := want(fmt.Sprintf("a change with a cap of %d when %d count", count, count), s.Apply(ctx, apikey.Change{Cap: &c}), nil); err != nil {
		return err
	}
	if count == 0 {
		return nil
	}
	c.Most--
	return want(fmt.Sprintf("a change with a cap of %d when %d count", c.Most, count), s.Apply(ctx, apikey.Change{Cap: &c}), apikey.ErrKeyLimit)
}

var capChecks = []check{
	{"a change for which a cap has no room is ErrKeyLimit and changes nothing", func(ctx context.Context, s apikey.Store) error {
		return errors.Join(
			refused(ctx, s, capped(0, bare(1)), apikey.ErrKeyLimit, "o"),
			apply(ctx, s, capped(2, bare(1))), apply(ctx, s, capped(2, bare(2))),
			refused(ctx, s, capped(2, bare(3)), apikey.ErrKeyLimit, "o"),
			refused(ctx, s, capped(1), apikey.ErrKeyLimit, "o"),
			apply(ctx, s, capped(3, bare(3))),
			holds(ctx, s, bare(1)), holds(ctx, s, bare(2)), holds(ctx, s, bare(3)),
		)
	}},
	{"all records of one change count", func(ctx context.Context, s apikey.Store) error {
		return errors.Join(
			refused(ctx, s, capped(2, bare(1), bare(2), bare(3)), apikey.ErrKeyLimit, "o"),
			apply(ctx, s, capped(3, bare(1), bare(2), bare(3))),
			refused(ctx, s, capped(4, bare(4), bare(5)), apikey.ErrKeyLimit, "o"),
		)
	}},
	{"a change without a cap is refused by none", func(ctx context.Context, s apikey.Store) error {
		return errors.Join(apply(ctx, s, capped(1, bare(1))), insert(ctx, s, bare(2), bare(3)), holds(ctx, s, bare(3)))
	}},
	{"a record counts in the states of a cap", func(ctx context.Context, s apikey.Store) error {
		for i, state := range allStates {
			for n := range i + 1 { // 1 active, 2 disabled, 3 revoked, 4 deleted
				rec := bare(10*i + n)
				rec.Key.State = state
				if err := insert(ctx, s, rec); err != nil {
					return err
				}
			}
		}
		of := func(states ...apikey.State) apikey.Cap { return apikey.Cap{Owner: "o", States: states} }
		return errors.Join(
			counted(ctx, s, of(apikey.StateActive), 1), counted(ctx, s, of(apikey.StateDisabled), 2),
			counted(ctx, s, of(apikey.StateRevoked), 3), counted(ctx, s, of(apikey.StateDeleted), 4),
			counted(ctx, s, of(apikey.StateActive, apikey.StateDisabled), 3), counted(ctx, s, of(allStates...), 10),
			counted(ctx, s, of(apikey.StateDisabled, apikey.StateDisabled), 2), counted(ctx, s, of(), 0),
		)
	}},
	{"a record that is expired at LiveAt does not count, if LiveAt is not zero", func(ctx context.Context, s apikey.Store) error {
		for i, at := range []time.Time{{}, begin.Add(-time.Microsecond), begin, begin.Add(time.Microsecond), begin.Add(time.Hour)} {
			rec := bare(i)
			rec.Key.ExpiresAt = at
			if err := insert(ctx, s, rec); err != nil {
				return err
			}
		}
		at := func(live time.Time) apikey.Cap { return apikey.Cap{Owner: "o", States: allStates, LiveAt: live} }
		return errors.Join(
			counted(ctx, s, at(begin), 3), counted(ctx, s, at(begin.Add(time.Microsecond)), 2),
			counted(ctx, s, at(begin.Add(-time.Hour)), 5), counted(ctx, s, at(begin.Add(2*time.Hour)), 1),
			counted(ctx, s, at(time.Time{}), 5),
		)
	}},
	{"a record with a successor does not count", func(ctx context.Context, s apikey.Store) error {
		rec := bare(1)
		rec.Key.Successor = "key_2"
		err := errors.Join(insert(ctx, s, rec, bare(2)), counted(ctx, s, *capped(0).Cap, 1))
		after := next(bare(2))
		after.Key.Successor = "key_3"
		c := capped(1, bare(3)) // a rotation of who has as many as there is room for
		c.Update = []apikey.Record{after}
		return errors.Join(err, apply(ctx, s, c), holds(ctx, s, after), holds(ctx, s, bare(3)))
	}},
	{"a record whose epoch is over counts as revoked", func(ctx context.Context, s apikey.Store) error {
		dead := bare(3)
		dead.Key.State = apikey.StateDeleted
		return errors.Join(
			insert(ctx, s, bare(1), bare(2), dead), counted(ctx, s, *capped(0).Cap, 2),
			decide(ctx, s, apikey.Owner{ID: "o", Epoch: 2, Version: 1}),
			counted(ctx, s, *capped(0).Cap, 0),
			counted(ctx, s, apikey.Cap{Owner: "o", States: []apikey.State{apikey.StateRevoked}}, 2),
			counted(ctx, s, apikey.Cap{Owner: "o", States: []apikey.State{apikey.StateDeleted}}, 1),
		)
	}},
	{"what counts is what the same change leaves", func(ctx context.Context, s apikey.Store) error {
		off := bare(2)
		off.Key.State = apikey.StateRevoked
		on, replaced := next(off), next(bare(1))
		on.Key.State, replaced.Key.State = apikey.StateActive, apikey.StateRevoked
		enable := capped(1)
		enable.Update = []apikey.Record{on}
		swap := capped(1)
		swap.Update = []apikey.Record{on, replaced}
		raise := capped(1, func() apikey.Record { rec := bare(3); rec.Epoch = 0; return rec }())
		raise.Owner = &apikey.Owner{ID: "o", Epoch: 2, Version: 1}
		return errors.Join(
			insert(ctx, s, bare(1), off),
			refused(ctx, s, enable, apikey.ErrKeyLimit, "o"), apply(ctx, s, swap),
			refused(ctx, s, capped(1, bare(3)), apikey.ErrKeyLimit, "o"), apply(ctx, s, raise),
			refused(ctx, s, capped(1, func() apikey.Record { rec := bare(4); rec.Epoch = 2; return rec }()), apikey.ErrKeyLimit, "o"),
		)
	}},
	{"the keys of other owners do not count", func(ctx context.Context, s apikey.Store) error {
		var recs []apikey.Record
		for i, text := range odd {
			rec := bare(i)
			rec.Key.Owner = text // to a Cap no name is a name like any other
			recs = append(recs, rec)
		}
		if err := insert(ctx, s, recs...); err != nil {
			return err
		}
		for _, text := range odd {
			if err := counted(ctx, s, apikey.Cap{Owner: text, States: allStates}, 1); err != nil {
				return fmt.Errorf("owner %q: %w", text, err)
			}
		}
		elsewhere := apikey.Change{Insert: []apikey.Record{bare(100)}, Cap: &apikey.Cap{Owner: "", Most: 1, States: allStates}}
		return errors.Join(apply(ctx, s, elsewhere), counted(ctx, s, apikey.Cap{Owner: "o", States: allStates}, 1))
	}},
	{"of concurrent inserts as many succeed as a cap has room for", func(ctx context.Context, s apikey.Store) error {
		if err := raceFor(5, apikey.ErrKeyLimit, func(n int) error { return s.Apply(ctx, capped(5, bare(n))) }); err != nil {
			return err
		}
		err := raceFor(3, apikey.ErrKeyLimit, func(n int) error { return s.Apply(ctx, capped(8, bare(100+n))) })
		return errors.Join(err, counted(ctx, s, *capped(0).Cap, 8))
	}},
	{"of concurrent updates as many succeed as a cap has room for", func(ctx context.Context, s apikey.Store) error {
		var recs []apikey.Record
		for n := range racers {
			rec := bare(n)
			rec.Key.State = apikey.StateDisabled
			recs = append(recs, rec)
		}
		active := apikey.Cap{Owner: "o", Most: 4, States: []apikey.State{apikey.StateActive}}
		err := errors.Join(insert(ctx, s, recs...), raceFor(4, apikey.ErrKeyLimit, func(n int) error {
			on := next(recs[n])
			on.Key.State = apikey.StateActive
			return s.Apply(ctx, apikey.Change{Update: []apikey.Record{on}, Cap: &active})
		}))
		return errors.Join(err, counted(ctx, s, active, 4))
	}},
	{"of concurrent changes under caps of two owners each has its own room", func(ctx context.Context, s apikey.Store) error {
		return raceFor(6, apikey.ErrKeyLimit, func(n int) error {
			c := capped(3, bare(n))
			if n%2 == 1 {
				c.Insert[0].Key.Owner, c.Cap.Owner = "p", "p"
			}
			return s.Apply(ctx, c)
		})
	}},
}
