package benchcmp_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// postgresLedgers are ways to take credits in PostgreSQL. The first is what most
// services write.
var postgresLedgers = [...]ledgerPeer[*pgxpool.Pool]{
	{"naive", naivePostgres},
	{"pipelined", pipelinedPostgres},
	{"cte", ctePostgres},
	{"cte-idempotent", cteIdempotentPostgres},
	{"keytoll", keytollPostgres},
	{"keytoll-batched", keytollBatchedPostgres},
}

// table names for the peers that are written here: fresh ones for each bank.
func balances(tb testing.TB, pool *pgxpool.Pool, n int, amount int64) string {
	tb.Helper()
	name := "bank_" + strings.ToLower(rand.Text()[:12])
	for _, statement := range []string{
		`CREATE TABLE $ (id text COLLATE "C" PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0))`,
		`CREATE TABLE $_entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account text NOT NULL, op text NOT NULL,
			amount bigint NOT NULL, operation text NOT NULL, at timestamptz NOT NULL DEFAULT now())`,
		`CREATE TABLE $_ops (account text NOT NULL, op text NOT NULL, PRIMARY KEY (account, op))`,
	} {
		_, err := pool.Exec(tb.Context(), strings.ReplaceAll(statement, "$", name))
		must(tb, err)
	}
	_, err := pool.Exec(tb.Context(), "INSERT INTO "+name+" SELECT 'account-' || i, $1 FROM generate_series(0, $2 - 1) AS i", amount, n)
	must(tb, err)
	return name
}

// written makes a bank of a debit that was written by hand. Debit returns
// pgx.ErrNoRows when the balance does not suffice.
func written(pool *pgxpool.Pool, table string, debit func(ctx context.Context, account, op string) error) bank {
	var ids atomic.Int64
	return bank{
		spend: func(ctx context.Context, account int) (bool, error) {
			err := debit(ctx, accountName(account), "request-"+strconv.FormatInt(ids.Add(1), 10))
			if errors.Is(err, pgx.ErrNoRows) {
				return false, nil
			}
			return err == nil, err
		},
		left: func(ctx context.Context) (sum int64, err error) {
			err = pool.QueryRow(ctx, "SELECT sum(balance)::bigint FROM "+table).Scan(&sum)
			return sum, err
		},
	}
}

// naivePostgres makes four round trips: BEGIN, a guarded UPDATE, an INSERT, COMMIT.
func naivePostgres(tb testing.TB, pool *pgxpool.Pool, n int, amount int64) bank {
	tb.Helper()
	table := balances(tb, pool, n, amount)
	update := "UPDATE " + table + " SET balance = balance - $2 WHERE id = $1 AND balance >= $2 RETURNING balance"
	insert := "INSERT INTO " + table + "_entries (account, op, amount, operation) VALUES ($1, $2, $3, 'image')"
	return written(pool, table, func(ctx context.Context, account, op string) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			var rest int64
			if err := tx.QueryRow(ctx, update, account, 1).Scan(&rest); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, insert, account, op, 1)
			return err
		})
	})
}

// pipelinedPostgres sends the same four statements at once. What a balance does
// not suffice for fails by the CHECK of the table.
func pipelinedPostgres(tb testing.TB, pool *pgxpool.Pool, n int, amount int64) bank {
	tb.Helper()
	table := balances(tb, pool, n, amount)
	update := "UPDATE " + table + " SET balance = balance - $2 WHERE id = $1"
	insert := "INSERT INTO " + table + "_entries (account, op, amount, operation) VALUES ($1, $2, $3, 'image')"
	return written(pool, table, func(ctx context.Context, account, op string) error {
		var batch pgx.Batch
		batch.Queue("BEGIN")
		batch.Queue(update, account, 1)
		batch.Queue(insert, account, op, 1)
		batch.Queue("COMMIT")
		return pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
			err := conn.SendBatch(ctx, &batch).Close()
			if err != nil {
				_, rolled := conn.Exec(ctx, "ROLLBACK")
				if rolled != nil {
					return rolled
				}
			}
			if err != nil && strings.Contains(err.Error(), "check constraint") {
				return pgx.ErrNoRows
			}
			return err
		})
	})
}

// ctePostgres is one statement.
func ctePostgres(tb testing.TB, pool *pgxpool.Pool, n int, amount int64) bank {
	tb.Helper()
	table := balances(tb, pool, n, amount)
	debit := `WITH paid AS (UPDATE ` + table + ` SET balance = balance - $2 WHERE id = $1 AND balance >= $2 RETURNING id)
		INSERT INTO ` + table + `_entries (account, op, amount, operation) SELECT id, $3, $2, 'image' FROM paid RETURNING id`
	return written(pool, table, func(ctx context.Context, account, op string) error {
		var id int64
		return pool.QueryRow(ctx, debit, account, 1, op).Scan(&id)
	})
}

// cteIdempotentPostgres is one statement, which does nothing under a key that was
// used before.
func cteIdempotentPostgres(tb testing.TB, pool *pgxpool.Pool, n int, amount int64) bank {
	tb.Helper()
	table := balances(tb, pool, n, amount)
	debit := `WITH fresh AS (INSERT INTO ` + table + `_ops (account, op) VALUES ($1, $3) ON CONFLICT DO NOTHING RETURNING account),
		paid AS (UPDATE ` + table + ` SET balance = balance - $2 WHERE id = (SELECT account FROM fresh) AND balance >= $2 RETURNING id)
		INSERT INTO ` + table + `_entries (account, op, amount, operation) SELECT id, $3, $2, 'image' FROM paid RETURNING id`
	return written(pool, table, func(ctx context.Context, account, op string) error {
		var id int64
		return pool.QueryRow(ctx, debit, account, 1, op).Scan(&id)
	})
}

func keytollPostgres(tb testing.TB, pool *pgxpool.Pool, n int, amount int64) bank {
	tb.Helper()
	return ledgerBank(tb, postgresStore(tb, pool), n, amount)
}

func keytollBatchedPostgres(tb testing.TB, pool *pgxpool.Pool, n int, amount int64) bank {
	tb.Helper()
	return ledgerBank(tb, batched(tb, postgresStore(tb, pool)), n, amount)
}

// postgresStore is a store in a schema of its own.
func postgresStore(tb testing.TB, pool *pgxpool.Pool) credits.Store {
	tb.Helper()
	db, err := pgstore.New(pool, &pgstore.Options{Schema: "ledger_" + strings.ToLower(rand.Text()[:12])})
	must(tb, err)
	must(tb, db.Migrate(tb.Context()))
	tb.Cleanup(func() { _ = db.Close(context.Background()) })
	return db.Credits(nil)
}

func batched(tb testing.TB, store credits.Store) credits.Store {
	tb.Helper()
	b, err := credits.NewBatcher(store, nil)
	must(tb, err)
	return b
}

// paid tells a refusal from a failure.
func paid(err error) (bool, error) {
	if errors.Is(err, credits.ErrInsufficient) {
		return false, nil
	}
	return err == nil, err
}
