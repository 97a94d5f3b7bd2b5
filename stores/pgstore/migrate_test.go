package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/apikey"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

func TestUnmigratedDatabaseSaysToMigrate(t *testing.T) {
	db := newDatabase(t).raw(t, "keytoll")
	for range 2 {
		_, err := db.Keys().ByID(t.Context(), "key")
		if !errors.Is(err, pgstore.ErrNotMigrated) || !strings.Contains(err.Error(), "call Migrate") {
			t.Errorf("read: %v, want ErrNotMigrated", err)
		}
		err = db.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord(1)}})
		if !errors.Is(err, pgstore.ErrNotMigrated) {
			t.Errorf("write: %v, want ErrNotMigrated", err)
		}
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Keys().ByID(t.Context(), "key"); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("after Migrate: %v, want ErrNotFound", err)
	}
}

func TestMigrateFromManyAtOnce(t *testing.T) {
	d := newDatabase(t)
	each(12, func(int) {
		db, err := pgstore.New(d.pool, nil)
		if err == nil {
			err = db.Migrate(t.Context())
		}
		if err == nil {
			err = db.Keys().Touch(t.Context(), []apikey.Use{{ID: "nobody"}})
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func TestMigrateAgainChangesNothing(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	before := objects(t, d.pool, db)
	for range 3 {
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := objects(t, d.pool, db); after != before {
		t.Errorf("the schema went from %s to %s", before, after)
	}
}

// objects returns what PostgreSQL knows of the schema's tables and functions,
// with the transactions that wrote it.
func objects(t *testing.T, pool *pgxpool.Pool, db *pgstore.DB) string {
	t.Helper()
	var all string
	err := pool.QueryRow(t.Context(), `SELECT string_agg(what, ' ' ORDER BY what) FROM (
		SELECT relname || ':' || xmin AS what FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r'
		UNION ALL SELECT proname || ':' || xmin FROM pg_proc WHERE pronamespace = $1::regnamespace) o`, db.Schema()).Scan(&all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMigrateFillsAnEmptySchemaThatSomebodyMade(t *testing.T) {
	d := newDatabase(t)
	run(t, d.pool, "CREATE SCHEMA made")
	if err := d.raw(t, "made").Migrate(t.Context()); err != nil {
		t.Error(err)
	}
}

// Two schemas in one database know nothing of each other, nor do their feeds.
func TestSchemasAreApart(t *testing.T) {
	d := newDatabase(t)
	one, other := d.open(t), d.open(t)
	if err := one.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord(1)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Keys().ByID(t.Context(), keyRecord(1).Key.ID); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("the other schema: %v, want ErrNotFound", err)
	}
	if err := other.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord(1)}}); err != nil {
		t.Error(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	run(t, d.pool, pgstore.InSchema(db, "UPDATE keytoll.schema_version SET version = 1000"))
	db = d.raw(t, db.Schema())
	if err := db.Migrate(t.Context()); !errors.Is(err, pgstore.ErrNewerSchema) {
		t.Errorf("Migrate: %v, want ErrNewerSchema", err)
	}
	if _, err := db.Keys().ByID(t.Context(), "key"); !errors.Is(err, pgstore.ErrNewerSchema) {
		t.Errorf("read: %v, want ErrNewerSchema", err)
	}
}

func TestForeignSchemaIsRefused(t *testing.T) {
	d := newDatabase(t)
	run(t, d.pool, "CREATE TABLE orders (id int)")
	if err := d.raw(t, "public").Migrate(t.Context()); !errors.Is(err, pgstore.ErrForeign) {
		t.Errorf("Migrate: %v, want ErrForeign", err)
	}
}

func TestDatabaseOfAnotherEncodingIsRefused(t *testing.T) {
	d := newDatabase(t)
	run(t, d.pool, "CREATE DATABASE keytoll_latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	t.Cleanup(func() {
		_, err := d.pool.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE keytoll_latin1 WITH (FORCE)")
		if err != nil {
			t.Error(err)
		}
	})
	config := d.pool.Config()
	config.ConnConfig.Database = "keytoll_latin1"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db, err := pgstore.New(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); !errors.Is(err, pgstore.ErrEncoding) {
		t.Errorf("Migrate: %v, want ErrEncoding", err)
	}
}

// The tables went while the program ran: it says so, and goes on once they are
// back.
func TestTablesThatAreGoneSayToMigrate(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	if _, err := db.Keys().Owner(t.Context(), "o"); err != nil {
		t.Fatal(err)
	}
	run(t, d.pool, `DROP SCHEMA "`+db.Schema()+`" CASCADE`)
	for range 2 {
		if _, err := db.Keys().Owner(t.Context(), "o"); !errors.Is(err, pgstore.ErrNotMigrated) {
			t.Errorf("read: %v, want ErrNotMigrated", err)
		}
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Keys().Owner(t.Context(), "o"); err != nil {
		t.Error(err)
	}
}

func TestFaultsOfOptionsComeAtOnce(t *testing.T) {
	_, err := pgstore.New(nil, &pgstore.Options{Schema: "Key toll", Heartbeat: 1})
	wantCode(t, err, kerrors.Invalid)
	for _, part := range []string{"pool is nil", `Schema is "Key toll"`, "Heartbeat is 1ns"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error is %v, without %q", err, part)
		}
	}
	for _, schema := range []string{"1a", "pg_keys", `a"b`, strings.Repeat("a", 41), "ä"} {
		if _, err := pgstore.Open("postgres://localhost/x", &pgstore.Options{Schema: schema}); err == nil {
			t.Errorf("schema %q is taken", schema)
		}
	}
}

func TestAnUnreadableURLIsRefusedWithoutItsPassword(t *testing.T) {
	_, err := pgstore.Open("postgres://user:canary@host:port/db", nil)
	wantCode(t, err, kerrors.Invalid)
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("error is %v", err)
	}
}

func TestCloseEndsEverythingOnce(t *testing.T) {
	db, err := pgstore.Open(pgtest.Database(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	alive, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() {
		ended <- db.Feed().Listen(t.Context(), listener(func(apikey.Notice) {}, func() { alive <- struct{}{} }))
	}()
	<-alive
	for range 2 {
		if err := db.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; !errors.Is(err, pgstore.ErrClosed) {
		t.Errorf("Listen: %v, want ErrClosed", err)
	}
	_, readErr := db.Keys().ByID(t.Context(), "key")
	for name, err := range map[string]error{
		"ByID": readErr, "Touch": db.Keys().Touch(t.Context(), []apikey.Use{{ID: "key"}}), "Migrate": db.Migrate(t.Context()),
		"Listen": db.Feed().Listen(t.Context(), listener(func(apikey.Notice) {}, func() {})),
	} {
		if !errors.Is(err, pgstore.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

func run(t testing.TB, pool *pgxpool.Pool, statement string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code kerrors.Code) {
	t.Helper()
	if kerrors.CodeOf(err) != code {
		t.Errorf("error is %v of code %v, want %v", err, kerrors.CodeOf(err), code)
	}
}

// A role or a database may be set to another encoding for its clients: an owner
// that one process revokes must be the one that another made keys for.
func TestTextsPassWhateverTheRoleIsSetTo(t *testing.T) {
	direct := pgtest.Database(t)
	one, err := pgstore.Open(direct, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close(context.WithoutCancel(t.Context()))
	if err := one.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), direct)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET client_encoding = LATIN1', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	pool.Reset()
	other, err := pgstore.New(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.WithoutCancel(t.Context()))
	rec := keyRecord(1)
	rec.Key.Owner = "Jürgen €"
	change := apikey.Change{Insert: []apikey.Record{rec}, Notices: []apikey.Notice{{Owner: rec.Key.Owner}}}
	for name, err := range map[string]error{
		"write": other.Keys().Apply(t.Context(), change), "touch": other.Keys().Touch(t.Context(), []apikey.Use{{ID: "key"}}), "migrate": other.Migrate(t.Context()),
	} {
		if !errors.Is(err, pgstore.ErrEncoding) || !strings.Contains(err.Error(), "client_encoding") {
			t.Errorf("%s through a pool of the host's: %v, want ErrEncoding", name, err)
		}
	}
	own, err := pgstore.Open(direct, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close(context.WithoutCancel(t.Context()))
	alive, heard, ended := make(chan struct{}, 1000), make(chan apikey.Notice, 1), make(chan error, 1)
	go func() { // other listens on a connection of its own
		ended <- other.Feed().Listen(t.Context(), listener(func(n apikey.Notice) { heard <- n }, func() { alive <- struct{}{} }))
	}()
	select {
	case <-alive:
	case err := <-ended:
		t.Fatal(err)
	}
	if err := own.Keys().Apply(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	got, err := one.Keys().ByID(t.Context(), rec.Key.ID)
	if n := <-heard; err != nil || got.Key.Owner != rec.Key.Owner || n.Owner != rec.Key.Owner {
		t.Errorf("the owner is %q, %v, and was heard as %q; want %q", got.Key.Owner, err, n.Owner, rec.Key.Owner)
	}
}

func TestATableOfTheSameNameIsForeign(t *testing.T) {
	d := newDatabase(t)
	db := d.raw(t, "keytoll")
	for _, statement := range []string{"CREATE SCHEMA keytoll", "CREATE TABLE keytoll.schema_version (v text)"} {
		if _, err := d.pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	_, err := db.Keys().ByID(t.Context(), "key")
	for name, err := range map[string]error{"read": err, "migrate": db.Migrate(t.Context())} {
		if !errors.Is(err, pgstore.ErrForeign) {
			t.Errorf("%s: %v, want ErrForeign", name, err)
		}
	}
}
