package redisstore_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

func BenchmarkLimits(b *testing.B) {
	client := redistest.Start(b).Client(b)
	ratelimittest.Bench(b, func(b *testing.B) ratelimit.Store {
		return newLimits(b, client, redisstore.LimitsOptions{})
	})
}

// A script that does nothing is what no limiter in Redis can be faster than.
func BenchmarkLimitsAndFloor(b *testing.B) {
	client := redistest.StartOwn(b).Client(b)
	hash, err := client.ScriptLoad(b.Context(), "return 1").Result()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("floor", func(b *testing.B) {
		crews(b, client, func(ctx context.Context) error { return client.EvalSha(ctx, hash, []string{"k"}, "1").Err() })
	})
	bucket := func(name string) ratelimit.Limit {
		return ratelimit.Limit{Name: name, Count: 1e12, Period: time.Hour}
	}
	for how, over := range map[string]redisstore.Client{"goredis": redisstore.GoRedis(client), "coalesced": redisstore.Coalesced(client)} {
		for what, limits := range map[string][]ratelimit.Limit{
			"one":   {bucket("a")},
			"three": {bucket("a"), bucket("b"), bucket("c")},
			"log":   {{Name: "log", Algorithm: ratelimit.SlidingLog, Count: ratelimit.MaxLog, Period: 10 * time.Millisecond}},
		} {
			s, err := redisstore.NewLimits(over, &redisstore.LimitsOptions{Prefix: prefix()})
			if err != nil {
				b.Fatal(err)
			}
			l := limiterOf(b, s, limits...)
			b.Run(how+"-"+what, func(b *testing.B) {
				crews(b, client, func(ctx context.Context) error { _, err := l.Take(ctx, "customer 7", 1); return err })
			})
		}
	}
}

// crews runs steps from one caller and from 64.
func crews(b *testing.B, client *redis.Client, step func(context.Context) error) {
	for _, n := range []int{1, 64} {
		b.Run("callers="+strconv.Itoa(n), func(b *testing.B) {
			if err := client.ConfigResetStat(b.Context()).Err(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if err := step(b.Context()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(serverTime(b, client), "server-µs/op")
		})
	}
}

// serverTime returns the microseconds that the server spent in a call of the
// script, 0 when there was none.
func serverTime(b *testing.B, client *redis.Client) float64 {
	b.Helper()
	_, rest, found := strings.Cut(client.Info(b.Context(), "commandstats").Val(), "cmdstat_evalsha:")
	if !found {
		return 0
	}
	_, rest, _ = strings.Cut(rest, "usec_per_call=")
	number, _, _ := strings.Cut(rest, ",")
	us, err := strconv.ParseFloat(number, 64)
	if err != nil {
		b.Fatal(err)
	}
	return us
}
