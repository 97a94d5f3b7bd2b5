package sqlitestore_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// occupy holds the writer until the returned function is called.
func occupy(t *testing.T, db *sqlitestore.DB) (release func() error) {
	t.Helper()
	hold, held, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		result <- db.Write(context.Background(), func(exec sqlitestore.Exec) error {
			close(held)
			<-hold
			return nil
		})
	}()
	<-held
	return func() error {
		close(hold)
		return <-result
	}
}

// together runs the writes so that all of them wait at the same moment.
func together(t *testing.T, db *sqlitestore.DB, writes ...func() error) []error {
	t.Helper()
	release := occupy(t, db)
	errs := make([]error, len(writes))
	var group sync.WaitGroup
	for i, write := range writes {
		group.Go(func() { errs[i] = write() })
		db.WaitQueued(i + 1) // in this order
	}
	first := release()
	group.Wait()
	return append(errs, first)
}

func TestWaitingWritesShareOneCommit(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	before := db.Commits()
	writes := make([]func() error, 64)
	for n := range writes {
		writes[n] = func() error { return insert(t.Context(), db, n) }
	}
	for _, err := range together(t, db, writes...) {
		if err != nil {
			t.Error(err)
		}
	}
	if got := db.Commits() - before; got != 1 {
		t.Errorf("%d commits, want 1", got)
	}
	if n := count(t, db); n != 64 {
		t.Errorf("%d rows, want 64", n)
	}
}

func TestAGroupIsBounded(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	before := db.Commits()
	writes := make([]func() error, 2*sqlitestore.MaxGroup)
	for n := range writes {
		writes[n] = func() error { return insert(t.Context(), db, n) }
	}
	for _, err := range together(t, db, writes...) {
		if err != nil {
			t.Error(err)
		}
	}
	if got := db.Commits() - before; got != 3 {
		t.Errorf("%d commits for %d writes, want 3", got, len(writes)+1)
	}
}

func TestOneFailingWriteHurtsNoOther(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	before := db.Commits()
	refused := errors.New("refused")
	errs := together(t, db,
		func() error { return insert(t.Context(), db, 1) },
		func() error { // writes, then refuses
			return db.Write(t.Context(), func(exec sqlitestore.Exec) error {
				return errors.Join(exec("INSERT INTO scratch (n) VALUES (100)"), refused)
			})
		},
		func() error { return insert(t.Context(), db, 1) }, // taken
		func() error { return insert(t.Context(), db, 2) },
	)
	if errs[0] != nil || errs[3] != nil {
		t.Errorf("good writes: %v, %v", errs[0], errs[3])
	}
	if !errors.Is(errs[1], refused) {
		t.Errorf("the refusing write: %v", errs[1])
	}
	wantCode(t, errs[2], kerrors.Corrupt)
	if got := db.Commits() - before; got != 1 {
		t.Errorf("%d commits, want 1", got)
	}
	if n := count(t, db); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

func TestOnlyRefusalsCommitNothing(t *testing.T) {
	db := open(t, nil)
	before := db.Commits()
	refused := errors.New("refused")
	err := db.Write(t.Context(), func(sqlitestore.Exec) error { return refused })
	if err != refused { //nolint:errorlint // returned as it is
		t.Errorf("%v, want it unchanged", err)
	}
	if got := db.Commits() - before; got != 0 {
		t.Errorf("%d commits, want none", got)
	}
}

func TestAFailingCommitFailsTheGroup(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	var fail atomic.Bool
	if err := db.OnCommit(fail.Load); err != nil {
		t.Fatal(err)
	}
	fail.Store(true)
	refused := errors.New("refused")
	errs := together(t, db,
		func() error { return insert(t.Context(), db, 1) },
		func() error { return db.Write(t.Context(), func(sqlitestore.Exec) error { return refused }) },
		func() error { return insert(t.Context(), db, 2) },
	)
	for _, err := range errs {
		wantCode(t, err, kerrors.Unavailable)
	}
	if errors.Is(errs[1], refused) {
		t.Error("a refusal that rests on what was undone was told as certain")
	}
	if n := count(t, db); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
	fail.Store(false)
	if err := insert(t.Context(), db, 3); err != nil {
		t.Errorf("the next write: %v", err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestAQueuedWriteLeavesWithItsContext(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	release := occupy(t, db)
	ctx, cancel := context.WithCancelCause(t.Context())
	result := make(chan error)
	go func() { result <- insert(ctx, db, 1) }()
	db.WaitQueued(1)
	cancel(nil)
	if err := <-result; !errors.Is(err, context.Canceled) { // while the writer is still held
		t.Errorf("%v, want the context's error", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 0 {
		t.Errorf("%d rows: a withdrawn write ran", n)
	}
}

func TestARunningWriteIsToldTruthfully(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Write(ctx, func(exec sqlitestore.Exec) error {
		cancel()
		return exec("INSERT INTO scratch (n) VALUES (1)")
	})
	if err != nil {
		t.Errorf("%v, want nil: it was committed", err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	if err := insert(ctx, db, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("a write that began with a finished context: %v", err)
	}
}

func TestADyingWriteIsUndone(t *testing.T) {
	deaths := map[string]func(){
		"panic":  func() { panic("the caller's own") },
		"goexit": runtime.Goexit,
	}
	for name, die := range deaths {
		t.Run(name, func(t *testing.T) {
			db := open(t, nil)
			scratch(t, db)
			var recovered any
			var group sync.WaitGroup
			group.Go(func() {
				defer func() { recovered = recover() }()
				_ = db.Write(t.Context(), func(exec sqlitestore.Exec) error {
					if err := exec("INSERT INTO scratch (n) VALUES (1)"); err != nil {
						t.Error(err)
					}
					die()
					return nil
				})
			})
			group.Wait()
			if want := name == "panic"; (recovered == "the caller's own") != want {
				t.Errorf("the caller recovered %v", recovered)
			}
			if err := insert(t.Context(), db, 2); err != nil {
				t.Errorf("the next write: %v", err)
			}
			if n := count(t, db); n != 1 {
				t.Errorf("%d rows, want 1", n)
			}
		})
	}
}

func TestFullDiskIsUnavailable(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	if err := db.Pragma("max_page_count = 1"); err != nil { // the least is what it has
		t.Fatal(err)
	}
	fill := func(exec sqlitestore.Exec) error {
		for n := range 5000 {
			if err := exec("INSERT INTO scratch (n) VALUES (?1)", n); err != nil {
				return err
			}
		}
		return nil
	}
	err := db.Write(t.Context(), fill)
	wantCode(t, err, kerrors.Unavailable)
	if err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("%v; want it to tell the operator why", err)
	}
	if n := count(t, db); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
	if err := db.Pragma("max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), fill); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestReadOnlyFileIsUnavailable(t *testing.T) {
	db := open(t, nil)
	scratch(t, db)
	if err := db.Pragma("query_only = 1"); err != nil { // as root no mode would stop us
		t.Fatal(err)
	}
	wantCode(t, insert(t.Context(), db, 1), kerrors.Unavailable)
	if n := count(t, db); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

func TestAWriteWaitsForOtherWriters(t *testing.T) {
	path := newFile(t)
	one, other := openAt(t, path, nil), openAt(t, path, nil)
	scratch(t, one)
	release := occupy(t, one)
	result := make(chan error)
	go func() { result <- insert(context.Background(), other, 1) }()
	other.WaitQueued(1)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := insert(ctx, other, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller that gives up while the file is locked: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if n := count(t, one); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestALockedFileIsUnavailableInTheEnd(t *testing.T) {
	path := newFile(t)
	one := openAt(t, path, nil)
	scratch(t, one)
	other := openAt(t, path, &sqlitestore.Options{BusyTimeout: 10 * time.Millisecond})
	release := occupy(t, one)
	wantCode(t, insert(t.Context(), other, 1), kerrors.Unavailable)
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := insert(t.Context(), other, 1); err != nil {
		t.Errorf("after the lock: %v", err)
	}
}

func TestNobodyWaitsForALockThatNobodyWants(t *testing.T) {
	path := newFile(t)
	one := openAt(t, path, nil)
	other, err := sqlitestore.Open(path, &sqlitestore.Options{BusyTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	release := occupy(t, one)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	err = other.Write(ctx, func(sqlitestore.Exec) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the context's error", err)
	}
	if err := other.Close(t.Context()); err != nil { // while the file is locked
		t.Error(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

func TestSynchronousIsWhatWasAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		options *sqlitestore.Options
		want    int64
	}{
		"by default": {nil, 2},
		"Full":       {&sqlitestore.Options{Synchronous: sqlitestore.Full}, 2},
		"Normal":     {&sqlitestore.Options{Synchronous: sqlitestore.Normal}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := open(t, c.options).WriterInt("PRAGMA synchronous"); err != nil || got != c.want {
				t.Errorf("synchronous is %d, %v; want %d", got, err, c.want)
			}
		})
	}
}

func TestTwoBusyWritersBothGetOn(t *testing.T) {
	path := newFile(t)
	dbs := []*sqlitestore.DB{openAt(t, path, nil), openAt(t, path, nil)}
	scratch(t, dbs[0])
	const each = 100
	var group sync.WaitGroup
	for i, db := range dbs {
		for g := range 4 {
			group.Go(func() {
				for n := range each {
					if err := insert(t.Context(), db, (i*4+g)*each+n); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	group.Wait()
	if n := count(t, dbs[0]); n != 8*each {
		t.Errorf("%d rows, want %d", n, 8*each)
	}
}
