package sqlitestore_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

func TestUnmigratedFileSaysToMigrate(t *testing.T) {
	db, err := sqlitestore.Open(filepath.Join(t.TempDir(), "x.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	for range 2 {
		_, err = db.Int(t.Context(), "SELECT 1")
		if !errors.Is(err, sqlitestore.ErrNotMigrated) || !strings.Contains(err.Error(), "call Migrate") {
			t.Errorf("read: %v, want ErrNotMigrated", err)
		}
		err = insert(t.Context(), db, 1)
		if !errors.Is(err, sqlitestore.ErrNotMigrated) {
			t.Errorf("write: %v, want ErrNotMigrated", err)
		}
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err = db.Int(t.Context(), "SELECT 1"); err != nil {
		t.Error(err)
	}
}

func TestMigrateAgainChangesNothing(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	before := schema(t, db)
	if err := db.Pragma("query_only = 1"); err != nil { // what writes now, fails
		t.Fatal(err)
	}
	for range 3 {
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := schema(t, db); after != before {
		t.Errorf("the schema's cookie went from %d to %d", before, after)
	}
}

// schema returns the number that SQLite raises with every change of tables.
func schema(t *testing.T, db *sqlitestore.DB) int64 {
	t.Helper()
	n, err := db.Int(t.Context(), "PRAGMA schema_version")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMigrateFromManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			db, err := sqlitestore.Open(path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
			if err := db.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// A watched context calls look when it is asked for its end the nth time.
type watched struct {
	context.Context
	left   atomic.Int64
	look   func()
	looked chan struct{} // closed when look has returned
}

func (c *watched) Done() <-chan struct{} {
	if c.left.Add(-1) == 0 {
		c.look()
		close(c.looked)
	}
	return c.Context.Done()
}

// finish waits for look, and tells whether it was called.
func (c *watched) finish() bool {
	const never = 1 << 40
	if c.left.Add(never) > never {
		return false
	}
	<-c.looked
	return true
}

// The tables of another process may appear between any two steps of a look at
// the schema, and are ours all the same.
func TestMigrateWhileAnotherProcessDoes(t *testing.T) {
	for n, met := int64(1), true; met; n++ {
		path := filepath.Join(t.TempDir(), "x.db")
		one, err := sqlitestore.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		other, err := sqlitestore.Open(path, &sqlitestore.Options{BusyTimeout: 5 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		parent, cancel := context.WithCancel(t.Context()) // one that has an end is asked for it
		ctx := &watched{Context: parent, looked: make(chan struct{}), look: func() {
			if err := other.Migrate(t.Context()); err != nil { // one holds the lock
				wantCode(t, err, kerrors.Unavailable)
			}
		}}
		ctx.left.Store(n)
		if err := one.Migrate(ctx); err != nil {
			t.Errorf("the other came at step %d: %v", n, err)
		}
		met = ctx.finish()
		cancel()
		if err := errors.Join(one.Close(t.Context()), other.Close(t.Context())); err != nil {
			t.Error(err)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	raw(t, path, func(db *sqlitestore.DB) {
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}, "UPDATE schema_version SET version = 1000")
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	if err := db.Migrate(t.Context()); !errors.Is(err, sqlitestore.ErrNewerSchema) {
		t.Errorf("Migrate: %v, want ErrNewerSchema", err)
	}
	if _, err := db.Int(t.Context(), "SELECT 1"); !errors.Is(err, sqlitestore.ErrNewerSchema) {
		t.Errorf("read: %v, want ErrNewerSchema", err)
	}
}

func TestForeignFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	raw(t, path, func(*sqlitestore.DB) {}, "CREATE TABLE orders (id INTEGER)")
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	if err := db.Migrate(t.Context()); !errors.Is(err, sqlitestore.ErrForeign) {
		t.Errorf("Migrate: %v, want ErrForeign", err)
	}
	if _, err := db.Int(t.Context(), "SELECT 1"); !errors.Is(err, sqlitestore.ErrForeign) {
		t.Errorf("read: %v, want ErrForeign", err)
	}
}

// raw makes the file at path, has prepare look at it, and then runs a statement
// as another program would.
func raw(t *testing.T, path string, prepare func(*sqlitestore.DB), statement string) {
	t.Helper()
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	prepare(db)
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, err := sqlitestore.Driver(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestEveryTableIsStrict(t *testing.T) {
	db := open(t, nil)
	n, err := db.Int(t.Context(), "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND NOT strict")
	if err != nil || n != 0 {
		t.Errorf("%d tables are not STRICT, %v", n, err)
	}
}
