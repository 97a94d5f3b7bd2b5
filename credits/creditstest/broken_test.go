package creditstest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A broken store is a memory store with one fault, whose clock the test moves.
type broken struct {
	credits.Store
	micros   *atomic.Int64
	account  func(credits.AccountID) credits.AccountID   // what it takes an id for
	need     func(*credits.Need)                         // what it takes a need for
	loaded   func(n credits.Need, s *credits.State)      // what it does to a state before fn
	decided  func(s *credits.State)                      // and after
	outcome  func(err error) error                       // what it takes fn's error for
	viewed   func(err error) error                       // the same, of View
	entries  func(credits.EntryQuery) credits.EntryQuery // what it asks for instead
	listed   func([]credits.Entry) []credits.Entry       // what it answers
	accounts func([]credits.AccountID) []credits.AccountID
	snapshot func(*credits.Snapshot)
	shown    func(err error) error // what it takes fn's error for, of Inspect
	split    bool                  // loads under one lock and writes under another
	alone    bool                  // writes each account of an update by itself
	deaf     bool                  // does not look at the context
	liar     bool                  // says that it has written, and has not, when the context is done
	hasty    bool                  // does not wait for fn when the context is done
	writes   bool                  // writes what View changed
	apart    bool                  // View and Inspect read the rows at different moments
	kept     *[]*credits.State     // states of calls before, which it hands out again
	now      func(time.Time) time.Time
	stuck    bool // Advance does nothing
}

func newBroken(b broken) *broken {
	b.micros = new(atomic.Int64)
	b.micros.Store(time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC).UnixMicro())
	b.Store = credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return time.UnixMicro(b.micros.Load()) }})
	return &b
}

func (b *broken) Advance(d time.Duration) {
	if !b.stuck {
		b.micros.Add(d.Microseconds())
	}
}

// ask returns the needs as b understands them.
func (b *broken) ask(needs []credits.Need) []credits.Need {
	needs = slices.Clone(needs)
	for i := range needs {
		if b.account != nil {
			needs[i].Account = b.account(needs[i].Account)
		}
		if b.need != nil {
			b.need(&needs[i])
		}
	}
	return needs
}

// step runs fn on copies of the states.
func (b *broken) step(needs []credits.Need, fn func(time.Time, []*credits.State) error) func(time.Time, []*credits.State) error {
	return func(now time.Time, states []*credits.State) error {
		if b.now != nil {
			now = b.now(now)
		}
		copies := make([]*credits.State, len(states))
		for i, s := range states {
			copies[i] = copyState(s)
			if b.loaded != nil {
				b.loaded(needs[i], copies[i])
			}
		}
		if b.kept != nil {
			if *b.kept != nil && len(*b.kept) == len(copies) {
				for i := range copies {
					copies[i].Ops = append((*b.kept)[i].Ops, copies[i].Ops...)
				}
			}
			defer func() { *b.kept = copies }()
		}
		err := fn(now, copies)
		if b.outcome != nil {
			err = b.outcome(err)
		}
		for i, s := range states {
			if b.decided != nil {
				b.decided(copies[i])
			}
			copyBack(s, copies[i])
		}
		return err
	}
}

func (b *broken) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	if b.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	if b.hasty {
		patient := *b
		patient.hasty = false
		result := make(chan error, 1)
		go func() { result <- patient.Update(context.WithoutCancel(ctx), needs, fn) }()
		select {
		case err := <-result:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	asked := b.ask(needs)
	step := b.step(asked, fn)
	switch {
	case b.alone:
		return b.updateAlone(ctx, asked, step)
	case b.split:
		return b.updateSplit(ctx, asked, step)
	}
	err := b.Store.Update(ctx, asked, func(now time.Time, states []*credits.State) error {
		if err := step(now, states); err != nil {
			return err
		}
		if b.liar && ctx.Err() != nil {
			return ctx.Err()
		}
		return nil
	})
	if b.liar && err != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// updateAlone writes the accounts one by one, and those that it has written stay
// so when fn fails.
func (b *broken) updateAlone(ctx context.Context, needs []credits.Need, step func(time.Time, []*credits.State) error) error {
	var decided []*credits.State
	var failed error
	if err := b.View(ctx, needs, func(now time.Time, states []*credits.State) error {
		failed = step(now, states)
		decided = nil
		for _, s := range states {
			decided = append(decided, copyState(s))
		}
		return nil
	}); err != nil {
		return err
	}
	for i := range needs {
		if i > 0 && failed != nil {
			break
		}
		if err := b.Store.Update(ctx, needs[i:i+1], func(_ time.Time, states []*credits.State) error {
			copyBack(states[0], decided[i])
			return nil
		}); err != nil {
			return err
		}
	}
	return failed
}

// updateSplit decides on what it read under another lock.
func (b *broken) updateSplit(ctx context.Context, needs []credits.Need, step func(time.Time, []*credits.State) error) error {
	var stale []*credits.State
	if err := b.Store.View(ctx, needs, func(now time.Time, states []*credits.State) error {
		err := step(now, states)
		for _, s := range states {
			stale = append(stale, copyState(s))
		}
		return err
	}); err != nil {
		return err
	}
	for range 20 {
		runtime.Gosched() // let the others read the same
	}
	return b.Store.Update(ctx, needs, func(_ time.Time, states []*credits.State) error {
		for i, s := range states {
			copyBack(s, stale[i])
		}
		return nil
	})
}

func copyState(s *credits.State) *credits.State {
	return &credits.State{
		Account: s.Account, AccountChange: s.AccountChange, Lots: slices.Clone(s.Lots), Ops: slices.Clone(s.Ops),
		Budgets: slices.Clone(s.Budgets), Schedules: slices.Clone(s.Schedules), Entries: slices.Clone(s.Entries), More: s.More,
	}
}

// copyBack carries what fn did to a copy over to the state it was made of.
func copyBack(to, from *credits.State) {
	to.Account, to.AccountChange, to.Entries = from.Account, from.AccountChange, append(to.Entries[:0:0], from.Entries...)
	to.Lots = backRows(to.Lots, from.Lots, func(r credits.LotRow) (credits.LotID, credits.Change) { return r.Lot.ID, r.Change })
	to.Ops = backRows(to.Ops, from.Ops, func(r credits.OpRow) (credits.OpID, credits.Change) { return r.Op.ID, r.Change })
	to.Budgets = backRows(to.Budgets, from.Budgets, func(r credits.BudgetRow) (credits.BudgetID, credits.Change) { return r.Budget.ID, r.Change })
	to.Schedules = backRows(to.Schedules, from.Schedules, func(r credits.ScheduleRow) (credits.ScheduleID, credits.Change) {
		return r.Schedule.ID, r.Change
	})
}

// backRows keeps the places of the loaded rows.
func backRows[R any, ID comparable](to, from []R, key func(R) (ID, credits.Change)) []R {
	for _, r := range from {
		id, c := key(r)
		i := slices.IndexFunc(to, func(x R) bool { have, was := key(x); return have == id && was == credits.Unchanged })
		switch {
		case c == credits.Added || c == credits.Dropped:
			to = append(to, r)
		case i >= 0:
			to[i] = r
		}
	}
	return to
}

func (b *broken) View(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	if b.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	asked := b.ask(needs)
	if b.writes {
		return b.Store.Update(ctx, asked, fn)
	}
	if b.apart {
		return b.viewApart(ctx, asked, fn)
	}
	copied := b.step(asked, fn)
	err := b.Store.View(ctx, asked, copied)
	if b.viewed != nil {
		err = b.viewed(err)
	}
	return err
}

// viewApart takes the account's row from one moment, and the others from a later
// one.
func (b *broken) viewApart(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	rows := make([]credits.Account, 0, len(needs))
	if err := b.Store.View(ctx, needs, func(_ time.Time, states []*credits.State) error {
		for _, s := range states {
			rows = append(rows, s.Account)
		}
		return nil
	}); err != nil {
		return err
	}
	for range 20 {
		runtime.Gosched()
	}
	return b.Store.View(ctx, needs, func(now time.Time, states []*credits.State) error {
		for i, s := range states {
			s.Account = rows[i]
		}
		return fn(now, states)
	})
}

func (b *broken) Entries(ctx context.Context, q credits.EntryQuery) ([]credits.Entry, error) {
	if b.account != nil {
		q.Account = b.account(q.Account)
	}
	if b.entries != nil {
		q = b.entries(q)
	}
	list, err := b.Store.Entries(ctx, q)
	if b.listed != nil {
		list = b.listed(list)
	}
	return list, err
}

func (b *broken) Accounts(ctx context.Context, after credits.AccountID, limit int) ([]credits.AccountID, error) {
	ids, err := b.Store.Accounts(ctx, after, limit)
	if b.accounts != nil {
		ids = b.accounts(ids)
	}
	return ids, err
}

func (b *broken) Inspect(ctx context.Context, id credits.AccountID, fn func(credits.Snapshot) error) error {
	if b.account != nil {
		id = b.account(id)
	}
	var row *credits.Account
	if b.apart {
		if err := b.Store.Inspect(ctx, id, func(s credits.Snapshot) error { row = &s.Account; return nil }); err != nil {
			return err
		}
		for range 20 {
			runtime.Gosched()
		}
	}
	err := b.Store.Inspect(ctx, id, func(s credits.Snapshot) error {
		if row != nil {
			s.Account = *row
		}
		if b.snapshot != nil {
			b.snapshot(&s)
		}
		return fn(s)
	})
	if b.shown != nil {
		err = b.shown(err)
	}
	return err
}
