package credits_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func (r *rig) explain(id credits.OpID) *credits.Explanation {
	r.t.Helper()
	x, err := r.Explain(r.t.Context(), acme, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

// says fails unless the text of x has all the lines, in that order.
func says(t *testing.T, x *credits.Explanation, lines ...string) {
	t.Helper()
	rest := x.String()
	for _, line := range lines {
		_, after, ok := strings.Cut("\n"+rest, "\n"+line)
		if !ok {
			t.Errorf("no line %q in\n%s", line, x)
			return
		}
		rest = after
	}
}

// For every step of the burn order, two lots that differ in it and in what
// comes after it, and the reason that is told.
func TestExplainTellsWhyALotBurnedFirst(t *testing.T) {
	soon, late := epoch.Add(time.Hour), epoch.Add(2*time.Hour)
	for name, c := range map[string]struct {
		first, second credits.Grant
		why           credits.BurnReason
		words         string
	}{
		"priority":   {credits.Grant{Priority: -1}, credits.Grant{Only: credits.Only("image")}, credits.BurnPriority, "because its priority is lower, -1 and not 0"},
		"restricted": {credits.Grant{Only: credits.Only("image")}, credits.Grant{ExpiresAt: soon}, credits.BurnRestricted, "because it can be spent on this"},
		"expiry":     {credits.Grant{ExpiresAt: soon}, credits.Grant{ExpiresAt: late, Category: credits.Promo}, credits.BurnExpiry, "because it expires earlier"},
		"never":      {credits.Grant{ExpiresAt: late}, credits.Grant{Category: credits.Promo}, credits.BurnExpiry, "because it expires, and the other never does"},
		"category":   {credits.Grant{Category: credits.Promo}, credits.Grant{Category: credits.Plan, EffectiveAt: epoch.Add(-time.Hour)}, credits.BurnCategory, "because promo burns before plan"},
		"effective":  {credits.Grant{EffectiveAt: epoch.Add(-time.Hour)}, credits.Grant{}, credits.BurnEffective, "because it took effect earlier"},
		"age":        {credits.Grant{}, credits.Grant{}, credits.BurnAge, "because it is older"},
	} {
		for _, swap := range []bool{false, true} {
			if swap && c.why == credits.BurnAge {
				continue
			}
			r := newRig(t)
			grants := []credits.Grant{c.first, c.second}
			grants[0].ID, grants[1].ID = "first", "second"
			if swap {
				grants[0], grants[1] = grants[1], grants[0]
			}
			for _, g := range grants {
				g.Account, g.Amount = acme, 5
				r.run(g)
			}
			r.run(credits.Debit{Account: acme, ID: "part", Amount: 1, Operation: "image"})
			r.run(credits.Debit{Account: acme, ID: "both", Amount: 6, Operation: "image"})
			if x := r.explain("part"); len(x.Lots) != 1 || x.Lots[0].Why != c.why || len(x.Next) != 1 || x.Next[0].Op != "second" || x.Lots[0].Lot.Op != "first" {
				t.Errorf("%s: %v and then %+v", name, x.Lots, x.Next)
			}
			x := r.explain("both")
			if len(x.Lots) != 2 || x.Lots[0].Why != c.why || x.Lots[0].Part.Amount != 4 || x.Lots[1].Why != credits.BurnNoReason || len(x.Next) != 0 || len(x.Entries) != 2 {
				t.Errorf("%s: %+v", name, x)
			}
			if text := x.String(); !strings.Contains(text, c.words) || c.why.String() == "none" {
				t.Errorf("%s: no %q in\n%s", name, c.words, text)
			}
		}
	}
}

func TestExplainAHoldFromEndToEnd(t *testing.T) {
	r := newRig(t)
	r.setBudget(credits.Budget{Account: acme, ID: "month", Amount: 10, Every: credits.Month, Thresholds: credits.NewThresholds(50)})
	r.run(grant("g", 20))
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 8, Key: "k1", Operation: "image", Price: "v3", Note: "three pictures"})
	if x := r.explain("h"); x.Op.Hold != credits.HoldOpen || len(x.Entries) != 1 {
		t.Errorf("%+v", x)
	}
	r.add(time.Minute)
	r.run(credits.Capture{Account: acme, Hold: "h", Amount: 2, Keep: true, ID: "c"})
	r.add(time.Minute)
	r.run(capture("h", 5))
	r.run(debit("another", 1))
	r.add(time.Minute)
	r.run(refund("back", "h", 3))
	x := r.explain("h")
	if len(x.Related) != 2 || x.Related[0].ID != "c" || x.Related[1].ID != "back" || len(x.Entries) != 3 || x.Lots[0].Part != (credits.Part{Lot: 1, Amount: 8, Captured: 7, Released: 1, Refunded: 3}) {
		t.Errorf("%+v", x)
	}
	says(t, x,
		"hold h of account acme, 2026-01-31T12:00:00Z: 0.000008 credits, key k1, operation image, price v3, note three pictures",
		"captured 2026-01-31T12:02:00Z: 0.000005 spent by that, 0.000001 given back",
		"from lot 1 (paid, made by g): 0.000008, 0.000007 spent, 0.000001 given back, 0.000003 refunded",
		"counts in budget month, in the window that began 2026-01-31T12:00:00Z; it reached 50 %",
		"capture c, 2026-01-31T12:01:00Z: 0.000002 credits",
		"refund back, 2026-01-31T12:03:00Z: 0.000003 credits",
		"entry 2, 2026-01-31T12:00:00Z, hold: 0.000008 of lot 1, available -> held",
		"entry 4, 2026-01-31T12:02:00Z, capture: 0.000005 of lot 1, held -> consumed",
		"entry 5, 2026-01-31T12:02:00Z, release: 0.000001 of lot 1, held -> available",
	)
	says(t, r.explain("c"), "capture c of account acme, 2026-01-31T12:01:00Z: 0.000002 credits, key k1", "of h", "lot by lot: lot 1 (paid, made by g): 0.000002", "entry 3,")
	says(t, r.explain("back"), "refund back", "of h", "lot by lot: lot 1 (paid, made by g): 0.000003", "entry 7,")
	says(t, r.explain("g"), "grant g", "lot by lot: lot 1 (paid, made by g): 0.00002", "entry 1,")
}

func TestExplainWhatTimeDid(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, EffectiveAt: epoch.Add(time.Minute), ExpiresAt: epoch.Add(3 * time.Hour)})
	r.add(time.Hour)
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 4, TTL: time.Hour})
	r.add(4 * time.Hour)
	x := r.explain("h")
	if x.Op.Hold != credits.HoldTimedOut || len(x.Entries) != 1 {
		t.Errorf("before it is posted: %+v", x)
	}
	r.run(debit("touch", 0))
	says(t, r.explain("h"), "hold h", "timed out 2026-01-31T14:00:00Z: 0 spent by that, 0.000004 given back", "entry 3,", "entry 4, 2026-01-31T14:00:00Z, timeout")
	says(t, r.explain("g"), "grant g", "entry 1, 2026-01-31T12:00:00Z, grant", "entry 2, 2026-01-31T12:01:00Z, effect", "entry 5, 2026-01-31T15:00:00Z, expire")
}

func TestExplainARefusedDebitAndADebt(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 5))
	if _, err := r.try(debit("no", 50)); !errors.Is(err, credits.ErrInsufficient) {
		t.Fatal(err)
	}
	x := r.explain("no")
	if x.Denied == nil || x.Denied.Need != 50 || x.Denied.Available != 5 || len(x.Lots) != 0 || len(x.Entries) != 0 {
		t.Errorf("%+v", x)
	}
	says(t, x, "debit no of account acme", "refused, and stays so, by its balance: 0.00005 needed, 0.000005 there")
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 3, Overrun: credits.OverrunDebt, DebtLimit: 10})
	r.run(capture("h", 9))
	says(t, r.explain("h"), "hold h", "from lot 1 (paid, made by g): 0.000003, 0.000003 spent", "then lot 1 (paid, made by g): 0.000002, 0.000002 spent", "then debt, which no lot backs: 0.000004")
	r.run(grant("more", 6))
	says(t, r.explain("more"), "grant more", "entry 6, 2026-01-31T12:00:00Z, grant", "entry 7, 2026-01-31T12:00:00Z, repay: 0.000004 of lot 2, available -> issued", "entry 8, 2026-01-31T12:00:00Z, repay: 0.000004 of lot 0, issued -> debt")
}

func TestExplainALeaseAndItsSpends(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 50))
	if _, err := r.AcquireLease(t.Context(), credits.AcquireLease{Account: acme, ID: "l", Owner: "web-1", Min: 1, Want: 20, TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	r.add(time.Second)
	if _, err := r.SettleLease(t.Context(), credits.SettleLease{Account: acme, Lease: "l", Owner: "web-1", Spends: []credits.LeaseSpend{{ID: "s1", Amount: 3}, {ID: "s2", Amount: 4}}, Return: 5}); err != nil {
		t.Fatal(err)
	}
	r.add(time.Hour)
	r.run(debit("touch", 1))
	if _, err := r.ResolveLease(t.Context(), credits.ResolveLease{Account: acme, ID: "x", Lease: "l", All: true, To: credits.BucketConsumed, Note: "seen in the job table"}); err != nil {
		t.Fatal(err)
	}
	x := r.explain("l")
	if len(x.Related) != 3 || len(x.Entries) != 3 || x.Lots[0].Part.Captured != 15 || x.More {
		t.Errorf("%+v", x)
	}
	says(t, x, "lease l of account acme", "from lot 1", "debit s1", "debit s2", "resolve x", "entry 2, 2026-01-31T12:00:00Z, lease")
	says(t, r.explain("s2"), "debit s2", "of l", "from lot 1 (paid, made by g): 0.000004", "entry ")
	if x := r.explain("s2"); len(x.Next) != 0 || len(x.Entries) != 1 {
		t.Errorf("a spend of a lease: %+v", x)
	}
	says(t, r.explain("x"), "resolve x", "of l")
}

func TestExplainWhatASchedulesPeriodDid(t *testing.T) {
	r := newRig(t)
	if _, err := r.SetSchedule(t.Context(), credits.Schedule{
		Account: acme, ID: "plan", Amount: 10, Unit: credits.Days, Every: 1, Anchor: epoch, Rollover: 4, Category: credits.Plan,
	}); err != nil {
		t.Fatal(err)
	}
	r.run(debit("d", 3))
	r.add(25 * time.Hour)
	r.run(debit("d2", 1))
	x := r.explain("@plan#0")
	if x.Op.Kind != credits.KindGrant || x.Op.Amount != 10 || !x.Op.At.Equal(epoch) || len(x.Lots) != 1 {
		t.Errorf("%+v", x)
	}
	says(t, x, "grant @plan#0 of account acme, 2026-01-31T12:00:00Z: 0.00001 credits", "lot by lot: lot 1 (plan, made by @plan#0, expires 2026-02-01T12:00:00Z): 0.00001", "entry 1,")
	if x := r.explain("@plan#1"); x.Op.Amount != 14 || len(x.Lots) != 2 {
		t.Errorf("the next period, with what rolled over: %+v\n%s", x.Op, x)
	}
	if _, err := r.Explain(t.Context(), acme, "@plan#7"); !errors.Is(err, credits.ErrNotFound) {
		t.Errorf("a period to come: %v", err)
	}
}

func TestExplainWhatIsNotThere(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 5))
	if _, err := r.Explain(t.Context(), acme, "nothing"); !errors.Is(err, credits.ErrNotFound) {
		t.Errorf("%v", err)
	}
	old := uuid(epoch, 1)
	r.run(debit(old, 1))
	r.add(2 * time.Hour)
	if _, err := r.Prune(t.Context(), &credits.PruneOptions{MinAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Explain(t.Context(), acme, old); !errors.Is(err, credits.ErrKeyTooOld) {
		t.Errorf("pruned: %v", err)
	}
	if _, err := r.Explain(t.Context(), "", "\x00"); kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), "Account") || !strings.Contains(err.Error(), "ID") {
		t.Errorf("ids that cannot be: %v", err)
	}
}
