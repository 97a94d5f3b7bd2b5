package creditstest

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func listChecks() []check {
	return []check{
		{"lots are listed by ID, lot 0 first", listLots},
		{"ops are listed by ID", listOps},
		{"open ops are listed by ID, those in suspense too", listOpen},
		{"ops of a target are listed by ID", listTargets},
		{"budgets are listed by ID", listBudgets},
		{"schedules are listed by ID", listSchedules},
	}
}

// listed fails unless every stretch of ids is loaded: after each of them and
// before all, with each limit.
func listed[ID ~string](ctx context.Context, s credits.Store, list credits.List, ids []ID, want func([]ID) seen) error {
	for from := range len(ids) + 1 {
		for limit := 1; limit <= len(ids)+1; limit++ {
			list.After, list.Limit = "", limit
			if from > 0 {
				list.After = string(ids[from-1])
			}
			if err := loads(ctx, s, credits.Need{Account: "a", List: list}, want(ids[from:min(from+limit, len(ids))])); err != nil {
				return err
			}
		}
	}
	// After need not be the id of a row.
	list.After, list.Limit = string(ids[0])+"!", 1
	return loads(ctx, s, credits.Need{Account: "a", List: list}, want(ids[1:2]))
}

func wantOps(ids []credits.OpID) seen { return seen{ops: ids} }

func listLots(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		spent(st, now)
		lot(st, credits.Lot{}, 10, now)
	}); err != nil {
		return err
	}
	all := []credits.LotID{0, 1, 2, 3, 4, 5, 6}
	for after := credits.LotID(-1); after <= 7; after++ {
		for limit := 1; limit <= 8; limit++ {
			from := min(int(after)+1, len(all))
			need := credits.Need{Account: "a", List: credits.List{Rows: credits.LotRows, Lot: after, Limit: limit}}
			if err := loads(ctx, s, need, seen{lots: all[from:min(from+limit, len(all))]}); err != nil {
				return err
			}
		}
	}
	if _, err := seed(ctx, s, "b", func(st *credits.State, now time.Time) { lot(st, credits.Lot{}, 10, now) }); err != nil {
		return err
	}
	need := credits.Need{Account: "b", List: credits.List{Rows: credits.LotRows, Lot: -1, Limit: 1}}
	if err := loads(ctx, s, need, seen{lots: []credits.LotID{1}}); err != nil {
		return fmt.Errorf("an account without lot 0: %w", err)
	}
	return nil
}

// listable makes ops of all sorts, and returns their ids in order.
func listable(ctx context.Context, s credits.Store) ([]credits.OpID, error) {
	ids := []credits.OpID{"a", "b", "c", "d", "e", "f", "g"}
	_, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		for i := range ids {
			o := credits.Op{ID: ids[len(ids)-1-i], Kind: credits.KindLease, Hold: credits.HoldStatus(i % 6), Target: []credits.OpID{"", "x", "X"}[i%3]}
			switch o.Hold {
			case credits.HoldNone:
				o.Kind = credits.KindDebit
			case credits.HoldCaptured, credits.HoldReleased, credits.HoldTimedOut:
				o.SettledAt = now
			}
			op(st, o, now)
		}
	})
	return ids, err
}

func listOps(ctx context.Context, s credits.Store) error {
	ids, err := listable(ctx, s)
	if err != nil {
		return err
	}
	return listed(ctx, s, credits.List{Rows: credits.OpRows}, ids, wantOps)
}

func listOpen(ctx context.Context, s credits.Store) error {
	if _, err := listable(ctx, s); err != nil {
		return err
	}
	// HoldOpen is 1 and HoldSuspense 5, counted from the last id.
	if err := listed(ctx, s, credits.List{Rows: credits.OpenRows}, []credits.OpID{"b", "f"}, wantOps); err != nil {
		return err
	}
	// One is settled, and another opened.
	if err := update(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"b"}}, func(now time.Time, st *credits.State) error {
		r := &st.Ops[0]
		r.Op.Hold, r.Op.SettledAt, r.Change = credits.HoldReleased, now, credits.Updated
		op(st, credits.Op{ID: "ab", Kind: credits.KindHold, Hold: credits.HoldOpen}, now)
		change(st, now)
		return nil
	}); err != nil {
		return err
	}
	return listed(ctx, s, credits.List{Rows: credits.OpenRows}, []credits.OpID{"ab", "f"}, wantOps)
}

func listTargets(ctx context.Context, s credits.Store) error {
	if _, err := listable(ctx, s); err != nil {
		return err
	}
	if err := listed(ctx, s, credits.List{Rows: credits.TargetRows, Target: "x"}, []credits.OpID{"c", "f"}, wantOps); err != nil {
		return err
	}
	return listed(ctx, s, credits.List{Rows: credits.TargetRows, Target: "X"}, []credits.OpID{"b", "e"}, wantOps)
}

func listBudgets(ctx context.Context, s credits.Store) error {
	ids := []credits.BudgetID{"A", "a", "b", "c"}
	if _, err := seed(ctx, s, "a", func(st *credits.State, _ time.Time) {
		for i := range ids {
			budget(st, credits.Budget{ID: ids[len(ids)-1-i]})
		}
	}); err != nil {
		return err
	}
	return listed(ctx, s, credits.List{Rows: credits.BudgetRows}, ids, func(ids []credits.BudgetID) seen { return seen{budgets: ids} })
}

func listSchedules(ctx context.Context, s credits.Store) error {
	ids := []credits.ScheduleID{"A", "a", "b", "c"}
	if _, err := seed(ctx, s, "a", func(st *credits.State, _ time.Time) {
		for i := range ids {
			schedule(st, credits.Schedule{ID: ids[len(ids)-1-i]}, time.Time{})
		}
	}); err != nil {
		return err
	}
	return listed(ctx, s, credits.List{Rows: credits.ScheduleRows}, ids, func(ids []credits.ScheduleID) seen { return seen{schedules: ids} })
}
