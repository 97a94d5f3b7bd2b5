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
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			store := &staged{Store: apikey.NewMemoryStore()}
			s := newService(b, store, newFormat(b, "gx", nil), &apikey.Options{
				Cache: &apikey.CacheOptions{Bound: time.Hour, MaxKeys: size}, MaxPending: size, LastUsedEvery: time.Hour,
			})
			tokens := issue(b, s, size)
			known := make(map[[32]byte]int, size)
			for i, token := range tokens {
				known[sha256.Sum256([]byte(token))] = i
				accepted(b, s, token, token) // the second notes the use
			}
			calls := store.calls.Load()
			b.Run("floor", func(b *testing.B) {
				b.ReportAllocs()
				var i int
				var text [64]byte
				for b.Loop() {
					n := copy(text[:], tokens[i*7919%size])
					if known[sha256.Sum256(text[:n])] != i*7919%size {
						b.Fatal("wrong")
					}
					i++
				}
			})
			b.Run("hit", func(b *testing.B) {
				b.ReportAllocs()
				var i int
				for b.Loop() {
					if _, err := s.Verify(b.Context(), tokens[i*7919%size], nil); err != nil {
						b.Fatal(err)
					}
					i++
				}
			})
			b.Run("hit-parallel", func(b *testing.B) {
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
				b.Errorf("hits called the store %d times", store.calls.Load()-calls)
			}
		})
	}
}

// BenchmarkCacheFill is what a key costs that is not kept yet, with its room in
// memory, and BenchmarkCacheRefuse what does not exist costs.
func BenchmarkCacheFill(b *testing.B) {
	const size = 100_000
	store := &staged{Store: apikey.NewMemoryStore()}
	tokens := issue(b, newService(b, store, nil, nil), size)
	for b.Loop() {
		s := newService(b, store, nil, &apikey.Options{Cache: &apikey.CacheOptions{Bound: time.Hour, MaxKeys: size}})
		before := heap()
		accepted(b, s, tokens...)
		b.ReportMetric(float64(heap()-before)/size, "B/key")
		accepted(b, s, tokens[0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/key")
}
