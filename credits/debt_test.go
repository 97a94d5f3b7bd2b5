package credits_test

import (
	"errors"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// owing returns a rig whose account has nothing and owes so much, of a hold "h".
func owing(t *testing.T, debt credits.Amount) *rig {
	t.Helper()
	r := newRig(t)
	r.run(holdWith("h", 0, credits.OverrunDebt, debt))
	r.run(capture("h", debt))
	r.balance(credits.Totals{Consumed: debt, Debt: debt})
	return r
}

// lastKinds returns the kinds of the last n entries.
func (r *rig) lastKinds(n int) []credits.Kind {
	entries := r.snapshot(acme).Entries
	var kinds []credits.Kind
	for _, e := range entries[len(entries)-n:] {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func TestTheNextGrantRepays(t *testing.T) {
	r := owing(t, 10)
	r.run(grant("a", 4))
	r.balance(credits.Totals{Issued: 4, Consumed: 10, Debt: 6})
	got := r.run(grant("b", 9))
	if got.Totals != (credits.Totals{Issued: 13, Available: 3, Consumed: 10}) || got.Amount != 9 {
		t.Errorf("receipt %+v", got)
	}
	entries := r.snapshot(acme).Entries
	out, in := entries[len(entries)-2], entries[len(entries)-1]
	if out.Kind != credits.KindRepay || out.Lot != 2 || out.From != credits.BucketAvailable || out.To != credits.BucketIssued || out.Amount != 6 || out.Op != "b" ||
		in.Kind != credits.KindRepay || in.Lot != 0 || in.From != credits.BucketIssued || in.To != credits.BucketDebt || in.Amount != 6 || in.Op != "b" {
		t.Errorf("repaid by\n%+v\n%+v", out, in)
	}
}

func TestWhateverBecomesAvailableRepays(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		before func(*rig) // while there is credit
		after  func(*rig) // when 10 are owed and nothing is left
		repaid credits.Amount
	}{
		"a grant that takes effect": {
			func(r *rig) {
				r.run(credits.Grant{Account: acme, ID: "later", Amount: 4, EffectiveAt: epoch.Add(time.Hour)})
			},
			func(r *rig) { r.add(time.Hour) }, 4,
		},
		"a release":                {func(r *rig) { r.run(hold("x", 4)) }, func(r *rig) { r.run(release("x")) }, 4},
		"the rest of a capture":    {func(r *rig) { r.run(hold("x", 4)) }, func(r *rig) { r.run(capture("x", 1)) }, 3},
		"a hold that times out":    {func(r *rig) { r.run(hold("x", 4)) }, func(r *rig) { r.add(time.Hour) }, 4},
		"a refund":                 {func(r *rig) { r.run(debit("x", 4)) }, func(r *rig) { r.run(refund("r", "x", 3)) }, 3},
		"a refund to an heir":      {func(r *rig) { r.run(debit("x", 4)) }, func(r *rig) { r.add(2 * day); r.run(refund("r", "x", 3)) }, 3},
		"what a lease gives back":  {func(r *rig) { r.run(acquire("l", 4)) }, func(r *rig) { r.run(closing("l", spend("s", 1))) }, 3},
		"a lease that is resolved": {func(r *rig) { r.run(acquire("l", 4)) }, func(r *rig) { r.add(time.Hour); r.run(resolve("v", "l", credits.BucketAvailable)) }, 4},
		"more than is owed":        {func(r *rig) { r.run(hold("x", 12)) }, func(r *rig) { r.run(release("x")) }, 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.run(credits.Grant{Account: acme, ID: "g", Amount: 12, ExpiresAt: epoch.Add(day)})
			c.before(r)
			r.run(holdWith("h", 0, credits.OverrunDebt, 10))
			available := r.snapshot(acme).Account.Totals.Available
			r.run(capture("h", available+10))
			c.after(r)
			b, err := r.Balance(t.Context(), acme)
			if err != nil || b.Debt != 10-c.repaid || b.Debt > 0 && b.Available > 0 {
				t.Errorf("balance %+v, %v; want %v owed", b, err, 10-c.repaid)
			}
			r.run(debit("touch", 0))
			if kinds := r.lastKinds(2); kinds[0] != credits.KindRepay || kinds[1] != credits.KindRepay {
				t.Errorf("the last entries are %v", kinds)
			}
		})
	}
}

// Credit for one operation was given for that: it does not pay for others.
func TestRestrictedLotsNeverRepay(t *testing.T) {
	r := owing(t, 10)
	r.run(credits.Grant{Account: acme, ID: "promo", Amount: 7, Only: credits.Only("image")})
	r.balance(credits.Totals{Issued: 7, Available: 7, Consumed: 10, Debt: 10})
	// And whoever owes spends nothing, not even that.
	d := credits.Debit{Account: acme, ID: "d", Amount: 1, Operation: "image"}
	err := r.refuse(d, credits.ErrInsufficient)
	if denied, ok := errors.AsType[*credits.DeniedError](err); !ok || denied.Source != credits.SourceBalance || denied.Available != 0 || denied.Debt != 10 || denied.Transient {
		t.Errorf("denied by %+v", denied)
	}
	r.run(grant("paid", 10))
	d.ID = "d2"
	r.run(d)
	r.balance(credits.Totals{Issued: 17, Available: 6, Consumed: 11})
}

func TestWhoOwesSpendsNothing(t *testing.T) {
	r := owing(t, 10)
	r.refuse(hold("x", 1), credits.ErrInsufficient)
	r.refuse(debit("d", 1), credits.ErrInsufficient)
	r.refuse(acquire("l", 1), credits.ErrInsufficient)
	r.run(hold("nothing", 0))
	r.run(debit("free", 0))
	r.run(capture("nothing", 0))
	r.balance(credits.Totals{Consumed: 10, Debt: 10})
}

// The debt's lot is there already when the account owes for the second time.
func TestAnAccountMayOweAgain(t *testing.T) {
	r := owing(t, 10)
	r.run(grant("a", 10))
	r.balance(credits.Totals{Issued: 10, Consumed: 10})
	for i, id := range []credits.OpID{"x", "y"} {
		r.run(holdWith(id, 0, credits.OverrunDebt, 20))
		r.run(capture(id, 3))
		owed := credits.Amount(3 * (i + 1))
		r.balance(credits.Totals{Issued: 10, Consumed: 10 + owed, Debt: owed})
	}
	if lot := r.snapshot(acme).Debt; lot.Totals != (credits.Totals{Issued: 10, Consumed: 16, Debt: 6}) {
		t.Errorf("lot 0: %+v", lot)
	}
}

func TestRefundOfADebtLessensIt(t *testing.T) {
	r := owing(t, 10)
	got := r.run(refund("r1", "h", 4))
	if !got.Parts.Equal(credits.NewParts(credits.Part{Lot: 0, Amount: 4})) || got.Totals.Debt != 6 {
		t.Errorf("receipt %+v", got)
	}
	r.again(refund("r1", "h", 4), got)
	r.refuse(refund("r2", "h", 7), credits.ErrOverRefund)
	r.run(credits.Refund{Account: acme, ID: "r3", Of: "h", All: true})
	r.balance(credits.Totals{})
}

// What was repaid and is refunded was paid by the lot that repaid: it comes back
// on that lot's terms.
func TestRefundOfARepaidDebtHasTheTermsOfWhatRepaid(t *testing.T) {
	r := owing(t, 10)
	expires := epoch.Add(10 * time.Hour)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 7, Priority: 5, Category: credits.Plan, ExpiresAt: expires})
	got := r.run(refund("r1", "h", 5)) // 3 are owed, 2 were repaid
	if !got.Parts.Equal(credits.NewParts(credits.Part{Lot: 0, Amount: 3}, credits.Part{Lot: 2, Amount: 2})) {
		t.Errorf("refunded to %+v", got.Parts)
	}
	heir := r.snapshot(acme).Lots[1]
	if heir.Op != "r1" || heir.Priority != 5 || heir.Category != credits.Plan || heir.Only != "" || !heir.ExpiresAt.Equal(expires) {
		t.Errorf("the new lot: %+v", heir)
	}
	r.balance(credits.Totals{Issued: 7, Available: 2, Consumed: 5})
	r.add(20 * time.Hour) // that lot has expired: it lives as long as it had left when the hold was made
	r.run(credits.Refund{Account: acme, ID: "r2", Of: "h", All: true})
	if heir := r.snapshot(acme).Lots[2]; !heir.ExpiresAt.Equal(epoch.Add(30 * time.Hour)) {
		t.Errorf("the new lot expires at %v", heir.ExpiresAt)
	}
	r.balance(credits.Totals{Issued: 7, Available: 5, Expired: 2})
}

// The lot that repaid one debt may be gone before another hold is made: what is
// refunded of that must not be born expired, and not live for ever.
func TestRefundIsNeverBornExpired(t *testing.T) {
	r := owing(t, 10)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, ExpiresAt: epoch.Add(time.Hour)})
	r.add(2 * time.Hour)
	r.run(holdWith("other", 0, credits.OverrunDebt, 10))
	r.run(capture("other", 10))
	r.run(credits.Refund{Account: acme, ID: "r1", Of: "h", All: true}) // which wipes out what the other owes
	r.balance(credits.Totals{Issued: 10, Consumed: 10})
	r.run(credits.Refund{Account: acme, ID: "r2", Of: "other", All: true})
	r.balance(credits.Totals{Issued: 10, Available: 10})
	if heir := r.snapshot(acme).Lots[1]; !heir.ExpiresAt.Equal(epoch.Add(3 * time.Hour)) {
		t.Errorf("it expires at %v", heir.ExpiresAt)
	}
}

// An account cannot be issued so much, and owe so much, that a sum overflows.
func TestIssuedAndOwedAreBoundedTogether(t *testing.T) {
	r := newRig(t)
	r.run(holdWith("h", 0, credits.OverrunDebt, credits.MaxAmount))
	r.run(capture("h", credits.MaxAmount))
	r.refuse(grant("g", 1), credits.ErrOverIssue)
	r.run(refund("r", "h", 5))
	r.run(grant("g", 5))
	r.balance(credits.Totals{Issued: 5, Consumed: credits.MaxAmount - 5, Debt: credits.MaxAmount - 10})

	r = newRig(t)
	r.run(grant("g", 10))
	r.run(debit("d", 10))
	r.run(holdWith("h", 0, credits.OverrunDebt, credits.MaxAmount))
	r.refuse(capture("h", credits.MaxAmount-9), credits.ErrOverHold)
	r.run(capture("h", credits.MaxAmount-10))
}

// A key has spent what it has spent, whoever repays it.
func TestRepayingIsNobodysSpending(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	h := hold("released", 6)
	h.Key, h.Operation, h.Price = "k", "image", "v1"
	r.run(h)
	r.run(holdWith("h", 4, credits.OverrunDebt, 10))
	r.run(capture("h", 9))
	r.run(release("released"))
	repaid := 0
	for _, e := range r.snapshot(acme).Entries {
		if e.Kind != credits.KindRepay {
			continue
		}
		if repaid++; e.Key != "" || e.Operation != "" || e.Price != "" || e.Op != "released" || e.Amount != 5 {
			t.Errorf("repaid by %+v", e)
		}
	}
	if repaid != 2 {
		t.Errorf("%d entries repay", repaid)
	}
}

// A store that does not load the debt's lot must not make the ledger guess.
func TestMissingDebtIsCorruption(t *testing.T) {
	r := owing(t, 10)
	l, err := credits.NewLedger(forgetful{r.store}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Grant(t.Context(), grant("g", 5)); !errors.Is(err, credits.ErrCorrupt) {
		t.Errorf("a grant: %v", err)
	}
	if _, err := l.Balance(t.Context(), acme); !errors.Is(err, credits.ErrCorrupt) {
		t.Errorf("the balance: %v", err)
	}
}

// What comes back of holds and leases repays first: only what is left then makes
// room.
func TestWhatComesBackMakesRoomOnlyBeyondTheDebt(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 12))
	r.run(acquire("l", 12))
	r.run(holdWith("h", 0, credits.OverrunDebt, 10))
	r.run(capture("h", 10))
	if d := r.denial(hold("x", 2)); d.Source != credits.SourceLeases || !d.Transient {
		t.Errorf("denied by %+v", d)
	}
	if d := r.denial(hold("x", 3)); d.Source != credits.SourceBalance || d.Transient {
		t.Errorf("denied by %+v", d)
	}
}

// The lot that a refund makes for one that has expired lives no longer than that
// one did in all, also when the spend was written after its end: of a lease whose
// owner was late.
func TestARefundOfALeaseThatWasToldLateDoesNotLiveForEver(t *testing.T) {
	r := leaseRig{newRig(t)}
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 100, ExpiresAt: epoch.Add(time.Hour)})
	r.add(59*time.Minute + 30*time.Second)
	r.acquire(acquire("l", 40))
	r.add(2 * time.Hour)
	r.settle(closing("l", spend("late", 30)))
	r.run(credits.Refund{Account: acme, ID: "r", Of: "late", All: true})
	lots := r.snapshot(acme).Lots
	heir := lots[len(lots)-1]
	if want := r.now().Add(time.Hour); heir.ID != 2 || heir.Totals.Available != 30 || !heir.ExpiresAt.Equal(want) {
		t.Errorf("the refund made %+v; it should end at %v", heir, want)
	}
}
