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
		{"ops that are due are loaded with the lots of their parts", dueOps},
		{"lots that are due are loaded", dueLots},
		{"lots of a target's parts are loaded, spent or not", targetLots},
		{"available lots are loaded by rank until they reach Spend", spendLots},
		{"lots that are due or pending do not count for Spend", spendSkips},
		{"a row that several rules ask for is loaded once", loadedOnce},
		{"what an update changed decides what the next one loads", indexesFollow},
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
	for name, run := range map[string]func(context.Context, credits.Store, credits.Need, func(time.Time, *credits.State) error) error{"Update": update, "View": view} {
		err := run(ctx, s, need, func(_ time.Time, st *credits.State) error {
			for _, r := range st.Ops {
				if r.Op.Note != string(r.Op.ID) || r.Op.Account != "a" {
					return fmt.Errorf("%s: op %q is %+v", name, r.Op.ID, r.Op)
				}
			}
			return includes(name+": ops", opIDs(st), []credits.OpID{"1", "3"})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func dueOps(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		for i, o := range []credits.Op{
			{ID: "just due", Hold: credits.HoldOpen, Deadline: now},
			{ID: "long due", Hold: credits.HoldOpen, Deadline: time.Unix(1, 0).UTC()},
			{ID: "not due", Hold: credits.HoldOpen, Deadline: now.Add(time.Hour)},
			{ID: "never due", Hold: credits.HoldOpen},
			{ID: "was due", Hold: credits.HoldReleased, Deadline: now, SettledAt: now},
		} {
			id := lot(st, credits.Lot{}, 10, now)
			st.Lots[i].Lot.Totals = credits.Totals{Issued: 10, Held: 10}
			o.Kind, o.Amount, o.Parts = credits.KindHold, 10, credits.NewParts(credits.Part{Lot: id, Amount: 10})
			op(st, o, now)
		}
	}); err != nil {
		return err
	}
	return update(ctx, s, credits.Need{Account: "a"}, func(_ time.Time, st *credits.State) error {
		if err := includes("ops", opIDs(st), []credits.OpID{"just due", "long due"}); err != nil {
			return err
		}
		return includes("lots of ops that are due", lotIDs(st), []credits.LotID{1, 2})
	})
}

func dueLots(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		lot(st, credits.Lot{ExpiresAt: now}, 10, now)
		lot(st, credits.Lot{ExpiresAt: time.Unix(5, 1000).UTC()}, 10, now)
		lot(st, credits.Lot{ExpiresAt: now.Add(time.Hour)}, 10, now)
		lot(st, credits.Lot{}, 10, now)
		lot(st, credits.Lot{EffectiveAt: now}, 10, now)
		st.Lots[4].Lot.Totals = credits.Totals{Issued: 10, Pending: 10}
	}); err != nil {
		return err
	}
	return update(ctx, s, credits.Need{Account: "a"}, func(_ time.Time, st *credits.State) error {
		return includes("lots", lotIDs(st), []credits.LotID{1, 2, 5})
	})
}

func targetLots(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		for range 5 {
			lot(st, credits.Lot{ExpiresAt: now.Add(-time.Hour)}, 10, now)
		}
		for i := range st.Lots {
			st.Lots[i].Lot.Totals = credits.Totals{Issued: 10, Consumed: 10}
		}
		op(st, credits.Op{ID: "debit", Kind: credits.KindDebit, Amount: 30, Parts: credits.NewParts(
			credits.Part{Lot: 4, Amount: 10, Captured: 10}, credits.Part{Lot: 2, Amount: 10, Captured: 10}, credits.Part{Lot: 5, Amount: 10, Captured: 10},
		)}, now)
		op(st, credits.Op{ID: "second", Kind: credits.KindDebit, Amount: 10, Parts: credits.NewParts(credits.Part{Lot: 1, Amount: 10, Captured: 10})}, now)
	}); err != nil {
		return err
	}
	return update(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"debit", "second"}}, func(_ time.Time, st *credits.State) error {
		if err := includes("ops", opIDs(st), []credits.OpID{"debit", "second"}); err != nil {
			return err
		}
		return includes("lots", lotIDs(st), []credits.LotID{1, 2, 4, 5})
	})
}

// ranked makes six lots of ten whose burn order is 3 5 1 2 6 4.
func ranked(st *credits.State, now time.Time) {
	soon, later := now.Add(time.Hour), now.Add(2*time.Hour)
	lot(st, credits.Lot{ExpiresAt: later, Category: credits.Promo}, 10, now)
	lot(st, credits.Lot{ExpiresAt: later, EffectiveAt: now.Add(-time.Hour)}, 10, now)
	lot(st, credits.Lot{Priority: -1}, 10, now)
	lot(st, credits.Lot{Priority: 1, ExpiresAt: soon}, 10, now)
	lot(st, credits.Lot{ExpiresAt: soon}, 10, now)
	lot(st, credits.Lot{ExpiresAt: later}, 10, now)
}

func spendLots(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", ranked); err != nil {
		return err
	}
	burn := []credits.LotID{3, 5, 1, 2, 6, 4}
	for spend, lots := range map[credits.Amount]int{1: 1, 10: 1, 11: 2, 20: 2, 21: 3, 35: 4, 41: 5, 60: 6, 61: 6, credits.MaxAmount: 6} {
		err := update(ctx, s, credits.Need{Account: "a", Spends: []credits.Spend{{Amount: spend}}}, func(_ time.Time, st *credits.State) error {
			return includes(fmt.Sprintf("lots for %d", spend), lotIDs(st), burn[:lots])
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func spendSkips(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		lot(st, credits.Lot{Priority: -3, ExpiresAt: now}, 10, now)
		lot(st, credits.Lot{Priority: -2, EffectiveAt: now.Add(time.Hour)}, 10, now)
		st.Lots[1].Lot.Totals = credits.Totals{Issued: 10, Pending: 10}
		lot(st, credits.Lot{Priority: -1}, 10, now)
		st.Lots[2].Lot.Totals = credits.Totals{Issued: 10, Held: 9, Available: 1}
		lot(st, credits.Lot{}, 10, now)
		lot(st, credits.Lot{Priority: 1}, 10, now)
	}); err != nil {
		return err
	}
	return update(ctx, s, credits.Need{Account: "a", Spends: []credits.Spend{{Amount: 12}}}, func(_ time.Time, st *credits.State) error {
		return includes("lots", lotIDs(st), []credits.LotID{1, 3, 4, 5})
	})
}

func loadedOnce(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		part := credits.Part{Lot: lot(st, credits.Lot{ExpiresAt: now}, 10, now), Amount: 1}
		live := credits.Part{Lot: lot(st, credits.Lot{}, 10, now), Amount: 1}
		for _, id := range []credits.OpID{"x", "y"} {
			op(st, credits.Op{ID: id, Kind: credits.KindHold, Amount: 2, Parts: credits.NewParts(part, live), Hold: credits.HoldOpen, Deadline: now}, now)
		}
	}); err != nil {
		return err
	}
	need := credits.Need{Account: "a", Ops: []credits.OpID{"x"}, Targets: []credits.OpID{"x", "y"}, Spends: []credits.Spend{{Amount: 100}}}
	return update(ctx, s, need, func(_ time.Time, st *credits.State) error {
		if err := includes("ops", opIDs(st), []credits.OpID{"x", "y"}); err != nil {
			return err
		}
		return includes("lots", lotIDs(st), []credits.LotID{1, 2})
	})
}

func indexesFollow(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		ranked(st, now)
		op(st, credits.Op{ID: "h", Kind: credits.KindHold, Hold: credits.HoldOpen, Deadline: now.Add(time.Hour)}, now)
	}); err != nil {
		return err
	}
	// Lot 3 is spent, so that 5 comes first; then it is refunded, and is first again.
	for _, available := range []credits.Amount{0, 10} {
		err := update(ctx, s, credits.Need{Account: "a", Spends: []credits.Spend{{Amount: 60}}}, func(now time.Time, st *credits.State) error {
			for i := range st.Lots {
				if r := &st.Lots[i]; r.Lot.ID == 3 {
					r.Lot.Totals.Available, r.Lot.Totals.Consumed = available, 10-available
					r.Change = credits.Updated
				}
			}
			change(st, now)
			return nil
		})
		if available == 10 { // it was not loaded for Spends: []credits.Spend{{Amount: name}} it by an op
			err = seedRefund(ctx, s)
		}
		if err != nil {
			return err
		}
		first := []credits.LotID{5}
		if available > 0 {
			first = []credits.LotID{3}
		}
		if err := update(ctx, s, credits.Need{Account: "a", Spends: []credits.Spend{{Amount: 1}}}, func(_ time.Time, st *credits.State) error {
			return includes("first lot", lotIDs(st), first)
		}); err != nil {
			return err
		}
	}
	return nil
}

// seedRefund gives lot 3 back its ten, through an op that names it.
func seedRefund(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		op(st, credits.Op{ID: "d", Kind: credits.KindDebit, Amount: 10, Parts: credits.NewParts(credits.Part{Lot: 3, Amount: 10, Captured: 10})}, now)
	}); err != nil {
		return err
	}
	return update(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"d"}}, func(now time.Time, st *credits.State) error {
		if err := includes("lots", lotIDs(st), []credits.LotID{3}); err != nil {
			return err
		}
		for i := range st.Lots {
			if r := &st.Lots[i]; r.Lot.ID == 3 {
				r.Lot.Totals.Available, r.Lot.Totals.Consumed = 10, 0
				r.Change = credits.Updated
			}
		}
		change(st, now)
		return nil
	})
}
