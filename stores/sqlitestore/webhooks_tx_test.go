package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
)

// hosts opens the file as a program does that keeps tables of its own in it.
func hosts(t testing.TB, path, options string) *sql.DB {
	t.Helper()
	own, err := sql.Open("sqlite", "file:"+path+"?"+options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	return own
}

const immediate = "_txlock=immediate&_busy_timeout=5000"

// shop returns a store with the endpoint "e", and the host's connections to its
// file, in which it keeps orders.
func shop(t testing.TB, options *sqlitestore.Options) (*sqlitestore.DB, *sql.DB) {
	t.Helper()
	db := open(t, options)
	addEndpoints(t, db.Webhooks(), "e")
	own := hosts(t, db.Path(), immediate)
	if _, err := own.ExecContext(t.Context(), `CREATE TABLE shop_orders (id TEXT PRIMARY KEY) STRICT`); err != nil {
		t.Fatal(err)
	}
	return db, own
}

func begin(t testing.TB, own *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := own.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func order(t testing.TB, tx *sql.Tx, id string) {
	t.Helper()
	if _, err := tx.ExecContext(t.Context(), `INSERT INTO shop_orders (id) VALUES (?)`, id); err != nil {
		t.Fatal(err)
	}
}

// wantTogether fails the test unless there are so many orders, messages and
// deliveries.
func wantTogether(t testing.TB, db *sqlitestore.DB, n int64) {
	t.Helper()
	for _, table := range []string{"shop_orders", "webhook_messages", "webhook_deliveries"} {
		if got := rowsOf(t, db, table); got != n {
			t.Errorf("%d rows of %s, want %d", got, table, n)
		}
	}
}

func TestAMessageIsThereExactlyWhenItsOrderIs(t *testing.T) {
	db, own := shop(t, nil)
	w := db.Webhooks()

	tx := begin(t, own)
	order(t, tx, "one")
	p := publish(t, w.In(tx), "one")
	if p.ID != "one" || p.Deliveries != 1 || p.Replayed || p.At.IsZero() {
		t.Errorf("publication %+v", p)
	}
	if again := publish(t, w.In(tx), "one"); !again.Replayed || !again.At.Equal(p.At) || again.Deliveries != 1 {
		t.Errorf("published again: %+v", again)
	}
	wantTogether(t, db, 0) // not for others yet
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	wantTogether(t, db, 1)

	tx = begin(t, own)
	order(t, tx, "two")
	publish(t, w.In(tx), "two")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantTogether(t, db, 1)
	wantClaimed(t, claim(t, w, "t", 10), "e/one")
	if p := publish(t, w, "one", "two"); p.Replayed {
		t.Error("what was rolled back counts as published")
	}
	sound(t, db)
}

func TestASavepointOfTheHostTakesTheMessageBack(t *testing.T) {
	db, own := shop(t, nil)
	tx := begin(t, own)
	for i, id := range []string{"kept", "dropped", "kept too"} {
		statements := []string{`SAVEPOINT step`, `RELEASE step`}
		if i == 1 {
			statements[1] = `ROLLBACK TO step; RELEASE step`
		}
		if _, err := tx.ExecContext(t.Context(), statements[0]); err != nil {
			t.Fatal(err)
		}
		order(t, tx, id)
		publish(t, db.Webhooks().In(tx), fmt.Sprint("m", i))
		if _, err := tx.ExecContext(t.Context(), statements[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	wantTogether(t, db, 2)
	wantClaimed(t, claim(t, db.Webhooks(), "t", 10), "e/m0", "e/m2")
}

// A refusal leaves what the transaction did before, and lets it go on.
func TestARefusedPublishLeavesTheTransaction(t *testing.T) {
	db, own := shop(t, nil)
	change(t, db.Webhooks(), "foreign", func(e *webhook.Endpoint) { e.Account = "b" })
	tx := begin(t, own)
	out := db.Webhooks().In(tx)
	order(t, tx, "one")
	publish(t, out, "one")
	other := messageOf("one")
	other.Payload = []byte("{}")
	if p, err := out.Publish(t.Context(), other); !errors.Is(err, webhook.ErrIntent) || p != (webhook.Publication{}) {
		t.Errorf("%+v, %v; want ErrIntent", p, err)
	}
	for _, id := range []string{"nobody", "foreign"} {
		lost := messageOf("lost")
		lost.Endpoint = id
		if _, err := out.Publish(t.Context(), lost); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := out.Publish(ctx, messageOf("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that the context is over", err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	wantTogether(t, db, 1)
	if _, err := out.Publish(t.Context(), messageOf("after")); kerrors.CodeOf(err) != kerrors.Conflict || !errors.Is(err, sql.ErrTxDone) {
		t.Errorf("%v, want that the transaction is over", err)
	}
	wantTogether(t, db, 1)
}

// A publication that fails half-way is not there in part, even if the host goes on
// and commits.
func TestAPublishThatFailsHalfWayLeavesNothing(t *testing.T) {
	db, own := shop(t, nil)
	tx := begin(t, own)
	order(t, tx, "one")
	publish(t, db.Webhooks().In(tx), "one")
	for _, statement := range []string{
		`CREATE TEMP TRIGGER shop_no BEFORE INSERT ON webhook_deliveries BEGIN SELECT raise(FAIL, 'not now'); END`, `DROP TRIGGER shop_no`,
	} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		if p, err := db.Webhooks().In(tx).Publish(t.Context(), messageOf("two")); (err == nil) != (statement[0] == 'D') {
			t.Errorf("%+v, %v after %s", p, err, statement)
		}
		if n := countIn(t, tx, `SELECT count(*) FROM webhook_messages`) - countIn(t, tx, `SELECT count(*) FROM webhook_deliveries`); n != 0 {
			t.Errorf("%d messages are there without a delivery", n)
		}
	}
	order(t, tx, "two")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	wantTogether(t, db, 2)
}

func countIn(t *testing.T, tx *sql.Tx, query string) (n int) {
	t.Helper()
	if err := tx.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// While the host's transaction is open our writer waits, and then goes on.
func TestTheWriterWaitsForTheHostsTransaction(t *testing.T) {
	db, own := shop(t, &sqlitestore.Options{BusyTimeout: time.Minute})
	tx := begin(t, own)
	order(t, tx, "one")
	publish(t, db.Webhooks().In(tx), "one")
	done := make(chan error, 1)
	go func() {
		_, err := db.Webhooks().Publish(t.Context(), messageOf("three"))
		done <- err
	}()
	db.WaitQueued(1)
	if list, err := db.Webhooks().Deliveries(t.Context(), webhook.DeliveryQuery{Endpoint: "e", Limit: 1}); err != nil || len(list) != 0 {
		t.Errorf("%v, %v; readers do not wait, and see nothing yet", list, err)
	}
	wantClaimed(t, claim(t, db.Webhooks(), "t", 10)) // nor does a claim when nothing is due
	publish(t, db.Webhooks().In(tx), "two")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantClaimed(t, claim(t, db.Webhooks(), "t", 10), "e/one", "e/two", "e/three")
}

// While our writer has its turn the host's BEGIN IMMEDIATE waits, and then goes on.
func TestTheHostsTransactionWaitsForTheWriter(t *testing.T) {
	db, own := shop(t, nil)
	release := busy(t, db)
	done := make(chan error, 1)
	go func() {
		tx, err := own.BeginTx(t.Context(), nil)
		if err == nil {
			_, err = db.Webhooks().In(tx).Publish(t.Context(), messageOf("one"))
			err = errors.Join(err, tx.Commit())
		}
		done <- err
	}()
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantClaimed(t, claim(t, db.Webhooks(), "t", 10), "e/one")
}

// Whoever waits for the writer inside a transaction of its own waits for itself:
// that ends, and nothing is lost.
func TestAWriteInsideTheHostsTransactionEndsByItsTimeout(t *testing.T) {
	db, own := shop(t, &sqlitestore.Options{BusyTimeout: 20 * time.Millisecond})
	tx := begin(t, own)
	publish(t, db.Webhooks().In(tx), "one")
	_, err := db.Webhooks().Publish(t.Context(), messageOf("two"))
	wantCode(t, err, kerrors.Unavailable)
	publish(t, db.Webhooks().In(tx), "three")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	publish(t, db.Webhooks(), "two")
	wantClaimed(t, claim(t, db.Webhooks(), "t", 10), "e/one", "e/three", "e/two")
}

// A transaction that has read cannot write once somebody else has: SQLite says so
// at once, whatever the timeout, and only BEGIN IMMEDIATE helps.
func TestADeferredTransactionIsToldWhatToDo(t *testing.T) {
	db, _ := shop(t, nil)
	own := hosts(t, db.Path(), "_busy_timeout=5000")
	tx := begin(t, own)
	var n int
	if err := tx.QueryRowContext(t.Context(), `SELECT count(*) FROM shop_orders`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	publish(t, db.Webhooks(), "one")
	_, err := db.Webhooks().In(tx).Publish(t.Context(), messageOf("two"))
	wantCode(t, err, kerrors.Unavailable)
	if err == nil || !strings.Contains(err.Error(), "_txlock=immediate") {
		t.Errorf("%v does not say what to do", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantClaimed(t, claim(t, db.Webhooks(), "t", 10), "e/one")
}

// What a transaction of another file publishes nobody would ever deliver.
func TestATransactionOfAnotherFileIsRefused(t *testing.T) {
	db, _ := shop(t, nil)
	folder := t.TempDir()
	empty := filepath.Join(folder, "empty.db")
	for name, c := range map[string]struct {
		path string
		code kerrors.Code
		in   *sqlitestore.DB
		is   error
	}{
		"another store's":   {open(t, nil).Path(), kerrors.Invalid, db, nil},
		"one of no tables":  {empty, kerrors.Invalid, db, nil},
		"one in memory":     {":memory:", kerrors.Invalid, db, nil},
		"one of no version": {"", kerrors.Unavailable, unmigrated(t), sqlitestore.ErrNotMigrated},
	} {
		t.Run(name, func(t *testing.T) {
			if c.path == "" {
				c.path = c.in.Path()
			}
			tx := begin(t, hosts(t, c.path, immediate))
			defer func() { _ = tx.Rollback() }()
			_, err := c.in.Webhooks().In(tx).Publish(t.Context(), messageOf("one"))
			wantCode(t, err, c.code)
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v, want %v", err, c.is)
			}
		})
	}
}

// unmigrated returns a file of the schema before webhooks.
func unmigrated(t *testing.T) *sqlitestore.DB {
	t.Helper()
	db, err := sqlitestore.Open(filepath.Join(t.TempDir(), "old.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	if err := db.MigrateTo(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	return db
}

// Transactions of the host, its rollbacks, publishes and claims side by side: every
// committed message is handed out once, and no other.
func TestOutboxesBesideEverythingElse(t *testing.T) {
	db, own := shop(t, &sqlitestore.Options{Synchronous: sqlitestore.Normal, BusyTimeout: time.Minute})
	w := db.Webhooks()
	change(t, w, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 1000 })
	const each = 15
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for n := range each {
				id := fmt.Sprintf("%d-%d", g, n)
				if g == 0 {
					if _, err := w.Publish(t.Context(), messageOf(id)); err != nil {
						t.Error(err)
					}
					continue
				}
				tx, err := own.BeginTx(t.Context(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = tx.ExecContext(t.Context(), `INSERT INTO shop_orders (id) VALUES (?)`, id)
				if err == nil {
					_, err = w.In(tx).Publish(t.Context(), messageOf(id))
				}
				if n%3 == 2 {
					err = errors.Join(err, tx.Rollback())
				} else {
					err = errors.Join(err, tx.Commit())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	const want = each + 3*each*2/3
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	seen := make(map[string]bool)
	for last := false; !last; {
		select {
		case <-ended:
			last = true // what is there now is all there is
		default:
		}
		got := claim(t, w, "t", 100)
		for _, name := range names(got) {
			if seen[name] {
				t.Errorf("%s was handed out twice", name)
			}
			seen[name] = true
		}
		if err := deliver(t.Context(), w, got); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != want {
		t.Errorf("%d were handed out, want %d", len(seen), want)
	}
	if n := rowsOf(t, db, "shop_orders"); n != 3*each*2/3 {
		t.Errorf("%d orders", n)
	}
	sound(t, db)
}
