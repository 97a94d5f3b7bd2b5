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

func updateChecks() []check {
	return []check{
		{"a new account is zero but for its ID, and a state without changes makes none", newAccount},
		{"every field of every row comes back as it was written", roundTrip},
		{"entries of every kind come back in order of Seq, with their hashes", entriesOfAllKinds},
		{"every later call sees what Update wrote", laterCalls},
		{"an error of fn is returned unchanged and nothing is written", refusedUpdate},
		{"several accounts are written together or not at all", severalAccounts},
		{"rows of two accounts with the same ids are kept apart", keptApart},
		{"ids are compared byte by byte", hostileIDs},
		{"now is in UTC, of whole microseconds", clockPrecision},
	}
}

func newAccount(ctx context.Context, s credits.Store) error {
	need := credits.Need{
		Account: "new", Ops: []credits.OpID{"x"}, Targets: []credits.OpID{"y"}, Spends: []credits.Spend{{Amount: 5}},
		Scopes: []credits.Scope{{}}, Budgets: []credits.BudgetID{"b"}, Schedules: []credits.ScheduleID{"s"},
		Limit: 10, Prunable: time.Unix(2e9, 0).UTC(), List: credits.List{Rows: credits.LotRows, Lot: -1, Limit: 5},
	}
	for _, run := range []func(context.Context, credits.Store, credits.Need, func(time.Time, *credits.State) error) error{update, view} {
		err := run(ctx, s, need, func(_ time.Time, st *credits.State) error {
			if c := of(st); st.More || st.AccountChange != credits.Unchanged {
				return fmt.Errorf("the state of a new account is %+v", st)
			} else if err := c.unwritten("new"); err != nil {
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	c, err := read(ctx, s, "new")
	if err != nil {
		return err
	}
	if err := c.unwritten("new"); err != nil {
		return err
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
	debt(st, 4, now)
	zero := &st.Lots[0].Lot
	zero.Priority, zero.Category, zero.Only, zero.ExpiresAt = -credits.MaxPriority, credits.Promo, credits.Only("image", "\u4f60"), late
	many := []credits.Part{{Lot: 1, Amount: 5, Captured: 2, Released: 3, Refunded: 1}}
	for i := range 40 {
		l := credits.Lot{Op: credits.OpID(widest), Priority: credits.MaxPriority - i*50, Category: credits.Category(i % 3), EffectiveAt: now}
		switch i % 3 {
		case 0:
			l.ExpiresAt, l.Only = late, credits.Only("image", "text", widest)
		case 1:
			l.EffectiveAt, l.ExpiresAt, l.Schedule = early, now.Add(time.Hour+time.Microsecond), credits.ScheduleID(widest)
		}
		id := lot(st, l, 1+credits.Amount(i), now)
		many = append(many, credits.Part{Lot: id, Amount: 1 + credits.Amount(i), Captured: credits.Amount(i / 2), Released: 1, Refunded: credits.Amount(i / 4)})
	}
	last := &st.Lots[len(st.Lots)-1].Lot
	last.Totals = credits.Totals{Issued: credits.MaxAmount, Pending: 1, Available: 2, Held: 3, Leased: 4, Consumed: 5, Expired: credits.MaxAmount - 21, Suspense: 6}
	last.Pruned = 5
	st.Account.Totals = last.Totals
	st.Account.Totals.Debt, st.Account.Totals.Consumed = 9, 14
	st.Account.Holds, st.Account.Leases = 11, 12
	st.Account.RecalledAt, st.Account.PrunedTo = now.Add(-time.Microsecond), late
	note := strings.Repeat("\u00e9\"'\\\u4f60", credits.MaxNoteBytes/8)
	var charges []credits.Charge
	for i := range 10 {
		c := credits.Charge{Budget: credits.BudgetID(fmt.Sprintf("%d\n\"", i)), Start: early.AddDate(i, 0, 0), Crossed: append([]int(nil), []int{1, 50, 100}[:i%4]...)}
		if len(c.Crossed) > 0 {
			c.Used, c.Amount = credits.Amount(i), credits.MaxAmount-credits.Amount(i)
		}
		charges = append(charges, c)
	}
	settled := last.Totals
	settled.Debt = 8
	op(st, credits.Op{ID: "bare", Kind: credits.KindDebit}, now)
	op(st, credits.Op{
		ID: credits.OpID(widest), Kind: credits.KindHold, Intent: [32]byte{0, 1, 0xff, 31: 0xfe}, Amount: credits.MaxAmount, Target: "target",
		Parts: credits.NewParts(many...), Charges: credits.NewCharges(charges...),
		Terms: credits.Terms{Overrun: credits.OverrunDebt, DebtLimit: credits.MaxAmount, Late: credits.LateCharged, Asked: credits.MaxAmount - 1},
		Key:   widest, Operation: "\U0001f4b3", Price: widest, Note: note,
		Hold: credits.HoldCaptured, Deadline: late, SettledAt: now.Add(time.Microsecond), SettledAmount: 7, SettledRest: 8, SettledSeq: 9,
		SettledTotals: settled,
	}, now)
	op(st, credits.Op{ID: "one part", Kind: credits.KindHold, Amount: 2, Parts: credits.NewParts(many[1]), Hold: credits.HoldOpen, Deadline: late}, now)
	op(st, credits.Op{ID: "for ever", Kind: credits.KindHold, Hold: credits.HoldOpen}, now)
	op(st, credits.Op{ID: "refused", Kind: credits.KindDebit, Amount: 3, Denied: credits.SourceLeases}, now)
	op(st, credits.Op{ // what a refusal said stands in fields that a debit does not use otherwise
		ID: "refused for a while", Kind: credits.KindDebit, Amount: 30, Denied: credits.SourceKeyBudget, Charges: charged("bare"),
		Deadline: late, SettledAt: now.Add(time.Hour), SettledAmount: 2, SettledRest: 28,
	}, now)
	op(st, credits.Op{
		ID: "lease", Kind: credits.KindLease, Amount: 3, Hold: credits.HoldSuspense, Deadline: now, Charges: charged("one"),
		Terms: credits.Terms{Epoch: 1 << 40, Owner: "an instance: \"7:1\""},
	}, now)
	budget(st, credits.Budget{
		ID: credits.BudgetID(widest), Key: "red/app/" + widest[:200], Operation: widest, Amount: credits.MaxAmount, Every: credits.Month,
		Zone: "Pacific/Kiritimati", Soft: true, Thresholds: "1,50,100", Start: early, End: late, Base: 3, Used: credits.MaxAmount - 4, Held: 4, Fired: 0xffff,
	})
	budget(st, credits.Budget{ID: "bare"})
	schedule(st, credits.Schedule{
		ID: credits.ScheduleID(widest), Amount: credits.MaxAmount, Unit: credits.Years, Every: 1 << 30, Anchor: early, Zone: "Asia/Kathmandu", Until: late,
		CatchUp: credits.CatchUpNone, Lifetime: credits.NoTimeout, Rollover: credits.MaxAmount - 1, Priority: -credits.MaxPriority,
		Category: credits.Plan, Only: credits.Only("image"), Next: 1 << 50,
	}, late)
	schedule(st, credits.Schedule{ID: "bare"}, time.Time{})
}

func roundTrip(ctx context.Context, s credits.Store) error {
	id := credits.AccountID(widest)
	var want contents
	_, err := seed(ctx, s, id, func(st *credits.State, now time.Time) {
		full(st, now)
		want = of(st)
		want.account.Version, want.account.At = 1, now
	})
	if err != nil {
		return err
	}
	if err := holds(ctx, s, want); err != nil {
		return fmt.Errorf("as Inspect reads it: %w", err)
	}
	// The same through Update and View: everything that can be asked for.
	need := credits.Need{
		Account: id, List: credits.List{Rows: credits.LotRows, Lot: -1, Limit: 100}, Schedules: []credits.ScheduleID{"bare", credits.ScheduleID(widest)},
		Budgets: []credits.BudgetID{"bare", credits.BudgetID(widest)},
	}
	for o := range want.ops {
		need.Targets = append(need.Targets, o)
	}
	slices.Sort(need.Targets)
	for _, run := range []func(context.Context, credits.Store, credits.Need, func(time.Time, *credits.State) error) error{update, view} {
		if err := run(ctx, s, need, func(_ time.Time, st *credits.State) error {
			got := of(st)
			got.entries = want.entries
			if err := same(got, want); err != nil {
				return fmt.Errorf("as it is loaded: %w", err)
			}
			return unchanged(st)
		}); err != nil {
			return err
		}
	}
	return nil
}

func entriesOfAllKinds(ctx context.Context, s credits.Store) error {
	var want []credits.Entry
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		debt(st, 5, now)
		for range 8 {
			lot(st, credits.Lot{}, 1, now)
		}
		for kind := credits.KindGrant; kind <= credits.KindRoll; kind++ {
			for bucket := credits.BucketIssued; bucket <= credits.BucketDebt; bucket++ {
				e := credits.Entry{
					At: now, Kind: kind, From: bucket, To: credits.BucketDebt + 1 - bucket, Op: credits.OpID(kind.String()),
					Lot: credits.LotID(bucket) - 1, Amount: credits.Amount(kind) * credits.Amount(bucket),
				}
				if bucket == credits.BucketHeld {
					e.Key, e.Operation, e.Price, e.Amount = widest, "\u4f60", "v1", credits.MaxAmount
				}
				if e.From == e.To {
					e.To = credits.BucketIssued
				}
				entry(st, e)
			}
		}
		for i := range st.Entries {
			for j := range st.Entries[i].Hash {
				st.Entries[i].Hash[j] = byte(i*7 + j)
			}
		}
		st.Account.Head = st.Entries[len(st.Entries)-1].Hash
		want = slices.Clone(st.Entries)
	}); err != nil {
		return err
	}
	got, err := s.Entries(ctx, credits.EntryQuery{Account: "a", Limit: len(want) + 1})
	if err != nil {
		return err
	}
	if err := sameRows("entry", got, want); err != nil {
		return err
	}
	c, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	if c.account.Head != want[len(want)-1].Hash {
		return wrong("head", c.account.Head, want[len(want)-1].Hash)
	}
	return sameRows("entry of Inspect", c.entries, want)
}

func laterCalls(ctx context.Context, s credits.Store) error {
	for i := range 10 {
		id := credits.AccountID(fmt.Sprint("account ", i))
		var want contents
		if _, err := seed(ctx, s, id, func(st *credits.State, now time.Time) {
			lot(st, credits.Lot{}, 10, now)
			op(st, credits.Op{ID: "o", Kind: credits.KindDebit}, now)
			want = of(st)
			want.account.Version, want.account.At = 1, now
		}); err != nil {
			return err
		}
		if err := loads(ctx, s, credits.Need{Account: id, Ops: []credits.OpID{"o"}, Spends: []credits.Spend{{Amount: 1}}},
			seen{lots: []credits.LotID{1}, ops: []credits.OpID{"o"}}); err != nil {
			return err
		}
		if list, err := s.Entries(ctx, credits.EntryQuery{Account: id, Limit: 2}); err != nil || !slices.Equal(list, want.entries) {
			return fmt.Errorf("Entries right after an update: %+v, %v", list, err)
		}
		if ids, err := s.Accounts(ctx, "", 100); err != nil || !slices.Contains(ids, id) {
			return fmt.Errorf("Accounts right after account %q was made: %q, %v", id, ids, err)
		}
		if err := holds(ctx, s, want); err != nil {
			return fmt.Errorf("Inspect right after an update: %w", err)
		}
	}
	return nil
}

func refusedUpdate(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", rich); err != nil {
		return err
	}
	want, err := read(ctx, s, "a")
	if err != nil {
		return err
	}
	refusal := errors.New("refused")
	needs := []credits.Need{everything("a"), {Account: "b"}}
	err = s.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		for _, st := range states {
			spoil(st, now)
		}
		return refusal
	})
	if err != refusal { //nolint:errorlint // unchanged is the promise
		return wrong("error of fn", err, refusal)
	}
	if ids, err := s.Accounts(ctx, "", 10); err != nil || !slices.Equal(ids, []credits.AccountID{"a"}) {
		return fmt.Errorf("accounts after a refusal: %q, %v", ids, err)
	}
	return holds(ctx, s, want)
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
	// The middle one alone: the others stay as they are.
	if err := s.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		lot(states[1], credits.Lot{}, 2, now)
		change(states[1], now)
		return nil
	}); err != nil {
		return err
	}
	for i, n := range needs {
		c, err := read(ctx, s, n.Account)
		if err != nil {
			return err
		}
		lots := 2
		if i == 1 {
			lots = 3
		}
		if len(c.lots) != lots || len(c.entries) != lots || c.account.Totals.Available != credits.Amount(lots*(i+1)) || c.account.Version != int64(lots) {
			return fmt.Errorf("account %q after two updates of three accounts, and one of the second: %+v", n.Account, c)
		}
	}
	return nil
}

func clockPrecision(ctx context.Context, s credits.Store) error {
	for range 5 {
		if err := view(ctx, s, credits.Need{Account: "a"}, func(now time.Time, _ *credits.State) error {
			if now.IsZero() || now != at(now) { //nolint:revive // the very same value: no zone, no monotonic reading
				return fmt.Errorf("now is %v; want an instant in UTC, of whole microseconds, without a monotonic reading", now)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
