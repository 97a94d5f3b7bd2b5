package pgstore_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// A database of which each store takes a schema of its own, which is much
// faster to make.
type database struct {
	pool *pgxpool.Pool
	n    atomic.Int64
}

func newDatabase(t testing.TB, adjust ...func(*pgxpool.Config)) *database {
	t.Helper()
	config, err := pgxpool.ParseConfig(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 32
	for _, f := range adjust {
		f(config)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &database{pool: pool}
}

// open returns a migrated DB in a schema of its own.
func (d *database) open(t testing.TB) *pgstore.DB {
	t.Helper()
	db := d.raw(t, fmt.Sprintf("keytoll_%d", d.n.Add(1)))
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// raw returns a DB in the schema as it is.
func (d *database) raw(t testing.TB, schema string) *pgstore.DB {
	t.Helper()
	db, err := pgstore.New(d.pool, &pgstore.Options{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return db
}

// A sharedDatabase is schemas that many tests use, one after the other: it is
// much faster to empty than to make.
type sharedDatabase struct {
	*database
	db *pgstore.DB

	mu   sync.Mutex
	free []*pgstore.DB // for tests beside each other
}

func newSharedDatabase(t testing.TB, adjust ...func(*pgxpool.Config)) *sharedDatabase {
	t.Helper()
	d := newDatabase(t, append(adjust, unsynced)...)
	return &sharedDatabase{database: d, db: d.open(t)}
}

// lend returns an empty schema that is t's until it is over.
func (d *sharedDatabase) lend(t testing.TB, of testing.TB) *pgstore.DB {
	t.Helper()
	d.mu.Lock()
	var db *pgstore.DB
	if last := len(d.free) - 1; last >= 0 {
		db, d.free = d.free[last], d.free[:last]
	}
	d.mu.Unlock()
	if db == nil {
		db = d.open(of) // which closes it
	}
	d.empty(t, db)
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free = append(d.free, db)
	})
	return db
}

// empty takes all credits, keys, webhooks and answers away, whatever triggers say.
func (d *sharedDatabase) empty(t testing.TB, db *pgstore.DB) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		text := `SET LOCAL session_replication_role = replica;`
		for _, table := range []string{
			"accounts", "lots", "ops", "entries", "budgets", "schedules", "keys", "events", "owners",
			"replays", "endpoints", "messages", "deliveries", "attempts", "idempotent_requests",
		} {
			text += fmt.Sprintf(`DELETE FROM "%s".%s;`, db.Schema(), table)
		}
		_, err := tx.Exec(t.Context(), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// each runs f n times at once, and waits.
func each(n int, f func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { f(i) })
	}
	group.Wait()
}

// keyRecord returns a record with nothing in it that may be empty.
func keyRecord(n int) apikey.Record {
	return apikey.Record{Handle: fmt.Sprintf("handle%d", n), Epoch: 0, Key: apikey.Key{
		ID: fmt.Sprintf("key_%d", n), Owner: "owner", CreatedAt: begin, SecretAt: begin, State: apikey.StateActive, Version: 1,
	}}
}

var begin = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
