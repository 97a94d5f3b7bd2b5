package apikeytest

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// BenchRevocation measures how long a cache in another process goes on with a
// key that was revoked here: from the return of Revoke to the first refusal
// there, as p50-ns and p99-ns. NewEnd returns the store and the feed of a
// process, twice, of what both share.
func BenchRevocation(b *testing.B, newEnd func(b *testing.B) (apikey.Store, apikey.Feed)) {
	b.Helper()
	here, _ := process(b, newEnd)
	there, looked := process(b, newEnd)
	verify := func(token string) error {
		_, err := there.Verify(b.Context(), token, nil)
		return err
	}
	kept := func(token string) bool { // there, so that only the feed can end it in time
		if err := verify(token); err != nil {
			b.Fatal(err)
		}
		before := looked.Load()
		return verify(token) == nil && looked.Load() == before
	}
	var waits []time.Duration
	for b.Loop() {
		issued, err := here.Create(b.Context(), apikey.Spec{Owner: "owner"})
		if err != nil {
			b.Fatal(err)
		}
		token := issued.Secret.Reveal()
		for !kept(token) {
			runtime.Gosched() // the feed is not heard yet
		}
		if _, err := here.Revoke(b.Context(), issued.Key.ID, ""); err != nil {
			b.Fatal(err)
		}
		start := time.Now() //nolint:forbidigo // a benchmark reads the clock
		for {
			err := verify(token)
			if errors.Is(err, apikey.ErrRevoked) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		waits = append(waits, time.Since(start)) //nolint:forbidigo // a benchmark reads the clock
	}
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2]), "p50-ns")
	b.ReportMetric(float64(waits[len(waits)*99/100]), "p99-ns")
}

// A lookedAt store counts its look-ups.
type lookedAt struct {
	apikey.Store
	times *atomic.Int64
}

func (s lookedAt) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	s.times.Add(1)
	return s.Store.ByHandle(ctx, handle)
}

// process returns a service over one end, and how often it asked the store.
func process(b *testing.B, newEnd func(b *testing.B) (apikey.Store, apikey.Feed)) (*apikey.Service, *atomic.Int64) {
	b.Helper()
	store, feed := newEnd(b)
	format, err := apikey.NewFormat("bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	times := new(atomic.Int64)
	s, err := apikey.NewService(lookedAt{store, times}, format, &apikey.Options{Cache: &apikey.CacheOptions{Bound: 10 * time.Second, Feed: feed}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	return s, times
}
