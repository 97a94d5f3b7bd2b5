package creditstest

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func spendChecks() []check {
	return []check{
		{"available lots are loaded by rank until they reach a spend", spendLots},
		{"lots that are due or pending do not count for a spend", spendSkips},
		{"a spend counts the lots that can be spent on its operation", spendOnly},
		{"each of several spends has its own lots", severalSpends},
		{"what an update changed decides what a spend loads", spendFollows},
	}
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
		if err := loads(ctx, s, credits.Need{Account: "a", Spends: []credits.Spend{{Amount: spend}}}, seen{lots: burn[:lots]}); err != nil {
			return err
		}
	}
	return nil
}

func spendSkips(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		debt(st, 3, now)
		lot(st, credits.Lot{Priority: -3, ExpiresAt: now}, 10, now)
		pendingLot(st, now.Add(time.Hour), now)
		lot(st, credits.Lot{Priority: -1, Totals: credits.Totals{Issued: 10, Held: 9, Available: 1}}, 0, now)
		lot(st, credits.Lot{}, 10, now)
		lot(st, credits.Lot{Priority: 1}, 10, now)
		st.Lots[2].Lot.Priority = -2
	}); err != nil {
		return err
	}
	return loads(ctx, s, credits.Need{Account: "a", Spends: []credits.Spend{{Amount: 12}}}, seen{lots: []credits.LotID{0, 1, 3, 4, 5}})
}

// restricted makes lots of ten that are for some operations alone. Those for any
// burn last.
func restricted(st *credits.State, now time.Time) {
	for _, only := range []credits.Operations{credits.Only("image"), credits.Only("text"), credits.Only("image", "text"), "", credits.Only("im", "image/large"), ""} {
		lot(st, credits.Lot{Only: only}, 10, now)
	}
}

func spendOnly(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", restricted); err != nil {
		return err
	}
	for _, c := range []struct {
		spend credits.Spend
		want  []credits.LotID
	}{
		{credits.Spend{Amount: 10}, []credits.LotID{4}}, {credits.Spend{Amount: 11}, []credits.LotID{4, 6}}, {credits.Spend{Amount: 99}, []credits.LotID{4, 6}},
		{credits.Spend{Operation: "image", Amount: 20}, []credits.LotID{1, 3}}, {credits.Spend{Operation: "image", Amount: 21}, []credits.LotID{1, 3, 4}},
		{credits.Spend{Operation: "text", Amount: 40}, []credits.LotID{2, 3, 4, 6}}, {credits.Spend{Operation: "im", Amount: 11}, []credits.LotID{5, 4}},
		{credits.Spend{Operation: "other", Amount: 20}, []credits.LotID{4, 6}}, {credits.Spend{Operation: "Image", Amount: 1}, []credits.LotID{4}},
		{credits.Spend{Operation: "image/large", Amount: 1}, []credits.LotID{5}}, {credits.Spend{Operation: "%", Amount: 1}, []credits.LotID{4}},
	} {
		if err := loads(ctx, s, credits.Need{Account: "a", Spends: []credits.Spend{c.spend}}, seen{lots: c.want}); err != nil {
			return err
		}
	}
	return nil
}

func severalSpends(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", restricted); err != nil {
		return err
	}
	need := credits.Need{Account: "a", Spends: []credits.Spend{{Amount: 5}, {Operation: "image", Amount: 15}, {Operation: "text", Amount: 5}, {Operation: "im", Amount: 25}}}
	return loads(ctx, s, need, seen{lots: []credits.LotID{4, 1, 3, 2, 5, 6}})
}

func spendFollows(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		ranked(st, now)
		op(st, credits.Op{ID: "d", Kind: credits.KindDebit, Amount: 10, Parts: credits.NewParts(part(3))}, now)
	}); err != nil {
		return err
	}
	// Lot 3 is spent, so that 5 comes first; then it is refunded, and is first again.
	for _, c := range []struct {
		available credits.Amount
		first     credits.LotID
	}{{0, 5}, {10, 3}, {1, 3}, {0, 5}} {
		if err := update(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"d"}}, func(now time.Time, st *credits.State) error {
			for i := range st.Lots {
				if r := &st.Lots[i]; r.Lot.ID == 3 {
					r.Lot.Totals.Available, r.Lot.Totals.Consumed = c.available, 10-c.available
					r.Change = credits.Updated
				}
			}
			change(st, now)
			return nil
		}); err != nil {
			return err
		}
		if err := loads(ctx, s, credits.Need{Account: "a", Spends: []credits.Spend{{Amount: 1}}}, seen{lots: []credits.LotID{c.first}}); err != nil {
			return fmt.Errorf("with %v available in lot 3: %w", c.available, err)
		}
	}
	return nil
}
