package sqlitestore

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// ErrClosed reports the use of a [DB] after [DB.Close].
var ErrClosed error = &errors.Error{Code: errors.Unavailable, Msg: "the database is closed"}

// Synchronous says when SQLite waits for the disk.
type Synchronous uint8

const (
	// Full waits for the disk at every commit: what was acknowledged survives
	// kill -9, a crash of the machine and a loss of power. The default.
	Full Synchronous = iota
	// Normal waits at checkpoints only: what was acknowledged survives kill -9,
	// but the last transactions may be gone after a crash of the machine or a
	// loss of power. The file stays consistent either way.
	Normal
)

// Options are the choices of [Open]. The zero value, and nil, are the defaults.
type Options struct {
	// Synchronous is [Full] by default.
	Synchronous Synchronous

	// BusyTimeout is how long writes wait for another process that is writing to
	// the same file before they fail with code Unavailable. Writes that wait
	// together fail together, so one that came later has waited less. 0 is 5
	// seconds; at most one hour.
	BusyTimeout time.Duration

	// Readers is the greatest number of connections for reading, opened when
	// they are needed. 0 is the greater of 4 and the number of CPUs; at most 256.
	Readers int

	// Now is the clock of the stores of credits, limits, webhooks and idempotency, by
	// default the system's. It must be safe for concurrent use.
	Now func() time.Time
}

// A DB is one SQLite file with API keys, credits, rate limits, webhooks and answers in it.
// Make one with [Open]; it is safe for concurrent use, and must be closed.
type DB struct {
	path    string
	writer  *writer
	readers *readers
	now     func() time.Time

	workspaces workspaces
	sweeper    sweeper

	ready atomic.Bool // the schema was seen to be the one this version knows

	stop     sync.Once
	stopped  chan struct{} // closed when everything is released
	closeErr error         // written before stopped is closed
}

// Open opens the SQLite file at path, making an empty one that only its owner
// may read and write (mode 0600) when there is none; its folder must exist.
// Path is a plain file name, never a URI: every character stands for itself.
// A file that is not a database is refused with code Corrupt.
//
// Open makes no table: see [DB.Migrate]. It may wait up to BusyTimeout for
// another process that opens the same file. It starts one goroutine, which
// [DB.Close] ends.
func Open(path string, options *Options) (*DB, error) {
	const op = "sqlitestore.Open"
	var o Options
	if options != nil {
		o = *options
	}
	if err := o.complete(op, path); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, &errors.Error{Code: errors.Unavailable, Op: op, Msg: "the database file cannot be found", Err: err}
	}
	if err := createFile(path); err != nil {
		return nil, &errors.Error{Code: errors.Unavailable, Op: op, Msg: "the database file cannot be made", Err: err}
	}
	w, err := openWriter(path, o)
	if err != nil {
		return nil, errors.Wrap(op, err)
	}
	return &DB{path: path, writer: w, readers: newReaders(path, o), now: o.Now, sweeper: sweeper{hand: start()}, stopped: make(chan struct{})}, nil
}

// complete checks o and path, and fills in the defaults.
func (o *Options) complete(op, path string) error {
	faults := errors.Faults{Op: op}
	switch {
	case path == "":
		faults.Add("path is empty; give the name of a file")
	case path == ":memory:":
		faults.Add(`path ":memory:" is not a file; use the memory stores of the packages apikey, credits, ratelimit and webhook`)
	case strings.ContainsRune(path, 0):
		faults.Add("path %q holds a NUL byte; give a name without", path)
	}
	if o.Synchronous > Normal {
		faults.Add("Synchronous is %d; give Full or Normal", o.Synchronous)
	}
	if o.BusyTimeout < 0 || o.BusyTimeout > time.Hour {
		faults.Add("BusyTimeout is %v; give 0 (5s) to 1h", o.BusyTimeout)
	}
	if o.Readers < 0 || o.Readers > 256 {
		faults.Add("Readers is %d; give 0 (the default) to 256", o.Readers)
	}
	if o.BusyTimeout == 0 {
		o.BusyTimeout = 5 * time.Second
	}
	if o.Readers == 0 {
		o.Readers = max(4, runtime.GOMAXPROCS(0))
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default clock
	}
	return faults.Err()
}

// createFile makes path, when it is missing, readable by its owner only. An
// existing file is not touched: closing any descriptor of a file drops the
// locks that this process holds on it.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the name is the host's, not a client's
	if err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil
		}
		return err
	}
	return f.Close()
}

// Path returns the absolute name of the file.
func (db *DB) Path() string { return db.path }

// Close refuses new work with [ErrClosed], finishes what was accepted, and
// releases the file. When ctx ends first it returns the context's error while
// the rest goes on; a later Close waits again. Every Close after the end gives
// the same answer.
func (db *DB) Close(ctx context.Context) error {
	const op = "sqlitestore.Close"
	db.stop.Do(func() {
		db.writer.close()
		db.readers.close()
		go db.shutdown()
	})
	select {
	case <-db.stopped:
		return errors.Wrap(op, db.closeErr)
	default:
	}
	select {
	case <-db.stopped:
		return errors.Wrap(op, db.closeErr)
	case <-ctx.Done():
		return errors.Wrap(op, ctx.Err())
	}
}

// shutdown releases the readers before the writer, so that the writer's
// connection is the last of this process and leaves no write-ahead log behind.
func (db *DB) shutdown() {
	err := db.readers.release()
	<-db.writer.done
	db.closeErr = errors.Join(err, db.writer.release())
	close(db.stopped)
}

// write runs fn in the writer's transaction and returns when it is committed.
func (db *DB) write(ctx context.Context, fn func(*session) error) error {
	if err := db.ensureReady(ctx); err != nil {
		return err
	}
	return db.writer.do(ctx, fn)
}

// writeNow is write at the time that it is in the writer's turn. What has begun is
// not broken off.
func (db *DB) writeNow(ctx context.Context, fn func(ctx context.Context, s *session, now int64) error) error {
	return db.write(ctx, func(s *session) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(context.WithoutCancel(ctx), s, db.now().UnixMicro())
	})
}

// read runs fn on one of the reading connections.
func (db *DB) read(ctx context.Context, fn func(*session) error) error {
	if err := db.ensureReady(ctx); err != nil {
		return err
	}
	return db.readers.do(ctx, fn)
}

// snapshot runs fn as read does, with everything it reads at one instant.
func (db *DB) snapshot(ctx context.Context, fn func(*session) error) error {
	return db.read(ctx, func(s *session) error { return s.snapshot(ctx, fn) })
}
