package creditstest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// contents is everything a store knows about an account.
type contents struct {
	account   credits.Account
	lots      []credits.Lot
	ops       map[credits.OpID]credits.Op
	budgets   []credits.Budget
	schedules []credits.Schedule
	entries   []credits.Entry
}

// read returns the contents as Inspect tells them.
func read(ctx context.Context, s credits.Store, id credits.AccountID) (contents, error) {
	c := contents{ops: make(map[credits.OpID]credits.Op)}
	err := s.Inspect(ctx, id, func(snap credits.Snapshot) error {
		c.account = snap.Account
		for l, err := range snap.Lots {
			if err != nil {
				return err
			}
			c.lots = append(c.lots, l)
		}
		for o, err := range snap.Ops {
			if err != nil {
				return err
			}
			if _, twice := c.ops[o.ID]; twice {
				return fmt.Errorf("Inspect yields op %q twice", o.ID)
			}
			c.ops[o.ID] = o
		}
		for b, err := range snap.Budgets {
			if err != nil {
				return err
			}
			c.budgets = append(c.budgets, b)
		}
		for sc, err := range snap.Schedules {
			if err != nil {
				return err
			}
			c.schedules = append(c.schedules, sc)
		}
		for e, err := range snap.Entries {
			if err != nil {
				return err
			}
			c.entries = append(c.entries, e)
		}
		return nil
	})
	return c, err
}

// of returns the contents that a state shows; of entries those that it adds.
func of(st *credits.State) contents {
	c := contents{account: st.Account, ops: make(map[credits.OpID]credits.Op), entries: slices.Clone(st.Entries)}
	for i := range st.Lots {
		c.lots = append(c.lots, st.Lots[i].Lot)
	}
	for i := range st.Ops {
		c.ops[st.Ops[i].Op.ID] = st.Ops[i].Op
	}
	for i := range st.Budgets {
		c.budgets = append(c.budgets, st.Budgets[i].Budget)
	}
	for i := range st.Schedules {
		c.schedules = append(c.schedules, st.Schedules[i].Schedule)
	}
	c.sort()
	return c
}

// sort brings the rows into the order of Inspect.
func (c *contents) sort() {
	slices.SortFunc(c.lots, func(a, b credits.Lot) int { return int(a.ID - b.ID) })
	slices.SortFunc(c.budgets, func(a, b credits.Budget) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(c.schedules, func(a, b credits.Schedule) int { return cmp.Compare(a.ID, b.ID) })
}

func (c *contents) clone() contents {
	return contents{
		account: c.account, lots: slices.Clone(c.lots), ops: maps.Clone(c.ops),
		budgets: slices.Clone(c.budgets), schedules: slices.Clone(c.schedules), entries: slices.Clone(c.entries),
	}
}

// unwritten returns what account has no row for.
func (c *contents) unwritten(id credits.AccountID) error {
	if c.account != (credits.Account{ID: id}) || len(c.lots)+len(c.ops)+len(c.budgets)+len(c.schedules)+len(c.entries) != 0 {
		return fmt.Errorf("account %q, of which nothing was written, has %+v", id, *c)
	}
	return nil
}

// same compares, part by part, so that a difference can be read.
func same(got, want contents) error {
	if got.account != want.account {
		return wrong("account", got.account, want.account)
	}
	for id, w := range want.ops {
		if g, ok := got.ops[id]; !ok || !reflect.DeepEqual(g, w) {
			return wrong("op "+string(id), g, w)
		}
	}
	for id := range got.ops {
		if _, ok := want.ops[id]; !ok {
			return fmt.Errorf("op %q is there; want none", id)
		}
	}
	if err := sameRows("lot", got.lots, want.lots); err != nil {
		return err
	}
	if err := sameRows("budget", got.budgets, want.budgets); err != nil {
		return err
	}
	if err := sameRows("schedule", got.schedules, want.schedules); err != nil {
		return err
	}
	return sameRows("entry", got.entries, want.entries)
}

func sameRows[T comparable](what string, got, want []T) error {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return wrong(fmt.Sprintf("%s %d of %d", what, i, len(want)), got[i], want[i])
		}
	}
	if len(got) != len(want) {
		return wrong(what+" rows", got, want)
	}
	return nil
}

// holds fails unless the store has exactly want of want's account.
func holds(ctx context.Context, s credits.Store, want contents) error {
	got, err := read(ctx, s, want.account.ID)
	if err != nil {
		return err
	}
	return same(got, want)
}

// Copy puts every row of an account of one store into another one, which must
// not have the account.
func Copy(ctx context.Context, to, from credits.Store, account credits.AccountID) error {
	c, err := read(ctx, from, account)
	if err != nil {
		return err
	}
	return update(ctx, to, credits.Need{Account: account}, func(_ time.Time, st *credits.State) error {
		if c.account.Version > 0 {
			st.Account, st.AccountChange = c.account, credits.Added
		}
		for _, l := range c.lots {
			st.Lots = append(st.Lots, credits.LotRow{Lot: l, Change: credits.Added})
		}
		for _, id := range slices.Sorted(maps.Keys(c.ops)) {
			st.Ops = append(st.Ops, credits.OpRow{Op: c.ops[id], Change: credits.Added})
		}
		for _, b := range c.budgets {
			st.Budgets = append(st.Budgets, credits.BudgetRow{Budget: b, Change: credits.Added})
		}
		for _, s := range c.schedules {
			st.Schedules = append(st.Schedules, credits.ScheduleRow{Schedule: s, Change: credits.Added})
		}
		st.Entries = append(st.Entries, c.entries...)
		return nil
	})
}

// Digest returns a hash of every row of an account but its row's Version: two
// accounts of one ID that have the same are the same.
func Digest(ctx context.Context, s credits.Store, account credits.AccountID) (credits.Hash, error) {
	c, err := read(ctx, s, account)
	if err != nil {
		return credits.Hash{}, err
	}
	c.account.Version = 0
	return sha256.Sum256(fmt.Appendf(nil, "%+v", c)), nil
}
