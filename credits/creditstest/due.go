package creditstest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func dueChecks() []check {
	return []check{
		{"ops that are due are loaded with the lots of their parts and the budgets of their charges", dueOps},
		{"lots that are due are loaded with the schedules that they name", dueLots},
		{"schedules that are due are loaded", dueSchedules},
		{"with Until what is due by then is loaded, and never less than by now", dueUntil},
		{"with Limit the first of each kind are loaded, by Due and then by ID", dueLimit},
		{"More says that something due was left out, and only then", dueMore},
		{"what an update changed decides what is due", dueFollows},
	}
}

// held is a hold of ten that ends at the given instant, of a lot of its own.
func held(st *credits.State, id credits.OpID, deadline, now time.Time) {
	l := lot(st, credits.Lot{Totals: credits.Totals{Issued: 10, Held: 10}}, 0, now)
	op(st, credits.Op{
		ID: id, Kind: credits.KindHold, Amount: 10, Hold: credits.HoldOpen, Deadline: deadline,
		Parts: credits.NewParts(credits.Part{Lot: l, Amount: 10}), Charges: charged(credits.BudgetID(id)),
	}, now)
	budget(st, credits.Budget{ID: credits.BudgetID(id), Key: string(id), Held: 10})
}

func dueOps(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		held(st, "just due", now, now)
		held(st, "long due", time.Unix(1, 0).UTC(), now)
		held(st, "not due", now.Add(time.Hour), now)
		held(st, "never due", time.Time{}, now)
		held(st, "was due", now, now)
		st.Ops[4].Op.Hold, st.Ops[4].Op.SettledAt = credits.HoldReleased, now
		held(st, "lease", now, now)
		st.Ops[5].Op.Kind = credits.KindLease
		held(st, "lapsed", now, now)
		st.Ops[6].Op.Kind, st.Ops[6].Op.Hold = credits.KindLease, credits.HoldSuspense
	}); err != nil {
		return err
	}
	return loads(ctx, s, credits.Need{Account: "a"}, seen{
		ops: []credits.OpID{"just due", "long due", "lease"}, lots: []credits.LotID{1, 2, 6}, budgets: []credits.BudgetID{"just due", "long due", "lease"},
	})
}

// pendingLot is a lot that takes effect at the given instant.
func pendingLot(st *credits.State, effective, now time.Time) {
	lot(st, credits.Lot{EffectiveAt: effective, Totals: credits.Totals{Issued: 10, Pending: 10}}, 0, now)
}

func dueLots(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		lot(st, credits.Lot{ExpiresAt: now, Schedule: "monthly"}, 10, now)
		lot(st, credits.Lot{ExpiresAt: time.Unix(5, 1000).UTC(), Schedule: "gone"}, 10, now)
		lot(st, credits.Lot{ExpiresAt: now.Add(time.Hour), Schedule: "later"}, 10, now)
		lot(st, credits.Lot{}, 10, now)
		pendingLot(st, now, now)
		for _, id := range []credits.ScheduleID{"monthly", "later"} {
			schedule(st, credits.Schedule{ID: id}, now.Add(time.Hour))
		}
	}); err != nil {
		return err
	}
	return loads(ctx, s, credits.Need{Account: "a"}, seen{lots: []credits.LotID{1, 2, 5}, schedules: []credits.ScheduleID{"monthly"}})
}

func dueSchedules(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		schedule(st, credits.Schedule{ID: "just due"}, now)
		schedule(st, credits.Schedule{ID: "long due"}, time.Unix(1, 0).UTC())
		schedule(st, credits.Schedule{ID: "not due"}, now.Add(time.Hour))
		schedule(st, credits.Schedule{ID: "at its end"}, time.Time{})
	}); err != nil {
		return err
	}
	return loads(ctx, s, credits.Need{Account: "a"}, seen{schedules: []credits.ScheduleID{"just due", "long due"}})
}

func dueUntil(ctx context.Context, s credits.Store) error {
	now, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		for i := range 3 {
			at := now.Add(time.Duration(i) * time.Hour)
			held(st, credits.OpID(fmt.Sprint(i)), at, now)
			schedule(st, credits.Schedule{ID: credits.ScheduleID(fmt.Sprint(i))}, at)
		}
		lot(st, credits.Lot{ExpiresAt: now.Add(time.Hour), Schedule: "2"}, 10, now)
	})
	if err != nil {
		return err
	}
	if err := loads(ctx, s, credits.Need{Account: "a", Until: time.Unix(1, 0).UTC()},
		seen{ops: []credits.OpID{"0"}, lots: []credits.LotID{1}, schedules: []credits.ScheduleID{"0"}}); err != nil {
		return err
	}
	if err := loads(ctx, s, credits.Need{Account: "a", Until: now.Add(time.Hour)}, seen{
		ops: []credits.OpID{"0", "1"}, lots: []credits.LotID{1, 2, 4}, schedules: []credits.ScheduleID{"0", "1", "2"}, budgets: []credits.BudgetID{"0", "1"},
	}); err != nil {
		return err
	}
	return loads(ctx, s, credits.Need{Account: "a", Until: now.Add(2 * time.Hour)},
		seen{ops: []credits.OpID{"0", "1", "2"}, lots: []credits.LotID{1, 2, 3, 4}, schedules: []credits.ScheduleID{"0", "1", "2"}})
}

// crowd makes ten of each kind that are due, all at one instant but the last two,
// which are due before, and those made first have the highest ids.
func crowd(st *credits.State, now time.Time) {
	for i := range 10 {
		at := now.Add(-time.Hour)
		if i >= 8 {
			at = at.Add(-time.Duration(i) * time.Microsecond)
		}
		lot(st, credits.Lot{ExpiresAt: at}, 10, now)
		id := fmt.Sprint(9 - i)
		op(st, credits.Op{ID: credits.OpID(id), Kind: credits.KindHold, Hold: credits.HoldOpen, Deadline: at}, now)
		schedule(st, credits.Schedule{ID: credits.ScheduleID(id)}, at)
	}
}

func dueLimit(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", crowd); err != nil {
		return err
	}
	ops := []credits.OpID{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
	lots := []credits.LotID{10, 9, 1, 2, 3, 4, 5, 6, 7, 8}
	for limit := 1; limit <= 11; limit++ {
		n := min(limit, 10)
		want := seen{ops: ops[:n], lots: lots[:n]}
		for _, id := range want.ops {
			want.schedules = append(want.schedules, credits.ScheduleID(id))
		}
		if err := loads(ctx, s, credits.Need{Account: "a", Limit: limit}, want); err != nil {
			return err
		}
	}
	return nil
}

func dueMore(ctx context.Context, s credits.Store) error {
	for name, fill := range map[credits.AccountID]func(*credits.State, time.Time){
		"nothing": func(st *credits.State, now time.Time) { lot(st, credits.Lot{ExpiresAt: now.Add(time.Hour)}, 10, now) },
		"crowd":   crowd,
		"lots": func(st *credits.State, now time.Time) {
			for range 3 {
				lot(st, credits.Lot{ExpiresAt: now}, 10, now)
			}
		},
		"ops": func(st *credits.State, now time.Time) {
			for i := range 3 {
				held(st, credits.OpID(fmt.Sprint(i)), now, now)
			}
		},
		"schedules": func(st *credits.State, now time.Time) {
			for i := range 3 {
				schedule(st, credits.Schedule{ID: credits.ScheduleID(fmt.Sprint(i))}, now)
			}
		},
	} {
		if _, err := seed(ctx, s, name, fill); err != nil {
			return err
		}
		all := rowsDue(ctx, s, name)
		if all.err != nil {
			return all.err
		}
		for _, limit := range []int{0, 1, 2, 3, 4, 10, 11} {
			err := update(ctx, s, credits.Need{Account: name, Limit: limit}, func(_ time.Time, st *credits.State) error {
				got := rowsOf(st)
				left := !covers(got.ops, all.ops) || !covers(got.lots, all.lots) || !covers(got.schedules, all.schedules)
				if left != st.More || limit == 0 && left {
					return fmt.Errorf("with Limit %d of %+v were loaded %+v, and More is %v", limit, all.seen, got, st.More)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

type due struct {
	seen
	err error
}

// rowsDue returns what is due in an account whose rows are due now or in an hour.
func rowsDue(ctx context.Context, s credits.Store, id credits.AccountID) due {
	var d due
	c, err := read(ctx, s, id)
	if err != nil {
		d.err = err
		return d
	}
	soon := c.account.At.Add(time.Minute)
	for _, l := range c.lots {
		if at := l.Due(); !at.IsZero() && at.Before(soon) {
			d.lots = append(d.lots, l.ID)
		}
	}
	for _, o := range c.ops {
		if at := o.Due(); !at.IsZero() && at.Before(soon) {
			d.ops = append(d.ops, o.ID)
		}
	}
	for _, sc := range c.schedules {
		if at := sc.Due(); !at.IsZero() && at.Before(soon) {
			d.schedules = append(d.schedules, sc.ID)
		}
	}
	return d
}

func covers[T comparable](got, want []T) bool {
	for _, w := range want {
		if !slices.Contains(got, w) {
			return false
		}
	}
	return true
}

func dueFollows(ctx context.Context, s credits.Store) error {
	now, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		for i, at := range []time.Time{now, now.Add(time.Hour)} {
			held(st, credits.OpID(fmt.Sprint(i)), at, now)
			schedule(st, credits.Schedule{ID: credits.ScheduleID(fmt.Sprint(i))}, at)
		}
		lot(st, credits.Lot{ExpiresAt: now}, 10, now)                                                   // 3: due
		lot(st, credits.Lot{ExpiresAt: now, Totals: credits.Totals{Issued: 10, Consumed: 10}}, 10, now) // 4: spent
	})
	if err != nil {
		return err
	}
	// What was due is not any more, and what was not is.
	need := credits.Need{
		Account: "a", Targets: []credits.OpID{"1"}, Schedules: []credits.ScheduleID{"1"}, List: credits.List{Rows: credits.LotRows, Lot: -1, Limit: 10},
	}
	if err := update(ctx, s, need, func(_ time.Time, st *credits.State) error {
		for i := range st.Ops {
			r := &st.Ops[i]
			r.Op.Deadline, r.Change = swap(r.Op.ID == "0", now), credits.Updated
		}
		for i := range st.Schedules {
			r := &st.Schedules[i]
			r.Schedule.NextAt, r.Change = swap(r.Schedule.ID == "0", now), credits.Updated
		}
		for i := range st.Lots {
			r := &st.Lots[i]
			switch r.Lot.ID {
			case 3:
				r.Lot.Totals, r.Change = credits.Totals{Issued: 10, Expired: 10}, credits.Updated
			case 4:
				r.Lot.Totals, r.Change = credits.Totals{Issued: 10, Available: 10}, credits.Updated
			}
		}
		change(st, now)
		return nil
	}); err != nil {
		return err
	}
	return update(ctx, s, credits.Need{Account: "a", Limit: 1}, func(_ time.Time, st *credits.State) error {
		if st.More {
			return fmt.Errorf("one of each kind is due, and More is set: %+v", rowsOf(st))
		}
		return includes(st, seen{ops: []credits.OpID{"1"}, schedules: []credits.ScheduleID{"1"}, lots: []credits.LotID{4}})
	})
}

func swap(later bool, now time.Time) time.Time {
	if later {
		return now.Add(time.Hour)
	}
	return now
}
