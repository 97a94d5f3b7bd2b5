package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// bare is the least that a token bucket can cost in PostgreSQL: one statement on
// one number, a whole number of microseconds for each unit, one limit, and
// nothing told but whether it passes. $2 is for synchronous_commit.
const bare = `INSERT INTO bare AS b (key, tat)
	SELECT $1, now + 1 FROM floor(extract(epoch FROM clock_timestamp()) * 1000000) AS now, set_config('synchronous_commit', $2, true)
	ON CONFLICT (key) DO UPDATE SET tat = greatest(b.tat, excluded.tat - 1) + 1
	WHERE greatest(b.tat, excluded.tat - 1) + 1 <= excluded.tat + 1000000000
	RETURNING tat`

func BenchmarkLimits(b *testing.B) {
	d := newDatabase(b)
	ratelimittest.Bench(b, func(b *testing.B) ratelimit.Store { return d.open(b).Limits(nil) })
}

// BenchmarkTake compares takes of one limit and of three with the bare statement.
// They take turns, so that all meet the same weather, and ratios are those of
// their medians. Keys vary where there are many.
func BenchmarkTake(b *testing.B) {
	d := newDatabase(b)
	run(b, d.pool, `CREATE TABLE bare (key text PRIMARY KEY, tat bigint NOT NULL) WITH (fillfactor = 70)`)
	for _, relaxed := range []bool{false, true} {
		store := d.open(b).Limits(&pgstore.LimitsOptions{Relaxed: relaxed})
		limits := []ratelimit.Limit{
			{Name: "second", Count: 1_000_000, Period: time.Second},
			{Name: "minute", Algorithm: ratelimit.SlidingWindow, Count: 60_000_000, Period: time.Minute},
			{Name: "day", Algorithm: ratelimit.Calendar, Count: 1 << 40, Every: ratelimit.Day},
		}
		one, three := limiter(b, store, limits[0]), limiter(b, store, limits...)
		for _, c := range []struct{ keys, workers int }{{1, 1}, {10_000, 1}, {1, 32}, {10_000, 32}} {
			b.Run(fmt.Sprintf("relaxed=%t/keys=%d/workers=%d", relaxed, c.keys, c.workers), func(b *testing.B) {
				const calls = 20
				var at atomic.Int64
				key := func() string { return fmt.Sprint("customer ", at.Add(7919)%int64(c.keys)) }
				turn := func(call func(context.Context) error) float64 {
					start := time.Now()
					each(c.workers, func(int) {
						for range calls {
							if err := call(b.Context()); err != nil {
								b.Error(err)
								return
							}
						}
					})
					return float64(time.Since(start)) / float64(calls*c.workers)
				}
				take := func(l *ratelimit.Limiter) func(context.Context) error {
					return func(ctx context.Context) error {
						_, err := l.Take(ctx, key(), 1)
						return err
					}
				}
				synchronous := map[bool]string{false: "on", true: "off"}[relaxed]
				takeBare := func(ctx context.Context) error {
					var tat int64
					err := d.pool.QueryRow(ctx, bare, key(), synchronous).Scan(&tat)
					if errors.Is(err, pgx.ErrNoRows) { // refused
						return nil
					}
					return err
				}
				var times [3][]float64
				for b.Loop() {
					for i, call := range []func(context.Context) error{takeBare, take(one), take(three)} {
						times[i] = append(times[i], turn(call))
					}
				}
				for i, name := range []string{"bare-ns", "one-ns", "three-ns"} {
					slices.Sort(times[i])
					b.ReportMetric(times[i][len(times[i])/2], name)
				}
				median := func(i int) float64 { return times[i][len(times[i])/2] }
				b.ReportMetric(median(1)/median(0), "one/bare")
				b.ReportMetric(median(2)/median(1), "three/one")
			})
		}
	}
}
