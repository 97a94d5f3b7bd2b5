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

func reuse(ctx context.Context, s credits.Store) error {
	need := credits.Need{Ops: make([]credits.OpID, 1), Targets: make([]credits.OpID, 1)}
	for _, id := range []credits.AccountID{"a", "b", "c"} {
		need.Account, need.Ops[0], need.Targets[0] = id, credits.OpID("op-"+id), credits.OpID("hold-"+id)
		err := update(ctx, s, need, func(now time.Time, st *credits.State) error {
			if len(st.Lots)+len(st.Ops)+len(st.Entries) != 0 || st.Account.Version != 0 {
				return fmt.Errorf("account %q begins with what was of another call: %+v", id, st)
			}
			p := credits.NewParts(credits.Part{Lot: lot(st, credits.Lot{Op: need.Ops[0]}, 1, now), Amount: 1})
			op(st, credits.Op{ID: need.Ops[0], Kind: credits.KindGrant, Amount: 1, Parts: p}, now)
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
		if len(c.lots) != 1 || len(c.ops) != 1 || c.lots[0].Account != id || c.lots[0].Op != credits.OpID("op-"+id) || c.ops[c.lots[0].Op].Account != id {
			return fmt.Errorf("account %q holds rows of another: %+v", id, c)
		}
	}
	return nil
}

func clock(ctx context.Context, s credits.Store) error {
	// Some clocks tick sixty times a second.
	patience, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	var first time.Time
	for i := 0; i < 100 || patience.Err() == nil; i++ {
		var now time.Time
		if err := view(ctx, s, credits.Need{Account: "a"}, func(n time.Time, _ *credits.State) error { now = n; return nil }); err != nil {
			return err
		}
		if now.IsZero() || now != at(now) { //nolint:revive // the very same value: no zone, no monotonic reading
			return fmt.Errorf("now is %v; want an instant in UTC, of whole microseconds, without a monotonic reading", now)
		}
		if first.IsZero() {
			first = now
		}
		if now.After(first) {
			return nil
		}
	}
	return errors.New("the store's clock stands still")
}
