package creditstest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func shareChecks() []check {
	return []check{
		{"updates of one account exclude each other", exclusion},
		{"updates of overlapping accounts all come to an end", overlap},
		{"each state that View shows is consistent within itself", viewMoment},
		{"Inspect shows every row as of one moment", inspectMoment},
		{"a context that is done means an error and no call of fn", doneContext},
		{"fn has ended when Update returns, though the context is done", lateCall},
		{"needs are not kept and states are not shared", reuse},
	}
}

func exclusion(ctx context.Context, s credits.Store) error {
	const workers, each = 8, 25
	errs := make(chan error, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if err := update(ctx, s, credits.Need{Account: "hot"}, func(now time.Time, st *credits.State) error {
					lot(st, credits.Lot{}, 1, now)
					change(st, now)
					return nil
				}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	c, err := read(ctx, s, "hot")
	if err != nil {
		return err
	}
	const n = workers * each
	if c.account.Version != n || c.account.Seq != n || len(c.lots) != n || len(c.entries) != n {
		return fmt.Errorf("after %d updates by %d callers: %+v with %d lots and %d entries", n, workers, c.account, len(c.lots), len(c.entries))
	}
	for i, e := range c.entries {
		if e.Seq != int64(i+1) {
			return fmt.Errorf("entry %d has Seq %d", i, e.Seq)
		}
	}
	return nil
}

func overlap(ctx context.Context, s credits.Store) error {
	ids := []credits.AccountID{"a", "b", "c", "d"}
	const each = 20
	errs := make(chan error, 6)
	var wg sync.WaitGroup
	for i := range ids {
		for j := i + 1; j < len(ids); j++ {
			wg.Go(func() {
				for range each {
					err := s.Update(ctx, []credits.Need{{Account: ids[i]}, {Account: ids[j]}}, func(now time.Time, states []*credits.State) error {
						for _, st := range states {
							change(st, now)
						}
						return nil
					})
					if err != nil {
						errs <- err
						return
					}
				}
			})
		}
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	for _, id := range ids {
		c, err := read(ctx, s, id)
		if err != nil {
			return err
		}
		if want := int64(each * (len(ids) - 1)); c.account.Version != want {
			return wrong("version of account "+string(id), c.account.Version, want)
		}
	}
	return nil
}

// lateCall gives up in the middle of an update.
func lateCall(ctx context.Context, s credits.Store) error {
	var late atomic.Bool
	returned := make(chan struct{})
	impatient, cancel := context.WithCancel(ctx)
	defer cancel()
	err := update(impatient, s, credits.Need{Account: "a"}, func(now time.Time, st *credits.State) error {
		cancel()
		select {
		case <-returned:
			late.Store(true)
		case <-time.After(50 * time.Millisecond): //nolint:forbidigo // a store that would not wait for this has had the time to go
		}
		change(st, now)
		return nil
	})
	close(returned)
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	// The next update comes after whatever the last one still does.
	if err := update(ctx, s, credits.Need{Account: "a"}, func(time.Time, *credits.State) error { return nil }); err != nil {
		return err
	}
	if late.Load() {
		return errors.New("Update returned before fn did")
	}
	return nil
}

func doneContext(ctx context.Context, s credits.Store) error {
	done, cancel := context.WithCancel(ctx)
	cancel()
	needs := []credits.Need{{Account: "a"}}
	called := false
	fn := func(now time.Time, states []*credits.State) error {
		called = true
		change(states[0], now)
		return nil
	}
	_, entriesErr := s.Entries(done, credits.EntryQuery{Account: "a", Limit: 1})
	_, accountsErr := s.Accounts(done, "", 1)
	for name, err := range map[string]error{
		"Update": s.Update(done, needs, fn), "View": s.View(done, needs, fn), "Entries": entriesErr, "Accounts": accountsErr,
		"Inspect": s.Inspect(done, "a", func(credits.Snapshot) error { called = true; return nil }),
	} {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s with a context that is done returned %v; want one that is context.Canceled", name, err)
		}
	}
	if called {
		return errors.New("fn was called")
	}
	if ids, err := s.Accounts(ctx, "", 1); err != nil || len(ids) != 0 {
		return fmt.Errorf("something was written: %q, %v", ids, err)
	}
	return nil
}

// half is what writers do while readers look: they move one credit within lot 1,
// and with it the account's row, an op, a budget and a schedule.
func half(ctx context.Context, s credits.Store, look func(i int) error) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		lot(st, credits.Lot{}, 1000, now)
		op(st, credits.Op{ID: "o", Kind: credits.KindDebit}, now)
		budget(st, credits.Budget{ID: "b"})
		schedule(st, credits.Schedule{ID: "s"}, time.Time{})
	}); err != nil {
		return err
	}
	need := momentNeed()
	return together(4, func(i int) error {
		for range 25 {
			if i%2 == 0 {
				if err := look(i); err != nil {
					return err
				}
				continue
			}
			if err := update(ctx, s, need, func(now time.Time, st *credits.State) error {
				l := &st.Lots[0]
				l.Lot.Totals.Available--
				l.Lot.Totals.Consumed++
				l.Change = credits.Updated
				st.Account.Totals = l.Lot.Totals
				entry(st, credits.Entry{At: now, Kind: credits.KindDebit, Lot: 1, From: credits.BucketAvailable, To: credits.BucketConsumed, Amount: 1})
				o := &st.Ops[0]
				o.Op.SettledAmount, o.Change = l.Lot.Totals.Consumed, credits.Updated
				b := &st.Budgets[0]
				b.Budget.Used, b.Change = l.Lot.Totals.Consumed, credits.Updated
				sc := &st.Schedules[0]
				sc.Schedule.Next, sc.Change = int64(l.Lot.Totals.Consumed), credits.Updated
				change(st, now)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

func momentNeed() credits.Need {
	return credits.Need{
		Account: "a", Ops: []credits.OpID{"o"}, Budgets: []credits.BudgetID{"b"}, Schedules: []credits.ScheduleID{"s"}, Spends: []credits.Spend{{Amount: 1}},
	}
}

// oneMoment fails when the rows of half's account are of different moments.
func oneMoment(c contents) error {
	if len(c.lots) != 1 || len(c.ops) != 1 || len(c.budgets) != 1 || len(c.schedules) != 1 {
		return fmt.Errorf("some of the rows are missing: %+v", c)
	}
	n := c.account.Totals.Consumed
	if c.lots[0].Totals.Consumed != n || c.ops["o"].SettledAmount != n || c.budgets[0].Used != n || c.schedules[0].Next != int64(n) || c.account.Seq != int64(n)+1 {
		return fmt.Errorf("rows of different moments: %+v", c)
	}
	return nil
}

func viewMoment(ctx context.Context, s credits.Store) error {
	return half(ctx, s, func(int) error {
		return view(ctx, s, momentNeed(), func(_ time.Time, st *credits.State) error { return oneMoment(of(st)) })
	})
}

func inspectMoment(ctx context.Context, s credits.Store) error {
	return half(ctx, s, func(int) error {
		c, err := read(ctx, s, "a")
		if err != nil {
			return err
		}
		if int64(len(c.entries)) != c.account.Seq {
			return fmt.Errorf("%d entries of an account whose last is %d", len(c.entries), c.account.Seq)
		}
		return oneMoment(c)
	})
}

func reuse(ctx context.Context, s credits.Store) error {
	need := credits.Need{
		Ops: make([]credits.OpID, 1), Targets: make([]credits.OpID, 1), Budgets: make([]credits.BudgetID, 1),
		Schedules: make([]credits.ScheduleID, 1), Scopes: make([]credits.Scope, 1), Spends: []credits.Spend{{Amount: 1}},
	}
	for _, id := range []credits.AccountID{"a", "b", "c"} {
		need.Account, need.Ops[0], need.Targets[0] = id, credits.OpID("op-"+id), credits.OpID("hold-"+id)
		need.Budgets[0], need.Schedules[0], need.Scopes[0] = credits.BudgetID("budget-"+id), credits.ScheduleID("schedule-"+id), credits.Scope{Key: string(id)}
		err := update(ctx, s, need, func(now time.Time, st *credits.State) error {
			if c := of(st); st.More || unchanged(st) != nil || c.unwritten(id) != nil {
				return fmt.Errorf("account %q begins with what was of another call: %+v", id, st)
			}
			p := credits.NewParts(credits.Part{Lot: lot(st, credits.Lot{Op: need.Ops[0]}, 1, now), Amount: 1})
			op(st, credits.Op{ID: need.Ops[0], Kind: credits.KindGrant, Amount: 1, Parts: p}, now)
			budget(st, credits.Budget{ID: need.Budgets[0], Key: string(id)})
			schedule(st, credits.Schedule{ID: need.Schedules[0]}, now)
			change(st, now)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, id := range []credits.AccountID{"a", "b", "c"} {
		c, err := read(ctx, s, id)
		if err != nil {
			return err
		}
		if len(c.lots) != 1 || len(c.ops) != 1 || len(c.budgets) != 1 || len(c.schedules) != 1 || c.lots[0].Account != id ||
			c.lots[0].Op != credits.OpID("op-"+id) || c.ops[c.lots[0].Op].Account != id || c.budgets[0].ID != credits.BudgetID("budget-"+id) ||
			c.schedules[0].ID != credits.ScheduleID("schedule-"+id) {
			return fmt.Errorf("account %q holds rows of another: %+v", id, c)
		}
	}
	return nil
}
