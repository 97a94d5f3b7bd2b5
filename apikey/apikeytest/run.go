package apikeytest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// Run proves the stores that newStore returns: an empty one at each call, to be
// cleaned up by newStore through t.Cleanup. Subtests run one after the other;
// each uses one store, from several goroutines.
func Run(t *testing.T, newStore func(t *testing.T) apikey.Store) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.sentence, func(t *testing.T) {
			if err := c.run(t.Context(), newStore(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A check is one sentence of the contract: run returns nil if an empty store
// keeps it.
type check struct {
	sentence string
	run      func(ctx context.Context, s apikey.Store) error
}

func checks() []check {
	var all []check
	for _, part := range [][]check{
		recordChecks, insertChecks, updateChecks, atomicChecks, ownerChecks, labelChecks, capChecks,
		eventChecks, eventQueryChecks, listChecks, filterChecks, touchChecks, restampChecks, censusChecks, contextChecks,
	} {
		all = append(all, part...)
	}
	return all
}

// want returns nil if err matches sentinel, or is nil when sentinel is.
func want(what string, err, sentinel error) error {
	if sentinel == nil && err == nil || sentinel != nil && errors.Is(err, sentinel) {
		return nil
	}
	return fmt.Errorf("%s: error is %v, want %v", what, err, sentinel)
}

// holds returns nil if s returns exactly rec, by handle and by ID.
func holds(ctx context.Context, s apikey.Store, rec apikey.Record) error {
	got, err := s.ByHandle(ctx, rec.Handle)
	if err != nil {
		return fmt.Errorf("ByHandle(%q): %w", rec.Handle, err)
	}
	if err := same(got, rec); err != nil {
		return fmt.Errorf("ByHandle(%q): %w", rec.Handle, err)
	}
	got, err = s.ByID(ctx, rec.Key.ID)
	if err != nil {
		return fmt.Errorf("ByID(%q): %w", rec.Key.ID, err)
	}
	if err := same(got, rec); err != nil {
		return fmt.Errorf("ByID(%q): %w", rec.Key.ID, err)
	}
	return nil
}

// lacks returns nil if s has neither rec's handle nor its ID.
func lacks(ctx context.Context, s apikey.Store, rec apikey.Record) error {
	got, err := s.ByHandle(ctx, rec.Handle)
	if err := want("ByHandle of an absent record", err, apikey.ErrNotFound); err != nil {
		return err
	}
	if got.Handle != "" || !got.Key.Equal(apikey.Key{}) {
		return fmt.Errorf("ByHandle returns ErrNotFound and a record: %+v", got)
	}
	_, err = s.ByID(ctx, rec.Key.ID)
	return want("ByID of an absent record", err, apikey.ErrNotFound)
}

// same compares two records. A rec without an owner means one of whom nothing
// is known.
func same(got, rec apikey.Record) error {
	if got.Handle != rec.Handle || got.Digest != rec.Digest || !got.Key.Equal(rec.Key) ||
		got.Imported != rec.Imported || got.Label != rec.Label || got.Epoch != rec.Epoch || got.Intent != rec.Intent ||
		!bytes.Equal(got.Sealed, rec.Sealed) || (got.Sealed == nil) != (rec.Sealed == nil) || got.Reminded != rec.Reminded {
		return fmt.Errorf("got %+v, want %+v", got, rec)
	}
	if rec.Owner == (apikey.Owner{}) {
		rec.Owner = apikey.Owner{ID: rec.Key.Owner, Epoch: 1}
	}
	return sameOwner(got.Owner, rec.Owner)
}

func insert(ctx context.Context, s apikey.Store, recs ...apikey.Record) error {
	return want("Insert", s.Apply(ctx, apikey.Change{Insert: recs}), nil)
}

func update(ctx context.Context, s apikey.Store, recs ...apikey.Record) error {
	return want("Update", s.Apply(ctx, apikey.Change{Update: recs}), nil)
}
