package sqlitestore

import (
	"context"
	"database/sql"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/keytoll/keytoll/errors"
)

// fault gives an error of the driver its code and a message that is safe to
// show. The driver's own error stays reachable for operators. A nil error and
// one that has a code already are returned as they are, and an operation that
// was interrupted because ctx is over becomes the context's error.
func fault(ctx context.Context, err error) error {
	if err == nil || errors.CodeOf(err) != errors.Unknown {
		return err
	}
	code, msg := errors.Unavailable, "the database cannot answer now"
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_INTERRUPT:
			if ctx.Err() != nil {
				return ctx.Err()
			}
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			msg = "the database is in use by another process"
		case sqlite3.SQLITE_FULL:
			msg = "the database's disk is full"
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
			msg = "the database file cannot be written to"
		case sqlite3.SQLITE_CANTOPEN:
			msg = "the database file cannot be opened"
		case sqlite3.SQLITE_NOTADB:
			code, msg = errors.Corrupt, "the file is not a database"
		case sqlite3.SQLITE_CORRUPT:
			code, msg = errors.Corrupt, "the database file is damaged"
		case sqlite3.SQLITE_CONSTRAINT:
			code, msg = errors.Corrupt, "the database refused data that breaks its rules"
		case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_TOOBIG:
			code, msg = errors.Unknown, "the database refused a statement"
		}
	}
	return &errors.Error{Code: code, Msg: msg, Err: err}
}

// primary is the result code of SQLite in err without its extension, or 0.
func primary(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

func isBusy(err error) bool {
	code := primary(err)
	return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
}

// isTaken tells whether err is a broken UNIQUE constraint or primary key.
func isTaken(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

func isNoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
