package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// fault gives an error of the driver its code and a message that is safe to
// show. The driver's own error stays reachable for operators. An error that has
// a code already is returned as it is, a refusal of the function apply becomes
// what the contract calls it, and what was broken off because ctx is over
// becomes the context's error.
func (db *DB) fault(ctx context.Context, err error) error {
	if errors.CodeOf(err) != errors.Unknown && ctx.Err() == nil {
		return err
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctx.Err()
	}
	if db.closed.Err() != nil {
		return ErrClosed
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return &errors.Error{Code: errors.Unavailable, Msg: "the database cannot be reached now", Err: err}
	}
	if refusal := refusal(e); refusal != nil {
		return refusal
	}
	code, msg := errors.Unavailable, "the database cannot answer now"
	switch e.Code {
	case "42P01", "3F000", "42883": // undefined table, schema or function
		db.ready.Store(false)
		return &errors.Error{Msg: "the tables are gone", Err: errors.Join(ErrNotMigrated, err)}
	case "42501":
		msg = "the database user has not the rights that it needs"
	case "25006":
		msg = "the database can only be read now"
	case "25P02":
		msg = "the transaction has failed before; roll it back and begin another"
	case "40001", "40P01":
		msg = "too many change the same things at once"
	case "XX001", "XX002":
		code, msg = errors.Corrupt, "the database is damaged"
	default:
		switch e.Code[:min(2, len(e.Code))] {
		case "22":
			code, msg = errors.Invalid, "a value cannot be stored; give UTF-8 without NUL, and instants of this age"
		case "23":
			code, msg = errors.Corrupt, "the database refused data that breaks its rules"
		case "42", "0A":
			code, msg = errors.Unknown, "the database refused a statement"
		}
	}
	return &errors.Error{Code: code, Msg: msg, Err: err}
}

// refusal returns what the contract calls a refusal of the function apply, or
// nil.
func refusal(e *pgconn.PgError) error {
	switch e.Code {
	case "KT404":
		return apikey.ErrNotFound
	case "KT409":
		return apikey.ErrConflict
	case "KT429":
		return apikey.ErrKeyLimit
	case "23505": // unique
		switch e.ConstraintName {
		case "keys_id", "keys_handle":
			return apikey.ErrExists
		case "keys_label":
			return apikey.ErrNameTaken
		}
	}
	return nil
}

// undone reports whether the server says that it undid a transaction because of
// others: tried again, it may succeed.
func undone(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01")
}

// unsent reports whether nothing of a statement can have come true, for a
// reason that may not hold the next time: it was not sent, or not understood.
func unsent(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == "26000" || e.Code == "0A000" // the prepared statement is gone, or of tables of before
	}
	return pgconn.SafeToRetry(err)
}

// broken reports whether a statement was lost with its connection, so that it
// is not known what came of it.
func broken(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	e, answered := errors.AsType[*pgconn.PgError](err)
	return !answered || e.Code == "57P01" || e.Code == "57P02" // the server is shut down, or crashed
}
