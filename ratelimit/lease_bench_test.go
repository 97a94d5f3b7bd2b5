package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// BenchmarkLeasing is a take of one unit that is held already, but for one in a
// thousand, beside the same take of a memory store.
func BenchmarkLeasing(b *testing.B) {
	for _, n := range []int{1, 3} {
		var ls []ratelimit.Limit
		for i := range n {
			ls = append(ls, ratelimit.Limit{Name: fmt.Sprint("l", i), Algorithm: ratelimit.Algorithm(i), Count: ratelimit.MaxCount, Period: time.Hour})
		}
		limits := set(b, ls...)
		memory := func() *ratelimit.MemoryStore {
			s, err := ratelimit.NewMemoryStore(nil)
			if err != nil {
				b.Fatal(err)
			}
			return s
		}
		for name, store := range map[string]ratelimit.Store{"memory": opaque{memory()}, "leasing": leasing(b, memory(), 1000, nil)} {
			l, err := ratelimit.NewLimiter(store, limits, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/limits=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if r, err := l.Take(b.Context(), "k", 1); err != nil || !r.Allowed {
						b.Fatal(r.Allowed, err)
					}
				}
			})
			b.Run(fmt.Sprintf("%s/limits=%d/parallel", name, n), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if r, err := l.Take(b.Context(), "k", 1); err != nil || !r.Allowed {
							b.Error(r.Allowed, err)
						}
					}
				})
			})
		}
	}
}

// opaque hides which store it is, so that the limiter asks it as any other.
type opaque struct{ ratelimit.Store }
