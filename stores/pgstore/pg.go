package pgstore

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/errors"
)

// ErrClosed reports the use of a [DB] after [DB.Close].
var ErrClosed error = &errors.Error{Code: errors.Unavailable, Msg: "the database is closed"}

// Options are the choices of [Open] and [New]. The zero value, and nil, are the
// defaults.
type Options struct {
	// Schema is the name of the schema that holds the tables, "keytoll" when empty:
	// up to 40 lower-case letters, digits and underscores, not beginning with a
	// digit or with pg_. Several may live in one database and know nothing of each
	// other.
	Schema string

	// Heartbeat is how often the feed proves that it hears everything, 250
	// milliseconds when zero, at least 10 milliseconds and at most 10 seconds. A
	// heartbeat that is not heard within four times that, or two seconds if that is more,
	// means that the line is broken.
	Heartbeat time.Duration

	// Listen says how the feed reaches the server, with a connection of its own; nil
	// is as the pool does. Give it where the pool talks to a proxy, such as
	// PgBouncer in transaction mode, that does not pass LISTEN on.
	Listen *pgx.ConnConfig
}

// A DB is the state of Keytoll in one PostgreSQL schema. Make one with [Open]
// or [New]; it is safe for concurrent use, and must be closed.
type DB struct {
	pool    *pgxpool.Pool
	owned   bool // Close closes the pool
	schema  string
	beat    time.Duration
	listen  *pgx.ConnConfig
	sql     statements
	mode    pgx.QueryExecMode // of statements with one best plan
	planned pgx.QueryExecMode // of those whose best plan depends on their arguments
	ready   atomic.Bool       // the schema was seen to be the one this version knows
	closed  context.Context
	close   context.CancelFunc
	stop    sync.Once
	stopped chan struct{} // closed when everything is released
}

// Open returns a DB with a pool of its own. Url is a connection string of
// PostgreSQL, such as postgres://user:password@host:5432/database; what
// pgxpool.ParseConfig reads beyond that, such as pool_max_conns, holds. Open
// makes no table, see [DB.Migrate], and waits for no server: one that is not
// there is reported by whatever needs it.
func Open(url string, o *Options) (*DB, error) {
	const op = "pgstore.Open"
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, &errors.Error{
			Code: errors.Invalid, Op: op, Err: err, // which leaves passwords out
			Msg: "the URL of the database cannot be read; give one such as postgres://user@host:5432/database",
		}
	}
	config.ConnConfig.BuildContextWatcherHandler = patient
	config.ConnConfig.RuntimeParams["client_encoding"] = "UTF8"      // whatever the role or the database is set to
	pool, err := pgxpool.NewWithConfig(context.Background(), config) //nolint:forbidigo // the pool outlives every call; Close ends it
	if err != nil {
		return nil, &errors.Error{Code: errors.Invalid, Op: op, Msg: "the pool of connections cannot be made", Err: err}
	}
	db, err := newDB(op, pool, o)
	if err != nil {
		pool.Close()
		return nil, err
	}
	db.owned = true
	return db, nil
}

// patient lets a statement whose context has ended come to its end, if that is
// near: breaking it off costs its connection, and a crowd of clients that hang
// up would cost them all.
func patient(conn *pgconn.PgConn) ctxwatch.Handler {
	return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn(), DeadlineDelay: 100 * time.Millisecond}
}

// New returns a DB over a pool of the caller's, which [DB.Close] leaves open.
func New(pool *pgxpool.Pool, o *Options) (*DB, error) { return newDB("pgstore.New", pool, o) }

func newDB(op string, pool *pgxpool.Pool, options *Options) (*DB, error) {
	var o Options
	if options != nil {
		o = *options
	}
	faults := errors.Faults{Op: op}
	if pool == nil {
		faults.Add("pool is nil; give one made by pgxpool.New, or use Open")
	}
	if o.Schema == "" {
		o.Schema = "keytoll"
	}
	if !validSchema(o.Schema) {
		faults.Add("Schema is %q; give 1 to 40 lower-case letters, digits and underscores, not beginning with a digit or with pg_", o.Schema)
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 250 * time.Millisecond
	}
	if o.Heartbeat < 10*time.Millisecond || o.Heartbeat > 10*time.Second {
		faults.Add("Heartbeat is %v; give 0 (250ms), or 10ms to 10s", o.Heartbeat)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	db := &DB{pool: pool, schema: o.Schema, beat: o.Heartbeat, sql: newStatements(o.Schema), stopped: make(chan struct{})}
	db.mode, db.planned = modes(pool.Config().ConnConfig)
	if o.Listen != nil {
		db.listen = o.Listen.Copy()
	}
	db.closed, db.close = context.WithCancel(context.Background()) //nolint:forbidigo // Close ends it
	return db, nil
}

// modes returns how to run statements with one best plan, and those whose best
// plan depends on their arguments, which are planned each time: in one round
// trip, and with results in binary form. A pool that is not set to keep prepared
// statements may talk to a proxy that hands each transaction to another server.
func modes(config *pgx.ConnConfig) (mode, planned pgx.QueryExecMode) {
	planned = pgx.QueryExecModeCacheDescribe
	if config.DescriptionCacheCapacity == 0 {
		planned = pgx.QueryExecModeDescribeExec
	}
	if config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement && config.StatementCacheCapacity > 0 {
		return pgx.QueryExecModeCacheStatement, planned
	}
	return planned, planned
}

// validSchema reports whether name needs no quotes, and leaves room in the names
// of channels that begin with it.
func validSchema(name string) bool {
	for i, c := range name {
		if (c < 'a' || c > 'z') && c != '_' && (c < '0' || c > '9' || i == 0) {
			return false
		}
	}
	return name != "" && len(name) <= 40 && !strings.HasPrefix(name, "pg_")
}

// Close refuses new work with [ErrClosed], ends the feeds, finishes what was
// begun, and closes the pool if it is the DB's own. When ctx ends first it
// returns the context's error while the rest goes on; a later Close waits again.
func (db *DB) Close(ctx context.Context) error {
	db.stop.Do(func() {
		db.close()
		go func() {
			defer close(db.stopped)
			if db.owned {
				db.pool.Close()
			}
		}()
	})
	select {
	case <-db.stopped:
		return nil
	default:
	}
	select {
	case <-db.stopped:
		return nil
	case <-ctx.Done():
		return errors.Wrap("pgstore.Close", ctx.Err())
	}
}

// ensureReady returns nil when the DB may be used under ctx. It looks at the
// schema version until it was seen to be right.
func (db *DB) ensureReady(ctx context.Context) error {
	if err := db.ensureOpen(ctx); err != nil || db.ready.Load() {
		return err
	}
	return db.lookAtSchema(ctx)
}

// ensureOpen returns nil when neither ctx nor the DB is over.
func (db *DB) ensureOpen(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.closed.Err() != nil {
		return ErrClosed
	}
	return nil
}

// attempts is how often a transaction is tried that the server undid because
// of others, which is its way to keep transactions apart at the isolation levels
// above read committed; after the first few it is tried at that level, where
// others only make it wait.
const (
	attempts = 100
	few      = 5
)

// committed runs f in a transaction at the level read committed.
func (db *DB) committed(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, f)
}

// write runs a statement that is a transaction of its own.
func (db *DB) write(ctx context.Context, statement string, args ...any) error {
	args = append([]any{db.mode}, args...)
	return db.transact(ctx, func(at source) error {
		_, err := at.Exec(ctx, statement, args...)
		return err
	})
}

// transact has f run one statement, as a transaction of its own, as often as the
// server undoes it because of others. A statement that was lost with its
// connection is not repeated.
func (db *DB) transact(ctx context.Context, f func(source) error) error {
	if err := db.ensureReady(ctx); err != nil {
		return err
	}
	for try := 1; ; try++ {
		var err error
		if try <= few {
			err = f(db.pool)
		} else {
			err = db.committed(ctx, func(tx pgx.Tx) error { return f(tx) })
		}
		if err == nil {
			return nil
		}
		if undone(err) && try < attempts || unsent(err) && try < 3 {
			continue
		}
		return db.fault(ctx, err)
	}
}

// read runs a query, gives each row to scan with its number from 0, and returns
// how many there were. Columns are in binary form and only good until scan
// returns. A query that is tried again begins again with row 0. A failure of
// scan is returned as it is.
func (db *DB) read(ctx context.Context, mode pgx.QueryExecMode, query string, scan func(row int, columns [][]byte) error, args ...any) (int, error) {
	if err := db.ensureReady(ctx); err != nil {
		return 0, err
	}
	args = append([]any{mode, pgx.QueryResultFormats{pgx.BinaryFormatCode}}, args...)
	for try := 1; ; try++ {
		var n int
		var err error
		if try <= few {
			n, err = rows(ctx, db.pool, query, scan, args)
		} else {
			err = db.committed(ctx, func(tx pgx.Tx) (err error) {
				n, err = rows(ctx, tx, query, scan, args)
				return err
			})
		}
		if err == nil {
			return n, nil
		}
		if errors.CodeOf(err) == errors.Unknown && (undone(err) && try < attempts || (unsent(err) || broken(err)) && try < 3) {
			continue
		}
		return 0, db.fault(ctx, err)
	}
}

// A source is what statements are asked of: the pool, or a transaction.
type source interface {
	Exec(ctx context.Context, statement string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

func rows(ctx context.Context, from source, query string, scan func(int, [][]byte) error, args []any) (n int, err error) {
	rows, err := from.Query(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for ; rows.Next(); n++ {
		if rows.FieldDescriptions()[0].Format != pgx.BinaryFormatCode {
			return 0, errNotBinary
		}
		if err := scan(n, rows.RawValues()); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

var errNotBinary error = &errors.Error{Code: errors.Unavailable, Msg: "the database gives its answers in a form that was not asked for"}

// Schema returns the name of the schema that holds the tables.
func (db *DB) Schema() string { return db.schema }
