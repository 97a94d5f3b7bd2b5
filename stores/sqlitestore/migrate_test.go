package sqlitestore_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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
