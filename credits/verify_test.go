package credits_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// tampered shows an audit other rows than the ones that were written.
type tampered struct {
	credits.Store
	account func(*credits.Account)
	lot     func(*credits.Lot)
	op      func(*credits.Op)
	entry   func(*credits.Entry) (keep bool)
	err     error
}

func (s *tampered) Inspect(ctx context.Context, id credits.AccountID, fn func(credits.Snapshot) error) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.Inspect(ctx, id, func(snap credits.Snapshot) error {
		if s.account != nil {
			s.account(&snap.Account)
		}
		snap.Lots = alter(snap.Lots, func(l *credits.Lot) bool {
			if s.lot != nil {
				s.lot(l)
			}
			return l.ID != 0
		})
		snap.Ops = alter(snap.Ops, func(o *credits.Op) bool {
			if s.op != nil {
				s.op(o)
			}
			return true
		})
		snap.Entries = alter(snap.Entries, func(e *credits.Entry) bool { return s.entry == nil || s.entry(e) })
		return fn(snap)
	})
}

func alter[T any](rows iter.Seq2[T, error], change func(*T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			if change(&row) && !yield(row, err) {
				return
			}
		}
	}
}

func TestVerifyFindsWhatWasTamperedWith(t *testing.T) {
	for name, s := range map[string]*tampered{
		"":                             {},
		"an account with more":         {account: func(a *credits.Account) { a.Totals.Available++; a.Totals.Issued++ }},
		"an account with more entries": {account: func(a *credits.Account) { a.Seq++ }},
		"an account with more lots":    {account: func(a *credits.Account) { a.LastLot++ }},
		"a lot with more":              {lot: func(l *credits.Lot) { l.Totals.Available++; l.Totals.Issued++ }},
		"a lot out of balance":         {lot: func(l *credits.Lot) { l.Totals.Available++ }},
		"a lot of another":             {lot: func(l *credits.Lot) { l.Account = "other" }},
		"a lot that is gone": {lot: func(l *credits.Lot) {
			if l.ID == 1 {
				l.ID = 0
			}
		}},
		"an entry that is gone":   {entry: func(e *credits.Entry) bool { return e.Seq != 2 }},
		"the last entry gone":     {entry: func(e *credits.Entry) bool { return e.Seq != 6 }},
		"an entry of more":        {entry: func(e *credits.Entry) bool { e.Amount++; return true }},
		"an entry of less than 0": {entry: func(e *credits.Entry) bool { e.Amount = -e.Amount; return true }},
		"an entry of too much":    {entry: func(e *credits.Entry) bool { e.Amount = 1<<63 - 1; return true }},
		"an entry turned around":  {entry: func(e *credits.Entry) bool { e.From, e.To = e.To, e.From; return true }},
		"an entry of another kind": {entry: func(e *credits.Entry) bool {
			if e.Kind == credits.KindHold {
				e.Kind = credits.KindDebit
			}
			return true
		}},
		"an entry of no kind":       {entry: func(e *credits.Entry) bool { e.Kind = 99; return true }},
		"an entry of another lot":   {entry: func(e *credits.Entry) bool { e.Lot = 3 - e.Lot; return true }},
		"an entry of a lot unknown": {entry: func(e *credits.Entry) bool { e.Lot += 7; return true }},
		"an entry before the last": {entry: func(e *credits.Entry) bool {
			if e.Seq == 4 {
				e.At = e.At.Add(-time.Hour)
			}
			return true
		}},
		"a hold that is closed":   {op: func(o *credits.Op) { o.Hold = min(o.Hold, 1) * credits.HoldReleased }},
		"a hold of less":          {op: func(o *credits.Op) { o.Amount-- }},
		"a hold with other parts": {op: func(o *credits.Op) { o.Parts = credits.NewParts() }},
		"a hold that took nothing": {op: func(o *credits.Op) {
			if o.Kind == credits.KindHold {
				o.Parts, o.Amount = credits.NewParts(), 0
			}
		}},
		"an op of an impossible part": {op: func(o *credits.Op) {
			if o.ID == "d" {
				o.Parts = credits.NewParts(credits.Part{Lot: 1, Amount: 5, Captured: 5, Refunded: 6})
			}
		}},
		"a refund that the journal does not know": {op: func(o *credits.Op) {
			if o.ID == "d" {
				o.Parts = credits.NewParts(credits.Part{Lot: 1, Amount: 5, Captured: 5, Refunded: 1})
			}
		}},
		"a capture that the journal does not know": {op: func(o *credits.Op) {
			if o.ID == "h" {
				o.Parts = credits.NewParts(credits.Part{Lot: 1, Amount: 5, Captured: 1, Released: 4})
				o.Hold = credits.HoldCaptured
			}
		}},
		"a debit whose op is gone": {op: func(o *credits.Op) {
			if o.ID == "d" {
				*o = credits.Op{Account: o.Account, ID: "x", Kind: credits.KindDebit}
			}
		}},
		"grants of more than can be, and everything agrees": {
			account: func(a *credits.Account) {
				a.Totals.Issued = credits.Amount(a.LastLot) * credits.MaxAmount // two are out of range
				a.Totals.Available = a.Totals.Issued - a.Totals.Held - a.Totals.Consumed
			},
			lot: func(l *credits.Lot) {
				l.Totals.Available += credits.MaxAmount - l.Totals.Issued
				l.Totals.Issued = credits.MaxAmount
			},
			op: func(o *credits.Op) {
				if o.Kind == credits.KindGrant {
					o.Amount = credits.MaxAmount
					o.Parts = credits.NewParts(credits.Part{Lot: o.Parts.At(0).Lot, Amount: credits.MaxAmount})
				}
			},
			entry: func(e *credits.Entry) bool {
				if e.Kind == credits.KindGrant {
					e.Amount = credits.MaxAmount
				}
				return true
			},
		},
		"an account before its last entry": {account: func(a *credits.Account) { a.At = a.At.Add(-time.Hour) }},
		"an op of another":                 {op: func(o *credits.Op) { o.Account = "other" }},
	} {
		s.Store = credits.NewMemoryStore(nil)
		l, err := credits.NewLedger(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, cmd := range []any{grant("g", 20), grant("g2", 5), hold("h", 5), debit("d", 5), hold("h2", 2), captureAll("h2")} {
			if _, err := do(t.Context(), l, cmd); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.Grant(t.Context(), credits.Grant{Account: "zoe", ID: "g", Amount: 1}); err != nil {
			t.Fatal(err)
		}
		seen := int64(0)
		sum, err := l.Verify(t.Context(), &credits.VerifyOptions{Progress: func(a credits.Audited) { seen = a.Accounts }})
		if name == "" {
			if want := (credits.Audited{Accounts: 2, Lots: 3, Ops: 6, Entries: 7}); err != nil || sum != want {
				t.Errorf("a sound ledger: %+v, %v", sum, err)
			}
			continue
		}
		if !errors.Is(err, credits.ErrCorrupt) || kerrors.CodeOf(err) != kerrors.Corrupt || sum.Faults == 0 || sum.Accounts != 2 || seen != 2 {
			t.Errorf("%s: %+v, %v", name, sum, err)
		}
		if strings.Contains(kerrors.MessageOf(err), "account") {
			t.Errorf("%s: a client reads %q", name, kerrors.MessageOf(err))
		}
	}
}

func TestVerifyOfSomeAccounts(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1))
	sum, err := r.Verify(t.Context(), &credits.VerifyOptions{Accounts: []credits.AccountID{acme, "nobody"}})
	if want := (credits.Audited{Accounts: 2, Lots: 1, Ops: 1, Entries: 1}); err != nil || sum != want {
		t.Errorf("%+v, %v", sum, err)
	}
	_, err = r.Verify(t.Context(), &credits.VerifyOptions{Accounts: []credits.AccountID{acme, "", "a\x00"}})
	if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), "is empty") || !strings.Contains(err.Error(), "control character") {
		t.Errorf("accounts that cannot be: %v", err)
	}
	down := errors.New("down")
	l, err := credits.NewLedger(&tampered{Store: r.store, err: down}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Verify(t.Context(), nil); !errors.Is(err, down) || kerrors.CodeOf(err) != kerrors.Unavailable {
		t.Errorf("a store that is down: %v", err)
	}
}

func TestNewLedgerReportsEveryFault(t *testing.T) {
	_, err := credits.NewLedger(nil, &credits.Options{HoldTTL: -1, MaxHoldTTL: 400 * 24 * time.Hour})
	if kerrors.CodeOf(err) != kerrors.Invalid {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"store is nil", "HoldTTL is -1ns", "MaxHoldTTL is 9600h"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if _, err := credits.NewLedger(credits.NewMemoryStore(nil), &credits.Options{MaxHoldTTL: time.Minute}); err != nil {
		t.Errorf("a maximum below the default TTL: %v", err)
	}
	if _, err := credits.NewLedger(credits.NewMemoryStore(nil), &credits.Options{HoldTTL: 25 * time.Hour}); err == nil {
		t.Error("a HoldTTL over MaxHoldTTL was taken")
	}
}

// failing is a store whose every call fails.
type failing struct {
	credits.Store
	err error
}

func (s failing) Update(context.Context, []credits.Need, func(time.Time, []*credits.State) error) error {
	return s.err
}

func (s failing) View(context.Context, []credits.Need, func(time.Time, []*credits.State) error) error {
	return s.err
}

func (s failing) Entries(context.Context, credits.EntryQuery) ([]credits.Entry, error) {
	return nil, s.err
}

func (s failing) Accounts(context.Context, credits.AccountID, int) ([]credits.AccountID, error) {
	return nil, s.err
}

func TestStoreErrorsAreCodedOnce(t *testing.T) {
	for _, c := range []struct {
		err  error
		code kerrors.Code
	}{
		{errors.New("connection refused"), kerrors.Unavailable},
		{context.DeadlineExceeded, kerrors.DeadlineExceeded},
		{&kerrors.Error{Code: kerrors.Exhausted}, kerrors.Exhausted},
	} {
		l, err := credits.NewLedger(failing{err: c.err}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var errs []error
		for _, cmd := range []any{grant("g", 1), hold("h", 1), captureAll("h"), release("h"), debit("d", 1), refund("r", "d", 1)} {
			_, err := do(t.Context(), l, cmd)
			errs = append(errs, err)
		}
		_, err = l.Balance(t.Context(), acme)
		errs = append(errs, err)
		_, err = l.Entries(t.Context(), credits.Query{Account: acme})
		errs = append(errs, err)
		_, err = l.Verify(t.Context(), nil)
		for _, err := range append(errs, err) {
			if !errors.Is(err, c.err) || kerrors.CodeOf(err) != c.code || !strings.HasPrefix(err.Error(), "credits.") {
				t.Errorf("%v: %v of code %v", c.err, err, kerrors.CodeOf(err))
			}
			if strings.Contains(kerrors.MessageOf(err), "refused") {
				t.Errorf("the driver's text is shown: %q", kerrors.MessageOf(err))
			}
		}
	}
	l, _ := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if _, err := l.Balance(t.Context(), ""); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("balance of no account: %v", err)
	}
}

// A store that loads less than it was asked for must not make the ledger guess.
func TestMissingRowsAreCorruption(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("h", 5))
	r.run(debit("d", 1))
	l, err := credits.NewLedger(forgetful{r.store}, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := r.snapshot(acme)
	for _, cmd := range []any{captureAll("h"), release("h"), refund("r", "d", 1)} {
		if _, err := do(t.Context(), l, cmd); !errors.Is(err, credits.ErrCorrupt) {
			t.Errorf("%+v: %v", cmd, err)
		}
	}
	// Which lots can be spent on what only they know: without them there is nothing.
	if _, err := do(t.Context(), l, hold("h2", 1)); !errors.Is(err, credits.ErrInsufficient) {
		t.Errorf("a hold: %v", err)
	}
	r.add(time.Hour)
	if _, err := l.Balance(t.Context(), acme); !errors.Is(err, credits.ErrCorrupt) {
		t.Errorf("balance with a time-out of lots that are missing: %v", err)
	}
	if after := r.snapshot(acme); after.Account != before.Account {
		t.Error("something was written")
	}
}

// forgetful is a store that loads no lots.
type forgetful struct{ credits.Store }

func (s forgetful) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return s.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		states[0].Lots = nil
		return fn(now, states)
	})
}

func (s forgetful) View(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return s.Store.View(ctx, needs, func(now time.Time, states []*credits.State) error {
		states[0].Lots = nil
		return fn(now, states)
	})
}
