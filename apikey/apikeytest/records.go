package apikeytest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

var recordChecks = []check{
	{"a record comes back as it was given, by handle and by ID", func(ctx context.Context, s apikey.Store) error {
		if err := insert(ctx, s, record(1), record(2)); err != nil {
			return err
		}
		return errors.Join(holds(ctx, s, record(1)), holds(ctx, s, record(2)))
	}},
	{"a record with nothing in it comes back so", func(ctx context.Context, s apikey.Store) error {
		if err := insert(ctx, s, bare(1)); err != nil {
			return err
		}
		got, err := s.ByID(ctx, bare(1).Key.ID)
		if err == nil && (!got.Key.ExpiresAt.IsZero() || !got.Key.LastUsedAt.IsZero()) {
			err = fmt.Errorf("the zero time comes back as %v, %v", got.Key.ExpiresAt, got.Key.LastUsedAt)
		}
		return errors.Join(err, holds(ctx, s, bare(1)))
	}},
	{"a record is found whatever its state and expiry", func(ctx context.Context, s apikey.Store) error {
		var faults []error
		for i, state := range []apikey.State{apikey.StateActive, apikey.StateDisabled, apikey.StateRevoked, apikey.StateDeleted} {
			rec := as(state, record(i))
			rec.Key.ExpiresAt = begin.Add(-1000 * time.Hour)
			faults = append(faults, insert(ctx, s, rec), holds(ctx, s, rec))
		}
		return errors.Join(faults...)
	}},
	{"an absent record is ErrNotFound", func(ctx context.Context, s apikey.Store) error {
		if err := insert(ctx, s, record(1)); err != nil {
			return err
		}
		empty := apikey.Record{}
		crossed := apikey.Record{Handle: record(1).Key.ID, Key: apikey.Key{ID: record(1).Handle}}
		return errors.Join(lacks(ctx, s, record(2)), lacks(ctx, s, empty), lacks(ctx, s, crossed))
	}},
	{"the largest record that the service gives comes back", func(ctx context.Context, s apikey.Store) error {
		rec, err := largest()
		if err != nil {
			return err
		}
		second, third := rec, rec
		second.Key.ID, second.Handle, second.Label = "key_2", rec.Handle[3:]+"002", rec.Label[3:]+"002" // in the place of one character
		third.Key.ID, third.Handle = "key_3", rec.Handle[3:]+"003"
		return errors.Join(
			insert(ctx, s, rec, second), holds(ctx, s, rec), holds(ctx, s, second),
			refused(ctx, s, inserts(third), apikey.ErrNameTaken, rec.Key.Owner),
			decide(ctx, s, apikey.Owner{ID: rec.Key.Owner, Epoch: 1, RevokedReason: rec.Key.RevokedReason, SuspendedReason: rec.Key.RevokedReason, Version: 1}),
		)
	}},
	{"Sealed comes back byte by byte, and nil where there is none", func(ctx context.Context, s apikey.Store) error {
		var bytes [256]byte
		for i := range bytes {
			bytes[i] = byte(i)
		}
		for n, sealed := range [][]byte{nil, {0}, {0, 0, 0}, []byte("'"), bytes[:], []byte("{}")} {
			rec := bare(n)
			rec.Sealed = sealed
			after := next(rec)
			after.Sealed = append([]byte{1}, sealed...)
			none := next(after)
			none.Sealed = nil
			err := errors.Join(insert(ctx, s, rec), holds(ctx, s, rec), update(ctx, s, after), holds(ctx, s, after), update(ctx, s, none), holds(ctx, s, none))
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"the hash of what a create asked for comes back, and its zero value too", func(ctx context.Context, s apikey.Store) error {
		for n, last := range []byte{0, 1, 255} {
			rec := bare(n)
			rec.Intent[31] = last
			if err := errors.Join(insert(ctx, s, rec), holds(ctx, s, rec)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"reminders come back to the microsecond", func(ctx context.Context, s apikey.Store) error {
		for n, given := range []apikey.Reminded{
			{}, {Expiry: time.Microsecond}, {Age: time.Microsecond}, {Expiry: 14 * 24 * time.Hour, Age: 365 * 24 * time.Hour},
			{Expiry: math.MaxInt64 / 1000 * 1000, Age: math.MaxInt64 / 1000 * 1000},
		} {
			rec := bare(n)
			rec.Reminded = given
			cleared := next(rec)
			cleared.Reminded = apikey.Reminded{}
			if err := errors.Join(insert(ctx, s, rec), holds(ctx, s, rec), update(ctx, s, cleared), holds(ctx, s, cleared)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"Key.Suspended is not stored and comes back false", func(ctx context.Context, s apikey.Store) error {
		given := bare(1)
		given.Key.Suspended = true
		rec := bare(1)
		if err := errors.Join(insert(ctx, s, given), holds(ctx, s, rec), decide(ctx, s, owner("o", 1))); err != nil {
			return err
		}
		rec.Owner = owner("o", 1) // which is suspended: the service makes one of the other
		return errors.Join(holds(ctx, s, rec), update(ctx, s, next(given)), holds(ctx, s, next(rec)))
	}},
	{"text comes back byte by byte", func(ctx context.Context, s apikey.Store) error {
		var recs []apikey.Record
		for i, text := range odd {
			rec := bare(i)
			k := &rec.Key
			k.Name, k.Environment, k.RevokedReason, k.Start, k.Last4, k.Meter = text, text, text, text, text, text
			k.Predecessor, k.Successor = text, text
			k.Owner = "o" + text
			rec.Label, rec.Imported.Scheme, rec.Imported.Encoded = text, text, text
			var err error
			if k.Metadata, err = apikey.NewMetadata(map[string]string{"k" + text: text}); err != nil {
				return err
			}
			if k.Settings, err = apikey.NewSettings(map[string]int64{"k" + text: -1}); err != nil {
				return err
			}
			recs = append(recs, rec)
		}
		if err := insert(ctx, s, recs...); err != nil {
			return err
		}
		var faults []error
		for _, rec := range recs {
			faults = append(faults, holds(ctx, s, rec))
		}
		return errors.Join(faults...)
	}},
	{"handles and IDs are compared byte by byte", func(ctx context.Context, s apikey.Store) error {
		var recs []apikey.Record
		for i, text := range odd {
			rec := bare(i)
			rec.Handle, rec.Key.ID = "h"+text, "k"+text
			recs = append(recs, rec)
		}
		if err := insert(ctx, s, recs...); err != nil {
			return err
		}
		var faults []error
		for _, rec := range recs {
			faults = append(faults, holds(ctx, s, rec))
		}
		return errors.Join(faults...)
	}},
	{"times come back in UTC to the microsecond", func(ctx context.Context, s apikey.Store) error {
		rec := record(1)
		east := time.FixedZone("east", 9*3600)
		rec.Key.CreatedAt, rec.Key.ExpiresAt, rec.Key.LastUsedAt = begin.In(east), time.Date(9999, 12, 31, 23, 59, 59, 999999000, east), begin.In(east)
		if err := errors.Join(insert(ctx, s, rec), holds(ctx, s, rec)); err != nil {
			return err
		}
		got, err := s.ByHandle(ctx, rec.Handle)
		for _, at := range []time.Time{got.Key.CreatedAt, got.Key.ExpiresAt, got.Key.LastUsedAt} {
			if err == nil && at.Location() != time.UTC {
				err = fmt.Errorf("%v is not in UTC", at)
			}
		}
		return err
	}},
}

var insertChecks = []check{
	{"an insert whose ID is taken is ErrExists and changes nothing", func(ctx context.Context, s apikey.Store) error {
		return taken(ctx, s, func(rec *apikey.Record) { rec.Key.ID = record(1).Key.ID })
	}},
	{"an insert whose handle is taken is ErrExists and changes nothing", func(ctx context.Context, s apikey.Store) error {
		return taken(ctx, s, func(rec *apikey.Record) { rec.Handle = record(1).Handle })
	}},
	{"the ID and handle of a tombstone stay taken", func(ctx context.Context, s apikey.Store) error {
		dead := as(apikey.StateDeleted, next(record(1)))
		if err := errors.Join(insert(ctx, s, record(1)), update(ctx, s, dead)); err != nil {
			return err
		}
		for _, reuse := range []func(*apikey.Record){
			func(rec *apikey.Record) { rec.Key.ID = dead.Key.ID },
			func(rec *apikey.Record) { rec.Handle = dead.Handle },
		} {
			rec := record(2)
			reuse(&rec)
			if err := want("Insert", s.Apply(ctx, apikey.Change{Insert: []apikey.Record{rec}}), apikey.ErrExists); err != nil {
				return err
			}
		}
		return holds(ctx, s, dead)
	}},
	{"of concurrent inserts of one handle exactly one succeeds", func(ctx context.Context, s apikey.Store) error {
		return race(apikey.ErrExists, func(n int) error {
			rec := record(n)
			rec.Handle = "the one"
			return s.Apply(ctx, apikey.Change{Insert: []apikey.Record{rec}})
		})
	}},
	{"a change brings up to a thousand records", func(ctx context.Context, s apikey.Store) error {
		var recs, after []apikey.Record
		for n := range 500 {
			recs = append(recs, bare(n))
			after = append(after, next(bare(n)))
		}
		if err := insert(ctx, s, recs...); err != nil {
			return err
		}
		recs = nil
		for n := 500; n < 1000; n++ {
			recs = append(recs, bare(n))
		}
		if err := want("Apply", s.Apply(ctx, apikey.Change{Insert: recs, Update: after}), nil); err != nil {
			return err
		}
		for _, rec := range []apikey.Record{after[0], after[499], recs[0], recs[499]} {
			if err := holds(ctx, s, rec); err != nil {
				return err
			}
		}
		after = append(after, recs...)
		slices.Reverse(after)
		return lists(ctx, s, everything(1000), after...)
	}},
	{"a change that brings nothing succeeds", func(ctx context.Context, s apikey.Store) error {
		return want("Apply", s.Apply(ctx, apikey.Change{}), nil)
	}},
	{"a change that brings notices alone succeeds", func(ctx context.Context, s apikey.Store) error {
		notices := []apikey.Notice{{Handle: "handle"}, {Owner: "o"}}
		return errors.Join(
			insert(ctx, s, bare(1)),
			unchanged(ctx, s, []string{"o"}, func() error { return apply(ctx, s, apikey.Change{Notices: notices}) }),
			apply(ctx, s, apikey.Change{Update: []apikey.Record{next(bare(1))}, Notices: notices}), holds(ctx, s, next(bare(1))),
		)
	}},
	{"a store keeps its own copy of what it is given", func(ctx context.Context, s apikey.Store) error {
		given := []apikey.Record{record(1)}
		if err := insert(ctx, s, given...); err != nil {
			return err
		}
		given[0] = record(2)
		list, err := s.List(ctx, everything(10))
		if err != nil || len(list) != 1 {
			return fmt.Errorf("List = %d records, %v; want 1", len(list), err)
		}
		list[0] = record(3)
		return holds(ctx, s, record(1))
	}},
}

// taken inserts record 1 and then 2 and 3, of which clash spoils the last.
func taken(ctx context.Context, s apikey.Store, clash func(*apikey.Record)) error {
	bad := record(3)
	clash(&bad)
	if err := insert(ctx, s, record(1)); err != nil {
		return err
	}
	return errors.Join(
		want("Insert", s.Apply(ctx, apikey.Change{Insert: []apikey.Record{record(2), bad}}), apikey.ErrExists),
		holds(ctx, s, record(1)), lacks(ctx, s, record(2)),
	)
}

// racers is the number of calls that are made at once.
const racers = 16

// race makes racers calls at once: one must succeed, the others fail with lost.
func race(lost error, call func(n int) error) error { return raceFor(1, lost, call) }

// raceFor makes racers calls at once: so many must succeed, the others fail
// with lost.
func raceFor(room int64, lost error, call func(n int) error) error {
	var won atomic.Int64
	faults := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			if err := call(i); err == nil {
				won.Add(1)
			} else {
				faults[i] = want("a call that lost", err, lost)
			}
		})
	}
	wg.Wait()
	if won.Load() != room {
		faults = append(faults, fmt.Errorf("%d of %d concurrent calls succeed, want %d", won.Load(), racers, room))
	}
	return errors.Join(faults...)
}
