package apikeytest

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

var updateChecks = []check{
	{"an update replaces the whole record", func(ctx context.Context, s apikey.Store) error {
		after, before := record(2), record(1)
		after.Key.ID, after.Key.Version, after.Key.State = before.Key.ID, 2, apikey.StateRevoked
		after.Key.Owner, after.Key.CreatedAt, after.Epoch = before.Key.Owner, before.Key.CreatedAt, before.Epoch
		after.Key.LastUsedAt = record(1).Key.LastUsedAt // which only Touch moves
		if err := errors.Join(insert(ctx, s, record(1)), update(ctx, s, after), holds(ctx, s, after)); err != nil {
			return err
		}
		cleared := next(next(bare(1)))
		cleared.Handle, cleared.Key.LastUsedAt = after.Handle, after.Key.LastUsedAt
		cleared.Key.Owner, cleared.Epoch = before.Key.Owner, before.Epoch
		return errors.Join(update(ctx, s, cleared), holds(ctx, s, cleared))
	}},
	{"an update of an absent record is ErrNotFound", func(ctx context.Context, s apikey.Store) error {
		return errors.Join(
			want("Update", s.Apply(ctx, apikey.Change{Update: []apikey.Record{next(record(1))}}), apikey.ErrNotFound),
			lacks(ctx, s, record(1)),
		)
	}},
	{"an update of another version is ErrConflict and changes nothing", func(ctx context.Context, s apikey.Store) error {
		stored := record(1)
		stored.Key.Version = 5
		if err := insert(ctx, s, stored); err != nil {
			return err
		}
		for _, version := range []int64{1, 4, 5, 7, 1 << 40} {
			rec := stored
			rec.Key.Name, rec.Key.Version = "changed", version
			err := want(fmt.Sprintf("Update to version %d of version 5", version), s.Apply(ctx, apikey.Change{Update: []apikey.Record{rec}}), apikey.ErrConflict)
			if err := errors.Join(err, holds(ctx, s, stored)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"an update never moves LastUsedAt", func(ctx context.Context, s apikey.Store) error {
		if err := insert(ctx, s, record(1), bare(2)); err != nil {
			return err
		}
		for _, at := range []time.Time{{}, begin, begin.Add(1000 * time.Hour)} {
			one, err := s.ByID(ctx, record(1).Key.ID)
			two, err2 := s.ByID(ctx, record(2).Key.ID)
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			kept := []time.Time{one.Key.LastUsedAt, two.Key.LastUsedAt}
			one.Key.LastUsedAt, two.Key.LastUsedAt = at, at
			one, two = next(one), next(two)
			if err := update(ctx, s, one, two); err != nil {
				return err
			}
			one.Key.LastUsedAt, two.Key.LastUsedAt = kept[0], kept[1]
			if err := errors.Join(holds(ctx, s, one), holds(ctx, s, two)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"an update may bring a new handle, and the old one is free", func(ctx context.Context, s apikey.Store) error {
		after := next(record(1))
		after.Handle = "a new one"
		if err := errors.Join(insert(ctx, s, record(1)), update(ctx, s, after), holds(ctx, s, after)); err != nil {
			return err
		}
		_, err := s.ByHandle(ctx, record(1).Handle)
		reuse := record(2)
		reuse.Handle = record(1).Handle
		return errors.Join(want("ByHandle of the old handle", err, apikey.ErrNotFound), insert(ctx, s, reuse), holds(ctx, s, reuse))
	}},
	{"an insert may take a handle that an update of the same change gives up", func(ctx context.Context, s apikey.Store) error {
		after, heir := next(record(1)), record(2)
		after.Handle, heir.Handle = "a new one", record(1).Handle
		if err := insert(ctx, s, record(1)); err != nil {
			return err
		}
		if err := want("Apply", s.Apply(ctx, apikey.Change{Update: []apikey.Record{after}, Insert: []apikey.Record{heir}}), nil); err != nil {
			return err
		}
		return errors.Join(holds(ctx, s, after), holds(ctx, s, heir))
	}},
	{"a handle that an update of the same change keeps is taken", func(ctx context.Context, s apikey.Store) error {
		late := record(2)
		late.Handle = record(1).Handle
		return errors.Join(
			insert(ctx, s, record(1)),
			want("Apply", s.Apply(ctx, apikey.Change{Update: []apikey.Record{next(record(1))}, Insert: []apikey.Record{late}}), apikey.ErrExists),
			holds(ctx, s, record(1)),
		)
	}},
	{"an update to a handle that another record has is ErrExists and changes nothing", func(ctx context.Context, s apikey.Store) error {
		rec := next(record(1))
		rec.Handle = record(2).Handle
		return errors.Join(
			insert(ctx, s, record(1), record(2)),
			want("Update", s.Apply(ctx, apikey.Change{Update: []apikey.Record{rec}}), apikey.ErrExists),
			holds(ctx, s, record(1)), holds(ctx, s, record(2)),
		)
	}},
	{"inserts and updates of one change come true at once", func(ctx context.Context, s apikey.Store) error {
		after := next(record(1))
		after.Key.Successor = record(2).Key.ID
		if err := insert(ctx, s, record(1)); err != nil {
			return err
		}
		return errors.Join(
			want("Apply", s.Apply(ctx, apikey.Change{Insert: []apikey.Record{record(2)}, Update: []apikey.Record{after}}), nil),
			holds(ctx, s, after), holds(ctx, s, record(2)),
		)
	}},
	{"a change that is refused in part leaves nothing behind", func(ctx context.Context, s apikey.Store) error {
		if err := insert(ctx, s, record(1), record(2)); err != nil {
			return err
		}
		changed, stale := next(record(1)), next(next(record(2)))
		changed.Key.Name = "changed"
		for _, tt := range []struct {
			change  apikey.Change
			refusal error
		}{
			{apikey.Change{Insert: []apikey.Record{record(3)}, Update: []apikey.Record{changed, stale}}, apikey.ErrConflict},
			{apikey.Change{Insert: []apikey.Record{record(3)}, Update: []apikey.Record{changed, next(record(4))}}, apikey.ErrNotFound},
			{apikey.Change{Insert: []apikey.Record{record(3), record(2)}, Update: []apikey.Record{changed}}, apikey.ErrExists},
		} {
			err := errors.Join(
				want("Apply", s.Apply(ctx, tt.change), tt.refusal),
				holds(ctx, s, record(1)), holds(ctx, s, record(2)), lacks(ctx, s, record(3)),
			)
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"of concurrent updates of one version exactly one succeeds", func(ctx context.Context, s apikey.Store) error {
		if err := insert(ctx, s, record(1)); err != nil {
			return err
		}
		for round := range 3 {
			stored, err := s.ByID(ctx, record(1).Key.ID)
			if err != nil {
				return err
			}
			err = race(apikey.ErrConflict, func(n int) error {
				rec := next(stored)
				rec.Key.Name = fmt.Sprintf("round %d, racer %d", round, n)
				return s.Apply(ctx, apikey.Change{Update: []apikey.Record{rec}})
			})
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"no reader ever sees a part of a change", noPartSeen},
}

// noPartSeen changes two records together, again and again. Whoever reads the
// first at some version must then find the second at that version or later.
func noPartSeen(ctx context.Context, s apikey.Store) error {
	one, two := record(1), record(2)
	if err := insert(ctx, s, one, two); err != nil {
		return err
	}
	return meanwhile(func() error {
		for range 80 {
			one, two = next(one), next(two)
			if err := update(ctx, s, two, one); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		first, err := s.ByHandle(ctx, record(1).Handle)
		second, err2 := s.ByID(ctx, record(2).Key.ID)
		third, err3 := s.ByID(ctx, record(1).Key.ID)
		switch {
		case err != nil || err2 != nil || err3 != nil:
			return errors.Join(err, err2, err3)
		case second.Key.Version < first.Key.Version:
			return fmt.Errorf("the second record is at version %d when the first is at %d already", second.Key.Version, first.Key.Version)
		case third.Key.Version < second.Key.Version:
			return fmt.Errorf("the first record is at version %d when the second is at %d already", third.Key.Version, second.Key.Version)
		}
		return nil
	})
}

// meanwhile has another goroutine write, and looks again and again until that
// is over, and then once more.
func meanwhile(write, look func() error) error {
	var written error
	done := make(chan struct{})
	go func() {
		defer close(done)
		written = write()
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		if err := look(); err != nil {
			<-done
			return errors.Join(err, written)
		}
	}
	return written
}
