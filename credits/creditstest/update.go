package creditstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func updateChecks() []check {
	return []check{
		{"a new account is zero but for its ID", newAccount},
		{"every field of every row comes back as it was written", roundTrip},
		{"updated rows replace the old ones and the others stay", updatedRows},
		{"rows that are not marked are not written", unmarkedRows},
		{"an error of fn is returned unchanged and nothing is written", refusedUpdate},
		{"several accounts are written together or not at all", severalAccounts},
		{"ids are compared byte by byte", hostileIDs},
		{"updates of one account exclude each other", exclusion},
		{"updates of overlapping accounts all come to an end", overlap},
		{"a context that is done means an error and no call of fn", doneContext},
		{"fn has ended when Update returns, though the context is done", lateCall},
		{"needs are not kept and states are not shared", reuse},
		{"now is in UTC with microseconds and moves", clock},
	}
}

func newAccount(ctx context.Context, s credits.Store) error {
	for _, run := range []func(context.Context, credits.Store, credits.Need, func(time.Time, *credits.State) error) error{update, view} {
		err := run(ctx, s, credits.Need{Account: "new", Ops: []credits.OpID{"x"}, Targets: []credits.OpID{"y"}, Spends: []credits.Spend{{Amount: 5}}},
			func(_ time.Time, st *credits.State) error {
				if st.Account != (credits.Account{ID: "new"}) || st.AccountChange != credits.Unchanged {
					return wrong("account", st.Account, credits.Account{ID: "new"})
				}
				if len(st.Lots)+len(st.Ops)+len(st.Entries) != 0 {
					return fmt.Errorf("a new account has rows: %+v", st)
				}
				return nil
			})
		if err != nil {
			return err
		}
	}
	ids, err := s.Accounts(ctx, "", 10)
	if err != nil || len(ids) != 0 {
		return fmt.Errorf("an update without changes made an account: %q, %v", ids, err)
	}
	return nil
}

// full fills an account with rows that use every field, up to its bounds.
func full(st *credits.State, now time.Time) {
	early, late := time.Unix(0, 0).UTC(), time.Date(9998, 12, 31, 23, 59, 59, 999999000, time.UTC)
	var many []credits.Part
	for i := range 40 {
		l := credits.Lot{Op: credits.OpID(widest), Priority: credits.MaxPriority - i*50, Category: credits.Category(i % 3), EffectiveAt: now}
		switch i % 3 {
		case 0:
			l.ExpiresAt = late
		case 1:
			l.EffectiveAt, l.ExpiresAt = early, now.Add(time.Hour+time.Microsecond)
		}
		id := lot(st, l, 1+credits.Amount(i), now)
		many = append(many, credits.Part{Lot: id, Amount: 1 + credits.Amount(i), Captured: credits.Amount(i / 2), Released: 1, Refunded: credits.Amount(i / 4)})
	}
	last := &st.Lots[len(st.Lots)-1].Lot
	last.Totals = credits.Totals{Issued: credits.MaxAmount, Pending: 1, Available: 2, Held: 3, Consumed: 4, Expired: credits.MaxAmount - 10}
	st.Account.Totals = last.Totals
	note := strings.Repeat("\u00e9\"'\\\u4f60", credits.MaxNoteBytes/8)
	op(st, credits.Op{ID: "bare", Kind: credits.KindDebit}, now)
	op(st, credits.Op{
		ID: credits.OpID(widest), Kind: credits.KindHold, Intent: [32]byte{0, 1, 0xff, 31: 0xfe}, Amount: credits.MaxAmount, Target: "target",
		Parts: credits.NewParts(many...), Key: widest, Operation: "\U0001f4b3", Note: note,
		Hold: credits.HoldCaptured, Deadline: late, SettledAt: now.Add(time.Microsecond), SettledAmount: 7, SettledRest: 8,
		SettledTotals: last.Totals,
	}, now)
	op(st, credits.Op{ID: "one part", Kind: credits.KindHold, Amount: 2, Parts: credits.NewParts(many[1]), Hold: credits.HoldOpen, Deadline: late}, now)
	op(st, credits.Op{ID: "for ever", Kind: credits.KindHold, Hold: credits.HoldOpen}, now)
	entry(st, credits.Entry{
		At: late, Kind: credits.KindExpire, Op: credits.OpID(widest), Lot: 40,
		From: credits.BucketAvailable, To: credits.BucketExpired, Amount: credits.MaxAmount, Key: widest, Operation: "\u4f60",
	})
}

func roundTrip(ctx context.Context, s credits.Store) error {
	id := credits.AccountID(widest)
	var want contents
	_, err := seed(ctx, s, id, func(st *credits.State, now time.Time) {
		full(st, now)
		change(st, now)
		st.Account.Version = 0 // once more below, by seed
		st.AccountChange = credits.Unchanged
		want.ops = make(map[credits.OpID]credits.Op)
		for _, r := range st.Lots {
			want.lots = append(want.lots, r.Lot)
		}
		for _, r := range st.Ops {
			want.ops[r.Op.ID] = r.Op
		}
		want.entries = slices.Clone(st.Entries)
		want.account = st.Account
		want.account.Version = 1
	})
	if err != nil {
		return err
	}
	got, err := read(ctx, s, id)
	if err != nil {
		return err
	}
	if err := same(got, want); err != nil {
		return fmt.Errorf("as Inspect reads it: %w", err)
	}
	// The same through Update: everything that can be asked for.
	need := credits.Need{Account: id, Targets: slices.Sorted(maps.Keys(want.ops)), Spends: []credits.Spend{{Amount: credits.MaxAmount}}}
	return update(ctx, s, need, func(_ time.Time, st *credits.State) error {
		got := contents{account: st.Account, ops: make(map[credits.OpID]credits.Op), entries: want.entries}
		for _, r := range st.Lots {
			got.lots = append(got.lots, r.Lot)
			if r.Change != credits.Unchanged {
				return fmt.Errorf("lot %d is loaded as changed", r.Lot.ID)
			}
		}
		for _, r := range st.Ops {
			got.ops[r.Op.ID] = r.Op
			if r.Change != credits.Unchanged {
				return fmt.Errorf("op %q is loaded as changed", r.Op.ID)
			}
		}
		slices.SortFunc(got.lots, func(a, b credits.Lot) int { return int(a.ID - b.ID) })
		if err := same(got, want); err != nil {
			return fmt.Errorf("as Update loads it: %w", err)
		}
		return nil
	})
}

// same compares, part by part, so that a difference can be read.
func same(got, want contents) error {
	if got.account != want.account {
		return wrong("account", got.account, want.account)
	}
	if len(got.lots) != len(want.lots) || len(got.ops) != len(want.ops) || len(got.entries) != len(want.entries) {
		return fmt.Errorf("%d lots, %d ops, %d entries; want %d, %d, %d",
			len(got.lots), len(got.ops), len(got.entries), len(want.lots), len(want.ops), len(want.entries))
	}
	for i := range want.lots {
		if got.lots[i] != want.lots[i] {
			return wrong("lot", got.lots[i], want.lots[i])
		}
	}
	for id, w := range want.ops {
		if g := got.ops[id]; !reflect.DeepEqual(g, w) {
			return wrong("op", g, w)
		}
	}
	for i := range want.entries {
		if got.entries[i] != want.entries[i] {
			return wrong("entry", got.entries[i], want.entries[i])
		}
	}
	return nil
}

func updatedRows(ctx context.Context, s credits.Store) error {
	now, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		p := credits.NewParts(credits.Part{Lot: lot(st, credits.Lot{}, 10, now), Amount: 5})
		lot(st, credits.Lot{}, 20, now)
		op(st, credits.Op{ID: "h", Kind: credits.KindHold, Amount: 5, Parts: p, Hold: credits.HoldOpen, Note: "kept"}, now)
		op(st, credits.Op{ID: "other", Kind: credits.KindDebit, Note: "untouched"}, now)
	})
	if err != nil {
		return err
	}
	before, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	err = update(ctx, s, credits.Need{Account: "a", Targets: []credits.OpID{"h"}}, func(_ time.Time, st *credits.State) error {
		for i := range st.Lots {
			if r := &st.Lots[i]; r.Lot.ID == 1 {
				r.Lot.Totals = credits.Totals{Issued: 10, Available: 5, Consumed: 3, Expired: 2}
				r.Change = credits.Updated
			}
		}
		for i := range st.Ops {
			if r := &st.Ops[i]; r.Op.ID == "h" {
				r.Op.Parts = credits.NewParts(credits.Part{Lot: 1, Amount: 5, Captured: 3, Released: 2})
				r.Op.Hold, r.Op.SettledAt, r.Op.SettledAmount, r.Op.SettledRest = credits.HoldCaptured, now, 3, 2
				r.Op.SettledTotals = credits.Totals{Issued: 30, Available: 25, Consumed: 3, Expired: 2}
				r.Change = credits.Updated
			}
		}
		st.Account.Totals = credits.Totals{Issued: 30, Available: 25, Consumed: 3, Expired: 2}
		change(st, now)
		return nil
	})
	if err != nil {
		return err
	}
	want := before
	want.account.Version, want.account.Totals = 2, credits.Totals{Issued: 30, Available: 25, Consumed: 3, Expired: 2}
	want.lots[0].Totals = credits.Totals{Issued: 10, Available: 5, Consumed: 3, Expired: 2}
	h := want.ops["h"]
	h.Parts = credits.NewParts(credits.Part{Lot: 1, Amount: 5, Captured: 3, Released: 2})
	h.Hold, h.SettledAt, h.SettledAmount, h.SettledRest, h.SettledTotals = credits.HoldCaptured, now, 3, 2, want.account.Totals
	want.ops["h"] = h
	got, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	return same(got, want)
}

func unmarkedRows(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		lot(st, credits.Lot{}, 10, now)
		op(st, credits.Op{ID: "o", Kind: credits.KindDebit}, now)
	}); err != nil {
		return err
	}
	want, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	err = update(ctx, s, credits.Need{Account: "a", Ops: []credits.OpID{"o"}, Spends: []credits.Spend{{Amount: 10}}}, func(_ time.Time, st *credits.State) error {
		st.Account.Totals.Available = 99
		for i := range st.Lots {
			st.Lots[i].Lot.Totals.Available = 99
		}
		for i := range st.Ops {
			st.Ops[i].Op.SettledAmount = 99
		}
		return nil
	})
	if err != nil {
		return err
	}
	got, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	return same(got, want)
}

func refusedUpdate(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) { lot(st, credits.Lot{}, 10, now) }); err != nil {
		return err
	}
	want, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	refusal := errors.New("refused")
	err = s.Update(ctx, []credits.Need{{Account: "a", Spends: []credits.Spend{{Amount: 10}}}, {Account: "b"}}, func(now time.Time, states []*credits.State) error {
		for _, st := range states {
			lot(st, credits.Lot{}, 5, now)
			op(st, credits.Op{ID: "o", Kind: credits.KindDebit}, now)
			change(st, now)
		}
		for i := range states[0].Lots {
			r := &states[0].Lots[i]
			r.Lot.Totals.Available--
			r.Change = max(r.Change, credits.Updated)
		}
		return refusal
	})
	if err != refusal { //nolint:errorlint // unchanged is the promise
		return wrong("error of fn", err, refusal)
	}
	got, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	if ids, err := s.Accounts(ctx, "", 10); err != nil || !slices.Equal(ids, []credits.AccountID{"a"}) {
		return fmt.Errorf("accounts after a refusal: %q, %v", ids, err)
	}
	return same(got, want)
}

func severalAccounts(ctx context.Context, s credits.Store) error {
	needs := []credits.Need{{Account: "A"}, {Account: "a"}, {Account: "b"}}
	for round := range int64(2) {
		err := s.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
			for i, st := range states {
				if st.Account.ID != needs[i].Account || st.Account.Version != round {
					return fmt.Errorf("state %d is %+v; want account %q of version %d", i, st.Account, needs[i].Account, round)
				}
				lot(st, credits.Lot{}, credits.Amount(i+1), now)
				change(st, now)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i, n := range needs {
		c, err := read(ctx, s, n.Account)
		if err != nil {
			return err
		}
		if len(c.lots) != 2 || len(c.entries) != 2 || c.account.Totals.Available != 2*credits.Amount(i+1) {
			return fmt.Errorf("account %q after two updates: %+v", n.Account, c)
		}
	}
	return nil
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
				op(st, credits.Op{ID: credits.OpID(o), Kind: credits.KindDebit, Amount: credits.Amount(j), Note: o}, now)
			}
		}); err != nil {
			return fmt.Errorf("account %q: %w", id, err)
		}
	}
	for i, id := range ids {
		for j, o := range ids {
			err := view(ctx, s, credits.Need{Account: credits.AccountID(id), Ops: []credits.OpID{credits.OpID(o)}}, func(_ time.Time, st *credits.State) error {
				if st.Account.Totals.Available != credits.Amount(i+1) || st.Account.Version != 1 {
					return fmt.Errorf("account %q is %+v", id, st.Account)
				}
				if len(st.Ops) != 1 || st.Ops[0].Op.Amount != credits.Amount(j) || st.Ops[0].Op.Note != o {
					return fmt.Errorf("op %q of account %q is %+v", o, id, st.Ops)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	var got []credits.AccountID
	for after := credits.AccountID(""); ; after = got[len(got)-1] {
		page, err := s.Accounts(ctx, after, 4)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
	}
	want := make([]credits.AccountID, len(ids))
	for i, id := range ids {
		want[i] = credits.AccountID(id)
	}
	if !slices.Equal(got, want) {
		return wrong("accounts in ascending order, four at a time", got, want)
	}
	return nil
}
