package creditstest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func writeChecks() []check {
	return []check{
		{"updated rows replace the old ones and the others stay", updatedRows},
		{"everything that an update may change is written", updatedFields},
		{"lot 0 is written like any other, its terms included", updatedDebt},
		{"rows that are not marked are not written", unmarkedRows},
		{"removed rows are gone, and no others", removedRows},
		{"a removed row can be made again", madeAgain},
		{"dropped rows are not written", droppedRows},
		{"rows are written though their account does not change", unchangedAccount},
		{"an op may be added to an account that has no row", opWithoutAccount},
	}
}

// pruned is the id of an op that may be removed: it says when it was made.
const pruned credits.OpID = "01880000-0000-7000-8000-00000000000a"

// rich fills an account with some rows of each kind.
func rich(st *credits.State, now time.Time) {
	debt(st, 5, now)
	lot(st, credits.Lot{}, 10, now)
	lot(st, credits.Lot{}, 20, now)
	op(st, credits.Op{ID: pruned, Kind: credits.KindDebit, Amount: 10, Parts: credits.NewParts(part(1)), Note: "note"}, now)
	for _, id := range []credits.OpID{"h", "o", "p"} {
		op(st, credits.Op{ID: id, Kind: credits.KindHold, Amount: 10, Hold: credits.HoldOpen, Parts: credits.NewParts(credits.Part{Lot: 1, Amount: 10}), Note: "note"}, now)
	}
	for _, id := range []credits.BudgetID{"b", "c"} {
		budget(st, credits.Budget{ID: id, Key: "key", Amount: 100})
	}
	for _, id := range []credits.ScheduleID{"s", "t"} {
		schedule(st, credits.Schedule{ID: id}, time.Time{})
	}
}

// everything asks for all that rich makes.
func everything(id credits.AccountID) credits.Need {
	return credits.Need{
		Account: id, Ops: []credits.OpID{pruned, "h", "o", "p"}, List: credits.List{Rows: credits.LotRows, Lot: -1, Limit: 10},
		Budgets: []credits.BudgetID{"b", "c"}, Schedules: []credits.ScheduleID{"s", "t"},
	}
}

// spoil changes every row that is loaded and adds one of each kind.
func spoil(st *credits.State, now time.Time) {
	for i := range st.Lots {
		st.Lots[i].Lot.Totals = credits.Totals{}
		st.Lots[i].Change = credits.Updated
	}
	for i := range st.Ops {
		o := &st.Ops[i].Op
		if st.Ops[i].Change = credits.Removed; o.Prunable().IsZero() {
			st.Ops[i].Change = credits.Updated
			o.Hold, o.SettledAt = credits.HoldReleased, now
		}
	}
	for i := range st.Budgets {
		st.Budgets[i].Budget.Used = 7
		st.Budgets[i].Change = []credits.Change{credits.Updated, credits.Removed}[i%2]
	}
	for i := range st.Schedules {
		st.Schedules[i].Schedule.Next = 7
		st.Schedules[i].Change = []credits.Change{credits.Updated, credits.Removed}[i%2]
	}
	lot(st, credits.Lot{}, 5, now)
	op(st, credits.Op{ID: "new", Kind: credits.KindDebit}, now)
	budget(st, credits.Budget{ID: "new"})
	schedule(st, credits.Schedule{ID: "new"}, now)
	change(st, now)
}

// rewrite runs fn on everything that rich made for account "a", and returns what
// the store must hold then: what it held before, with what fn did to the states.
func rewrite(ctx context.Context, s credits.Store, fn func(st *credits.State, now time.Time)) (contents, error) {
	before, err := read(ctx, s, "a")
	if err != nil {
		return before, err
	}
	var want contents
	err = update(ctx, s, everything("a"), func(now time.Time, st *credits.State) error {
		fn(st, now)
		want = before.clone() // fn may be called again
		want.entries = append(want.entries, st.Entries...)
		if st.AccountChange != credits.Unchanged {
			want.account = st.Account
		}
		for _, r := range st.Lots {
			i := slices.IndexFunc(want.lots, func(l credits.Lot) bool { return l.ID == r.Lot.ID })
			want.lots = put(want.lots, i, r.Lot, r.Change)
		}
		for _, r := range st.Budgets {
			i := slices.IndexFunc(want.budgets, func(b credits.Budget) bool { return b.ID == r.Budget.ID })
			want.budgets = put(want.budgets, i, r.Budget, r.Change)
		}
		for _, r := range st.Schedules {
			i := slices.IndexFunc(want.schedules, func(s credits.Schedule) bool { return s.ID == r.Schedule.ID })
			want.schedules = put(want.schedules, i, r.Schedule, r.Change)
		}
		for _, r := range st.Ops {
			switch r.Change {
			case credits.Added, credits.Updated:
				want.ops[r.Op.ID] = r.Op
			case credits.Removed:
				delete(want.ops, r.Op.ID)
			}
		}
		want.sort()
		return nil
	})
	return want, err
}

// put does to rows what a change asks for; i is where the row is, or -1.
func put[T any](rows []T, i int, row T, c credits.Change) []T {
	switch {
	case c == credits.Added:
		return append(rows, row)
	case c == credits.Updated:
		rows[i] = row
	case c == credits.Removed:
		return slices.Delete(rows, i, i+1)
	}
	return rows
}

// rewritten is a check: that after rich and then fn the store holds what it must.
func rewritten(ctx context.Context, s credits.Store, fn func(st *credits.State, now time.Time)) error {
	if _, err := seed(ctx, s, "a", rich); err != nil {
		return err
	}
	want, err := rewrite(ctx, s, fn)
	if err != nil {
		return err
	}
	return holds(ctx, s, want)
}

func updatedRows(ctx context.Context, s credits.Store) error {
	return rewritten(ctx, s, func(st *credits.State, now time.Time) {
		for i := range st.Lots {
			if r := &st.Lots[i]; r.Lot.ID == 1 {
				r.Lot.Totals, r.Change = credits.Totals{Issued: 10, Available: 5, Consumed: 3, Expired: 2}, credits.Updated
			}
		}
		for i := range st.Ops {
			if r := &st.Ops[i]; r.Op.ID == "h" {
				r.Op.Hold, r.Op.SettledAt, r.Change = credits.HoldReleased, now, credits.Updated
			}
		}
		for i := range st.Budgets {
			if r := &st.Budgets[i]; r.Budget.ID == "b" {
				r.Budget.Used, r.Change = 50, credits.Updated
			}
		}
		for i := range st.Schedules {
			if r := &st.Schedules[i]; r.Schedule.ID == "s" {
				r.Schedule.Next, r.Change = 5, credits.Updated
			}
		}
		change(st, now)
	})
}

func updatedFields(ctx context.Context, s credits.Store) error {
	return rewritten(ctx, s, func(st *credits.State, now time.Time) {
		early, late := time.Unix(0, 0).UTC(), now.Add(time.Hour)
		for i := range st.Lots {
			r := &st.Lots[i]
			r.Change = credits.Updated
			r.Lot.Pruned = credits.Amount(i) + 1
			r.Lot.Totals = credits.Totals{Issued: 100, Pending: 1, Available: 2, Held: 3, Leased: 4, Consumed: 5, Expired: 6, Suspense: 79}
			if r.Lot.ID == 0 {
				r.Lot.Totals = credits.Totals{Issued: 1, Debt: 2, Consumed: 3}
			}
		}
		for i := range st.Ops {
			r := &st.Ops[i]
			r.Change = credits.Updated
			o := &r.Op
			o.Parts = credits.NewParts(credits.Part{Lot: 2, Amount: 6, Captured: 3, Released: 2, Refunded: 1}, credits.Part{Lot: 1, Amount: 4})
			o.Charges = credits.NewCharges(credits.Charge{Budget: "b", Start: early, Crossed: []int{80}, Used: 8, Amount: 10})
			o.Terms = credits.Terms{Overrun: credits.OverrunCapped, Late: credits.LateCharged, Asked: 9, Epoch: 3, Owner: "another"}
			o.Deadline = late
			if o.Kind == credits.KindHold {
				o.Hold, o.SettledAt = []credits.HoldStatus{credits.HoldCaptured, credits.HoldReleased, credits.HoldTimedOut}[i%3], now
			}
			o.SettledAmount, o.SettledRest, o.SettledSeq = 3, 2, 9
			o.SettledTotals = credits.Totals{Issued: 30, Available: 25, Consumed: 3, Expired: 2}
		}
		for i := range st.Budgets {
			r := &st.Budgets[i]
			r.Change = credits.Updated
			r.Budget = credits.Budget{
				Account: r.Budget.Account, ID: r.Budget.ID, Key: "other/key", Operation: "image", Amount: 7, Every: credits.Week, Zone: "UTC", Soft: true,
				Thresholds: "90", Start: early, End: late, Base: 1, Used: 2, Held: 3, Fired: 1,
			}
		}
		for i := range st.Schedules {
			r := &st.Schedules[i]
			r.Change = credits.Updated
			r.Schedule = credits.Schedule{
				Account: r.Schedule.Account, ID: r.Schedule.ID, Amount: 1, Unit: credits.Hours, Every: 2, Anchor: now, Zone: "Asia/Tokyo", Until: late,
				CatchUp: credits.CatchUpLatest, Lifetime: time.Minute, Rollover: 3, Priority: 4, Category: credits.Promo, Only: credits.Only("x"), Next: 8, NextAt: late,
			}
		}
		st.Account.Totals = credits.Totals{Issued: 6, Consumed: 7, Debt: 1}
		st.Account.Holds, st.Account.Leases, st.Account.RecalledAt, st.Account.PrunedTo = 1, 2, now, late
		change(st, now)
	})
}

func updatedDebt(ctx context.Context, s credits.Store) error {
	return rewritten(ctx, s, func(st *credits.State, now time.Time) {
		for i := range st.Lots {
			if r := &st.Lots[i]; r.Lot.ID == 0 {
				r.Lot.Totals = credits.Totals{Issued: 8, Consumed: 8}
				r.Lot.Priority, r.Lot.Category, r.Lot.Only, r.Lot.ExpiresAt = -7, credits.Plan, credits.Only("image"), now.Add(time.Hour)
				r.Change = credits.Updated
			}
		}
		st.Account.Totals.Debt, st.Account.Totals.Issued = 0, st.Account.Totals.Issued+5
		change(st, now)
	})
}

func unmarkedRows(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", rich); err != nil {
		return err
	}
	want, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	if err := update(ctx, s, everything("a"), func(_ time.Time, st *credits.State) error {
		st.Account.Totals.Available = 99
		for i := range st.Lots {
			st.Lots[i].Lot.Totals.Available = 99
		}
		for i := range st.Ops {
			st.Ops[i].Op.SettledAmount = 99
		}
		for i := range st.Budgets {
			st.Budgets[i].Budget.Used = 99
		}
		for i := range st.Schedules {
			st.Schedules[i].Schedule.Next = 99
		}
		return nil
	}); err != nil {
		return err
	}
	return holds(ctx, s, want)
}

// removeSome removes the first of each kind of row that can be removed.
func removeSome(st *credits.State, now time.Time) {
	for i := range st.Ops {
		if r := &st.Ops[i]; r.Op.ID == pruned {
			r.Change = credits.Removed
		}
	}
	for i := range st.Budgets {
		if r := &st.Budgets[i]; r.Budget.ID == "b" {
			r.Change = credits.Removed
			st.Account.Budgets--
		}
	}
	for i := range st.Schedules {
		if r := &st.Schedules[i]; r.Schedule.ID == "s" {
			r.Change = credits.Removed
		}
	}
	change(st, now)
}

func removedRows(ctx context.Context, s credits.Store) error {
	for _, id := range []credits.AccountID{"a", "b"} {
		if _, err := seed(ctx, s, id, rich); err != nil {
			return err
		}
	}
	other, err := read(ctx, s, "b")
	if err != nil {
		return err
	}
	want, err := rewrite(ctx, s, removeSome)
	if err != nil {
		return err
	}
	if err := holds(ctx, s, want); err != nil {
		return err
	}
	if err := holds(ctx, s, other); err != nil {
		return fmt.Errorf("another account: %w", err)
	}
	need := everything("a")
	need.Targets, need.Scopes = []credits.OpID{pruned}, []credits.Scope{{Key: "key"}}
	return update(ctx, s, need, func(_ time.Time, st *credits.State) error {
		got := rowsOf(st)
		if slices.Contains(got.ops, pruned) || slices.Contains(got.budgets, "b") || slices.Contains(got.schedules, "s") {
			return fmt.Errorf("removed rows were loaded: %+v", got)
		}
		return includes(st, seen{ops: []credits.OpID{"h", "o", "p"}, budgets: []credits.BudgetID{"c"}, schedules: []credits.ScheduleID{"t"}})
	})
}

func madeAgain(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", rich); err != nil {
		return err
	}
	if _, err := rewrite(ctx, s, removeSome); err != nil {
		return err
	}
	want, err := rewrite(ctx, s, func(st *credits.State, now time.Time) {
		op(st, credits.Op{ID: pruned, Kind: credits.KindDebit, Note: "second"}, now)
		budget(st, credits.Budget{ID: "b", Amount: 8})
		schedule(st, credits.Schedule{ID: "s"}, now.Add(time.Hour))
		change(st, now)
	})
	if err != nil {
		return err
	}
	return holds(ctx, s, want)
}

func droppedRows(ctx context.Context, s credits.Store) error {
	return rewritten(ctx, s, func(st *credits.State, now time.Time) {
		op(st, credits.Op{ID: "fleeting", Kind: credits.KindDebit}, now)
		st.Ops[len(st.Ops)-1].Change = credits.Dropped
		budget(st, credits.Budget{ID: "fleeting"})
		st.Budgets[len(st.Budgets)-1].Change = credits.Dropped
		st.Account.Budgets--
		schedule(st, credits.Schedule{ID: "fleeting"}, now)
		st.Schedules[len(st.Schedules)-1].Change = credits.Dropped
		op(st, credits.Op{ID: "stays", Kind: credits.KindDebit}, now)
		change(st, now)
	})
}

func unchangedAccount(ctx context.Context, s credits.Store) error {
	return rewritten(ctx, s, func(st *credits.State, now time.Time) {
		for i := range st.Lots {
			r := &st.Lots[i]
			r.Lot.Pruned, r.Change = 1, credits.Updated
		}
		for i := range st.Budgets {
			r := &st.Budgets[i]
			r.Budget.Fired, r.Change = 1, credits.Updated
		}
		for i := range st.Schedules {
			r := &st.Schedules[i]
			r.Schedule.Priority, r.Change = 1, credits.Updated
		}
		op(st, credits.Op{ID: "denied", Kind: credits.KindDebit, Denied: credits.SourceBalance}, now)
	})
}

func opWithoutAccount(ctx context.Context, s credits.Store) error {
	denied := credits.Op{ID: "denied", Kind: credits.KindDebit, Amount: 5, Denied: credits.SourceBalance}
	if err := update(ctx, s, credits.Need{Account: "a"}, func(now time.Time, st *credits.State) error {
		op(st, denied, now)
		denied = st.Ops[0].Op
		return nil
	}); err != nil {
		return err
	}
	want := contents{account: credits.Account{ID: "a"}, ops: map[credits.OpID]credits.Op{"denied": denied}}
	if err := holds(ctx, s, want); err != nil {
		return err
	}
	if ids, err := s.Accounts(ctx, "", 10); err != nil || len(ids) != 0 {
		return fmt.Errorf("accounts that have a row: %q, %v; want none", ids, err)
	}
	if err := loads(ctx, s, credits.Need{Account: "a", Ops: []credits.OpID{"denied"}}, seen{ops: []credits.OpID{"denied"}}); err != nil {
		return err
	}
	// The account's row comes later, and the op stays.
	now, err := seed(ctx, s, "a", func(st *credits.State, _ time.Time) { st.Account.Holds = 1 })
	if err != nil {
		return err
	}
	want.account = credits.Account{ID: "a", Version: 1, At: now, Holds: 1}
	return holds(ctx, s, want)
}
