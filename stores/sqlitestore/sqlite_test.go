package sqlitestore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// open returns a migrated DB in a folder of its own, closed when the test ends.
func open(t testing.TB, options *sqlitestore.Options) *sqlitestore.DB {
	t.Helper()
	return openAt(t, newFile(t), options)
}

// newFile returns the name of a migrated file without rows. It is a copy, since
// making the tables takes longer than most tests.
func newFile(t testing.TB) string {
	t.Helper()
	image, err := emptyFile()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keytoll.db")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var emptyFile = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "sqlitestore")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "empty.db")
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(db.Migrate(context.Background()), db.Close(context.Background())); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func openAt(t testing.TB, path string, options *sqlitestore.Options) *sqlitestore.DB {
	t.Helper()
	db, err := sqlitestore.Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// scratch adds a table for tests of the machinery.
func scratch(t testing.TB, db *sqlitestore.DB) {
	t.Helper()
	err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
		return exec("CREATE TABLE scratch (n INTEGER PRIMARY KEY) STRICT")
	})
	if err != nil {
		t.Fatal(err)
	}
}

func insert(ctx context.Context, db *sqlitestore.DB, n int) error {
	return db.Write(ctx, func(exec sqlitestore.Exec) error {
		return exec("INSERT INTO scratch (n) VALUES (?1)", n)
	})
}

func count(t testing.TB, db *sqlitestore.DB) int64 {
	t.Helper()
	n, err := db.Int(context.Background(), "SELECT count(*) FROM scratch")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wantCode(t testing.TB, err error, want kerrors.Code) {
	t.Helper()
	if got := kerrors.CodeOf(err); err == nil || got != want {
		t.Errorf("error %v has code %v, want %v", err, got, want)
	}
}

func TestOpenTellsEveryFaultAtOnce(t *testing.T) {
	_, err := sqlitestore.Open("", &sqlitestore.Options{Synchronous: 7, BusyTimeout: -1, Readers: 1000})
	wantCode(t, err, kerrors.Invalid)
	for _, want := range []string{"path is empty", "Synchronous is 7", "BusyTimeout is -1ns", "Readers is 1000"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestOpenRefusesWhatIsNoFileName(t *testing.T) {
	for _, path := range []string{"", ":memory:", "a\x00b"} {
		_, err := sqlitestore.Open(path, nil)
		wantCode(t, err, kerrors.Invalid)
	}
	folder := t.TempDir()
	for _, path := range []string{folder, filepath.Join(folder, "missing", "x.db")} {
		_, err := sqlitestore.Open(path, nil)
		wantCode(t, err, kerrors.Unavailable)
	}
}

func TestEveryFileNameStandsForItself(t *testing.T) {
	for _, name := range []string{
		"plain.db", "with space.db", "q?mode=memory", "h#ash.db", "p%41.db", "%", "a&b=c;d.db",
		"file:x.db", "-dash", "ümläut 鍵.db", "'quote\".db", "back\\slash.db", "new\nline.db", "?", "#",
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, name)
			db := openAt(t, path, nil)
			scratch(t, db)
			if err := insert(t.Context(), db, 1); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(folder)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != 1 || entries[0].Name() != name {
				t.Errorf("the folder holds %v, want only %q", entries, name)
			}
			if n := count(t, openAt(t, path, nil)); n != 1 {
				t.Errorf("reopened: %d rows, want 1", n)
			}
		})
	}
}

func TestRelativePathOutlivesAChangeOfFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	db := openAt(t, "x.db", &sqlitestore.Options{Readers: 2})
	scratch(t, db)
	t.Chdir(t.TempDir())
	// The second reading connection is opened here.
	done := make(chan error)
	go func() {
		_, err := db.Int(context.Background(), "SELECT count(*) FROM scratch")
		done <- err
	}()
	count(t, db)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNewFilesAreTheirOwnersOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	db := openAt(t, filepath.Join(t.TempDir(), "new.db"), nil)
	scratch(t, db)
	for _, name := range []string{db.Path(), db.Path() + "-wal", db.Path() + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(name), mode)
		}
	}
}

func TestDamagedFilesAreRefused(t *testing.T) {
	t.Run("garbage", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(path, []byte(strings.Repeat("not a database. ", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := sqlitestore.Open(path, nil)
		wantCode(t, err, kerrors.Corrupt)
		if b, err := os.ReadFile(path); err != nil || len(b) != 16000 {
			t.Errorf("the file was changed: %d bytes, %v", len(b), err)
		}
	})
	t.Run("overwritten pages", func(t *testing.T) {
		path := newFile(t)
		db := openAt(t, path, nil)
		scratch(t, db)
		err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
			return exec(`WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 60000)
				INSERT INTO scratch (n) SELECT n FROM r`)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		for at := info.Size() / 2 &^ 4095; at < info.Size(); at += 4096 {
			if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 4096)), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		db, err = sqlitestore.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close(context.Background())
		_, err = db.Int(t.Context(), "SELECT count(*) FROM scratch")
		wantCode(t, err, kerrors.Corrupt)
		err = insert(t.Context(), db, 60001)
		wantCode(t, err, kerrors.Corrupt)
	})
}

func TestReadersCannotWrite(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	_, err := db.Int(t.Context(), "INSERT INTO scratch (n) VALUES (1) RETURNING n")
	wantCode(t, err, kerrors.Unavailable)
	if n := count(t, db); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

func TestCloseAnswersTheSameAgain(t *testing.T) {
	db := open(t, nil)
	for range 3 {
		if err := db.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Close(canceled); err != nil {
		t.Errorf("a finished Close with a context that is over: %v", err)
	}
}

func TestUseAfterCloseIsErrClosed(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, readErr := db.Int(t.Context(), "SELECT 1")
	for name, err := range map[string]error{
		"read":    readErr,
		"write":   insert(t.Context(), db, 1),
		"migrate": db.Migrate(t.Context()),
	} {
		if !errors.Is(err, sqlitestore.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
}

func TestCloseFinishesWhatWasAccepted(t *testing.T) {
	path := newFile(t)
	db := openAt(t, path, nil)
	scratch(t, db)
	hold, held := make(chan struct{}), make(chan struct{})
	results := make(chan error, 3)
	go func() {
		results <- db.Write(context.Background(), func(exec sqlitestore.Exec) error {
			close(held)
			<-hold
			return exec("INSERT INTO scratch (n) VALUES (1)")
		})
	}()
	<-held
	for n := range 2 {
		go func() { results <- insert(context.Background(), db, n+2) }()
	}
	db.WaitQueued(2)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close during a write, with a context that is over: %v", err)
	}
	if err := insert(t.Context(), db, 9); !errors.Is(err, sqlitestore.ErrClosed) {
		t.Errorf("a write after Close began: %v, want ErrClosed", err)
	}
	close(hold)
	if err := db.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := count(t, openAt(t, path, nil)); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

func TestCloseWaitsForReads(t *testing.T) {
	db := open(t, &sqlitestore.Options{Readers: 1})
	reading := make(chan error)
	go func() {
		// About a second of work for one core, ended by the context below.
		_, err := db.Int(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) SELECT count(*) FROM n`)
		reading <- err
	}()
	err := db.Close(t.Context())
	if err != nil {
		t.Error(err)
	}
	if err := <-reading; err != nil && !errors.Is(err, sqlitestore.ErrClosed) {
		t.Error(err)
	}
}

func TestAReadStopsWithItsContext(t *testing.T) {
	db := open(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := db.Int(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`)
	wantCode(t, err, kerrors.DeadlineExceeded)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not hold the context's error", err)
	}
	if _, err := db.Int(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}
