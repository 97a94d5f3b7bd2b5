package sqlitestore

import (
	"context"

	"github.com/keytoll/keytoll/credits"
)

const (
	// See keyColumns for how rows are packed.
	lotRow = `concat(id, ' ', priority, ' ', category, ' ', effective_at, ' ', expires_at, ' ', pruned, ' ', ` + packedTotals + `,
		octet_length(op), ' ', octet_length(schedule), ' ', octet_length(operations), ' ',
		op, schedule, operations) AS lot`

	lotByID   = `SELECT ` + lotRow + ` FROM lots WHERE account = ?1 AND id = ?2`
	lotsByID  = `SELECT ` + lotRow + listed + `lots ON account = ?1 AND id = listed`
	lotsDue   = `SELECT ` + lotRow + ` FROM lots WHERE account = ?1 AND due <= ?2 ORDER BY due, id LIMIT +?3`
	lotsBurn  = `SELECT ` + lotRow + ` FROM lots WHERE account = ?1 AND available > 0 AND (due IS NULL OR due > ?2) ORDER BY rank`
	lotsAfter = `SELECT ` + lotRow + ` FROM lots WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT +?3`

	insertLot = `INSERT INTO lots (account, id, op, schedule, effective_at,
		priority, category, operations, expires_at, rank, due, pruned, ` + totalsColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateLot = `UPDATE lots SET due = ?, pruned = ?, issued = ?, pending = ?, available = ?, held = ?, leased = ?,
		consumed = ?, expired = ?, suspense = ?, debt = ?
		WHERE account = ? AND id = ?`
	// The terms of the debt are those of what repaid last.
	updateDebt = `UPDATE lots SET priority = ?, category = ?, operations = ?, expires_at = ?, rank = ?, due = ?, pruned = ?,
		issued = ?, pending = ?, available = ?, held = ?, leased = ?, consumed = ?, expired = ?, suspense = ?, debt = ?
		WHERE account = ? AND id = ?`
)

// unpackLot reads a lotRow.
func unpackLot(account credits.AccountID, text string) (credits.Lot, error) {
	p := packed{rest: text}
	l := credits.Lot{Account: account}
	l.ID, l.Priority, l.Category = credits.LotID(p.number()), int(p.number()), credits.Category(p.number())
	l.EffectiveAt, l.ExpiresAt, l.Pruned = p.instant(), p.instant(), credits.Amount(p.number())
	l.Totals = p.totals()
	op, schedule, operations := p.number(), p.number(), p.number()
	l.Op, l.Schedule, l.Only = credits.OpID(p.text(op)), credits.ScheduleID(p.text(schedule)), credits.Operations(p.text(operations))
	return l, p.done("lot")
}

// writeLot stores a row that was added or updated.
func writeLot(ctx context.Context, s *session, row *credits.LotRow) error {
	l := &row.Lot
	args := make([]any, 0, 21)
	terms := func() {
		rank := l.Rank()
		args = append(args, l.Priority, int64(l.Category), string(l.Only), nullable(l.ExpiresAt), rank[:])
	}
	state := func() {
		args = totalsArgs(append(args, nullable(l.Due()), int64(l.Pruned)), &l.Totals)
	}
	key := func() { args = append(args, string(l.Account), int64(l.ID)) }
	switch row.Change {
	case credits.Added:
		key()
		args = append(args, string(l.Op), string(l.Schedule), micros(l.EffectiveAt))
		terms()
		state()
		return s.exec(ctx, insertLot, args...)
	case credits.Updated:
		if l.ID == 0 {
			terms()
		}
		state()
		key()
		if l.ID == 0 {
			return s.replace(ctx, updateDebt, args...)
		}
		return s.replace(ctx, updateLot, args...)
	}
	return nil
}
