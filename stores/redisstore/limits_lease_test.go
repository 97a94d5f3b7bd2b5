package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// leasingLimiter returns the limiter of one node, which holds up to units of
// what all of them share.
func leasingLimiter(t testing.TB, client redisstore.Client, prefix string, units int64, limits ...ratelimit.Limit) *ratelimit.Limiter {
	t.Helper()
	s, err := redisstore.NewLimits(client, &redisstore.LimitsOptions{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	leasing, err := ratelimit.NewLeasingStore(s, units, nil)
	if err != nil {
		t.Fatal(err)
	}
	return limiterOf(t, leasing, limits...)
}

// Two processes that spend in memory what they took ahead admit no more than the
// limit, and as each of them asks until it is refused, no less.
func TestTwoProcessesThatLeaseTakeExactlyTheLimit(t *testing.T) {
	const days = 1000 * 24 * time.Hour
	total := twoProcesses(t, func(client redisstore.Client, prefix string) *ratelimit.Limiter {
		return leasingLimiter(t, client, prefix, 50,
			ratelimit.Limit{Name: "window", Algorithm: ratelimit.FixedWindow, Count: 20_000, Period: days},
			ratelimit.Limit{Name: "bucket", Count: 40_000, Period: days})
	})
	if total != 20_000 {
		t.Errorf("two processes took %d; want 20000", total)
	}
}

// Nodes that lease from a bucket admit what a bucket does in any span of time:
// its Burst, and what it refills meanwhile.
func TestNodesThatLeaseKeepToABucket(t *testing.T) {
	client := redistest.Start(t).Client(t)
	prefix := prefix()
	bucket := ratelimit.Limit{Name: "bucket", Count: 20_000, Period: time.Second, Burst: 3200}
	start := time.Now()
	var passed [3]int64
	done := make(chan struct{})
	for i := range passed {
		go func() {
			defer func() { done <- struct{}{} }()
			l := leasingLimiter(t, redisstore.GoRedis(client), prefix, 100, bucket)
			for time.Since(start) < 500*time.Millisecond {
				r, err := l.Take(t.Context(), "everybody", 1)
				if err != nil {
					t.Error(err)
					return
				}
				if r.Allowed {
					passed[i]++
				}
			}
		}()
	}
	for range passed {
		<-done
	}
	total := passed[0] + passed[1] + passed[2]
	if most := 3200 + time.Since(start).Microseconds()*20_000/1e6; total > most || total < 3200 {
		t.Errorf("%d passed; want 3200 to %d", total, most)
	}
}

// BenchmarkLeasing is what one node decides of a busy subject, with a trip for
// each take and with one for up to 1000.
func BenchmarkLeasing(b *testing.B) {
	client := redistest.Start(b).Client(b)
	limit := ratelimit.Limit{Name: "a", Count: 1e12, Period: time.Hour}
	direct, err := redisstore.NewLimits(redisstore.GoRedis(client), &redisstore.LimitsOptions{Prefix: prefix()})
	if err != nil {
		b.Fatal(err)
	}
	for name, l := range map[string]*ratelimit.Limiter{
		"direct":     limiterOf(b, direct, limit),
		"units=10":   leasingLimiter(b, redisstore.GoRedis(client), prefix(), 10, limit),
		"units=1000": leasingLimiter(b, redisstore.GoRedis(client), prefix(), 1000, limit),
	} {
		b.Run(name, func(b *testing.B) {
			crews(b, client, func(ctx context.Context) error { _, err := l.Take(ctx, "customer 7", 1); return err })
		})
	}
}
