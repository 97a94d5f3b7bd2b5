package sqlitestore

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/keytoll/keytoll/errors"
)

// migrations are the steps from an empty file to the newest schema, in the
// order of their names. A step that was released is never changed.
//
//go:embed sql/*.sql
var migrations embed.FS

// applicationID marks the file as ours ("file" and others show it): "KtlS".
const applicationID = 0x4b746c53

var (
	// ErrNotMigrated reports the use of a file without tables, or with those of
	// an older version of this package.
	ErrNotMigrated error = &errors.Error{Code: errors.Unavailable, Msg: "the database has no tables of this version yet; call Migrate once"}
	// ErrNewerSchema reports a file whose tables were made by a newer version of
	// this package.
	ErrNewerSchema error = &errors.Error{Code: errors.Unavailable, Msg: "the database was made by a newer version of this program; update the program"}
	// ErrForeign reports a SQLite file that holds the tables of something else.
	ErrForeign error = &errors.Error{Code: errors.Unavailable, Msg: "the file belongs to another program; give a file of its own"}
)

// Migrate brings the tables to the version that this package knows, in one
// transaction, and does nothing when they are there already; several processes
// may call it at once. Programs of an older version must be stopped first: one
// that still has the file open cannot write any more, and knows nothing of what
// is decided about owners. Migrate refuses a file of a newer version
// ([ErrNewerSchema]) and one with somebody else's tables ([ErrForeign]). Nothing
// else in this package makes or alters tables.
func (db *DB) Migrate(ctx context.Context) error {
	const op = "sqlitestore.Migrate"
	if err := db.lookAtSchema(ctx); !errors.Is(err, ErrNotMigrated) {
		return errors.Wrap(op, err)
	}
	steps, err := migrationSteps()
	if err != nil {
		return errors.Wrap(op, err)
	}
	err = db.writer.do(ctx, func(s *session) error { return migrate(ctx, s, steps) })
	if err != nil {
		return errors.Wrap(op, err)
	}
	db.ready.Store(true)
	return nil
}

// migrationSteps returns the texts of the migrations; step n leads to schema
// version n+1.
func migrationSteps() ([]string, error) {
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
		steps = append(steps, string(text))
	}
	return steps, nil
}

func migrate(ctx context.Context, s *session, steps []string) error {
	ctx = context.WithoutCancel(ctx) // in the writer's hands nothing is interrupted
	at, err := schemaVersion(ctx, s)
	if err != nil {
		return err
	}
	if at > len(steps) {
		return tooNew(at, len(steps))
	}
	for n := at; n < len(steps); n++ {
		if err := s.script(ctx, steps[n]); err != nil {
			return err
		}
		if n+1 == chainVersion {
			if err := chainJournal(ctx, s); err != nil {
				return err
			}
		}
	}
	if at == len(steps) {
		return nil
	}
	if err := s.script(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		return err
	}
	return s.exec(ctx, `INSERT INTO schema_version (id, version) VALUES (1, ?1)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version`, len(steps))
}

// schemaVersion returns the version of the tables: 0 for an empty file.
func schemaVersion(ctx context.Context, s *session) (int, error) {
	var id, tables int
	if err := s.row(ctx, "PRAGMA application_id", nil, &id); err != nil {
		return 0, err
	}
	if id != applicationID {
		if err := s.row(ctx, "SELECT count(*) FROM sqlite_schema", nil, &tables); err != nil {
			return 0, err
		}
		if id != 0 || tables != 0 {
			return 0, ErrForeign
		}
		return 0, nil
	}
	var version int
	err := s.row(ctx, "SELECT version FROM schema_version WHERE id = 1", nil, &version)
	if isNoRows(err) || err != nil && errors.CodeOf(err) == errors.Unknown {
		err = &errors.Error{Code: errors.Corrupt, Msg: "the database has lost its schema version", Err: err}
	}
	return version, err
}

func tooNew(at, known int) error {
	msg := fmt.Sprintf("the database has schema version %d and this program knows %d; update the program", at, known)
	return &errors.Error{Msg: msg, Err: ErrNewerSchema}
}

// ensureReady looks at the schema version until it was seen to be right.
func (db *DB) ensureReady(ctx context.Context) error {
	if db.ready.Load() {
		return nil
	}
	return db.lookAtSchema(ctx)
}

// lookAtSchema returns nil if the tables are of the version that this package
// knows.
func (db *DB) lookAtSchema(ctx context.Context) error {
	err := db.readers.do(ctx, func(s *session) error {
		return s.snapshot(ctx, func(s *session) error { return checkSchema(ctx, s) }) // else another process's tables could appear half-way
	})
	if err == nil {
		db.ready.Store(true)
	}
	return err
}

// checkSchema does what lookAtSchema does, in a transaction.
func checkSchema(ctx context.Context, s *session) error {
	known, err := fs.Glob(migrations, "sql/*.sql")
	if err != nil {
		return err
	}
	at, err := schemaVersion(ctx, s)
	switch {
	case err != nil:
		return err
	case at > len(known):
		return tooNew(at, len(known))
	case at < len(known):
		return ErrNotMigrated
	}
	return nil
}
