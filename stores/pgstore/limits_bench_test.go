package pgstore_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// bare is the least that a token bucket can cost in PostgreSQL: one statement on
// one number, with a whole number of microseconds for each unit, one limit, no
// refund, no peek, no wait told.
const bare = `INSERT INTO bare AS b (key, tat) VALUES ($1, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 1)
	ON CONFLICT (key) DO UPDATE SET tat = greatest(b.tat, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint) + 1
	WHERE greatest(b.tat, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint) + 1
		<= floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 1000000000
	RETURNING tat`

func BenchmarkLimits(b *testing.B) {
	d := newDatabase(b)
	ratelimittest.Bench(b, func(b *testing.B) ratelimit.Store { return d.open(b).Limits(nil) })
}

// BenchmarkTake compares a take with the bare statement. They take turns, so that
// all meet the same weather; x/bare is the ratio of their medians. Keys vary.
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
				const calls = 50
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
				calledBare := func(ctx context.Context) error {
					tx, args := d.pool, []any{key()}
					return takeBare(ctx, tx, relaxed, args)
				}
				var times [3][]float64
				for b.Loop() {
					for i, call := range []func(context.Context) error{calledBare, take(one), take(three)} {
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

func takeBare(ctx context.Context, pool *pgxpool.Pool, relaxed bool, args []any) error {
	statement := bare
	if relaxed { // in the same statement
		statement = `WITH r AS (SELECT set_config('synchronous_commit', 'off', true)) ` + bare
	}
	var tat int64
	err := pool.QueryRow(ctx, statement, args...).Scan(&tat)
	if err == pgx.ErrNoRows { //nolint:errorlint // bare: refused
		return nil
	}
	return err
}
