package proof_test

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// What follows are stores with one fault each, in front of a sound one.

// rows is what a store loaded, kept beyond the call.
func rows(s *credits.State) *credits.State {
	return &credits.State{
		Account: s.Account, AccountChange: s.AccountChange, Lots: slices.Clone(s.Lots), Ops: slices.Clone(s.Ops),
		Budgets: slices.Clone(s.Budgets), Schedules: slices.Clone(s.Schedules), Entries: slices.Clone(s.Entries), More: s.More,
	}
}

// write puts what was decided on other rows into the state that is written. What
// was loaded keeps its place.
func write(to, from *credits.State) {
	to.Account, to.AccountChange, to.Entries = from.Account, from.AccountChange, append(to.Entries[:0:0], from.Entries...)
	to.Lots = writeRows(to.Lots, from.Lots, func(r credits.LotRow) (credits.LotID, credits.Change) { return r.Lot.ID, r.Change })
	to.Ops = writeRows(to.Ops, from.Ops, func(r credits.OpRow) (credits.OpID, credits.Change) { return r.Op.ID, r.Change })
	to.Budgets = writeRows(to.Budgets, from.Budgets, func(r credits.BudgetRow) (credits.BudgetID, credits.Change) { return r.Budget.ID, r.Change })
	to.Schedules = writeRows(to.Schedules, from.Schedules, func(r credits.ScheduleRow) (credits.ScheduleID, credits.Change) {
		return r.Schedule.ID, r.Change
	})
}

func writeRows[R any, ID comparable](to, from []R, key func(R) (ID, credits.Change)) []R {
	for _, r := range from {
		id, c := key(r)
		i := slices.IndexFunc(to, func(x R) bool { have, _ := key(x); return have == id })
		switch {
		case i >= 0 && c == credits.Updated:
			to[i] = r
		case i < 0 && c == credits.Added:
			to = append(to, r)
		}
	}
	return to
}

// yield lets others come between.
func yield() {
	for range 30 {
		runtime.Gosched()
	}
}

// read returns the rows of a moment, without a lock that lasts.
func read(ctx context.Context, s credits.Store, needs []credits.Need) (kept []*credits.State, now time.Time, err error) {
	err = s.View(ctx, needs, func(at time.Time, states []*credits.State) error {
		kept, now = nil, at
		for _, st := range states {
			kept = append(kept, rows(st))
		}
		return nil
	})
	yield()
	return kept, now, err
}

// A split store decides on what it has read under another lock.
type split struct{ credits.Store }

func (s split) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	kept, now, err := read(ctx, s.Store, needs)
	if err != nil {
		return err
	}
	if err := fn(now, kept); err != nil {
		return err
	}
	return s.Store.Update(ctx, needs, func(_ time.Time, states []*credits.State) error {
		for i, st := range states {
			write(st, kept[i])
		}
		return nil
	})
}

// A stale store does what one statement does in a database that locks the
// account's row and reads the lots with it: after the wait for the lock it sees
// the row as it is now, and all the others as they were before.
type stale struct{ credits.Store }

func (s stale) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	kept, _, err := read(ctx, s.Store, needs)
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		decided := make([]*credits.State, len(states))
		for i, st := range states {
			decided[i] = rows(kept[i])
			decided[i].Account = st.Account
		}
		err := fn(now, decided)
		for i, st := range states {
			write(st, decided[i])
		}
		return err
	})
}

// A forgetful store keeps no record of debits.
type forgetful struct{ credits.Store }

func (s forgetful) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return s.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		err := fn(now, states)
		for _, st := range states {
			for i := range st.Ops {
				if r := &st.Ops[i]; r.Op.Kind == credits.KindDebit && r.Change == credits.Added {
					r.Change = credits.Dropped
				}
			}
		}
		return err
	})
}
