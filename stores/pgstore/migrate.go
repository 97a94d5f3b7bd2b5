package pgstore

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keytoll/keytoll/errors"
)

// migrations are the steps from an empty schema to the newest, in the order of
// their names. A step that was released is never changed.
//
//go:embed sql/*.sql
var migrations embed.FS

var (
	// ErrNotMigrated reports the use of a schema without tables, or with those of
	// an older version of this package.
	ErrNotMigrated error = &errors.Error{Code: errors.Unavailable, Msg: "the database has no tables of this version yet; call Migrate once"}
	// ErrNewerSchema reports a schema whose tables were made by a newer version of
	// this package.
	ErrNewerSchema error = &errors.Error{Code: errors.Unavailable, Msg: "the database was made by a newer version of this program; update the program"}
	// ErrForeign reports a schema that holds the tables of something else.
	ErrForeign error = &errors.Error{Code: errors.Unavailable, Msg: "the schema belongs to another program; give one of its own"}
	// ErrEncoding reports a database whose texts are not UTF-8, or connections that
	// are set to another client_encoding: what one process wrote, others would not
	// find.
	ErrEncoding error = &errors.Error{Code: errors.Invalid, Msg: "the database does not keep UTF-8; give one made with ENCODING 'UTF8'"}

	errClientEncoding error = &errors.Error{Msg: "the connections to the database are not set to UTF-8; leave client_encoding at UTF8", Err: ErrEncoding}
)

// plain reports whether texts pass a connection of that client_encoding as they
// are.
func plain(encoding string) bool { return encoding == "UTF8" || encoding == "SQL_ASCII" }

// Migrate brings the schema to the version that this package knows, making it
// where it is missing, in one transaction, and does nothing when it is there
// already; several processes may call it at once. It refuses a newer version
// ([ErrNewerSchema]), a schema with somebody else's tables ([ErrForeign]) and a
// database or connections that do not keep UTF-8 ([ErrEncoding]). Nothing else in this
// package makes or alters tables.
//
// It needs the right to create a schema in the database or, where somebody made
// an empty one, to create tables in that. Afterwards [DB] needs no more than the
// rights to use the schema, to select, insert and update in its tables, to delete
// in limits, limit_entries, settled, ops, budgets, schedules, replays, endpoints,
// messages, deliveries, attempts and idempotent_requests, and to execute its
// functions.
func (db *DB) Migrate(ctx context.Context) error {
	const op = "pgstore.Migrate"
	if err := ctx.Err(); err != nil {
		return errors.Wrap(op, err)
	}
	if db.closed.Err() != nil {
		return errors.Wrap(op, ErrClosed)
	}
	steps, err := migrationSteps(db.schema)
	if err != nil {
		return errors.Wrap(op, err)
	}
	// At this level a statement sees what was committed before it began, so what
	// comes after the lock sees what other processes did under it.
	options := pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
	err = pgx.BeginTxFunc(ctx, db.pool, options, func(tx pgx.Tx) error { return db.migrate(ctx, tx, steps) })
	if err != nil {
		return errors.Wrap(op, db.fault(ctx, err))
	}
	db.ready.Store(true)
	return nil
}

// migrationSteps returns the texts of the migrations; step n leads to schema
// version n+1.
func migrationSteps(schema string) ([]string, error) {
	names, err := fs.Glob(migrations, "sql/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	steps := make([]string, 0, len(names))
	for _, name := range names {
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, inSchema(schema, string(text)))
	}
	return steps, nil
}

func (db *DB) migrate(ctx context.Context, tx pgx.Tx, steps []string) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('keytoll migrates ' || $1::text, 0))`, db.schema); err != nil {
		return err
	}
	at, err := db.schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	if at > len(steps) {
		return tooNew(at, len(steps))
	}
	for n := at; n < len(steps); n++ {
		if err := script(ctx, tx, steps[n]); err != nil {
			return err
		}
	}
	if at == len(steps) {
		return nil
	}
	return script(ctx, tx, inSchema(db.schema, fmt.Sprintf(`INSERT INTO keytoll.schema_version (id, version) VALUES (1, %d)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version`, len(steps))))
}

// script runs statements that take no arguments.
func script(ctx context.Context, tx pgx.Tx, text string) error {
	_, err := tx.Conn().PgConn().Exec(ctx, text).ReadAll()
	return err
}

// schemaVersion returns the version of the tables: 0 for an empty schema, which
// it makes where there is none.
func (db *DB) schemaVersion(ctx context.Context, tx pgx.Tx) (int, error) {
	var encoding, client string
	var exists, ours bool
	var others int
	err := tx.QueryRow(ctx, `SELECT current_setting('server_encoding'), current_setting('client_encoding'),
		to_regnamespace($1::text) IS NOT NULL,
		to_regclass($1::text || '.schema_version') IS NOT NULL,
		(SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1::text))`,
		`"`+db.schema+`"`).Scan(&encoding, &client, &exists, &ours, &others)
	switch {
	case err != nil:
		return 0, err
	case encoding != "UTF8":
		return 0, ErrEncoding
	case !plain(client):
		return 0, errClientEncoding
	case !exists:
		return 0, script(ctx, tx, `CREATE SCHEMA "`+db.schema+`"`)
	case !ours && others > 0:
		return 0, ErrForeign
	case !ours:
		return 0, nil
	}
	var version int
	err = tx.QueryRow(ctx, db.sql.version).Scan(&version, &client)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = errLostVersion
	case stranger(err):
		err = ErrForeign
	}
	return version, err
}

// stranger reports whether a table of the name of ours has not its columns.
func stranger(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "42703"
}

var errLostVersion error = &errors.Error{Code: errors.Corrupt, Msg: "the database has lost its schema version"}

func tooNew(at, known int) error {
	msg := fmt.Sprintf("the database has schema version %d and this program knows %d; update the program", at, known)
	return &errors.Error{Msg: msg, Err: ErrNewerSchema}
}

// lookAtSchema returns nil if the tables are of the version that this package
// knows.
func (db *DB) lookAtSchema(ctx context.Context) error {
	var found tables
	var err error
	for range 3 {
		found, err = db.tables(ctx, db.pool, db.mode)
		if err == nil || errors.Is(err, pgx.ErrNoRows) || ctx.Err() != nil || !undone(err) && !unsent(err) && !broken(err) {
			break
		}
	}
	return db.judge(ctx, found, err)
}

// lookAtSchemaIn is lookAtSchema in a transaction of the caller's: another
// connection may be one that all others wait for, too.
func (db *DB) lookAtSchemaIn(ctx context.Context, tx pgx.Tx) error {
	found, err := db.tables(ctx, tx, pgx.QueryExecModeExec)
	return db.judge(ctx, found, err)
}

// tables are what the schema says of its tables: their version, and the encoding
// of the connection.
type tables struct {
	version  int
	encoding string
}

func (db *DB) tables(ctx context.Context, from source, mode pgx.QueryExecMode) (found tables, err error) {
	err = from.QueryRow(ctx, db.sql.version, mode).Scan(&found.version, &found.encoding)
	return found, err
}

// judge returns nil, and remembers it, if the tables that were found are of the
// version that this package knows.
func (db *DB) judge(ctx context.Context, found tables, err error) error {
	known, failed := fs.Glob(migrations, "sql/*.sql")
	if failed != nil {
		return failed
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Code == "42P01" || e.Code == "3F000") {
		return ErrNotMigrated
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errLostVersion
	case stranger(err):
		return ErrForeign
	case err != nil:
		return db.fault(ctx, err)
	case !plain(found.encoding):
		return errClientEncoding
	case found.version > len(known):
		return tooNew(found.version, len(known))
	case found.version < len(known):
		return ErrNotMigrated
	}
	db.ready.Store(true)
	return nil
}
