package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// Keys, credits and the history of both survive a restart in one file.
func Example() {
	if err := run(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// verified a key of acme
	// after a restart: 95 credits, apikey.Verify: the API key has been revoked
	// 1 key.created ""
	// 2 owner.revoked "the account was closed"
}

func run() error {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "keytoll.db")

	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	format, err := apikey.NewFormat("ex", nil)
	if err != nil {
		return err
	}
	keys, err := apikey.NewService(db.Keys(), format, nil)
	if err != nil {
		return err
	}
	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acme"})
	if err != nil {
		return err
	}
	key, err := keys.Verify(ctx, issued.Secret.Reveal(), nil)
	if err != nil {
		return err
	}
	fmt.Println("verified a key of", key.Owner)

	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		return err
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 100 * credits.Credit}); err != nil {
		return err
	}
	if _, err := ledger.Debit(ctx, credits.Debit{Account: "acme", ID: "request-1", Amount: 5 * credits.Credit}); err != nil {
		return err
	}
	if err := errors.Join(keys.Close(ctx), db.Close(ctx)); err != nil {
		return err
	}

	db, err = sqlitestore.Open(path, nil)
	if err != nil {
		return err
	}
	defer db.Close(ctx)
	if ledger, err = credits.NewLedger(db.Credits(), nil); err != nil {
		return err
	}
	balance, err := ledger.Balance(ctx, "acme")
	if err != nil {
		return err
	}
	if keys, err = apikey.NewService(db.Keys(), format, nil); err != nil {
		return err
	}
	if _, err := keys.RevokeOwner(ctx, "acme", "the account was closed"); err != nil {
		return err
	}
	_, err = keys.Verify(ctx, issued.Secret.Reveal(), nil)
	fmt.Printf("after a restart: %d credits, %v\n", balance.Available/credits.Credit, err)

	history, err := keys.Events(ctx, apikey.EventQuery{Owner: "acme", OldestFirst: true})
	if err != nil {
		return err
	}
	for _, e := range history.Events {
		fmt.Printf("%d %s %q\n", e.Seq, e.Kind, e.Note)
	}
	_, err = keys.VerifyEvents(ctx, "acme", nil)
	return err
}

// A file without tables is not filled behind anybody's back.
func ExampleDB_Migrate_missing() {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	db, err := sqlitestore.Open(filepath.Join(folder, "keytoll.db"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close(ctx)
	_, err = db.Keys().ByID(ctx, "key_1")
	fmt.Println(err)
	// Output:
	// the database has no tables of this version yet; call Migrate once
}

// Every fault of the options is told at once.
func ExampleOpen_invalid() {
	_, err := sqlitestore.Open(":memory:", &sqlitestore.Options{Readers: -1})
	fmt.Println(err)
	// Output:
	// sqlitestore.Open: path ":memory:" is not a file; use the memory stores of the packages apikey, credits, ratelimit and webhook
	// sqlitestore.Open: Readers is -1; give 0 (the default) to 256
}
