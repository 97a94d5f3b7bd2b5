package pgstore_test //nolint:testableexamples // it needs a server: TestTheExampleOfWebhooks runs it

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/webhook"
)

// A message is published if and when the row that it tells of is committed. The
// sender, in this process or another, delivers it.
func ExampleDB_Webhooks() {
	pool, err := pgxpool.New(context.Background(), "postgres://user:password@host:5432/database")
	if err == nil {
		defer pool.Close()
		err = draw(context.Background(), pool, []byte(os.Getenv("SEALING_KEY")), os.Stdout)
	}
	if err != nil {
		fmt.Println(err)
	}
}

func draw(ctx context.Context, pool *pgxpool.Pool, sealing []byte, out io.Writer) (err error) {
	db, err := pgstore.New(pool, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	store := db.Webhooks(nil)
	sender, err := webhook.NewSender(store, []webhook.SealingKey{{Version: 1, Secret: sealing}}, nil)
	if err != nil {
		return err
	}
	if _, err := sender.CreateEndpoint(ctx, webhook.EndpointSpec{
		Account: "customer_7", Settings: webhook.Settings{URL: "https://customer.example/hooks", Events: []string{"image.*"}},
	}); err != nil {
		return err
	}

	image := func(id string) error {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := sender.PublishIn(ctx, store.In(tx), webhook.Message{
				ID: "created_" + id, Account: "customer_7", Type: "image.created", Payload: []byte(`{"id":"` + id + `"}`),
			}); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "INSERT INTO images (id) VALUES ($1)", id)
			return err // which undoes the message, too
		})
		sender.Wake()
		return err
	}
	if _, err := pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS images (id text PRIMARY KEY CHECK (id <> 'bad'))"); err != nil {
		return err
	}
	for _, id := range []string{"good", "bad"} {
		failed := image(id)
		page, err := sender.Deliveries(ctx, webhook.DeliveryQuery{Message: "created_" + id})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: committed %t, deliveries %d\n", id, failed == nil, len(page.Deliveries))
	}
	return nil // go sender.Run(ctx), and they are delivered
}
