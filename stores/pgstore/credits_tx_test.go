package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// in runs f in a transaction of the caller's, which begins again as the server
// asks for.
func (s inTransactions) in(ctx context.Context, f func(credits.Store) error) error {
	for try := 0; ; try++ {
		var kept error // is told, and keeps nobody from committing what was done before
		err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: s.level}, func(tx pgx.Tx) error {
			kept = f(s.store.In(tx))
			if e, ok := errors.AsType[*pgconn.PgError](kept); ok {
				return e
			}
			return nil
		})
		e, ok := errors.AsType[*pgconn.PgError](err)
		again := ok && (e.Code == "40001" || e.Code == "40P01" || e.Code == "23505")
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case again && try < 1000:
		case kept != nil:
			return kept
		default:
			return err
		}
	}
}

func (s inTransactions) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return s.in(ctx, func(c credits.Store) error { return c.Update(ctx, needs, fn) })
}

func (s inTransactions) View(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return s.in(ctx, func(c credits.Store) error { return c.View(ctx, needs, fn) })
}

func (s inTransactions) Entries(ctx context.Context, q credits.EntryQuery) (list []credits.Entry, err error) {
	err = s.in(ctx, func(c credits.Store) (err error) { list, err = c.Entries(ctx, q); return err })
	return list, err
}

func (s inTransactions) Accounts(ctx context.Context, after credits.AccountID, limit int) (ids []credits.AccountID, err error) {
	err = s.in(ctx, func(c credits.Store) (err error) { ids, err = c.Accounts(ctx, after, limit); return err })
	return ids, err
}

func (s inTransactions) Inspect(ctx context.Context, account credits.AccountID, fn func(credits.Snapshot) error) error {
	return s.in(ctx, func(c credits.Store) error { return c.Inspect(ctx, account, fn) })
}

// The store of a caller's transaction keeps the contract of all stores, at the
// strictest level of isolation.
func TestCreditsInATransactionKeepTheContract(t *testing.T) {
	d := newSharedDatabase(t)
	whole := t
	creditstest.RunStill(t, func(t *testing.T) credits.Store {
		return inTransactions{d.lend(t, whole).Credits(nil), d.pool, pgx.Serializable}
	})
}

// Credits and a row of the caller's are there together or not at all; and an
// update that is refused leaves the transaction as it was.
func TestCreditsAndTheCallersRowsAreWrittenTogether(t *testing.T) {
	d := newSharedDatabase(t)
	run(t, d.pool, `CREATE TABLE jobs (id text PRIMARY KEY)`)
	store := d.db.Credits(nil)
	outside := newLedger(t, store)
	grant(t, outside, "a", "grant", 100)
	job := func(id string, amount credits.Amount, end error) error {
		return pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
			l := newLedger(t, store.In(tx))
			if _, err := tx.Exec(t.Context(), `INSERT INTO jobs VALUES ($1)`, id); err != nil {
				return err
			}
			_, err := l.Debit(t.Context(), credits.Debit{Account: "a", ID: credits.OpID(id), Amount: amount})
			if err != nil && !errors.Is(err, credits.ErrInsufficient) {
				return err
			}
			if b, err := l.Balance(t.Context(), "a"); err != nil || b.Consumed+b.Available != 100 {
				t.Errorf("inside: %+v, %v", b, err)
			}
			return end
		})
	}
	stop := errors.New("the caller's own reason")
	for _, c := range []struct {
		id     string
		amount credits.Amount
		end    error
	}{{"kept", 30, nil}, {"undone", 30, stop}, {"refused", 1000, nil}, {"kept too", 70, nil}, {"undone too", 0, stop}} {
		if err := job(c.id, c.amount, c.end); !errors.Is(err, c.end) {
			t.Fatalf("%s: %v, want %v", c.id, err, c.end)
		}
	}
	var jobs []string
	rows, err := d.pool.Query(t.Context(), `SELECT id FROM jobs ORDER BY id`)
	if err == nil {
		jobs, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil || fmt.Sprint(jobs) != "[kept kept too refused]" {
		t.Errorf("the jobs are %q, %v", jobs, err)
	}
	if b, err := outside.Balance(t.Context(), "a"); err != nil || b.Consumed != 100 || b.Available != 0 {
		t.Errorf("the balance is %+v, %v; want 100 consumed", b, err)
	}
	audit(t, t.Context(), outside)
}

// From the update to the caller's commit nobody else decides about the account.
func TestAnAccountStaysLockedUntilTheCallersCommit(t *testing.T) {
	d := newSharedDatabase(t)
	store := d.db.Credits(nil)
	outside := newLedger(t, store)
	grant(t, outside, "a", "grant", 10)
	var waiting sync.WaitGroup
	err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		l := newLedger(t, store.In(tx))
		if _, err := l.Debit(t.Context(), credits.Debit{Account: "a", ID: "inside", Amount: 10}); err != nil {
			return err
		}
		waiting.Go(func() {
			_, err := outside.Debit(t.Context(), credits.Debit{Account: "a", ID: "outside", Amount: 10})
			if !errors.Is(err, credits.ErrInsufficient) {
				t.Errorf("the debit that had to wait: %v, want ErrInsufficient", err)
			}
		})
		for blocked := false; !blocked; { // until the other stands in line
			if err := tx.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks WHERE NOT granted`).Scan(&blocked); err != nil {
				return err
			}
		}
		if b, err := outside.Balance(t.Context(), "a"); err != nil || b.Available != 10 {
			t.Errorf("others see %+v, %v before the commit", b, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	waiting.Wait()
}

// A store outlives neither its transaction nor its DB, and says so.
func TestTheStoreOfATransactionThatIsOver(t *testing.T) {
	d := newSharedDatabase(t)
	store := d.db.Credits(nil)
	need := []credits.Need{{Account: "a"}}
	fn := func(time.Time, []*credits.State) error { t.Error("fn was called"); return nil }
	wantCode(t, store.In(nil).Update(t.Context(), need, fn), kerrors.Invalid)
	for _, end := range []func(pgx.Tx) error{
		func(tx pgx.Tx) error { return tx.Commit(t.Context()) },
		func(tx pgx.Tx) error { return tx.Rollback(t.Context()) },
	} {
		tx, err := d.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		over := store.In(tx)
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
		if err := over.Update(t.Context(), need, fn); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("Update: %v, want ErrTxClosed", err)
		}
		if err := over.View(t.Context(), need, fn); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("View: %v, want ErrTxClosed", err)
		}
		if _, err := over.Entries(t.Context(), credits.EntryQuery{Account: "a", Limit: 1}); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("Entries: %v, want ErrTxClosed", err)
		}
	}
}

// A transaction in which a statement of the caller's has failed does nothing any
// more, and the caller is told so.
func TestATransactionThatHasFailed(t *testing.T) {
	d := newSharedDatabase(t)
	store := d.db.Credits(nil)
	outside := newLedger(t, store)
	grant(t, outside, "a", "grant", 10)
	err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT 1 / 0`); err == nil {
			t.Error("1 / 0 did not fail")
		}
		_, err := newLedger(t, store.In(tx)).Debit(t.Context(), credits.Debit{Account: "a", ID: "debit", Amount: 1})
		return err
	})
	if wantCode(t, err, kerrors.Unavailable); err == nil || !strings.Contains(err.Error(), "the transaction has failed before") {
		t.Errorf("%v does not say that the transaction has failed", err)
	}
	if b, err := outside.Balance(t.Context(), "a"); err != nil || b.Available != 10 {
		t.Errorf("%+v, %v; want nothing spent", b, err)
	}
}

// Above read committed a transaction whose view is older than the account is told
// to begin again, and never decides on what it sees.
func TestAnOldViewIsRefused(t *testing.T) {
	d := newSharedDatabase(t)
	store := d.db.Credits(nil)
	outside := newLedger(t, store)
	grant(t, outside, "a", "grant", 10)
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		id := credits.OpID(level)
		err := pgx.BeginTxFunc(t.Context(), d.pool, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `SELECT count(*) FROM pg_class`); err != nil { // its view is of now
				return err
			}
			if _, err := outside.Debit(t.Context(), credits.Debit{Account: "a", ID: "outside " + id, Amount: 1}); err != nil {
				return err
			}
			_, err := newLedger(t, store.In(tx)).Debit(t.Context(), credits.Debit{Account: "a", ID: "inside " + id, Amount: 1})
			return err
		})
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || e.Code != "40001" || kerrors.CodeOf(err) != kerrors.Unavailable {
			t.Errorf("%s: %v, want 40001 as Unavailable", level, err)
		}
	}
	// So it is for an account that others made.
	err := pgx.BeginTxFunc(t.Context(), d.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT count(*) FROM pg_class`); err != nil {
			return err
		}
		grant(t, outside, "new", "grant", 10)
		_, err := newLedger(t, store.In(tx)).Grant(t.Context(), credits.Grant{Account: "new", ID: "inside", Amount: 1})
		return err
	})
	if kerrors.CodeOf(err) != kerrors.Unavailable {
		t.Errorf("a new account: %v, want Unavailable", err)
	}
	if b, err := outside.Balance(t.Context(), "new"); err != nil || b.Issued != 10 {
		t.Errorf("the new account has %+v, %v", b, err)
	}
	audit(t, t.Context(), outside)
}

// The caller's connection may be of another pool, which is set otherwise: one
// that a proxy may hand to others keeps no prepared statement, and one that the
// server has forgotten is prepared again.
func TestATransactionOfAnotherPool(t *testing.T) {
	d := newSharedDatabase(t)
	store := d.db.Credits(nil)
	outside := newLedger(t, store)
	grant(t, outside, "a", "grant", 100)
	for _, c := range []struct {
		mode pgx.QueryExecMode
		kept bool
	}{{pgx.QueryExecModeCacheStatement, true}, {pgx.QueryExecModeExec, false}} {
		config := d.pool.Config()
		config.MinConns, config.MaxConns = 0, 1
		config.ConnConfig.DefaultQueryExecMode = c.mode
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		for round := range 2 {
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				l := newLedger(t, store.In(tx))
				if _, err := l.Balance(t.Context(), "a"); err != nil {
					return err
				}
				_, err := l.Debit(t.Context(), credits.Debit{Account: "a", ID: credits.OpID(fmt.Sprint(c.mode, round)), Amount: 1})
				return err
			})
			if err != nil {
				t.Errorf("%v, round %d: %v", c.mode, round, err)
			}
			var kept bool
			left := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE statement LIKE '%.credits_%')`, pgx.QueryExecModeExec)
			if err := left.Scan(&kept); err != nil || kept != c.kept {
				t.Errorf("%v: prepared statements are left: %t, %v; want %t", c.mode, kept, err, c.kept)
			}
			run(t, pool, "DEALLOCATE ALL")
		}
	}
	if b, err := outside.Balance(t.Context(), "a"); err != nil || b.Consumed != 4 {
		t.Errorf("%+v, %v; want 4 consumed", b, err)
	}
}

// The first use of a DB may be in transactions that hold every connection of the
// pool: none of them waits for another.
func TestATransactionNeedsNoOtherConnection(t *testing.T) {
	d := newDatabase(t, unsynced, func(c *pgxpool.Config) { c.MaxConns = 1 })
	grant(t, newLedger(t, d.open(t).Credits(nil)), "a", "grant", 10)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	debit := func(schema string) error {
		store := d.raw(t, schema).Credits(nil)
		return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
			_, err := newLedger(t, store.In(tx)).Debit(ctx, credits.Debit{Account: "a", ID: "debit", Amount: 1})
			if _, alive := tx.Exec(ctx, "SELECT"); alive != nil {
				t.Errorf("%s: the transaction afterwards: %v", schema, alive)
			}
			return err
		})
	}
	if err := debit("keytoll_1"); err != nil {
		t.Error(err)
	}
	if err := debit("nowhere"); !errors.Is(err, pgstore.ErrNotMigrated) {
		t.Errorf("without tables: %v, want ErrNotMigrated", err)
	}
}
