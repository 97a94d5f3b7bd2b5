package apikey_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// BenchmarkCache is to be read within one run: hit against floor, which is one
// SHA-256 of the key and one map look-up. No hit calls the store.
func BenchmarkCache(b *testing.B) {
	for _, size := range []int{1, 1000, 1_000_000} {
		store := &counted{Store: apikey.NewMemoryStore()}
		s := newService(b, store, newFormat(b, "gx", nil), &apikey.Options{
			Cache: &apikey.CacheOptions{Bound: time.Hour, MaxKeys: 1_000_000}, MaxPending: 1 << 21, LastUsedEvery: time.Hour,
		})
		tokens := issue(b, s, size)
		known := make(map[[32]byte]int, size)
		for i, token := range tokens {
			known[sha256.Sum256([]byte(token))] = i
			if _, err := s.Verify(b.Context(), token, nil); err != nil {
				b.Fatal(err)
			}
		}
		for _, token := range tokens { // a first hit notes the use
			if _, err := s.Verify(b.Context(), token, nil); err != nil {
				b.Fatal(err)
			}
		}
		calls := store.calls.Load()
		b.Run(fmt.Sprintf("floor/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			var i int
			for b.Loop() {
				token := tokens[i*7919%size]
				if known[sha256.Sum256([]byte(token))] != i*7919%size {
					b.Fatal("wrong")
				}
				i++
			}
		})
		b.Run(fmt.Sprintf("hit/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			var i int
			for b.Loop() {
				if _, err := s.Verify(b.Context(), tokens[i*7919%size], nil); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(fmt.Sprintf("hit-parallel/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			var worker atomic.Int64
			b.RunParallel(func(p *testing.PB) {
				for i := int(worker.Add(1)) * 1000; p.Next(); i++ {
					if _, err := s.Verify(context.Background(), tokens[i*7919%size], nil); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
		if store.calls.Load() != calls {
			b.Errorf("%d keys: hits called the store %d times", size, store.calls.Load()-calls)
		}
	}
}

// A counted store counts look-ups.
type counted struct {
	apikey.Store
	calls atomic.Int64
}

func (s *counted) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	s.calls.Add(1)
	return s.Store.ByHandle(ctx, handle)
}
