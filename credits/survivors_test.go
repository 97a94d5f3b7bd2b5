package credits_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// Each test here fails for a change of the core that no other test had noticed;
// see docs/credits-mutants.md.

func TestRefundsInStepsUnwindEachLotOnce(t *testing.T) {
	r := newRig(t)
	r.run(grant("first", 3))
	r.run(grant("second", 4))
	r.run(debit("d", 7))
	r.run(refund("r1", "d", 1))
	got := r.run(refund("r2", "d", 5)) // three are left of the second lot
	if got.Parts.Len() != 2 || got.Parts.At(0) != part(2, 3, 0, 0, 0) || got.Parts.At(1) != part(1, 2, 0, 0, 0) {
		t.Errorf("refunded to %+v", got.Parts)
	}
	r.refuse(refund("r3", "d", 2), credits.ErrOverRefund)
	r.run(refund("r3", "d", 1))
}

func TestADebtStaysWithinWhatAnAccountCanBeIssued(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", credits.MaxAmount-5))
	r.run(debit("d", credits.MaxAmount-5))
	for _, id := range []credits.OpID{"h", "h2"} {
		r.run(credits.Hold{Account: acme, ID: id, Overrun: credits.OverrunDebt, DebtLimit: 1000})
	}
	r.refuse(capture("h", 6), credits.ErrOverHold)
	r.run(capture("h", 5))
	r.refuse(capture("h2", 1), credits.ErrOverHold)
}

// What is refunded of a debt that was repaid has the terms of the lot that repaid
// it, and so has what is refunded of it later.
func TestRefundsOfARepaidDebtInStepsHaveTheSameTerms(t *testing.T) {
	r := newRig(t)
	r.run(credits.Hold{Account: acme, ID: "h", Overrun: credits.OverrunDebt, DebtLimit: 10})
	r.run(capture("h", 6))
	r.run(credits.Grant{Account: acme, ID: "pays", Amount: 6, Priority: 7, ExpiresAt: epoch.Add(10 * time.Hour)})
	r.add(20 * time.Hour)
	r.run(refund("r1", "h", 2))
	r.add(time.Hour)
	r.run(refund("r2", "h", 2))
	for id, at := range map[credits.LotID]time.Duration{2: 30 * time.Hour, 3: 31 * time.Hour} {
		for _, lot := range r.snapshot(acme).Lots {
			if lot.ID == id && (!lot.ExpiresAt.Equal(epoch.Add(at)) || lot.Priority != 7 || lot.Totals.Available != 2) {
				t.Errorf("lot %+v, want its end at %v", lot, epoch.Add(at))
			}
		}
	}
}

// sharing runs a second command on the states of the first, as a batch does.
type sharing struct {
	credits.Store
	need func(*credits.Need)
	then func(now time.Time, states []*credits.State)
}

func (s *sharing) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	then := s.then
	if then == nil {
		return s.Store.Update(ctx, needs, fn)
	}
	s.then = nil
	s.need(&needs[0])
	return s.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		if err := fn(now, states); err != nil {
			return err
		}
		then(now, states)
		return nil
	})
}

// given is a store whose one update is under way.
type given struct {
	credits.Store
	now    time.Time
	states []*credits.State
}

func (s given) Update(_ context.Context, _ []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return fn(s.now, s.states)
}

// What was pruned before in the same batch is not there any more: it can neither
// be refunded nor answer a retry.
func TestWhatABatchHasPrunedIsGone(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	id := uuid(epoch, 1)
	r.run(debit(id, 4))
	r.add(2 * time.Hour)
	var refunded, retried error
	s := &sharing{Store: r.store}
	s.need = func(n *credits.Need) { n.Targets = append(n.Targets, id) }
	s.then = func(now time.Time, states []*credits.State) {
		l, err := credits.NewLedger(given{r.store, now, states}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, refunded = l.Refund(t.Context(), refund("r", id, 1))
		_, retried = l.Debit(t.Context(), debit(id, 4))
	}
	l, err := credits.NewLedger(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Prune(t.Context(), &credits.PruneOptions{Accounts: []credits.AccountID{acme}, MinAge: time.Hour}); err != nil || got.Ops != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if !errors.Is(refunded, credits.ErrKeyTooOld) || !errors.Is(retried, credits.ErrKeyTooOld) {
		t.Errorf("the refund: %v; the retry: %v", refunded, retried)
	}
}

// watched tells how each update has left the account's row.
type watched struct {
	credits.Store
	saw func(before, after credits.Account, change credits.Change)
}

func (s watched) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return s.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		before := states[0].Account
		err := fn(now, states)
		s.saw(before, states[0].Account, states[0].AccountChange)
		return err
	})
}

// A store inserts what is Added and overwrites what is Updated: the first change
// of an account is its addition, and no other is.
func TestTheFirstChangeOfAnAccountIsItsAddition(t *testing.T) {
	var seen []credits.Change
	l, err := credits.NewLedger(watched{credits.NewMemoryStore(nil), func(before, after credits.Account, change credits.Change) {
		seen = append(seen, change)
		if grown := after.Version - before.Version; change == credits.Unchanged && grown != 0 || change != credits.Unchanged && grown != 1 {
			t.Errorf("version %d after %d, change %d", after.Version, before.Version, change)
		}
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []any{grant("g", 5), debit("d", 1), debit("d", 1), hold("h", 1)} {
		if _, err := do(t.Context(), l, cmd); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 4 || seen[0] != credits.Added || seen[1] != credits.Updated || seen[2] != credits.Unchanged || seen[3] != credits.Updated {
		t.Errorf("changes %v", seen)
	}
}

// A lease of which everything was spent, and which nobody has closed, ends at its
// deadline like others.
func TestALeaseThatIsSpentEndsAtItsDeadline(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 5))
	if _, err := r.AcquireLease(t.Context(), credits.AcquireLease{Account: acme, ID: "l", Owner: "o", Min: 5, Want: 5, TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.SettleLease(t.Context(), credits.SettleLease{Account: acme, Lease: "l", Owner: "o", Spends: []credits.LeaseSpend{{ID: "s", Amount: 5}}}); err != nil {
		t.Fatal(err)
	}
	r.add(time.Hour)
	r.run(debit("touch", 0))
	if c := r.snapshot(acme); c.Ops["l"].Hold != credits.HoldReleased || c.Account.Leases != 0 {
		t.Errorf("%v, %d leases", c.Ops["l"].Hold, c.Account.Leases)
	}
}
