package sqlitestore

import (
	"context"

	"github.com/keytoll/keytoll/credits"
)

const (
	// See keyColumns for how rows are packed.
	budgetRow = `concat(b.amount, ' ', b.every, ' ', b.soft, ' ', b.window_start, ' ', b.window_end, ' ', b.base, ' ', b.used, ' ',
		b.held, ' ', b.fired, ' ', octet_length(b.id), ' ', octet_length(b.key), ' ', octet_length(b.operation), ' ',
		octet_length(b.zone), ' ', octet_length(b.thresholds), ' ',
		b.id, b.key, b.operation, b.zone, b.thresholds) AS budget`

	budgetsByID  = `SELECT ` + budgetRow + ` FROM budgets b WHERE b.account = ?1 AND b.id IN (SELECT value FROM json_each(?2))`
	budgetsAfter = `SELECT ` + budgetRow + ` FROM budgets b WHERE b.account = ?1 AND b.id > ?2 ORDER BY b.id LIMIT ?3`

	// The scopes are pairs of a key and an operation.
	budgetsByScope = `SELECT ` + budgetRow + ` FROM json_each(?2) s CROSS JOIN budgets b INDEXED BY budgets_by_scope
		ON b.account = ?1 AND b.key = s.value ->> 0 AND b.operation = s.value ->> 1`

	insertBudget = `INSERT INTO budgets (key, operation, amount, every, zone, soft, thresholds, window_start, window_end,
		base, used, held, fired, account, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateBudget = `UPDATE budgets SET key = ?, operation = ?, amount = ?, every = ?, zone = ?, soft = ?, thresholds = ?,
		window_start = ?, window_end = ?, base = ?, used = ?, held = ?, fired = ?
		WHERE account = ? AND id = ?`
	deleteBudget = `DELETE FROM budgets WHERE account = ? AND id = ?`
)

// unpackBudget reads a budgetRow.
func unpackBudget(account credits.AccountID, text string) (credits.Budget, error) {
	p := packed{rest: text}
	b := credits.Budget{Account: account}
	b.Amount, b.Every, b.Soft = credits.Amount(p.number()), credits.Span(p.number()), p.number() != 0
	b.Start, b.End = p.instant(), p.instant()
	b.Base, b.Used, b.Held = credits.Amount(p.number()), credits.Amount(p.number()), credits.Amount(p.number())
	b.Fired = uint16(p.number()) //nolint:gosec // the table holds nothing larger
	id, key, operation, zone, thresholds := p.number(), p.number(), p.number(), p.number(), p.number()
	b.ID, b.Key, b.Operation = credits.BudgetID(p.text(id)), p.text(key), p.text(operation)
	b.Zone, b.Thresholds = p.text(zone), credits.Thresholds(p.text(thresholds))
	return b, p.done("budget")
}

// writeBudget stores a row that was added or updated, and deletes one that was
// removed.
func writeBudget(ctx context.Context, s *session, row *credits.BudgetRow) error {
	b := &row.Budget
	args := func() []any {
		return []any{
			b.Key, b.Operation, int64(b.Amount), int64(b.Every), b.Zone, b.Soft, string(b.Thresholds), nullable(b.Start), nullable(b.End),
			int64(b.Base), int64(b.Used), int64(b.Held), int64(b.Fired), string(b.Account), string(b.ID),
		}
	}
	switch row.Change {
	case credits.Added:
		return s.exec(ctx, insertBudget, args()...)
	case credits.Updated:
		return s.replace(ctx, updateBudget, args()...)
	case credits.Removed:
		return s.replace(ctx, deleteBudget, string(b.Account), string(b.ID))
	}
	return nil
}
