package pgstore

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/keytoll/keytoll/apikey"
)

// InSchema puts db's schema in the place of keytoll.
func InSchema(db *DB, text string) string { return inSchema(db.schema, text) }

// ListQuery returns the statement for q and its arguments.
func ListQuery(db *DB, q *apikey.Query) (string, []any) { return db.sql.list(q) }

// EventQuery returns the statement for q and its arguments.
func EventQuery(db *DB, q *apikey.EventQuery) (string, []any) { return db.sql.eventPage(q) }

// KeepAll lets s sweep nothing by itself.
func (s *LimitStore) KeepAll() { s.sweeper.fresh.Store(math.MinInt64) }

// MigrateTo brings the schema to an older version.
func MigrateTo(ctx context.Context, db *DB, version int) error {
	steps, err := migrationSteps(db.schema)
	if err != nil {
		return err
	}
	return db.committed(ctx, func(tx pgx.Tx) error { return db.migrate(ctx, tx, steps[:version]) })
}

// LockOf returns the number of the advisory lock of a subject.
func LockOf(db *DB, key string) int64 { return lockOf(db.schema, subject(key)) }
