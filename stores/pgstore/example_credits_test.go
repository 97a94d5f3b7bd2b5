package pgstore_test //nolint:testableexamples // it needs a server: TestTheExampleOfCredits runs it

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// A debit and a row of the program's own are written together or not at all. What
// stands alone needs no transaction of the caller's.
func ExampleDB_Credits() {
	pool, err := pgxpool.New(context.Background(), "postgres://user:password@host:5432/database")
	if err == nil {
		defer pool.Close()
		err = sell(context.Background(), pool, os.Stdout)
	}
	if err != nil {
		fmt.Println(err)
	}
}

func sell(ctx context.Context, pool *pgxpool.Pool, out io.Writer) (err error) {
	db, err := pgstore.New(pool, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	store := db.Credits(nil)
	ledger, err := credits.NewLedger(store, nil)
	if err != nil {
		return err
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "customer 7", ID: "invoice 42", Amount: 100 * credits.Credit}); err != nil {
		return err
	}

	job := func(id string, amount credits.Amount) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO jobs (id) VALUES ($1)", id); err != nil {
				return err
			}
			here, err := credits.NewLedger(store.In(tx), nil)
			if err != nil {
				return err
			}
			// Last, because from here on the account is locked for everybody else.
			_, err = here.Debit(ctx, credits.Debit{Account: "customer 7", ID: credits.OpID(id), Amount: amount, Operation: "video"})
			return err // which undoes the row
		})
	}
	if _, err := pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS jobs (id text PRIMARY KEY)"); err != nil {
		return err
	}
	for _, id := range []string{"job 1", "job 2"} {
		err := job(id, 60*credits.Credit)
		if denied, ok := errors.AsType[*credits.DeniedError](err); ok {
			fmt.Fprintf(out, "%s: needs %v, has %v\n", id, denied.Need, denied.Available)
		} else if err != nil {
			return err
		}
	}
	jobs := 0
	if err := pool.QueryRow(ctx, "SELECT count(*) FROM jobs").Scan(&jobs); err != nil {
		return err
	}
	balance, err := ledger.Balance(ctx, "customer 7")
	fmt.Fprintf(out, "%d job, %v left\n", jobs, balance.Available)
	return err
}
