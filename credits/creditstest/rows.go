package creditstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// hostile are ids that a store must tell apart and keep byte by byte.
var hostile = []string{
	" ", "%", "'; DROP TABLE lots; --", "A", "A ", "_", "a", "a'b", `a"b`, "a\\", "a/b?c=d#e", "a:b", "a|b",
	"aa", "e\u0301", "null", "{0}", "\u00e9", "\u4f60\u597d", "\U0001f4b3", "\U0010ffff",
}

// widest is a text of the most bytes an id may have.
var widest = strings.Repeat("w", credits.MaxIDBytes)

// at returns an instant at the ledger's precision.
func at(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }

// update runs fn on one account.
func update(ctx context.Context, s credits.Store, need credits.Need, fn func(now time.Time, st *credits.State) error) error {
	return s.Update(ctx, []credits.Need{need}, func(now time.Time, states []*credits.State) error {
		if err := one(states, need.Account); err != nil {
			return err
		}
		return fn(now, states[0])
	})
}

// view is update without writing.
func view(ctx context.Context, s credits.Store, need credits.Need, fn func(now time.Time, st *credits.State) error) error {
	return s.View(ctx, []credits.Need{need}, func(now time.Time, states []*credits.State) error {
		if err := one(states, need.Account); err != nil {
			return err
		}
		return fn(now, states[0])
	})
}

func one(states []*credits.State, id credits.AccountID) error {
	if len(states) != 1 || states[0].Account.ID != id {
		return fmt.Errorf("one account was asked for, %q, and the states are not that one", id)
	}
	return nil
}

// change marks the account of st as changed at now.
func change(st *credits.State, now time.Time) {
	st.AccountChange = credits.Updated
	if st.Account.Version == 0 {
		st.AccountChange = credits.Added
	}
	st.Account.Version++
	st.Account.At = now
}

// lot adds a lot with that much available, unless l says its Totals, and the
// entry that made it.
func lot(st *credits.State, l credits.Lot, available credits.Amount, now time.Time) credits.LotID {
	st.Account.LastLot++
	l.Account, l.ID = st.Account.ID, st.Account.LastLot
	if l.Totals == (credits.Totals{}) {
		l.Totals = credits.Totals{Issued: available, Available: available}
	}
	if l.Op == "" {
		l.Op = "grant"
	}
	if l.EffectiveAt.IsZero() {
		l.EffectiveAt = now
	}
	st.Lots = append(st.Lots, credits.LotRow{Lot: l, Change: credits.Added})
	merge(&st.Account.Totals, l.Totals)
	entry(st, credits.Entry{
		At: now, Kind: credits.KindGrant, Op: l.Op, Lot: l.ID,
		From: credits.BucketIssued, To: credits.BucketAvailable, Amount: max(l.Totals.Issued, 1),
	})
	return l.ID
}

// debt adds lot 0, which owes that much.
func debt(st *credits.State, owed credits.Amount, now time.Time) {
	l := credits.Lot{Account: st.Account.ID, Op: "overrun", EffectiveAt: now, Totals: credits.Totals{Debt: owed, Issued: 3, Consumed: owed + 3}}
	st.Lots = append(st.Lots, credits.LotRow{Lot: l, Change: credits.Added})
	merge(&st.Account.Totals, l.Totals)
	entry(st, credits.Entry{
		At: now, Kind: credits.KindCapture, Op: l.Op, From: credits.BucketDebt, To: credits.BucketConsumed, Amount: owed + 3,
	})
}

// merge adds u to t.
func merge(t *credits.Totals, u credits.Totals) {
	t.Issued += u.Issued
	t.Pending += u.Pending
	t.Available += u.Available
	t.Held += u.Held
	t.Leased += u.Leased
	t.Consumed += u.Consumed
	t.Expired += u.Expired
	t.Suspense += u.Suspense
	t.Debt += u.Debt
}

// entry adds an entry. Its hash is none of a chain: a store only keeps it.
func entry(st *credits.State, e credits.Entry) {
	st.Account.Seq++
	e.Account, e.Seq = st.Account.ID, st.Account.Seq
	e.Hash = credits.Hash{0: byte(e.Seq), 1: 0xff, 31: byte(e.Kind)}
	st.Account.Head = e.Hash
	st.Entries = append(st.Entries, e)
}

// op adds an op.
func op(st *credits.State, o credits.Op, now time.Time) {
	o.Account, o.At, o.Seq, o.Totals = st.Account.ID, now, st.Account.Seq, st.Account.Totals
	st.Ops = append(st.Ops, credits.OpRow{Op: o, Change: credits.Added})
}

// part is a part of an op that took ten from a lot and spent it.
func part(id credits.LotID) credits.Part { return credits.Part{Lot: id, Amount: 10, Captured: 10} }

// charged is what an op counts against.
func charged(ids ...credits.BudgetID) credits.Charges {
	var list []credits.Charge
	for _, id := range ids {
		list = append(list, credits.Charge{Budget: id})
	}
	return credits.NewCharges(list...)
}

// budget adds a budget.
func budget(st *credits.State, b credits.Budget) {
	b.Account = st.Account.ID
	st.Account.Budgets++
	st.Budgets = append(st.Budgets, credits.BudgetRow{Budget: b, Change: credits.Added})
}

// schedule adds a schedule that is due at the given instant; zero: never.
func schedule(st *credits.State, sc credits.Schedule, next time.Time) {
	sc.Account, sc.NextAt = st.Account.ID, next
	if sc.Amount == 0 {
		sc.Amount, sc.Unit, sc.Every, sc.Anchor = 5, credits.Months, 1, time.Unix(0, 0).UTC()
	}
	st.Schedules = append(st.Schedules, credits.ScheduleRow{Schedule: sc, Change: credits.Added})
}

// seed makes an account with the given available lots and returns the store's
// time.
func seed(ctx context.Context, s credits.Store, id credits.AccountID, fn func(st *credits.State, now time.Time)) (time.Time, error) {
	var when time.Time
	err := update(ctx, s, credits.Need{Account: id}, func(now time.Time, st *credits.State) error {
		when = now
		fn(st, now)
		change(st, now)
		return nil
	})
	return when, err
}

// seen is which rows a state holds, or must hold: a row that is there twice is
// there twice.
type seen struct {
	lots      []credits.LotID
	ops       []credits.OpID
	budgets   []credits.BudgetID
	schedules []credits.ScheduleID
}

func rowsOf(st *credits.State) seen {
	var s seen
	for i := range st.Lots {
		s.lots = append(s.lots, st.Lots[i].Lot.ID)
	}
	for i := range st.Ops {
		s.ops = append(s.ops, st.Ops[i].Op.ID)
	}
	for i := range st.Budgets {
		s.budgets = append(s.budgets, st.Budgets[i].Budget.ID)
	}
	for i := range st.Schedules {
		s.schedules = append(s.schedules, st.Schedules[i].Schedule.ID)
	}
	return s
}

// includes reports as an error what of want is missing in the state, and what is
// there twice.
func includes(st *credits.State, want seen) error {
	got := rowsOf(st)
	return errors.Join(
		included("lot", got.lots, want.lots), included("op", got.ops, want.ops),
		included("budget", got.budgets, want.budgets), included("schedule", got.schedules, want.schedules))
}

func included[T comparable](what string, got, want []T) error {
	for _, w := range want {
		if !slices.Contains(got, w) {
			return fmt.Errorf("%s %v was not loaded; loaded: %v; wanted: %v", what, w, got, want)
		}
	}
	seen := make(map[T]bool)
	for _, g := range got {
		if seen[g] {
			return fmt.Errorf("%s %v was loaded twice; loaded: %v", what, g, got)
		}
		seen[g] = true
	}
	return nil
}

// loads fails unless both Update and View load the wanted rows for need, none
// twice and none as changed. Neither writes.
func loads(ctx context.Context, s credits.Store, need credits.Need, want seen) error {
	for _, c := range []struct {
		name string
		run  func(context.Context, credits.Store, credits.Need, func(time.Time, *credits.State) error) error
	}{{"Update", update}, {"View", view}} {
		if err := c.run(ctx, s, need, func(_ time.Time, st *credits.State) error {
			if err := unchanged(st); err != nil {
				return err
			}
			return includes(st, want)
		}); err != nil {
			return fmt.Errorf("%s with %+v: %w", c.name, need, err)
		}
	}
	return nil
}

// unchanged fails when a state that fn was given is not as the store fills it.
func unchanged(st *credits.State) error {
	changed := st.AccountChange != credits.Unchanged || len(st.Entries) != 0
	for i := range st.Lots {
		changed = changed || st.Lots[i].Change != credits.Unchanged
	}
	for i := range st.Ops {
		changed = changed || st.Ops[i].Change != credits.Unchanged
	}
	for i := range st.Budgets {
		changed = changed || st.Budgets[i].Change != credits.Unchanged
	}
	for i := range st.Schedules {
		changed = changed || st.Schedules[i].Change != credits.Unchanged
	}
	if changed {
		return fmt.Errorf("fn was given a state with changes: %+v", st)
	}
	return nil
}
