package creditstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func readChecks() []check {
	return []check{
		{"View drops what fn changes and returns its error unchanged", viewDrops},
		{"Entries lists in both orders, from any place, up to the limit", listEntries},
		{"the caller owns the entries it was given", ownEntries},
		{"Accounts lists after an id, up to the limit", listAccounts},
		{"Inspect yields lots, budgets and schedules by ID and entries by Seq, and may be left early", inspectOrder},
		{"Inspect knows nothing of an unknown account and returns fn's error unchanged", inspectUnknown},
	}
}

func viewDrops(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", rich); err != nil {
		return err
	}
	want, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	if err := s.View(ctx, []credits.Need{everything("a"), {Account: "b"}}, func(now time.Time, states []*credits.State) error {
		for _, st := range states {
			spoil(st, now)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := holds(ctx, s, want); err != nil {
		return err
	}
	if ids, err := s.Accounts(ctx, "", 10); err != nil || len(ids) != 1 {
		return fmt.Errorf("View made an account: %q, %v", ids, err)
	}
	refusal := errors.New("refused")
	if err := view(ctx, s, credits.Need{Account: "a"}, func(time.Time, *credits.State) error { return refusal }); err != refusal { //nolint:errorlint // unchanged is the promise
		return wrong("error of fn", err, refusal)
	}
	return nil
}

// journal makes an account with n entries and returns them.
func journal(ctx context.Context, s credits.Store, id credits.AccountID, n int) ([]credits.Entry, error) {
	for range n {
		if _, err := seed(ctx, s, id, func(st *credits.State, now time.Time) { lot(st, credits.Lot{}, 1, now) }); err != nil {
			return nil, err
		}
	}
	c, err := read(ctx, s, id)
	if err == nil && len(c.entries) != n {
		err = fmt.Errorf("%d entries were written and %d are there", n, len(c.entries))
	}
	return c.entries, err
}

func listEntries(ctx context.Context, s credits.Store) error {
	const n = 11
	up, err := journal(ctx, s, "a", n)
	if err != nil {
		return err
	}
	if _, err := journal(ctx, s, "b", 3); err != nil {
		return err
	}
	down := slices.Clone(up)
	slices.Reverse(down)
	for after := range int64(n + 2) {
		for _, limit := range []int{1, 2, n, n + 1, 1000} {
			for _, descending := range []bool{false, true} {
				var want []credits.Entry
				switch {
				case !descending && after < n:
					want = up[after:]
				case descending && after == 0:
					want = down
				case descending:
					want = down[max(0, n+1-after):]
				}
				want = want[:min(limit, len(want))]
				q := credits.EntryQuery{Account: "a", After: after, Descending: descending, Limit: limit}
				got, err := s.Entries(ctx, q)
				if err != nil {
					return err
				}
				if !slices.Equal(got, want) {
					return wrong(fmt.Sprintf("entries of %+v", q), got, want)
				}
			}
		}
	}
	if got, err := s.Entries(ctx, credits.EntryQuery{Account: "unknown", Limit: 5}); err != nil || len(got) != 0 {
		return fmt.Errorf("entries of an unknown account: %v, %v", got, err)
	}
	return nil
}

func ownEntries(ctx context.Context, s credits.Store) error {
	want, err := journal(ctx, s, "a", 3)
	if err != nil {
		return err
	}
	q := credits.EntryQuery{Account: "a", Limit: 3}
	mine, err := s.Entries(ctx, q)
	if err != nil {
		return err
	}
	clear(mine)
	got, err := s.Entries(ctx, q)
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return wrong("entries after a caller cleared its own", got, want)
	}
	return nil
}

func listAccounts(ctx context.Context, s credits.Store) error {
	if ids, err := s.Accounts(ctx, "", 5); err != nil || len(ids) != 0 {
		return fmt.Errorf("accounts of an empty store: %q, %v", ids, err)
	}
	for _, id := range []credits.AccountID{"c", "a", "e", "b", "d"} {
		if _, err := seed(ctx, s, id, func(*credits.State, time.Time) {}); err != nil {
			return err
		}
	}
	all := []credits.AccountID{"a", "b", "c", "d", "e"}
	for _, c := range []struct {
		after credits.AccountID
		limit int
		want  []credits.AccountID
	}{
		{"", 10, all}, {"", 2, all[:2]}, {"b", 2, all[2:4]}, {"bb", 1, all[2:3]}, {"d", 5, all[4:]}, {"e", 5, nil}, {"zzz", 1, nil},
	} {
		got, err := s.Accounts(ctx, c.after, c.limit)
		if err != nil {
			return err
		}
		if !slices.Equal(got, c.want) {
			return wrong(fmt.Sprintf("%d accounts after %q", c.limit, c.after), got, c.want)
		}
	}
	return nil
}

func inspectOrder(ctx context.Context, s credits.Store) error {
	for _, id := range []credits.AccountID{"a", "b"} {
		if _, err := journal(ctx, s, id, 5); err != nil {
			return err
		}
		if _, err := seed(ctx, s, id, func(st *credits.State, now time.Time) {
			debt(st, 1, now)
			for _, row := range []string{"c", "a", "b"} {
				budget(st, credits.Budget{ID: credits.BudgetID(row)})
				schedule(st, credits.Schedule{ID: credits.ScheduleID(row)}, time.Time{})
			}
			op(st, credits.Op{ID: "o", Kind: credits.KindDebit}, now)
			op(st, credits.Op{ID: "p", Kind: credits.KindDebit}, now)
		}); err != nil {
			return err
		}
	}
	c, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	if len(c.lots) != 6 || len(c.ops) != 2 || len(c.entries) != 6 || len(c.budgets) != 3 || len(c.schedules) != 3 {
		return fmt.Errorf("%d lots, %d ops, %d entries, %d budgets and %d schedules; want 6, 2, 6, 3 and 3",
			len(c.lots), len(c.ops), len(c.entries), len(c.budgets), len(c.schedules))
	}
	for i := range 6 {
		if l, e := c.lots[i], c.entries[i]; l.ID != credits.LotID(i) || e.Seq != int64(i+1) || l.Account != "a" || e.Account != "a" {
			return fmt.Errorf("row %d is lot %+v and entry %+v", i, l, e)
		}
	}
	for i, id := range []string{"a", "b", "c"} {
		if b, sc := c.budgets[i], c.schedules[i]; string(b.ID) != id || string(sc.ID) != id {
			return fmt.Errorf("row %d is budget %+v and schedule %+v; want %q", i, b, sc, id)
		}
	}
	if err := s.Inspect(ctx, "a", func(snap credits.Snapshot) error {
		for range snap.Lots {
			break
		}
		for range snap.Ops {
			break
		}
		for range snap.Budgets {
			break
		}
		for range snap.Schedules {
			break
		}
		for e, err := range snap.Entries {
			if err != nil || e.Seq != 1 {
				return fmt.Errorf("first entry after a sequence was left early: %+v, %v", e, err)
			}
			break
		}
		return nil
	}); err != nil {
		return err
	}
	_, err = seed(ctx, s, "a", func(st *credits.State, now time.Time) { lot(st, credits.Lot{}, 1, now) })
	return err
}

func inspectUnknown(ctx context.Context, s credits.Store) error {
	c, err := read(ctx, s, "unknown")
	if err != nil {
		return err
	}
	if err := c.unwritten("unknown"); err != nil {
		return err
	}
	refusal := errors.New("refused")
	if err := s.Inspect(ctx, "unknown", func(credits.Snapshot) error { return refusal }); err != refusal { //nolint:errorlint // unchanged is the promise
		return wrong("error of fn", err, refusal)
	}
	return nil
}
