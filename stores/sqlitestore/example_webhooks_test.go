package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
)

// An order and the message about it are committed together.
func ExampleWebhookStore_In() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	if err := sell(context.Background(), filepath.Join(folder, "shop.db")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// order 1: will be told to 1 endpoint
	// order 2: taken back, and nobody is told
	// messages: 1
}

func sell(ctx context.Context, path string) (err error) {
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	sealing := []webhook.SealingKey{{Version: 1, Secret: []byte("32 bytes from the secret manager")}}
	sender, err := webhook.NewSender(db.Webhooks(), sealing, nil)
	if err != nil {
		return err
	}
	if _, err := sender.CreateEndpoint(ctx, webhook.EndpointSpec{Account: "shop", Settings: webhook.Settings{URL: "https://example.com/hook"}}); err != nil {
		return err
	}

	own, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_busy_timeout=5000")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	if _, err := own.ExecContext(ctx, `CREATE TABLE shop_orders (id INTEGER PRIMARY KEY, what TEXT NOT NULL) STRICT`); err != nil {
		return err
	}
	for _, paid := range []bool{true, false} {
		tx, err := own.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		var id int
		if err := tx.QueryRowContext(ctx, `INSERT INTO shop_orders (what) VALUES ('a lamp') RETURNING id`).Scan(&id); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		p, err := sender.PublishIn(ctx, db.Webhooks().In(tx), webhook.Message{
			ID: fmt.Sprintf("order_%d", id), Account: "shop", Type: "order.paid", Payload: fmt.Appendf(nil, `{"order":%d}`, id),
		})
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if !paid {
			fmt.Printf("order %d: taken back, and nobody is told\n", id)
			if err := tx.Rollback(); err != nil {
				return err
			}
			continue
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		sender.Wake() // what was committed can go out now
		fmt.Printf("order %d: will be told to %d endpoint\n", id, p.Deliveries)
	}
	var messages int
	if err := own.QueryRowContext(ctx, `SELECT count(*) FROM webhook_messages`).Scan(&messages); err != nil {
		return err
	}
	fmt.Println("messages:", messages)
	return nil
}
