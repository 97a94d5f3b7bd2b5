package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/keytoll/keytoll/credits"
)

const (
	lotColumns = `account, id, op, priority, category, effective_at, expires_at,
		issued, pending, available, held, consumed, expired`

	lotByID   = `SELECT ` + lotColumns + ` FROM lots WHERE account = ? AND id = ?`
	lotsDue   = `SELECT ` + lotColumns + ` FROM lots WHERE account = ? AND due <= ?`
	lotsBurn  = `SELECT ` + lotColumns + ` FROM lots WHERE account = ? AND available > 0 AND (due IS NULL OR due > ?) ORDER BY rank`
	lotsAll   = `SELECT ` + lotColumns + ` FROM lots WHERE account = ? ORDER BY id`
	insertLot = `INSERT INTO lots (` + lotColumns + `, rank, due)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateLot = `UPDATE lots SET issued = ?, pending = ?, available = ?, held = ?, consumed = ?, expired = ?, due = ?
		WHERE account = ? AND id = ?`
)

// scanLot reads lotColumns.
func scanLot(ctx context.Context, rows *sql.Rows, l *credits.Lot) error {
	var effective int64
	var expires sql.NullInt64
	t := &l.Totals
	err := rows.Scan(&l.Account, &l.ID, &l.Op, &l.Priority, &l.Category, &effective, &expires,
		&t.Issued, &t.Pending, &t.Available, &t.Held, &t.Consumed, &t.Expired)
	l.EffectiveAt, l.ExpiresAt = instant(effective), optional(expires)
	return fault(ctx, err)
}

// writeLot stores a row that was added or updated.
func writeLot(ctx context.Context, s *session, row *credits.LotRow) error {
	l := &row.Lot
	t := &l.Totals
	switch row.Change {
	case credits.Added:
		rank := l.Rank()
		return s.exec(ctx, insertLot, string(l.Account), int64(l.ID), string(l.Op), l.Priority, int64(l.Category),
			micros(l.EffectiveAt), nullable(l.ExpiresAt),
			int64(t.Issued), int64(t.Pending), int64(t.Available), int64(t.Held), int64(t.Consumed), int64(t.Expired),
			rank[:], nullable(l.Due()))
	case credits.Updated:
		return s.replace(ctx, updateLot,
			int64(t.Issued), int64(t.Pending), int64(t.Available), int64(t.Held), int64(t.Consumed), int64(t.Expired),
			nullable(l.Due()), string(l.Account), int64(l.ID))
	}
	return nil
}
