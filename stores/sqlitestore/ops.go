package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// The driver looks up the name of every numbered parameter at each run, so the
// statements of the hot path count theirs by position.
const (
	opMade = `account, id, kind, intent, at, amount, target, parts, seq,
		issued, pending, available, held, consumed, expired, key, operation, note, hold, deadline`
	opSettled = `settled_at, settled_amount, settled_rest,
		settled_issued, settled_pending, settled_available, settled_held, settled_consumed, settled_expired`
	opColumns = opMade + `, ` + opSettled

	opByID = `SELECT ` + opColumns + ` FROM ops WHERE account = ? AND id = ?`
	opsDue = `SELECT ` + opColumns + ` FROM ops WHERE account = ? AND due <= ?`
	opsAll = `SELECT ` + opColumns + ` FROM ops WHERE account = ?`

	insertOp = `INSERT INTO ops (` + opMade + `, due)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertSettledOp = `INSERT INTO ops (` + opMade + `, due, ` + opSettled + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateOp = `UPDATE ops SET parts = ?, hold = ?, due = ?, (` + opSettled + `) = (?, ?, ?, ?, ?, ?, ?, ?, ?)
		WHERE account = ? AND id = ?`
)

// scanOp reads opColumns.
func scanOp(ctx context.Context, rows *sql.Rows, o *credits.Op) error {
	var intent, parts []byte
	var at int64
	var deadline, settled sql.NullInt64
	t, u := &o.Totals, &o.SettledTotals
	err := rows.Scan(&o.Account, &o.ID, &o.Kind, &intent, &at, &o.Amount, &o.Target, &parts, &o.Seq,
		&t.Issued, &t.Pending, &t.Available, &t.Held, &t.Consumed, &t.Expired, &o.Key, &o.Operation, &o.Note,
		&o.Hold, &deadline, &settled, &o.SettledAmount, &o.SettledRest,
		&u.Issued, &u.Pending, &u.Available, &u.Held, &u.Consumed, &u.Expired)
	if err != nil {
		return fault(ctx, err)
	}
	copy(o.Intent[:], intent)
	o.At, o.Deadline, o.SettledAt = instant(at), optional(deadline), optional(settled)
	if err := o.Parts.UnmarshalText(parts); err != nil {
		return &errors.Error{Code: errors.Corrupt, Msg: "a stored operation cannot be read", Err: err}
	}
	return nil
}

// writeOp stores a row that was added or updated.
func writeOp(ctx context.Context, s *session, row *credits.OpRow) error {
	o := &row.Op
	if row.Change == credits.Unchanged {
		return nil
	}
	parts, err := o.Parts.MarshalText()
	if err != nil {
		return err
	}
	if row.Change == credits.Updated {
		args := append([]any{string(parts), int64(o.Hold), nullable(o.Due())}, settledArgs(o)...)
		return s.replace(ctx, updateOp, append(args, string(o.Account), string(o.ID))...)
	}
	t := &o.Totals
	args := []any{
		string(o.Account), string(o.ID), int64(o.Kind), o.Intent[:], micros(o.At), int64(o.Amount), string(o.Target), string(parts), o.Seq,
		int64(t.Issued), int64(t.Pending), int64(t.Available), int64(t.Held), int64(t.Consumed), int64(t.Expired),
		o.Key, o.Operation, o.Note, int64(o.Hold), nullable(o.Deadline), nullable(o.Due()),
	}
	if o.SettledAt.IsZero() && o.SettledAmount == 0 && o.SettledRest == 0 && o.SettledTotals == (credits.Totals{}) {
		return s.exec(ctx, insertOp, args...)
	}
	return s.exec(ctx, insertSettledOp, append(args, settledArgs(o)...)...)
}

// settledArgs returns the values of opSettled.
func settledArgs(o *credits.Op) []any {
	t := &o.SettledTotals
	return []any{
		nullable(o.SettledAt), int64(o.SettledAmount), int64(o.SettledRest),
		int64(t.Issued), int64(t.Pending), int64(t.Available), int64(t.Held), int64(t.Consumed), int64(t.Expired),
	}
}
