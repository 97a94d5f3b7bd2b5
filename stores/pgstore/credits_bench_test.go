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

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
)

func BenchmarkCredits(b *testing.B) {
	d := newDatabase(b)
	creditstest.Bench(b, func(b *testing.B) credits.Store { return d.open(b).Credits(nil) })
}

// naiveDebit is what a service writes that has no ledger: four round trips, one
// number for each account, and one row for each debit.
func naiveDebit(ctx context.Context, pool *pgxpool.Pool, account credits.AccountID, id credits.OpID) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing, after a commit
	tag, err := tx.Exec(ctx, `UPDATE naive SET balance = balance - 1 WHERE id = $1 AND balance >= 1`, string(account))
	if err == nil && tag.RowsAffected() != 1 {
		err = credits.ErrInsufficient
	}
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO naive_debits VALUES ($1, $2, 1, now())`, string(account), string(id)); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// BenchmarkDebits compares debits through a Batcher, and without one, with the
// transaction of four round trips on the same server, with fsync on. They take
// turns, so that all meet the same weather; x/naive is the ratio of the medians of
// debits a second. The pool has 16 connections, with which the naive one is
// fastest.
func BenchmarkDebits(b *testing.B) {
	d := newDatabase(b, func(c *pgxpool.Config) { c.MaxConns = 16 })
	run(b, d.pool, `CREATE TABLE naive (id text PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)) WITH (fillfactor = 50)`)
	run(b, d.pool, `CREATE TABLE naive_debits (account text, id text, amount bigint NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (account, id))`)
	for _, c := range []struct{ accounts, callers int }{{1, 1}, {1, 64}, {1, 1024}, {10_000, 64}, {10_000, 1024}} {
		b.Run(fmt.Sprintf("accounts=%d/callers=%d", c.accounts, c.callers), func(b *testing.B) {
			store := d.open(b).Credits(nil)
			batcher, err := credits.NewBatcher(store, nil)
			if err != nil {
				b.Fatal(err)
			}
			single, batched := newLedger(b, store), newLedger(b, batcher)
			ids := make([]credits.AccountID, c.accounts)
			for i := range ids {
				ids[i] = credits.AccountID(fmt.Sprintf("%s account %05d", b.Name(), i))
			}
			each(64, func(i int) {
				for ; i < len(ids); i += 64 {
					grant(b, batched, ids[i], "grant", credits.MaxAmount)
				}
			})
			err = pgx.BeginFunc(b.Context(), d.pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(b.Context(), `INSERT INTO naive SELECT unnest($1::text[]), 1000000000 ON CONFLICT DO NOTHING`, ids)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
			var next atomic.Int64
			ways := []struct {
				name  string
				calls int // of each caller in a turn
				debit func(ctx context.Context, account credits.AccountID, id credits.OpID) error
			}{
				{"batched", max(4096/c.callers, 4), func(ctx context.Context, account credits.AccountID, id credits.OpID) error {
					_, err := batched.Debit(ctx, credits.Debit{Account: account, ID: id, Amount: 1})
					return err
				}},
				{"single", max(256/c.callers, 1), func(ctx context.Context, account credits.AccountID, id credits.OpID) error {
					_, err := single.Debit(ctx, credits.Debit{Account: account, ID: id, Amount: 1})
					return err
				}},
				{"naive", max(256/c.callers, 1), func(ctx context.Context, account credits.AccountID, id credits.OpID) error {
					return naiveDebit(ctx, d.pool, account, id)
				}},
			}
			rates := make([][]float64, len(ways))
			for b.Loop() {
				for i, way := range ways {
					start := time.Now()
					each(c.callers, func(int) {
						for range way.calls {
							n := next.Add(1)
							account := ids[n*7919%int64(len(ids))]
							if err := way.debit(b.Context(), account, credits.OpID(fmt.Sprintf("debit %d", n))); err != nil {
								b.Error(err)
								return
							}
						}
					})
					rates[i] = append(rates[i], float64(c.callers*way.calls)/time.Since(start).Seconds())
				}
			}
			median := func(i int) float64 {
				slices.Sort(rates[i])
				return rates[i][len(rates[i])/2]
			}
			for i, way := range ways {
				b.ReportMetric(median(i), way.name+"/s")
			}
			b.ReportMetric(median(0)/median(2), "x/naive")
			b.ReportMetric(median(1)/median(2), "single-x/naive")
			b.ReportMetric(0, "ns/op")
		})
	}
}
