package apikeytest

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// owner returns the n-th decision about an owner, with every field set but
// those that are the store's.
func owner(id string, n int64) apikey.Owner {
	return apikey.Owner{
		ID: id, Epoch: n + 1, RevokedReason: fmt.Sprintf("revoked %d", n),
		Suspended: n%2 == 1, SuspendedReason: fmt.Sprintf("suspended %d", n),
		ChangedAt: begin.Add(time.Duration(n) * time.Microsecond), Version: n,
	}
}

func decide(ctx context.Context, s apikey.Store, o apikey.Owner) error {
	return want("Apply of a decision", s.Apply(ctx, apikey.Change{Owner: &o}), nil)
}

// decided returns nil if s has exactly this decision.
func decided(ctx context.Context, s apikey.Store, o apikey.Owner) error {
	got, err := s.Owner(ctx, o.ID)
	if err != nil {
		return fmt.Errorf("Owner(%q): %w", o.ID, err)
	}
	return sameOwner(got, o)
}

// sameOwner compares the decisions, events apart.
func sameOwner(got, o apikey.Owner) error {
	is, should := got, o
	is.Events, is.Head, should.Events, should.Head = 0, [32]byte{}, 0, [32]byte{}
	if is.ChangedAt.Equal(should.ChangedAt) {
		is.ChangedAt = should.ChangedAt
	}
	if is != should {
		return fmt.Errorf("the owner is %+v, want %+v", got, o)
	}
	return nil
}

var ownerChecks = []check{
	{"an owner of whom nothing is known has Epoch 1, Version 0 and no events", func(ctx context.Context, s apikey.Store) error {
		unknown := func(id string) error {
			got, err := s.Owner(ctx, id)
			if err != nil {
				return fmt.Errorf("Owner(%q): %w", id, err)
			}
			if got != (apikey.Owner{ID: id, Epoch: 1}) {
				return fmt.Errorf("Owner(%q) = %+v", id, got)
			}
			return nil
		}
		err := errors.Join(unknown("nobody"), unknown(""), insert(ctx, s, record(1)), unknown(record(1).Key.Owner))
		return errors.Join(err, decide(ctx, s, owner("somebody", 1)), unknown("nobody"))
	}},
	{"a decision about an owner comes back as it was given", func(ctx context.Context, s apikey.Store) error {
		east := owner("east", 1)
		east.ChangedAt = east.ChangedAt.In(time.FixedZone("east", 9*3600))
		high := apikey.Owner{ID: "high", Epoch: math.MaxInt64, Version: 1}
		if err := errors.Join(decide(ctx, s, east), decided(ctx, s, east), decide(ctx, s, high), decided(ctx, s, high)); err != nil {
			return err
		}
		got, err := s.Owner(ctx, "east")
		if err == nil && got.ChangedAt.Location() != time.UTC {
			err = fmt.Errorf("%v is not in UTC", got.ChangedAt)
		}
		return err
	}},
	{"a decision replaces the one before as a whole", func(ctx context.Context, s apikey.Store) error {
		plain := apikey.Owner{ID: "o", Epoch: 3, Version: 3}
		return errors.Join(
			decide(ctx, s, owner("o", 1)), decide(ctx, s, owner("o", 2)), decided(ctx, s, owner("o", 2)),
			decide(ctx, s, plain), decided(ctx, s, plain),
		)
	}},
	{"Events and Head of a decision are not taken", func(ctx context.Context, s apikey.Store) error {
		o := owner("o", 1)
		o.Events, o.Head[0] = 99, 99
		if err := decide(ctx, s, o); err != nil {
			return err
		}
		got, err := s.Owner(ctx, "o")
		if err == nil && (got.Events != 0 || got.Head != [32]byte{}) {
			err = fmt.Errorf("an owner without events has %d, and the head %x", got.Events, got.Head)
		}
		return err
	}},
	{"owners are told apart byte by byte, and their reasons come back so", func(ctx context.Context, s apikey.Store) error {
		of := func(i int) apikey.Owner {
			o := owner("o"+odd[i], 1)
			o.RevokedReason, o.SuspendedReason = "r"+odd[i], odd[i]
			return o
		}
		for i := range odd {
			if err := decide(ctx, s, of(i)); err != nil {
				return err
			}
		}
		for i := range odd {
			if err := decided(ctx, s, of(i)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"a decision of another version is ErrConflict and changes nothing", func(ctx context.Context, s apikey.Store) error {
		if err := errors.Join(decide(ctx, s, owner("o", 1)), decide(ctx, s, owner("o", 2))); err != nil {
			return err
		}
		for id, versions := range map[string][]int64{"o": {0, 1, 2, 4, 1 << 40}, "new": {0, 2, 1 << 40}} {
			for _, version := range versions {
				o := owner(id, 7)
				o.Version = version
				if err := refused(ctx, s, apikey.Change{Owner: &o}, apikey.ErrConflict, "o", "new"); err != nil {
					return fmt.Errorf("version %d of owner %s: %w", version, id, err)
				}
			}
		}
		return nil
	}},
	{"of concurrent decisions of one version exactly one succeeds", func(ctx context.Context, s apikey.Store) error {
		for version := range int64(3) { // the first is about an owner of whom nothing is known
			err := race(apikey.ErrConflict, func(n int) error {
				o := owner("o", version+1)
				o.RevokedReason = fmt.Sprintf("racer %d", n)
				return s.Apply(ctx, apikey.Change{Owner: &o})
			})
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"every record that is read has what was decided about its owner", func(ctx context.Context, s apikey.Store) error {
		one, two, other := record(1), record(2), record(3)
		two.Key.Owner = one.Key.Owner
		if err := insert(ctx, s, one, other); err != nil {
			return err
		}
		for n := int64(1); n < 4; n++ {
			o := owner(one.Key.Owner, n)
			if err := decide(ctx, s, o); err != nil {
				return err
			}
			if n == 2 {
				if err := insert(ctx, s, two); err != nil {
					return err
				}
			}
			one.Owner, two.Owner = o, o
			if err := errors.Join(holds(ctx, s, one), holds(ctx, s, other)); err != nil {
				return err
			}
		}
		byOwner, soonest := everything(10), everything(10)
		byOwner.Owner, soonest.Order = one.Key.Owner, apikey.SoonestFirst
		return errors.Join(
			holds(ctx, s, two), lists(ctx, s, everything(10), other, two, one),
			lists(ctx, s, byOwner, two, one), lists(ctx, s, soonest, one, two, other),
		)
	}},
	{"an insert without an epoch gets its owner's, as the same change leaves it", func(ctx context.Context, s apikey.Store) error {
		of := func(n int, epoch int64) apikey.Record {
			rec := bare(n)
			rec.Epoch = epoch
			return rec
		}
		second, third := apikey.Owner{ID: "o", Epoch: 2, Version: 1}, apikey.Owner{ID: "o", Epoch: 5, Version: 2}
		err := errors.Join(
			insert(ctx, s, of(1, 0)), decide(ctx, s, second), insert(ctx, s, of(2, 0), of(3, 1)),
			apply(ctx, s, apikey.Change{Owner: &third, Insert: []apikey.Record{of(4, 0), of(5, 2)}}),
		)
		for n, epoch := range map[int]int64{1: 1, 2: 2, 3: 1, 4: 5, 5: 2} {
			rec := of(n, epoch)
			rec.Owner = third
			err = errors.Join(err, holds(ctx, s, rec))
		}
		return err
	}},
	{"to an update the epoch of the owner is nothing", func(ctx context.Context, s apikey.Store) error {
		rec := bare(1)
		if err := errors.Join(insert(ctx, s, rec), decide(ctx, s, owner("o", 1)), update(ctx, s, next(rec))); err != nil {
			return err
		}
		rec = next(rec)
		rec.Owner = owner("o", 1)
		return holds(ctx, s, rec)
	}},
	{"an epoch that is over makes keys revoked, and a tombstone stays one", func(ctx context.Context, s apikey.Store) error {
		for i, state := range allStates {
			old, young := bare(i), bare(10+i)
			old.Key.State, young.Key.State, young.Epoch = state, state, 2
			other := bare(20 + i)
			other.Key.State, other.Key.Owner = state, "other"
			if err := insert(ctx, s, old, young, other); err != nil {
				return err
			}
		}
		if err := decide(ctx, s, apikey.Owner{ID: "o", Epoch: 2, Version: 1}); err != nil {
			return err
		}
		in := func(owner string, states ...apikey.State) apikey.Query {
			return apikey.Query{Owner: owner, States: states, Limit: 100}
		}
		return errors.Join(
			listed(ctx, s, in("o", apikey.StateActive), 10), listed(ctx, s, in("o", apikey.StateDisabled), 11),
			listed(ctx, s, in("o", apikey.StateRevoked), 12, 2, 1, 0), listed(ctx, s, in("o", apikey.StateDeleted), 13, 3),
			listed(ctx, s, in("", apikey.StateActive), 20, 10), listed(ctx, s, in("", apikey.StateRevoked), 22, 12, 2, 1, 0),
			listed(ctx, s, in("", apikey.StateActive, apikey.StateRevoked), 22, 20, 12, 10, 2, 1, 0),
		)
	}},
	{"a record and what was decided about its owner are read as of one moment", oneMoment},
}

// oneMoment changes a record and its owner together, again and again.
func oneMoment(ctx context.Context, s apikey.Store) error {
	rec := record(1)
	if err := insert(ctx, s, rec); err != nil {
		return err
	}
	id, handle := rec.Key.ID, rec.Handle
	return meanwhile(func() error {
		for n := range int64(50) {
			rec = next(rec)
			o := owner(rec.Key.Owner, n+1)
			if err := apply(ctx, s, apikey.Change{Owner: &o, Update: []apikey.Record{rec}}); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		first, err := s.ByHandle(ctx, handle)
		second, err2 := s.ByID(ctx, id)
		list, err3 := s.List(ctx, everything(1))
		if err := errors.Join(err, err2, err3); err != nil {
			return err
		}
		for _, got := range append(list, first, second) {
			if got.Owner.Version != got.Key.Version-1 {
				return fmt.Errorf("the record is of version %d, its owner of %d", got.Key.Version, got.Owner.Version)
			}
		}
		return nil
	})
}
