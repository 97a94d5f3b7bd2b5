package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

const (
	opColumns = `account, id, kind, intent, at, amount, target, parts, seq,
		issued, pending, available, held, consumed, expired, key, operation, note,
		hold, deadline, settled_at, settled_amount, settled_rest,
		settled_issued, settled_pending, settled_available, settled_held, settled_consumed, settled_expired`

	opByID   = `SELECT ` + opColumns + ` FROM ops WHERE account = ?1 AND id = ?2`
	opsDue   = `SELECT ` + opColumns + ` FROM ops WHERE account = ?1 AND due <= ?2`
	opsAll   = `SELECT ` + opColumns + ` FROM ops WHERE account = ?1`
	insertOp = `INSERT INTO ops (` + opColumns + `, due)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
		?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30)`
	updateOp = `UPDATE ops SET parts = ?3, hold = ?4, due = ?5, settled_at = ?6, settled_amount = ?7, settled_rest = ?8,
		settled_issued = ?9, settled_pending = ?10, settled_available = ?11, settled_held = ?12,
		settled_consumed = ?13, settled_expired = ?14
		WHERE account = ?1 AND id = ?2`
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
	t, u := &o.Totals, &o.SettledTotals
	if row.Change == credits.Updated {
		return s.replace(ctx, updateOp, string(o.Account), string(o.ID), string(parts), int64(o.Hold), nullable(o.Due()),
			nullable(o.SettledAt), int64(o.SettledAmount), int64(o.SettledRest),
			int64(u.Issued), int64(u.Pending), int64(u.Available), int64(u.Held), int64(u.Consumed), int64(u.Expired))
	}
	return s.exec(ctx, insertOp, string(o.Account), string(o.ID), int64(o.Kind), o.Intent[:], micros(o.At), int64(o.Amount),
		string(o.Target), string(parts), o.Seq,
		int64(t.Issued), int64(t.Pending), int64(t.Available), int64(t.Held), int64(t.Consumed), int64(t.Expired),
		o.Key, o.Operation, o.Note, int64(o.Hold), nullable(o.Deadline), nullable(o.SettledAt), int64(o.SettledAmount),
		int64(o.SettledRest),
		int64(u.Issued), int64(u.Pending), int64(u.Available), int64(u.Held), int64(u.Consumed), int64(u.Expired),
		nullable(o.Due()))
}
