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
	b.Run("Rotate", func(b *testing.B) {
		s := newStore(b)
		if err := insert(b.Context(), s, benchRecord(0)); err != nil {
			b.Fatal(err)
		}
		serial(b, func(ctx context.Context, n int) error {
			return s.Apply(ctx, apikey.Change{Insert: []apikey.Record{benchRecord(n + 1)}, Update: []apikey.Record{next(benchRecord(n))}})
		})
	})
	b.Run("ListOwner", func(b *testing.B) {
		s := filled(b, newStore)
		serial(b, func(ctx context.Context, n int) error {
			q := everything(10)
			q.Owner = benchRecord(n % benchKeys).Key.Owner
			list, err := s.List(ctx, q)
			if err == nil && len(list) != 10 {
				err = fmt.Errorf("%d keys, want 10", len(list))
			}
			return err
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
}

// template has every field set; benchmarks give it other names.
var template = record(0)

// benchRecord is the n-th record with one of ten keys to an owner, made fast
// so that the store is measured and not this.
func benchRecord(n int) apikey.Record {
	rec := template
	rec.Handle = padded("", n, 16)
	rec.Key.ID = padded("key_", n, 20)
	rec.Key.Owner = padded("acct_", n/10, 8)
	rec.Label = padded("label ", n, 8)
	rec.Key.CreatedAt = begin.Add(time.Duration(n) * time.Second)
	return rec
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
