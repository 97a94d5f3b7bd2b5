package ratelimit_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// What a guard costs beside the store alone, while that answers and while it
// does not: the keys take turns. Local, less Closed, is the price of warmth.
func BenchmarkGuard(b *testing.B) {
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = fmt.Sprint("customer ", i)
	}
	lots := func(name string, a ratelimit.Algorithm) ratelimit.Limit {
		return ratelimit.Limit{Name: name, Algorithm: a, Count: ratelimit.MaxCount / 2, Period: time.Hour}
	}
	for _, limits := range []ratelimit.Limits{
		set(b, lots("one", ratelimit.TokenBucket)),
		set(b, lots("one", ratelimit.TokenBucket), lots("two", ratelimit.FixedWindow), lots("three", ratelimit.SlidingWindow)),
	} {
		for _, policy := range []ratelimit.Policy{0, ratelimit.Closed, ratelimit.Open, ratelimit.Local} {
			for _, how := range []outage{up, refused} {
				if policy == 0 && how != up {
					continue
				}
				name := fmt.Sprintf("limits=%d/policy=%v/up=%v", limits.Len(), policy, how == up)
				b.Run(name, func(b *testing.B) { benchGuard(b, limits, policy, how, keys) })
			}
		}
	}
}

func benchGuard(b *testing.B, limits ratelimit.Limits, policy ratelimit.Policy, how outage, keys []string) {
	memory, err := ratelimit.NewMemoryStore(nil)
	if err != nil {
		b.Fatal(err)
	}
	frail := &frail{MemoryStore: memory}
	store := ratelimit.Store(frail)
	if policy != 0 {
		if store, err = ratelimit.NewGuardedStore(store, policy, &ratelimit.GuardOptions{Nodes: 2, Cooldown: time.Hour, Deadline: patience}); err != nil {
			b.Fatal(err)
		}
	}
	l, err := ratelimit.NewLimiter(store, limits, nil)
	if err != nil {
		b.Fatal(err)
	}
	frail.fail(how)
	ctx, cancel := context.WithCancel(b.Context()) // as requests have them
	defer cancel()
	for range 10 { // the breaker opens
		_, _ = l.Take(ctx, keys[0], 1)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		if r, err := l.Take(ctx, keys[i%len(keys)], 1); (err != nil || !r.Allowed) && (how == up || policy != ratelimit.Closed) {
			b.Fatal(r.Allowed, err)
		}
	}
}
