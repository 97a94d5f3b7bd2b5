package creditstest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A broken store is a memory store with one fault. Every one must fail the check
// that is named, and a sound one none.
type broken struct {
	credits.Store
	account  func(credits.AccountID) credits.AccountID   // what it takes an id for
	loaded   func(n credits.Need, s *credits.State)      // what it does to a state before fn
	decided  func(s *credits.State)                      // and after
	outcome  func(err error) error                       // what it takes fn's error for
	entries  func(credits.EntryQuery) credits.EntryQuery // what it asks for instead
	accounts func([]credits.AccountID) []credits.AccountID
	split    bool // loads under one lock and writes under another
	deaf     bool // does not look at the context
	hasty    bool // does not wait for fn when the context is done
	writes   bool // writes what View changed
	now      func(time.Time) time.Time
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
	needs = slices.Clone(needs)
	if b.account != nil {
		for i := range needs {
			needs[i].Account = b.account(needs[i].Account)
		}
	}
	step := func(now time.Time, states []*credits.State) error {
		if b.now != nil {
			now = b.now(now)
		}
		copies := make([]*credits.State, len(states))
		for i, s := range states {
			copies[i] = &credits.State{Account: s.Account, Lots: slices.Clone(s.Lots), Ops: slices.Clone(s.Ops)}
			if b.loaded != nil {
				b.loaded(needs[i], copies[i])
			}
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
	if !b.split {
		return b.Store.Update(ctx, needs, step)
	}
	var stale []*credits.State
	err := b.Store.View(ctx, needs, func(now time.Time, states []*credits.State) error {
		err := step(now, states)
		for _, s := range states {
			c := *s
			c.Lots, c.Ops, c.Entries = slices.Clone(s.Lots), slices.Clone(s.Ops), slices.Clone(s.Entries)
			stale = append(stale, &c)
		}
		return err
	})
	if err != nil {
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

// copyBack carries what fn did to a copy over to the state it was made of.
func copyBack(to, from *credits.State) {
	to.Account, to.AccountChange, to.Entries = from.Account, from.AccountChange, append(to.Entries, from.Entries...)
	for _, r := range from.Lots {
		i := slices.IndexFunc(to.Lots, func(x credits.LotRow) bool { return x.Lot.ID == r.Lot.ID })
		switch {
		case r.Change == credits.Added:
			to.Lots = append(to.Lots, r)
		case i >= 0:
			to.Lots[i] = r
		}
	}
	for _, r := range from.Ops {
		i := slices.IndexFunc(to.Ops, func(x credits.OpRow) bool { return x.Op.ID == r.Op.ID })
		switch {
		case r.Change == credits.Added:
			to.Ops = append(to.Ops, r)
		case i >= 0:
			to.Ops[i] = r
		}
	}
}

func (b *broken) View(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	if b.writes {
		return b.Store.Update(ctx, needs, fn)
	}
	return b.Store.View(ctx, needs, func(now time.Time, states []*credits.State) error {
		if b.now != nil {
			now = b.now(now)
		}
		return fn(now, states)
	})
}

func (b *broken) Entries(ctx context.Context, q credits.EntryQuery) ([]credits.Entry, error) {
	if b.entries != nil {
		q = b.entries(q)
	}
	return b.Store.Entries(ctx, q)
}

func (b *broken) Accounts(ctx context.Context, after credits.AccountID, limit int) ([]credits.AccountID, error) {
	ids, err := b.Store.Accounts(ctx, after, limit)
	if b.accounts != nil {
		ids = b.accounts(ids)
	}
	return ids, err
}

func dropLots(s *credits.State, drop func(credits.Lot) bool) {
	s.Lots = slices.DeleteFunc(s.Lots, func(r credits.LotRow) bool { return drop(r.Lot) })
}

func TestSuiteRejects(t *testing.T) {
	for _, c := range []struct {
		fault  string
		store  broken
		caught string // the start of the name of a check that must fail
	}{
		{"nothing", broken{}, ""},
		{"folds case", broken{account: func(id credits.AccountID) credits.AccountID {
			return credits.AccountID(strings.ToLower(string(id)))
		}}, "ids are compared"},
		{"trims spaces", broken{account: func(id credits.AccountID) credits.AccountID {
			return credits.AccountID(strings.TrimRight(string(id), " ") + "x")
		}}, "a new account is zero"},
		{"commits a refusal", broken{outcome: func(error) error { return nil }}, "an error of fn"},
		{"wraps fn's error", broken{outcome: func(err error) error {
			if err != nil {
				return fmt.Errorf("rolled back: %w", err)
			}
			return nil
		}}, "an error of fn"},
		{"loses entries", broken{decided: func(s *credits.State) { s.Entries = nil }}, "every field"},
		{"loses updates of ops", broken{decided: func(s *credits.State) {
			s.Ops = slices.DeleteFunc(s.Ops, func(r credits.OpRow) bool { return r.Change == credits.Updated })
		}}, "updated rows"},
		{"writes unmarked rows", broken{decided: func(s *credits.State) {
			for i := range s.Lots {
				s.Lots[i].Change = max(s.Lots[i].Change, credits.Updated)
			}
			if s.AccountChange == credits.Unchanged && s.Account.Version > 0 {
				s.AccountChange = credits.Updated
			}
		}}, "rows that are not marked"},
		{"keeps seconds", broken{decided: func(s *credits.State) {
			for i := range s.Lots {
				s.Lots[i].Lot.EffectiveAt = s.Lots[i].Lot.EffectiveAt.Truncate(time.Second)
			}
		}}, "every field"},
		{"turns no expiry into 1970", broken{decided: func(s *credits.State) {
			for i := range s.Lots {
				if l := &s.Lots[i].Lot; l.ExpiresAt.IsZero() {
					l.ExpiresAt = time.Unix(0, 0).UTC()
				}
			}
		}}, "every field"},
		{"does not exclude", broken{split: true}, "updates of one account"},
		{"is deaf to the context", broken{deaf: true}, "a context that is done"},
		{"leaves while fn runs", broken{hasty: true}, "fn has ended"},
		{"writes what View changed", broken{writes: true}, "View drops"},
		{"has a clock that stands", broken{now: func(time.Time) time.Time { return time.Unix(1e9, 0).UTC() }}, "now is in UTC"},
		{"has a local clock of nanoseconds", broken{now: func(t time.Time) time.Time { return t.Add(1).In(time.FixedZone("x", 3600)) }}, "now is in UTC"},
		{"forgets due lots", broken{loaded: func(n credits.Need, s *credits.State) {
			dropLots(s, func(l credits.Lot) bool { return len(n.Spends) == 0 && len(n.Targets) == 0 && !l.Due().IsZero() })
		}}, "lots that are due are loaded"},
		{"forgets due ops", broken{loaded: func(_ credits.Need, s *credits.State) {
			s.Ops = slices.DeleteFunc(s.Ops, func(r credits.OpRow) bool { return !r.Op.Due().IsZero() })
		}}, "ops that are due"},
		{"forgets spent lots of targets", broken{loaded: func(_ credits.Need, s *credits.State) {
			dropLots(s, func(l credits.Lot) bool { return l.Totals.Available == 0 && l.Totals.Pending == 0 })
		}}, "lots of a target's parts"},
		{"burns in another order", broken{loaded: func(n credits.Need, s *credits.State) {
			if len(n.Spends) > 0 && len(s.Lots) > 1 {
				s.Lots = s.Lots[1:]
			}
		}}, "available lots are loaded"},
		{"stops one lot short", broken{loaded: func(n credits.Need, s *credits.State) {
			if len(s.Lots) > 1 && len(n.Spends) > 0 {
				s.Lots = s.Lots[:len(s.Lots)-1]
			}
		}}, "lots that are due or pending do not count"},
		{"loads rows twice", broken{loaded: func(n credits.Need, s *credits.State) {
			if len(n.Targets) > 1 {
				s.Lots = append(s.Lots, s.Lots...)
			}
		}}, "a row that several rules"},
		{"lists from the wrong place", broken{entries: func(q credits.EntryQuery) credits.EntryQuery {
			if q.After > 0 {
				q.After--
			}
			return q
		}}, "Entries lists"},
		{"lists one order", broken{entries: func(q credits.EntryQuery) credits.EntryQuery { q.Descending = false; return q }}, "Entries lists"},
		{"lists accounts in any order", broken{accounts: func(ids []credits.AccountID) []credits.AccountID {
			slices.Reverse(ids)
			return ids
		}}, "Accounts lists"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			found := c.caught == ""
			for _, check := range checks() {
				if c.caught != "" && !strings.HasPrefix(check.name, c.caught) {
					continue
				}
				store := c.store
				store.Store = credits.NewMemoryStore(nil)
				err := check.run(t.Context(), &store)
				if c.caught == "" && err != nil {
					t.Errorf("a sound store fails %q: %v", check.name, err)
				}
				if c.caught != "" {
					if found = err != nil; !found {
						t.Errorf("a store that %s passes %q", c.fault, check.name)
					}
				}
			}
			if !found {
				t.Errorf("no check begins with %q", c.caught)
			}
		})
	}
}
