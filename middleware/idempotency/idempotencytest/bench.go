package idempotencytest

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/middleware/idempotency"
)

// Bench measures the store made by open: what one call costs, fresh and repeated.
func Bench(b *testing.B, open func(b *testing.B) idempotency.Store) {
	b.Helper()
	b.Run("claim and finish", func(b *testing.B) {
		store, next := open(b), newClaims()
		b.ReportAllocs()
		for b.Loop() {
			handle(b, store, next(), fleeting)
		}
	})
	b.Run("claim and finish in parallel", func(b *testing.B) {
		store, next := open(b), newClaims()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				handle(b, store, next(), fleeting)
			}
		})
	})
	b.Run("replay", func(b *testing.B) {
		store, next := open(b), newClaims()
		var handled []idempotency.Claim
		for range 1024 {
			c := next()
			handled = append(handled, c)
			handle(b, store, c, long)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if f, err := store.Claim(b.Context(), handled[i%len(handled)]); err != nil || f.State != idempotency.Done {
				b.Fatalf("Claim of what is done = %v, %v", f.State, err)
			}
		}
	})
}

// fleeting is so short that a bounded store never fills up with what a benchmark
// leaves behind.
const fleeting = time.Millisecond

// handle claims, and finishes for keep.
func handle(b *testing.B, store idempotency.Store, c idempotency.Claim, keep time.Duration) {
	b.Helper()
	var answer [512]byte
	if f, err := store.Claim(b.Context(), c); err != nil || f.State != idempotency.Claimed {
		b.Errorf("Claim of a free key = %v, %v", f.State, err)
	}
	if err := store.Finish(b.Context(), c.Key, c.Token, answer[:], keep); err != nil {
		b.Error(err)
	}
}

// newClaims returns a function that returns a claim of another key at each call.
func newClaims() func() idempotency.Claim {
	var n atomic.Uint64
	return func() idempotency.Claim {
		c := idempotency.Claim{Lease: long, Keep: long}
		i := n.Add(1)
		binary.BigEndian.PutUint64(c.Key[:], i*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(c.Token[:], i)
		return c
	}
}
