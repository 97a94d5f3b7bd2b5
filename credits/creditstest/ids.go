package creditstest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// keptApart fills two accounts with rows of the same ids.
func keptApart(ctx context.Context, s credits.Store) error {
	var want [2]contents
	for i, id := range []credits.AccountID{"a", "aa"} {
		if _, err := seed(ctx, s, id, func(st *credits.State, now time.Time) {
			rich(st, now)
			for j := range st.Ops {
				st.Ops[j].Op.Note = string(id)
			}
			for j := range st.Budgets {
				st.Budgets[j].Budget.Used = credits.Amount(i)
			}
			for j := range st.Schedules {
				st.Schedules[j].Schedule.Next = int64(i)
			}
			want[i] = of(st)
			want[i].account.Version, want[i].account.At = 1, now
		}); err != nil {
			return err
		}
	}
	if _, err := rewrite(ctx, s, removeSome); err != nil {
		return err
	}
	if err := holds(ctx, s, want[1]); err != nil {
		return fmt.Errorf("after rows of account %q with the same ids were removed: %w", "a", err)
	}
	return loads(ctx, s, everything("aa"), seen{
		lots: []credits.LotID{0, 1, 2}, ops: []credits.OpID{"h", "o", "p", pruned},
		budgets: []credits.BudgetID{"b", "c"}, schedules: []credits.ScheduleID{"s", "t"},
	})
}

func hostileIDs(ctx context.Context, s credits.Store) error {
	ids := slices.Sorted(slices.Values(append(slices.Clone(hostile), widest)))
	for i, id := range ids {
		if _, err := seed(ctx, s, credits.AccountID(id), func(st *credits.State, now time.Time) {
			if st.Account.Version != 0 {
				return // reported below: the account is another one's
			}
			lot(st, credits.Lot{}, credits.Amount(i+1), now)
			for j, o := range ids {
				op(st, credits.Op{ID: credits.OpID(o), Kind: credits.KindDebit, Amount: credits.Amount(j), Note: o, Target: credits.OpID(o)}, now)
				if i == 0 { // of one account is enough
					budget(st, credits.Budget{ID: credits.BudgetID(o), Key: o, Operation: ids[len(ids)-1-j], Used: credits.Amount(j)})
					schedule(st, credits.Schedule{ID: credits.ScheduleID(o), Next: int64(j)}, time.Time{})
				}
			}
		}); err != nil {
			return fmt.Errorf("account %q: %w", id, err)
		}
	}
	for i, id := range ids {
		for j, o := range ids {
			need := credits.Need{Account: credits.AccountID(id), Ops: []credits.OpID{credits.OpID(o)}}
			err := view(ctx, s, need, func(_ time.Time, st *credits.State) error {
				if st.Account.Totals.Available != credits.Amount(i+1) || st.Account.Version != 1 {
					return fmt.Errorf("account %q is %+v", id, st.Account)
				}
				if len(st.Ops) != 1 || st.Ops[0].Op.Amount != credits.Amount(j) || st.Ops[0].Op.Note != o || st.Ops[0].Op.Target != credits.OpID(o) {
					return fmt.Errorf("op %q of account %q is %+v", o, id, st.Ops)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	for j, o := range ids {
		for _, need := range []credits.Need{
			{Budgets: []credits.BudgetID{credits.BudgetID(o)}, Schedules: []credits.ScheduleID{credits.ScheduleID(o)}},
			{Scopes: []credits.Scope{{Key: o, Operation: ids[len(ids)-1-j]}}},
		} {
			need.Account = credits.AccountID(ids[0])
			if err := view(ctx, s, need, func(_ time.Time, st *credits.State) error {
				if len(st.Budgets) != 1 || st.Budgets[0].Budget.Used != credits.Amount(j) {
					return fmt.Errorf("with %+v the budgets are %+v; want one, %q", need, st.Budgets, o)
				}
				if len(need.Schedules) > 0 && (len(st.Schedules) != 1 || st.Schedules[0].Schedule.Next != int64(j)) {
					return fmt.Errorf("schedule %q is %+v", o, st.Schedules)
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return hostileOrder(ctx, s, ids)
}

// hostileOrder fails unless every listing has the ids in ascending order.
func hostileOrder(ctx context.Context, s credits.Store, ids []string) error {
	var got []string
	for after := ""; ; after = got[len(got)-1] {
		page, err := s.Accounts(ctx, credits.AccountID(after), 4)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, id := range page {
			got = append(got, string(id))
		}
	}
	if !slices.Equal(got, ids) {
		return wrong("accounts in ascending order, four at a time", got, ids)
	}
	c, err := read(ctx, s, credits.AccountID(ids[0]))
	if err != nil {
		return err
	}
	if len(c.budgets) != len(ids) || len(c.schedules) != len(ids) {
		return fmt.Errorf("%d budgets and %d schedules; want %d of each", len(c.budgets), len(c.schedules), len(ids))
	}
	for i, id := range ids {
		if string(c.budgets[i].ID) != id || string(c.schedules[i].ID) != id {
			return fmt.Errorf("row %d of Inspect is budget %q and schedule %q; want %q", i, c.budgets[i].ID, c.schedules[i].ID, id)
		}
		need := credits.Need{Account: credits.AccountID(ids[0])}
		for _, rows := range []credits.Rows{credits.OpRows, credits.BudgetRows, credits.ScheduleRows} {
			need.List = credits.List{Rows: rows, After: id, Limit: 1}
			var want seen
			if next := i + 1; next < len(ids) {
				switch rows {
				case credits.OpRows:
					want.ops = []credits.OpID{credits.OpID(ids[next])}
				case credits.BudgetRows:
					want.budgets = []credits.BudgetID{credits.BudgetID(ids[next])}
				default:
					want.schedules = []credits.ScheduleID{credits.ScheduleID(ids[next])}
				}
			}
			if err := loads(ctx, s, need, want); err != nil {
				return err
			}
		}
	}
	return nil
}
