package credits

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// BudgetsCovering returns the budgets that a hold with that key and operation would
// count against, by ID, as they are by the store's clock, see [Ledger.Budget]: those
// of each path above the key, and the account's own. Either may be "". One that
// names an operation is among them only when the operation is given. There may be
// as many as [MaxBudgets]: nobody sets more than a few for one key.
func (l *Ledger) BudgetsCovering(ctx context.Context, account AccountID, key, operation string) ([]Budget, error) {
	const op = "credits.BudgetsCovering"
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(account))
	checkText(&f, "Key", key, MaxIDBytes)
	checkText(&f, "Operation", operation, MaxIDBytes)
	if err := f.Err(); err != nil {
		return nil, err
	}
	var list []Budget
	need := Need{Account: account, Scopes: scopes(nil, key, operation)}
	err := l.view(ctx, need, func(st *State, now time.Time) error {
		list = nil
		now, err := st.advance(now)
		if err != nil {
			return err
		}
		for i := range st.Budgets {
			b := st.Budgets[i].Budget
			if !b.covers(key, operation) {
				continue // of a hold that was due
			}
			if err := b.roll(now, st.zones); err != nil {
				return err
			}
			list = append(list, b)
		}
		return nil
	})
	if err != nil {
		return nil, atBoundary(op, err)
	}
	slices.SortFunc(list, func(a, b Budget) int { return compareIDs(a.ID, b.ID) })
	return list, nil
}
