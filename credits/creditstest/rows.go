package creditstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// hostile are ids that a store must tell apart and keep byte by byte.
var hostile = []string{
	" ", "%", "'; DROP TABLE lots; --", "A", "A ", "_", "a", "a'b", `a"b`, "a\\", "a/b?c=d#e", "a:b", "a|b",
	"aa", "e\u0301", "null", "{0}", "\u00e9", "\u4f60\u597d", "\U0001f4b3", "\U0010ffff",
}

// widest is a text of the most bytes an id may have.
var widest = strings.Repeat("w", credits.MaxIDBytes)

// at returns an instant at the ledger's precision.
func at(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }

// update runs fn on one account.
func update(ctx context.Context, s credits.Store, need credits.Need, fn func(now time.Time, st *credits.State) error) error {
	return s.Update(ctx, []credits.Need{need}, func(now time.Time, states []*credits.State) error {
		if err := one(states, need.Account); err != nil {
			return err
		}
		return fn(now, states[0])
	})
}

// view is update without writing.
func view(ctx context.Context, s credits.Store, need credits.Need, fn func(now time.Time, st *credits.State) error) error {
	return s.View(ctx, []credits.Need{need}, func(now time.Time, states []*credits.State) error {
		if err := one(states, need.Account); err != nil {
			return err
		}
		return fn(now, states[0])
	})
}

func one(states []*credits.State, id credits.AccountID) error {
	if len(states) != 1 || states[0].Account.ID != id {
		return fmt.Errorf("one account was asked for, %q, and the states are not that one", id)
	}
	return nil
}

// change marks the account of st as changed at now.
func change(st *credits.State, now time.Time) {
	st.AccountChange = credits.Updated
	if st.Account.Version == 0 {
		st.AccountChange = credits.Added
	}
	st.Account.Version++
	st.Account.At = now
}

// lot adds a lot with that much available, and its entry.
func lot(st *credits.State, l credits.Lot, available credits.Amount, now time.Time) credits.LotID {
	st.Account.LastLot++
	l.Account, l.ID = st.Account.ID, st.Account.LastLot
	l.Totals = credits.Totals{Issued: available, Available: available}
	if l.Op == "" {
		l.Op = "grant"
	}
	if l.EffectiveAt.IsZero() {
		l.EffectiveAt = now
	}
	st.Lots = append(st.Lots, credits.LotRow{Lot: l, Change: credits.Added})
	st.Account.Totals.Issued += available
	st.Account.Totals.Available += available
	entry(st, credits.Entry{
		At: now, Kind: credits.KindGrant, Op: l.Op, Lot: l.ID,
		From: credits.BucketIssued, To: credits.BucketAvailable, Amount: available,
	})
	return l.ID
}

// entry adds an entry.
func entry(st *credits.State, e credits.Entry) {
	st.Account.Seq++
	e.Account, e.Seq = st.Account.ID, st.Account.Seq
	st.Entries = append(st.Entries, e)
}

// op adds an op.
func op(st *credits.State, o credits.Op, now time.Time) {
	o.Account, o.At, o.Seq, o.Totals = st.Account.ID, now, st.Account.Seq, st.Account.Totals
	st.Ops = append(st.Ops, credits.OpRow{Op: o, Change: credits.Added})
}

// seed makes an account with the given available lots and returns the store's
// time.
func seed(ctx context.Context, s credits.Store, id credits.AccountID, fn func(st *credits.State, now time.Time)) (time.Time, error) {
	var when time.Time
	err := update(ctx, s, credits.Need{Account: id}, func(now time.Time, st *credits.State) error {
		when = now
		fn(st, now)
		change(st, now)
		return nil
	})
	return when, err
}

// lotIDs returns the ids of the loaded lots, sorted; a lot that is there twice is
// there twice.
func lotIDs(st *credits.State) []credits.LotID {
	var ids []credits.LotID
	for _, r := range st.Lots {
		ids = append(ids, r.Lot.ID)
	}
	slices.Sort(ids)
	return ids
}

// opIDs is the same for ops.
func opIDs(st *credits.State) []credits.OpID {
	var ids []credits.OpID
	for _, r := range st.Ops {
		ids = append(ids, r.Op.ID)
	}
	slices.Sort(ids)
	return ids
}

// includes reports as an error what of want is missing in got, and what is in
// got twice.
func includes[T comparable](what string, got, want []T) error {
	for _, w := range want {
		if !slices.Contains(got, w) {
			return fmt.Errorf("%s: %v was not loaded; loaded: %v", what, w, got)
		}
	}
	seen := make(map[T]bool)
	for _, g := range got {
		if seen[g] {
			return fmt.Errorf("%s: %v was loaded twice; loaded: %v", what, g, got)
		}
		seen[g] = true
	}
	return nil
}

// contents is everything a store knows about an account.
type contents struct {
	account credits.Account
	lots    []credits.Lot
	ops     map[credits.OpID]credits.Op
	entries []credits.Entry
}

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
			c.ops[o.ID] = o
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
