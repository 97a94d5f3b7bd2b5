package apikeytest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// benchKeys is the number of keys in a store that is measured; owners have ten.
const benchKeys = 10_000

// Bench measures the stores that newStore returns: an empty one at each call,
// to be cleaned up by newStore through b.Cleanup.
func Bench(b *testing.B, newStore func(b *testing.B) apikey.Store) {
	b.Helper()
	// Made beforehand, in an order that no cache foresees, so that the store alone
	// is measured.
	handles := make([]string, benchKeys)
	for i := range handles {
		handles[i] = padded("", i*7919%benchKeys, 16)
	}
	b.Run("ByHandle", func(b *testing.B) {
		s := filled(b, newStore)
		serial(b, func(ctx context.Context, n int) error { return found(ctx, s, handles[n%benchKeys]) })
	})
	b.Run("ByHandleParallel", func(b *testing.B) {
		s := filled(b, newStore)
		parallel(b, func(ctx context.Context, n int) error { return found(ctx, s, handles[n%benchKeys]) })
	})
	b.Run("ByHandleAbsent", func(b *testing.B) {
		s := filled(b, newStore)
		serial(b, func(ctx context.Context, n int) error {
			_, err := s.ByHandle(ctx, padded("", benchKeys+n, 16))
			return want("ByHandle", err, apikey.ErrNotFound)
		})
	})
	b.Run("Insert", func(b *testing.B) {
		s := newStore(b)
		serial(b, func(ctx context.Context, n int) error { return insert(ctx, s, benchRecord(n)) })
	})
	b.Run("InsertParallel", func(b *testing.B) {
		s := newStore(b)
		parallel(b, func(ctx context.Context, n int) error { return insert(ctx, s, benchRecord(n)) })
	})
	b.Run("Update", func(b *testing.B) {
		s := filled(b, newStore)
		serial(b, func(ctx context.Context, n int) error {
			rec := benchRecord(n % benchKeys)
			rec.Key.Version = int64(n/benchKeys) + 2
			return update(ctx, s, rec)
		})
	})
	b.Run("Create", func(b *testing.B) {
		s := newStore(b)
		serial(b, func(ctx context.Context, n int) error { return apply(ctx, s, creation(n)) })
	})
	b.Run("CreateParallel", func(b *testing.B) {
		s := newStore(b)
		parallel(b, func(ctx context.Context, n int) error { return apply(ctx, s, creation(n)) })
	})
	b.Run("Rotate", func(b *testing.B) {
		s := filled(b, newStore)
		serial(b, func(ctx context.Context, n int) error { return apply(ctx, s, rotation(n)) })
	})
	b.Run("RotateParallel", func(b *testing.B) {
		s := filled(b, newStore)
		parallel(b, func(ctx context.Context, n int) error { return apply(ctx, s, rotation(n)) })
	})
	b.Run("RevokeOwner", func(b *testing.B) {
		s := filled(b, newStore)
		serial(b, func(ctx context.Context, n int) error {
			o := apikey.Owner{ID: benchRecord(n * 10 % benchKeys).Key.Owner, Version: int64(n*10/benchKeys) + 1}
			o.Epoch, o.ChangedAt = o.Version+1, begin
			return apply(ctx, s, apikey.Change{Owner: &o, Events: []apikey.Event{benchEvent(o.ID, n)}, Notices: []apikey.Notice{{Owner: o.ID}}})
		})
	})
	b.Run("ListOwner", func(b *testing.B) {
		s := filled(b, newStore)
		serial(b, func(ctx context.Context, n int) error {
			q := everything(10)
			q.Owner = benchRecord(n % benchKeys).Key.Owner
			return ten(s.List(ctx, q))
		})
	})
	b.Run("ListExpiring", func(b *testing.B) {
		s := filled(b, newStore)
		serial(b, func(ctx context.Context, n int) error {
			q := everything(10)
			q.Order = apikey.SoonestFirst
			at := benchRecord(n % (benchKeys / 2))
			q.After = position(q.Order, at)
			q.ExpiresBefore = at.Key.ExpiresAt.Add(11 * time.Hour)
			return ten(s.List(ctx, q))
		})
	})
	b.Run("Events", func(b *testing.B) {
		s := eventful(b, newStore)
		serial(b, func(ctx context.Context, n int) error {
			q := apikey.EventQuery{Owner: benchRecord(n % eventOwners * 10).Key.Owner, Limit: 10, After: apikey.EventCursor{Seq: int64(20 + n%50)}}
			return ten(s.Events(ctx, q))
		})
	})
	b.Run("EventsOfAll", func(b *testing.B) {
		s := eventful(b, newStore)
		serial(b, func(ctx context.Context, n int) error {
			at := benchEvent("", n%5000+20)
			q := apikey.EventQuery{AnyOwner: true, Limit: 10, After: apikey.EventCursor{At: at.At, Owner: at.Owner, Seq: 1}}
			return ten(s.Events(ctx, q))
		})
	})
	b.Run("Touch1000", func(b *testing.B) {
		s := filled(b, newStore)
		batch := make([]apikey.Use, 1000)
		serial(b, func(ctx context.Context, n int) error {
			for i := range batch {
				batch[i] = apikey.Use{ID: benchRecord((n*len(batch) + i) % benchKeys).Key.ID, At: begin.Add(time.Duration(n+1) * time.Hour)}
			}
			return s.Touch(ctx, batch)
		})
	})
	b.Run("Touch1000Restamps", func(b *testing.B) {
		s := filled(b, newStore)
		batch, restamps := make([]apikey.Use, 1000), make([]apikey.Restamp, 1000)
		serial(b, func(ctx context.Context, n int) error {
			for i := range batch {
				at := n*len(batch) + i
				was, digest := benchRecord(at%benchKeys).Digest, benchRecord(at%benchKeys).Digest
				was.Version, digest.Version = uint32(at/benchKeys), uint32(at/benchKeys)+1
				restamps[i] = apikey.Restamp{Was: was, Digest: digest}
				batch[i] = apikey.Use{ID: benchRecord(at % benchKeys).Key.ID, Restamp: &restamps[i]}
			}
			return s.Touch(ctx, batch)
		})
		// What is stored must be what the last of them brought.
		if rec, err := s.ByID(b.Context(), benchRecord(0).Key.ID); err != nil || rec.Key.Version < 2 {
			b.Fatalf("after restamps: version %d, %v", rec.Key.Version, err)
		}
	})
}

// ten returns an error unless a page is of ten.
func ten[T any](page []T, err error) error {
	if err == nil && len(page) != 10 {
		err = fmt.Errorf("a page of %d, want 10", len(page))
	}
	return err
}

// creation makes the n-th key as a service does for an owner with a plan: under
// a cap, with a label and an event.
func creation(n int) apikey.Change {
	rec := benchRecord(n)
	rec.Epoch = 0
	return apikey.Change{
		Insert: []apikey.Record{rec},
		Cap:    &apikey.Cap{Owner: rec.Key.Owner, Most: 10, States: []apikey.State{apikey.StateActive, apikey.StateDisabled}, LiveAt: begin},
		Events: []apikey.Event{benchEvent(rec.Key.Owner, n)},
	}
}

// rotation is the n-th of a store that is filled: key after key, and then their
// heirs.
func rotation(n int) apikey.Change {
	old, heir := next(benchRecord(n)), benchRecord(n+benchKeys)
	first := benchRecord(n % benchKeys)
	heir.Key.Owner, heir.Label = first.Key.Owner, first.Label
	old.Key.Owner, old.Label = first.Key.Owner, ""
	old.Key.Successor, heir.Key.Predecessor = heir.Key.ID, old.Key.ID
	return apikey.Change{
		Update: []apikey.Record{old}, Insert: []apikey.Record{heir},
		Events: []apikey.Event{benchEvent(old.Key.Owner, n)}, Notices: []apikey.Notice{{Handle: old.Handle}},
	}
}

// template has every field set; benchmarks give it other names.
var template = func() apikey.Record {
	rec := record(0)
	rec.Key.Successor, rec.Imported, rec.Digest.Version = "", apikey.Imported{}, 0
	return rec
}()

// benchRecord is the n-th record with one of ten keys to an owner, made fast
// so that the store is measured and not this.
func benchRecord(n int) apikey.Record {
	rec := template
	rec.Handle = padded("", n, 16)
	rec.Key.ID = padded("key_", n, 20)
	rec.Key.Owner = padded("acct_", n/10, 8)
	rec.Label = padded("label ", n, 8)
	rec.Key.CreatedAt = begin.Add(time.Duration(n) * time.Second)
	rec.Key.ExpiresAt = begin.Add(time.Duration(n+1) * time.Hour)
	rec.Label = padded("label ", n, 8)
	return rec
}

// eventOwners is the number of owners in a store of events; each has a hundred.
const eventOwners = 100

var eventTemplate = event("", 0)

func benchEvent(owner string, n int) apikey.Event {
	e := eventTemplate
	e.Owner, e.At, e.Key = owner, begin.Add(time.Duration(n)*time.Second), padded("key_", n, 20)
	return e
}

func eventful(b *testing.B, newStore func(b *testing.B) apikey.Store) apikey.Store {
	b.Helper()
	s := newStore(b)
	for n := range 100 {
		var c apikey.Change
		for i := range eventOwners {
			c.Events = append(c.Events, benchEvent(benchRecord(i*10).Key.Owner, n*eventOwners+i))
		}
		if err := s.Apply(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// padded returns prefix and n in width digits.
func padded(prefix string, n, width int) string {
	text := append(make([]byte, 0, 32), prefix...)
	text = append(text, "00000000000000000000"[:width]...)
	for i := len(text) - 1; n > 0; i-- {
		text[i] = byte('0' + n%10)
		n /= 10
	}
	return string(text)
}

func filled(b *testing.B, newStore func(b *testing.B) apikey.Store) apikey.Store {
	b.Helper()
	s := newStore(b)
	batch := make([]apikey.Record, 0, 500)
	for n := range benchKeys {
		if batch = append(batch, benchRecord(n)); len(batch) == cap(batch) {
			if err := insert(b.Context(), s, batch...); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	return s
}

func found(ctx context.Context, s apikey.Store, handle string) error {
	rec, err := s.ByHandle(ctx, handle)
	if err == nil && rec.Handle != handle {
		err = fmt.Errorf("record %q, want %q", rec.Handle, handle)
	}
	return err
}

func serial(b *testing.B, call func(ctx context.Context, n int) error) {
	b.Helper()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := call(b.Context(), n); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

func parallel(b *testing.B, call func(ctx context.Context, n int) error) {
	b.Helper()
	b.ReportAllocs()
	var next atomic.Int64
	b.SetParallelism(16)
	b.ResetTimer() // b.Loop does this for serial
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := call(b.Context(), int(next.Add(1)-1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
