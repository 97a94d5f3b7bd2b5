package apikeytest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// digest returns the n-th digest, like no other.
func digest(n int) apikey.Digest {
	d := apikey.Digest{Version: uint32(n)}
	for i := range d.Sum {
		d.Sum[i] = byte(n + i*3 + 1)
	}
	return d
}

// digested returns the n-th bare record with a digest of version n.
func digested(n int) apikey.Record {
	rec := bare(n)
	rec.Digest = digest(n)
	return rec
}

// restamp returns a use of rec that brings its digest to the n-th.
func restamp(rec apikey.Record, n int) apikey.Use {
	return apikey.Use{ID: rec.Key.ID, Restamp: &apikey.Restamp{Was: rec.Digest, Imported: rec.Imported, Digest: digest(n)}}
}

// restamped returns rec after restamp.
func restamped(rec apikey.Record, n int) apikey.Record {
	rec = next(rec)
	rec.Digest, rec.Imported = digest(n), apikey.Imported{}
	return rec
}

func touch(ctx context.Context, s apikey.Store, uses ...apikey.Use) error {
	return want("Touch", s.Touch(ctx, uses), nil)
}

var restampChecks = []check{
	{"a restamp replaces the digest, ends the import and adds one to the version", func(ctx context.Context, s apikey.Store) error {
		one, legacy, whole := digested(1), bare(2), record(3)
		legacy.Imported = apikey.Imported{Scheme: "bcrypt", Encoded: "$2a$10$old"}
		if err := insert(ctx, s, one, legacy, whole, digested(4)); err != nil {
			return err
		}
		err := touch(ctx, s, restamp(one, 10), restamp(legacy, 11), restamp(whole, 12))
		one, legacy, whole = restamped(one, 10), restamped(legacy, 11), restamped(whole, 12)
		err = errors.Join(err, holds(ctx, s, one), holds(ctx, s, legacy), holds(ctx, s, whole), holds(ctx, s, digested(4)))
		return errors.Join(err, touch(ctx, s, restamp(one, 20)), holds(ctx, s, restamped(one, 20)))
	}},
	{"a restamp takes no effect where digest or import are not what it says", func(ctx context.Context, s apikey.Store) error {
		rec := digested(1)
		rec.Imported = apikey.Imported{Scheme: "bcrypt", Encoded: "$2a$10$old"}
		tombstone := bare(2)
		tombstone.Key.State = apikey.StateDeleted
		if err := insert(ctx, s, rec, tombstone); err != nil {
			return err
		}
		for i, spoil := range []func(*apikey.Restamp){
			func(r *apikey.Restamp) { r.Was.Version++ },
			func(r *apikey.Restamp) { r.Was.Version = 0 },
			func(r *apikey.Restamp) { r.Was.Sum[31]++ },
			func(r *apikey.Restamp) { r.Was = apikey.Digest{} },
			func(r *apikey.Restamp) { r.Imported.Scheme = "BCRYPT" },
			func(r *apikey.Restamp) { r.Imported.Encoded += " " },
			func(r *apikey.Restamp) { r.Imported = apikey.Imported{} },
		} {
			use := restamp(rec, 9)
			spoil(use.Restamp)
			dead := use
			dead.ID = tombstone.Key.ID
			if err := errors.Join(touch(ctx, s, use, dead), holds(ctx, s, rec), holds(ctx, s, tombstone)); err != nil {
				return fmt.Errorf("case %d: %w", i, err)
			}
		}
		late := restamp(rec, 9) // the use counts nonetheless
		late.At, late.Restamp.Was.Version = begin.Add(time.Hour), 7
		rec.Key.LastUsedAt = late.At
		return errors.Join(touch(ctx, s, late), holds(ctx, s, rec))
	}},
	{"the zero time of a use moves nothing", func(ctx context.Context, s apikey.Store) error {
		never, used := digested(1), record(2)
		return errors.Join(
			insert(ctx, s, never, used), touch(ctx, s, uses(time.Time{}, never, used)...), holds(ctx, s, never), holds(ctx, s, used),
			touch(ctx, s, restamp(never, 8)), holds(ctx, s, restamped(never, 8)),
		)
	}},
	{"a use may bring both a time and a restamp", func(ctx context.Context, s apikey.Store) error {
		rec := digested(1)
		use := restamp(rec, 8)
		use.At = begin.Add(time.Hour)
		after := restamped(rec, 8)
		after.Key.LastUsedAt = use.At
		back := restamp(after, 9)
		back.At = begin
		last := restamped(after, 9)
		return errors.Join(insert(ctx, s, rec), touch(ctx, s, use), holds(ctx, s, after), touch(ctx, s, back), holds(ctx, s, last))
	}},
	{"of several restamps of an ID that fit one takes effect", func(ctx context.Context, s apikey.Store) error {
		rec, other := digested(1), digested(2)
		if err := insert(ctx, s, rec, other); err != nil {
			return err
		}
		early, late, stale := restamp(rec, 10), restamp(rec, 11), restamp(rec, 12)
		early.At, late.At, stale.Restamp.Was.Version = begin.Add(2*time.Hour), begin.Add(time.Hour), 99
		if err := touch(ctx, s, stale, early, restamp(other, 13), late); err != nil {
			return err
		}
		got, err := s.ByID(ctx, rec.Key.ID)
		if err != nil {
			return err
		}
		after := restamped(rec, 10)
		after.Key.LastUsedAt = early.At
		if got.Digest == digest(11) {
			after.Digest = digest(11)
		}
		return errors.Join(holds(ctx, s, after), holds(ctx, s, restamped(other, 13)))
	}},
	{"restamps of unknown IDs are skipped and the others take effect", func(ctx context.Context, s apikey.Store) error {
		return errors.Join(
			insert(ctx, s, digested(2)), touch(ctx, s, restamp(digested(1), 8), restamp(digested(2), 9), restamp(digested(3), 9)),
			lacks(ctx, s, digested(1)), holds(ctx, s, restamped(digested(2), 9)), lacks(ctx, s, digested(3)),
		)
	}},
	{"Touch takes a thousand restamps", func(ctx context.Context, s apikey.Store) error {
		var recs []apikey.Record
		var list []apikey.Use
		for n := range 1000 {
			recs = append(recs, digested(n))
			use := restamp(recs[n], 5000+n)
			use.At = begin.Add(time.Duration(n) * time.Second)
			list = append(list, use)
		}
		err := errors.Join(insert(ctx, s, recs...), touch(ctx, s, list...))
		for n := 0; n < 1000 && err == nil; n += 111 {
			after := restamped(recs[n], 5000+n)
			after.Key.LastUsedAt = list[n].At
			err = holds(ctx, s, after)
		}
		return err
	}},
	{"an update of the version before a restamp is ErrConflict", func(ctx context.Context, s apikey.Store) error {
		rec := digested(1)
		return errors.Join(
			insert(ctx, s, rec), touch(ctx, s, restamp(rec, 8)),
			refused(ctx, s, updates(next(rec)), apikey.ErrConflict, "o"),
			update(ctx, s, next(restamped(rec, 8))), holds(ctx, s, next(restamped(rec, 8))),
		)
	}},
	{"of concurrent restamps of one digest one takes effect", func(ctx context.Context, s apikey.Store) error {
		rec := digested(1)
		if err := insert(ctx, s, rec); err != nil {
			return err
		}
		faults := make([]error, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() { faults[i] = touch(ctx, s, restamp(rec, 100+i)) })
		}
		wg.Wait()
		got, err := s.ByID(ctx, rec.Key.ID)
		if err == nil && got.Key.Version != 2 {
			err = fmt.Errorf("the version is %d after %d restamps of one digest, want 2", got.Key.Version, racers)
		}
		return errors.Join(errors.Join(faults...), err)
	}},
	{"restamps and updates at once lose nothing of either", restampsAndUpdates},
}

// restampsAndUpdates has one goroutine bring the digest forward, and another
// change the name; each tries again when the other was faster.
func restampsAndUpdates(ctx context.Context, s apikey.Store) error {
	id := digested(1).Key.ID
	if err := insert(ctx, s, digested(1)); err != nil {
		return err
	}
	const last = 15
	var stamping error
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 2; n <= last && stamping == nil; n++ {
			before := digested(1)
			before.Digest = digest(n - 1)
			stamping = touch(ctx, s, restamp(before, n))
		}
	})
	var naming error
	for n := range last {
		for naming == nil {
			rec, err := s.ByID(ctx, id)
			if err == nil {
				rec = next(rec)
				rec.Key.Name = fmt.Sprintf("name %d", n)
				err = s.Apply(ctx, updates(rec))
			}
			if err == nil {
				break
			}
			if !errors.Is(err, apikey.ErrConflict) {
				naming = err
			}
		}
	}
	wg.Wait()
	after := digested(1)
	after.Digest, after.Key.Name, after.Key.Version = digest(last), fmt.Sprintf("name %d", last-1), 1+last+last-1
	return errors.Join(stamping, naming, holds(ctx, s, after))
}

// census returns nil if s counts exactly so.
func census(ctx context.Context, s apikey.Store, should ...apikey.Count) error {
	got, err := s.Census(ctx)
	if err != nil {
		return fmt.Errorf("Census: %w", err)
	}
	slices.SortFunc(got, compareCounts)
	slices.SortFunc(should, compareCounts)
	if !slices.Equal(got, should) {
		return fmt.Errorf("Census = %+v, want %+v", got, should)
	}
	return nil
}

var censusChecks = []check{
	{"Census counts by version and scheme the records that are not deleted", func(ctx context.Context, s apikey.Store) error {
		if err := census(ctx, s); err != nil {
			return err
		}
		for i, state := range allStates {
			for n := range 3 {
				rec := digested(10*i + n)
				rec.Digest.Version = 7
				if n == 2 {
					rec.Digest, rec.Imported = apikey.Digest{}, apikey.Imported{Scheme: "bcrypt", Encoded: fmt.Sprint(i)}
				}
				if err := insert(ctx, s, as(state, rec)); err != nil { // a tombstone is proven like plain below, if it counts
					return err
				}
			}
		}
		plain, most := digested(100), digested(101)
		plain.Digest.Version, most.Digest.Version = 0, 1<<32-1
		plain.Key.ExpiresAt = begin.Add(-time.Hour)
		argon := bare(102)
		argon.Imported = apikey.Imported{Scheme: "argon2id", Encoded: "x"}
		return errors.Join(
			insert(ctx, s, plain, most, argon), decide(ctx, s, apikey.Owner{ID: "o", Epoch: 2, Version: 1}),
			census(ctx, s, apikey.Count{Version: 7, Keys: 6}, apikey.Count{Scheme: "bcrypt", Keys: 3}, apikey.Count{Keys: 1},
				apikey.Count{Version: 1<<32 - 1, Keys: 1}, apikey.Count{Scheme: "argon2id", Keys: 1}),
		)
	}},
	{"Census follows what restamps, updates and deletions leave", func(ctx context.Context, s apikey.Store) error {
		old, legacy, dead := digested(1), bare(2), digested(3)
		old.Digest.Version, dead.Digest.Version = 5, 5
		legacy.Imported = apikey.Imported{Scheme: "bcrypt", Encoded: "x"}
		gone := next(dead)
		gone.Key.State, gone.Digest = apikey.StateDeleted, apikey.Digest{}
		return errors.Join(
			insert(ctx, s, old, legacy, dead),
			census(ctx, s, apikey.Count{Version: 5, Keys: 2}, apikey.Count{Scheme: "bcrypt", Keys: 1}),
			touch(ctx, s, restamp(old, 6), restamp(legacy, 6)), update(ctx, s, gone),
			census(ctx, s, apikey.Count{Version: 6, Keys: 2}),
		)
	}},
}
