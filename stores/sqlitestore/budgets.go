package sqlitestore

import (
	"context"

	"github.com/keytoll/keytoll/credits"
)

const (
	// See keyColumns for how rows are packed.
	budgetRow = `concat(amount, ' ', every, ' ', soft, ' ', window_start, ' ', window_end, ' ', base, ' ', used, ' ',
		held, ' ', fired, ' ', octet_length(id), ' ', octet_length(key), ' ', octet_length(operation), ' ',
		octet_length(zone), ' ', octet_length(thresholds), ' ',
		id, key, operation, zone, thresholds) AS budget`

	budgetsByID  = `SELECT ` + budgetRow + listed + `budgets ON account = ?1 AND id = listed`
	budgetsAfter = `SELECT ` + budgetRow + ` FROM budgets WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT +?3`

	// The scopes are pairs of a key and an operation.
	budgetsByScope = `SELECT ` + budgetRow + listed + `budgets INDEXED BY budgets_by_scope
		ON account = ?1 AND key = listed ->> 0 AND operation = listed ->> 1`

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
	b.Fired = uint16(p.number())
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
