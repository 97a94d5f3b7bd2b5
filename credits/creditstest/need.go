package creditstest

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func needChecks() []check {
	return []check{
		{"ops that are named are loaded, and no others are made up", namedOps},
		{"budgets and schedules that are named are loaded", namedRows},
		{"lots of a target's parts are loaded, spent or not, lot 0 included", targetLots},
		{"budgets of a target's charges are loaded, if they exist", targetBudgets},
		{"lot 0 is loaded whenever the account has a debt", debtLoaded},
		{"budgets are loaded by the scopes that they have", scopedBudgets},
		{"ops that can be pruned are loaded by Prunable and then by ID", prunableOps},
		{"lots and budgets of ops that are loaded to be pruned are loaded", prunableRows},
		{"a row that several rules ask for is loaded once", loadedOnce},
	}
}

func namedOps(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		for _, id := range []credits.OpID{"1", "2", "3"} {
			op(st, credits.Op{ID: id, Kind: credits.KindDebit, Note: string(id)}, now)
		}
	}); err != nil {
		return err
	}
	need := credits.Need{Account: "a", Ops: []credits.OpID{"1", "absent"}, Targets: []credits.OpID{"3", "gone"}}
	if err := loads(ctx, s, need, seen{ops: []credits.OpID{"1", "3"}}); err != nil {
		return err
	}
	return update(ctx, s, need, func(_ time.Time, st *credits.State) error {
		for _, r := range st.Ops {
			if r.Op.Note != string(r.Op.ID) || r.Op.Account != "a" {
				return fmt.Errorf("op %q is %+v", r.Op.ID, r.Op)
			}
		}
		return nil
	})
}

func namedRows(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", rich); err != nil {
		return err
	}
	need := credits.Need{Account: "a", Budgets: []credits.BudgetID{"absent", "c"}, Schedules: []credits.ScheduleID{"absent", "t"}}
	return loads(ctx, s, need, seen{budgets: []credits.BudgetID{"c"}, schedules: []credits.ScheduleID{"t"}})
}

// spent makes five lots that are spent and expired, and lot 0.
func spent(st *credits.State, now time.Time) {
	debt(st, 5, now)
	st.Lots[0].Lot.Totals = credits.Totals{Issued: 8, Consumed: 8} // repaid
	st.Account.Totals = st.Lots[0].Lot.Totals
	for range 5 {
		lot(st, credits.Lot{ExpiresAt: now.Add(-time.Hour), Totals: credits.Totals{Issued: 10, Consumed: 10}}, 0, now)
	}
}

func targetLots(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		spent(st, now)
		op(st, credits.Op{ID: "debit", Kind: credits.KindDebit, Amount: 30, Parts: credits.NewParts(part(4), part(2), part(5))}, now)
		op(st, credits.Op{ID: "second", Kind: credits.KindDebit, Amount: 10, Parts: credits.NewParts(part(1))}, now)
		op(st, credits.Op{
			ID: "over", Kind: credits.KindHold, Amount: 12, Hold: credits.HoldCaptured, SettledAt: now,
			Parts: credits.NewParts(part(3), credits.Part{Lot: 0, Amount: 2, Captured: 2}),
		}, now)
	}); err != nil {
		return err
	}
	if err := loads(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"debit", "second"}},
		seen{ops: []credits.OpID{"debit", "second"}, lots: []credits.LotID{1, 2, 4, 5}}); err != nil {
		return err
	}
	return loads(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"over"}}, seen{ops: []credits.OpID{"over"}, lots: []credits.LotID{0, 3}})
}

func targetBudgets(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		for _, id := range []credits.BudgetID{"1", "2", "3"} {
			budget(st, credits.Budget{ID: id, Key: "key of " + string(id)})
		}
		op(st, credits.Op{ID: "x", Kind: credits.KindDebit, Charges: charged("1", "gone", "3")}, now)
		op(st, credits.Op{ID: "y", Kind: credits.KindDebit, Charges: charged("2")}, now)
	}); err != nil {
		return err
	}
	if err := loads(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"x"}}, seen{ops: []credits.OpID{"x"}, budgets: []credits.BudgetID{"1", "3"}}); err != nil {
		return err
	}
	return loads(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"x", "y"}},
		seen{ops: []credits.OpID{"x", "y"}, budgets: []credits.BudgetID{"1", "2", "3"}})
}

func debtLoaded(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) { debt(st, 1, now) }); err != nil {
		return err
	}
	if err := loads(ctx, s, credits.Need{Account: "a"}, seen{lots: []credits.LotID{0}}); err != nil {
		return err
	}
	// It is loaded as what it is now, not as what it was made as.
	if err := update(ctx, s, credits.Need{Account: "a"}, func(now time.Time, st *credits.State) error {
		r := &st.Lots[0]
		r.Lot.Totals.Debt, r.Lot.Totals.Consumed, r.Change = 7, 10, credits.Updated
		st.Account.Totals = r.Lot.Totals
		change(st, now)
		return nil
	}); err != nil {
		return err
	}
	return update(ctx, s, credits.Need{Account: "a"}, func(_ time.Time, st *credits.State) error {
		if len(st.Lots) != 1 || st.Lots[0].Lot.Totals.Debt != 7 {
			return fmt.Errorf("lot 0 of an account that owes 7 is %+v", st.Lots)
		}
		return nil
	})
}

func scopedBudgets(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, _ time.Time) {
		for _, b := range []credits.Budget{
			{ID: "all"}, {ID: "all too"}, {ID: "image", Operation: "image"}, {ID: "red", Key: "red"}, {ID: "red image", Key: "red", Operation: "image"},
			{ID: "red/app", Key: "red/app"}, {ID: "Red", Key: "Red"}, {ID: "swapped", Key: "image", Operation: "red"},
		} {
			budget(st, b)
		}
	}); err != nil {
		return err
	}
	for _, c := range []struct {
		scopes []credits.Scope
		want   []credits.BudgetID
	}{
		{[]credits.Scope{{}}, []credits.BudgetID{"all", "all too"}},
		{[]credits.Scope{{Operation: "image"}}, []credits.BudgetID{"image"}},
		{[]credits.Scope{{Key: "red"}, {Key: "absent"}, {Key: "red", Operation: "image"}}, []credits.BudgetID{"red", "red image"}},
		{[]credits.Scope{{}, {Key: "red/app"}, {Key: "Red"}, {Key: "image", Operation: "red"}}, []credits.BudgetID{"all", "all too", "red/app", "Red", "swapped"}},
	} {
		if err := loads(ctx, s, credits.Need{Account: "a", Scopes: c.scopes}, seen{budgets: c.want}); err != nil {
			return err
		}
	}
	return nil
}

// Ids of version 7 UUIDs of one instant and of a later one.
const (
	old1  credits.OpID = "01890000-0000-7000-8000-000000000001"
	old2  credits.OpID = "01890000-0000-7000-8000-000000000002"
	old3  credits.OpID = "01890000-0000-7000-a000-000000000000"
	later credits.OpID = "01890000-0001-7000-8000-000000000000"
)

func prunable(st *credits.State, now time.Time) {
	spent(st, now)
	for _, id := range []credits.BudgetID{"1", "2"} {
		budget(st, credits.Budget{ID: id, Key: "key"})
	}
	for i, id := range []credits.OpID{later, old3, old1, old2} {
		op(st, credits.Op{ID: id, Kind: credits.KindDebit, Amount: 10, Parts: credits.NewParts(part(credits.LotID(i + 1))), Charges: charged("2")}, now)
	}
	op(st, credits.Op{ID: "01880000-0000-7000-8000-000000000000", Kind: credits.KindHold, Hold: credits.HoldOpen}, now)
	op(st, credits.Op{ID: "01880000-0000-7000-8000-000000000001", Kind: credits.KindLease, Hold: credits.HoldSuspense}, now)
	op(st, credits.Op{ID: "01880000-0000-4000-8000-000000000002", Kind: credits.KindDebit}, now)
}

func prunableOps(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", prunable); err != nil {
		return err
	}
	made := time.UnixMilli(0x018900000000).UTC()
	for _, c := range []struct {
		to    time.Time
		limit int
		want  []credits.OpID
	}{
		{made, 1, []credits.OpID{old1}}, {made, 2, []credits.OpID{old1, old2}}, {made, 3, []credits.OpID{old1, old2, old3}},
		{made, 0, []credits.OpID{old1, old2, old3}}, {made.Add(time.Millisecond), 4, []credits.OpID{old1, old2, old3, later}},
		{made.Add(time.Hour), 0, []credits.OpID{old1, old2, old3, later}},
	} {
		if err := loads(ctx, s, credits.Need{Account: "a", Prunable: c.to, Limit: c.limit}, seen{ops: c.want}); err != nil {
			return err
		}
	}
	// An op that ends is prunable from then on; one that is not yet known is none.
	if err := update(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"01880000-0000-7000-8000-000000000000"}}, func(now time.Time, st *credits.State) error {
		r := &st.Ops[0]
		r.Op.Hold, r.Op.SettledAt, r.Change = credits.HoldReleased, now, credits.Updated
		change(st, now)
		return nil
	}); err != nil {
		return err
	}
	return loads(ctx, s, credits.Need{Account: "a", Prunable: made, Limit: 1}, seen{ops: []credits.OpID{"01880000-0000-7000-8000-000000000000"}})
}

func prunableRows(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", prunable); err != nil {
		return err
	}
	return loads(ctx, s, credits.Need{Account: "a", Prunable: time.UnixMilli(0x018900000000).UTC(), Limit: 2},
		seen{ops: []credits.OpID{old1, old2}, lots: []credits.LotID{3, 4}, budgets: []credits.BudgetID{"2"}})
}

func loadedOnce(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		debt(st, 1, now)
		due := credits.Part{Lot: lot(st, credits.Lot{ExpiresAt: now, Schedule: "s"}, 10, now), Amount: 1}
		live := credits.Part{Lot: lot(st, credits.Lot{Only: credits.Only("image", "text")}, 10, now), Amount: 1}
		schedule(st, credits.Schedule{ID: "s"}, now)
		budget(st, credits.Budget{ID: "b", Key: "key"})
		for _, id := range []credits.OpID{old1, old2} {
			op(st, credits.Op{
				ID: id, Kind: credits.KindHold, Amount: 3, Parts: credits.NewParts(due, live, credits.Part{Lot: 0, Amount: 1}),
				Charges: charged("b"), Hold: credits.HoldOpen, Deadline: now,
			}, now)
		}
		op(st, credits.Op{ID: old3, Kind: credits.KindDebit, Amount: 2, Parts: credits.NewParts(due, live), Charges: charged("b")}, now)
	}); err != nil {
		return err
	}
	need := credits.Need{
		Account: "a", Ops: []credits.OpID{old1, old3}, Targets: []credits.OpID{old1, old2, old3}, Scopes: []credits.Scope{{Key: "key"}},
		Budgets: []credits.BudgetID{"b"}, Schedules: []credits.ScheduleID{"s"}, Prunable: time.Unix(2e9, 0).UTC(), Limit: 10,
		Spends: []credits.Spend{{Amount: 100}, {Operation: "image", Amount: 100}, {Operation: "text", Amount: 100}},
	}
	want := seen{
		ops: []credits.OpID{old1, old2, old3}, lots: []credits.LotID{0, 1, 2}, budgets: []credits.BudgetID{"b"}, schedules: []credits.ScheduleID{"s"},
	}
	for rows := credits.NoRows; rows <= credits.ScheduleRows; rows++ {
		need.List = credits.List{Rows: rows, Lot: -1, Target: "x", Limit: 10}
		if err := loads(ctx, s, need, want); err != nil {
			return err
		}
	}
	return nil
}
