package credits

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// setBudget and removeBudget are commands without an id: what they leave behind
// is the same however often they are done.
type setBudget struct {
	Budget
	result Budget
}

type removeBudget struct {
	account AccountID
	id      BudgetID
}

func (c *setBudget) check(f *errors.Faults, opt *settings) { c.Budget.check(f, opt.zones) }

func (c *setBudget) need(n *Need) {
	n.Account, n.Budgets = c.Account, append(n.Budgets, c.ID)
}

func (c *setBudget) apply(st *State, now time.Time, _ *settings, _ []byte) (Receipt, error) {
	now, err := st.advance(now)
	if err != nil {
		return Receipt{}, err
	}
	next := c.Budget
	row := st.budget(c.ID)
	switch {
	case row == nil:
		if st.Account.Budgets >= MaxBudgets {
			return Receipt{}, refuse(ErrTooManyBudgets, "it has as many as can be; remove one")
		}
		err = next.begin(now, c.Base, st.zones)
	case row.Budget.counts(&next):
		next.Start, next.End, next.Base, next.Used, next.Held = row.Budget.Start, row.Budget.End, row.Budget.Base, row.Budget.Used, row.Budget.Held
		next.Fired = next.Thresholds.keep(row.Budget.Thresholds, row.Budget.Fired)
	default: // other spending, or other windows; what was charged to the old ones names another Start
		at := row.Budget.Start.Add(time.Microsecond)
		if at.Before(now) {
			at = now
		}
		err = next.begin(at, c.Base, st.zones)
	}
	if err != nil {
		return Receipt{}, err
	}
	c.result = next
	if err := c.result.roll(now, st.zones); err != nil {
		return Receipt{}, err
	}
	if row == nil {
		st.Account.Budgets++
		st.putBudget(next)
		st.touch(now)
	} else if next != row.Budget {
		row.Budget = next
		row.Change.change()
		st.touch(now)
	}
	st.scopeIndex.reset()
	return Receipt{}, nil
}

// counts reports whether b counts the same spending in the same windows as next.
func (b *Budget) counts(next *Budget) bool {
	utc := func(zone string) bool { return zone == "" || zone == "UTC" }
	return b.Key == next.Key && b.Operation == next.Operation && b.Every == next.Every &&
		(b.Zone == next.Zone || utc(b.Zone) && utc(next.Zone))
}

// putBudget files a new budget, in the row of one that was taken away in the same
// call if there is one.
func (s *State) putBudget(b Budget) {
	for i := range s.Budgets {
		row := &s.Budgets[i]
		if row.Budget.ID != b.ID {
			continue
		}
		row.Budget = b
		row.Change.renew()
		return
	}
	s.Budgets = append(s.Budgets, BudgetRow{Budget: b, Change: Added})
}

func (c *removeBudget) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.account))
	checkID(f, "ID", string(c.id))
}

func (c *removeBudget) need(n *Need) {
	n.Account, n.Budgets = c.account, append(n.Budgets, c.id)
}

func (c *removeBudget) apply(st *State, now time.Time, _ *settings, _ []byte) (Receipt, error) {
	now, err := st.advance(now)
	if err != nil {
		return Receipt{}, err
	}
	row := st.budget(c.id)
	if row == nil {
		return Receipt{}, refuse(ErrNotFound, "no budget "+quote(string(c.id)))
	}
	// A budget that is set under this id later begins after this one began.
	if at := row.Budget.Start.Add(time.Microsecond); at.After(now) {
		now = at
	}
	row.Change.remove()
	st.Account.Budgets--
	st.touch(now)
	return Receipt{}, nil
}

// SetBudget makes a budget, or changes the one of that account and ID. It returns
// the budget as it is now, with its window and what counts in it.
//
// A change of Amount, Soft or Thresholds keeps the window and all that it counts:
// an Amount below what is spent refuses what is new and breaks nothing. A
// threshold that is new, or that the new Amount puts below Used, is told by the
// next command that spends. A change of Key, Operation, Every or Zone begins a new
// window with nothing in it but Base; what was held or spent before does not
// count in it, and a hold that is open stays as good as it was.
//
// The fields that the ledger keeps are not looked at, but for Base where a window
// begins. It returns [ErrTooManyBudgets]; a retry is harmless.
func (l *Ledger) SetBudget(ctx context.Context, b Budget) (Budget, error) {
	cmd := &setBudget{Budget: b}
	c := l.calls.Get().(*call)
	c.cmd = cmd
	if _, err := l.do(ctx, "credits.SetBudget", c); err != nil {
		return Budget{}, err
	}
	return cmd.result, nil
}

// RemoveBudget takes a budget away: from now on it neither counts nor refuses. It
// returns [ErrNotFound] when there is none, so a retry may too.
func (l *Ledger) RemoveBudget(ctx context.Context, account AccountID, id BudgetID) error {
	c := l.calls.Get().(*call)
	c.cmd = &removeBudget{account, id}
	_, err := l.do(ctx, "credits.RemoveBudget", c)
	return err
}

// Budget returns one budget by its id, as it is by the store's clock: in the
// window of now, with what is held and spent in it. It returns [ErrNotFound].
func (l *Ledger) Budget(ctx context.Context, account AccountID, id BudgetID) (Budget, error) {
	const op = "credits.Budget"
	if err := checkRow(op, account, id); err != nil {
		return Budget{}, err
	}
	var b Budget
	err := l.view(ctx, Need{Account: account, Budgets: []BudgetID{id}}, func(st *State, now time.Time) error {
		now, err := st.advance(now)
		if err != nil {
			return err
		}
		row := st.budget(id)
		if row == nil {
			return refuse(ErrNotFound, "no budget "+quote(string(id)))
		}
		b = row.Budget
		return b.roll(now, st.zones)
	})
	if err != nil {
		return Budget{}, atBoundary(op, err)
	}
	return b, nil
}

// A BudgetPage is a stretch of an account's budgets.
type BudgetPage struct {
	Budgets []Budget
	Next    Cursor // for the page after this one; empty: there is none now
}

// Budgets returns a page of the budgets of an account by ID, as they are by the
// store's clock, see [Ledger.Budget].
func (l *Ledger) Budgets(ctx context.Context, q ListQuery) (BudgetPage, error) {
	const op = "credits.Budgets"
	f := errors.Faults{Op: op}
	after := ""
	want := q.check(&f, func() (err error) {
		after, err = q.Cursor.read(q.Account, budgetsListing)
		return err
	})
	if err := f.Err(); err != nil {
		return BudgetPage{}, err
	}
	var p BudgetPage
	list := List{Rows: BudgetRows, After: after, Limit: want + 1}
	err := l.view(ctx, Need{Account: q.Account, List: list}, func(st *State, now time.Time) error {
		p = BudgetPage{}
		now, err := st.advance(now)
		if err != nil {
			return err
		}
		for i := range st.Budgets {
			if b := st.Budgets[i].Budget; string(b.ID) > after {
				if err := b.roll(now, st.zones); err != nil {
					return err
				}
				p.Budgets = append(p.Budgets, b)
			}
		}
		return nil
	})
	if err != nil {
		return BudgetPage{}, atBoundary(op, err)
	}
	// Others may be among the rows, of holds that were due: the first of all are the
	// first of the listing.
	slices.SortFunc(p.Budgets, func(a, b Budget) int { return compareIDs(a.ID, b.ID) })
	if len(p.Budgets) > want {
		p.Budgets = p.Budgets[:want]
		p.Next = newCursor(q.Account, budgetsListing, string(p.Budgets[want-1].ID))
	}
	return p, nil
}
