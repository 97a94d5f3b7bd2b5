package redisstore_test

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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

// callers has 64 goroutines do b.N steps together.
func callers(b *testing.B, n int, step func() error) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := step(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The floor is a script that does nothing, through the same client.
func BenchmarkLimitsAndFloor(b *testing.B) {
	client := redistest.Start(b).Client(b)
	sha, err := client.ScriptLoad(b.Context(), "return 1").Result()
	if err != nil {
		b.Fatal(err)
	}
	steps := map[string]func() error{
		"floor": func() error { return client.EvalSha(b.Context(), sha, []string{"k"}, "1").Err() },
	}
	for name, s := range sharedSteps(b, redisstore.GoRedis(client)) {
		steps[name] = s
	}
	for name, s := range sharedSteps(b, redisstore.Coalesced(client)) {
		steps["coalesced-"+name] = s
	}
	measure(b, client, steps)
}

func sharedSteps(b *testing.B, client redisstore.Client) map[string]func() error {
	s, err := redisstore.NewLimits(client, &redisstore.LimitsOptions{Prefix: prefix()})
	if err != nil {
		b.Fatal(err)
	}
	steps := map[string]func() error{}
	for name, limits := range map[string][]ratelimit.Limit{
		"one":   {{Name: "a", Count: 1e12, Period: 3600e9}},
		"log":   {{Name: "a", Algorithm: ratelimit.SlidingLog, Count: 1e4, Period: 10e6}},
		"fixed": {{Name: "a", Algorithm: ratelimit.FixedWindow, Count: 1e12, Period: 3600e9}},
		"small": {{Name: "a", Algorithm: ratelimit.FixedWindow, Count: 1e5, Period: 60e9}},
		"three": {{Name: "a", Count: 1e12, Period: 3600e9}, {Name: "b", Count: 1e12, Period: 3600e9}, {Name: "c", Count: 1e12, Period: 3600e9}},
	} {
		set, err := ratelimit.NewLimits(limits...)
		if err != nil {
			b.Fatal(err)
		}
		l, err := ratelimit.NewLimiter(s, set, nil)
		if err != nil {
			b.Fatal(err)
		}
		steps[name] = func() error { _, err := l.Take(b.Context(), "customer 7", 1); return err }
	}
	return steps
}

// serverTime returns the microseconds that the server spent in a script call.
func serverTime(b *testing.B, client *redis.Client) float64 {
	_, rest, _ := strings.Cut(client.Info(b.Context(), "commandstats").Val(), "cmdstat_evalsha:")
	_, rest, _ = strings.Cut(rest, "usec_per_call=")
	number, _, _ := strings.Cut(rest, ",")
	us, _ := strconv.ParseFloat(number, 64)
	return us
}

func measure(b *testing.B, client *redis.Client, steps map[string]func() error) {
	for name, step := range steps {
		for _, n := range []int{1, 64} {
			b.Run(name+"/callers="+map[int]string{1: "1", 64: "64"}[n], func(b *testing.B) {
				client.ConfigResetStat(b.Context())
				b.ResetTimer()
				callers(b, n, step)
				b.StopTimer()
				b.ReportMetric(serverTime(b, client), "server-us/op")
			})
		}
	}
}
