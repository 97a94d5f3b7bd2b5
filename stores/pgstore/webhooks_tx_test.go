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

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/webhook"
)

// take claims up to so many deliveries for a minute.
func takeDue(t testing.TB, s *pgstore.WebhookStore, limit int) webhook.Claims {
	t.Helper()
	got, err := s.Claim(t.Context(), webhook.Claim{Token: webhook.NewID(), Limit: limit, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A message is published exactly when the transaction commits, and each
// publication is a savepoint of its own.
func TestAMessageIsPublishedWithTheCallersRows(t *testing.T) {
	d := newSharedDatabase(t)
	run(t, d.pool, `CREATE TABLE images (id text PRIMARY KEY)`)
	s := d.db.Webhooks(nil)
	endpointsOf(t, s, "a", 2)
	undo := errors.New("the caller's own reason")
	image := func(id string, end error) error {
		return pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `INSERT INTO images VALUES ($1)`, id); err != nil {
				return err
			}
			out := s.In(tx)
			if p := publish(t, out, "a", id); p.Deliveries != 2 || p.Replayed {
				t.Errorf("%s: %+v", id, p)
			}
			if p := publish(t, out, "a", id); p.Deliveries != 2 || !p.Replayed {
				t.Errorf("%s again: %+v", id, p)
			}
			other := letter("a", id)
			other.Payload = []byte("other")
			if _, err := out.Publish(t.Context(), other); !errors.Is(err, webhook.ErrIntent) {
				t.Errorf("another message of that ID: %v, want ErrIntent", err)
			}
			other.ID, other.Endpoint = "other", "nobody"
			if _, err := out.Publish(t.Context(), other); !errors.Is(err, webhook.ErrNotFound) {
				t.Errorf("to an endpoint that is not there: %v, want ErrNotFound", err)
			}
			inner, err := tx.Begin(t.Context())
			if err != nil {
				return err
			}
			publish(t, s.In(inner), "a", id+"_inner")
			if err := inner.Rollback(t.Context()); err != nil {
				return err
			}
			if _, err := s.Message(t.Context(), id); !errors.Is(err, webhook.ErrNotFound) {
				t.Errorf("others see it before the commit: %v", err)
			}
			if got := takeDue(t, s, 10); len(got.Deliveries) > 0 {
				t.Errorf("%d deliveries are handed out before the commit", len(got.Deliveries))
			}
			return end
		})
	}
	if err := image("undone", undo); !errors.Is(err, undo) {
		t.Fatal(err)
	}
	if got := takeDue(t, s, 10); len(got.Deliveries) > 0 {
		t.Errorf("%d deliveries of what was rolled back", len(got.Deliveries))
	}
	if err := image("kept", nil); err != nil {
		t.Fatal(err)
	}
	got := takeDue(t, s, 10)
	for _, c := range got.Deliveries {
		if c.Delivery.Message != "kept" || len(c.Message.Payload) != 1024 {
			t.Errorf("handed out %+v", c.Delivery)
		}
	}
	if len(got.Deliveries) != 2 {
		t.Errorf("%d deliveries after the commit, want 2", len(got.Deliveries))
	}
	if n := number(t, d.pool, `SELECT count(*) FROM images`); n != 1 {
		t.Errorf("%d rows of the caller's, want 1", n)
	}
}

// However long a caller's transaction takes, nobody waits for it but who publishes
// the same ID.
func TestALongTransactionHoldsUpNoDelivery(t *testing.T) {
	d := newSharedDatabase(t)
	s := d.db.Webhooks(nil)
	endpointsOf(t, s, "a", 3)
	publish(t, s, "a", "before")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	publish(t, s.In(tx), "a", "long")

	publish(t, s, "a", "beside")
	claims := takeDue(t, s, 10)
	if len(claims.Deliveries) != 6 {
		t.Errorf("%d deliveries are handed out, want 6", len(claims.Deliveries))
	}
	if err := s.Settle(ctx, settlements(claims.Deliveries[1:]), delivered); err != nil {
		t.Error(err)
	}
	if err := s.Change(ctx, "a-00001", func(now time.Time, e *webhook.Endpoint) error {
		e.State, e.UpdatedAt = webhook.EndpointDeleted, now
		return nil
	}); err != nil {
		t.Error(err)
	}
	if _, err := s.Move(ctx, webhook.Move{
		Endpoint: "a-00002", From: []webhook.DeliveryState{webhook.DeliveryDelivered}, To: webhook.DeliveryPending, Limit: 1,
	}); err != nil {
		t.Error(err)
	}
	if _, err := s.Prune(ctx, time.Now().Add(time.Hour), 10); err != nil {
		t.Error(err)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if p, err := s.Publish(ctx, letter("a", "long")); err != nil || !p.Replayed {
			t.Errorf("the same message, when it is there: %+v, %v", p, err)
		}
	})
	for number(t, d.pool, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%webhooks_publish%' AND pid <> pg_backend_pid()`) == 0 {
		if ctx.Err() != nil {
			t.Fatal("the publisher of the same ID never waited")
		}
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	for _, c := range takeDue(t, s, 10).Deliveries {
		if c.Delivery.Endpoint == "a-00001" {
			t.Errorf("handed out to an endpoint that is deleted: %+v", c.Delivery)
		}
	}
}

// Above read committed a transaction whose view is older than a message is told to
// begin again, and never publishes it twice.
func TestAnOldViewPublishesNothingTwice(t *testing.T) {
	d := newSharedDatabase(t)
	s := d.db.Webhooks(nil)
	endpointsOf(t, s, "a", 1)
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		id := string(level[:4])
		err := pgx.BeginTxFunc(t.Context(), d.pool, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `SELECT count(*) FROM pg_class`); err != nil { // its view is of now
				return err
			}
			publish(t, s, "a", id)
			_, err := s.In(tx).Publish(t.Context(), letter("a", id))
			return err
		})
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || e.Code != "40001" || kerrors.CodeOf(err) != kerrors.Unavailable {
			t.Errorf("%s: %v, want 40001 as Unavailable", level, err)
		}
	}
	if got := takeDue(t, s, 10); len(got.Deliveries) != 2 {
		t.Errorf("%d deliveries of two messages", len(got.Deliveries))
	}
}

// An outbox outlives neither its transaction nor its connection's statements.
func TestTheOutboxOfATransaction(t *testing.T) {
	d := newDatabase(t, unsynced, func(c *pgxpool.Config) { c.MaxConns = 1 })
	db := d.open(t)
	s := db.Webhooks(nil)
	endpointsOf(t, s, "a", 1)
	if _, err := s.In(nil).Publish(t.Context(), letter("a", "m")); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("without a transaction: %v, want Invalid", err)
	}
	for i := range 3 {
		err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
			publish(t, s.In(tx), "a", fmt.Sprint("m", i))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		run(t, d.pool, "DEALLOCATE ALL") // behind the back of the driver
	}
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := s.In(tx)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Publish(t.Context(), letter("a", "late")); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("after the commit: %v, want ErrTxClosed", err)
	}
	if got := takeDue(t, s, 10); len(got.Deliveries) != 3 {
		t.Errorf("%d deliveries of 3 messages", len(got.Deliveries))
	}
}

func TestTheExampleOfWebhooks(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var out strings.Builder
	if err := draw(t.Context(), pool, []byte("0123456789abcdefghijklmnopqrstuv"), &out); err != nil {
		t.Fatal(err)
	}
	if want := "good: committed true, deliveries 1\nbad: committed false, deliveries 0\n"; out.String() != want {
		t.Errorf("said %q, want %q", out.String(), want)
	}
}
