package credits_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// holdWith is a hold with policies.
func holdWith(id credits.OpID, amount credits.Amount, o credits.Overrun, limit credits.Amount) credits.Hold {
	return credits.Hold{Account: acme, ID: id, Amount: amount, Overrun: o, DebtLimit: limit}
}

func keep(id, hold credits.OpID, amount credits.Amount) credits.Capture {
	return credits.Capture{Account: acme, Hold: hold, Amount: amount, Keep: true, ID: id}
}

// again checks that a retry replays what came first.
func (r *rig) again(cmd any, first credits.Receipt) {
	r.t.Helper()
	before := r.snapshot(acme)
	got := r.run(cmd)
	first.Replayed = true
	if !reflect.DeepEqual(got, first) {
		r.t.Errorf("a retry of %+v:\n got %+v\nwant %+v", cmd, got, first)
	}
	if after := r.snapshot(acme); !reflect.DeepEqual(after, before) {
		r.t.Errorf("a retry of %+v has written something", cmd)
	}
}

// blnk #62, autumn PR #3359: work cost more than was held, and nothing said what
// then.
func TestCaptureBeyondAHoldTakesWhatIsAvailableUpToWhatItAsks(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "soon", Amount: 4, ExpiresAt: epoch.Add(time.Hour)})
	r.run(grant("paid", 20))
	r.run(holdWith("h", 6, credits.OverrunCapped, 0)) // 4 of lot 1, 2 of lot 2
	c := r.run(capture("h", 9))
	if c.Amount != 9 || c.Hold != credits.HoldCaptured || !c.Parts.Equal(credits.NewParts(
		credits.Part{Lot: 1, Amount: 4, Captured: 4}, credits.Part{Lot: 2, Amount: 2, Captured: 2}, credits.Part{Lot: 2, Amount: 3, Captured: 3})) {
		t.Errorf("receipt %+v", c)
	}
	r.balance(credits.Totals{Issued: 24, Available: 15, Consumed: 9})
	r.again(capture("h", 9), c)
	r.refuse(captureAll("h"), credits.ErrSettled) // all was 6
	r.refuse(capture("h", 6), credits.ErrSettled)
	r.refuse(release("h"), credits.ErrSettled)
}

func TestCappedCaptureForgivesWhatIsNotThere(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	first := r.run(holdWith("h", 6, credits.OverrunCapped, 0))
	c := r.run(capture("h", 100))
	if c.Amount != 10 || c.Totals != (credits.Totals{Issued: 10, Consumed: 10}) {
		t.Errorf("receipt %+v", c)
	}
	r.run(grant("later", 50)) // what was forgiven stays so
	r.again(capture("h", 100), c)
	r.refuse(capture("h", 10), credits.ErrSettled) // which asks for something else
	r.refuse(capture("h", 101), credits.ErrSettled)
	if again := r.run(holdWith("h", 6, credits.OverrunCapped, 0)); !again.Parts.Equal(first.Parts) || again.Hold != credits.HoldCaptured {
		t.Errorf("the hold's receipt has become %+v", again)
	}
	r.run(credits.Refund{Account: acme, ID: "r", Of: "h", All: true})
	r.balance(credits.Totals{Issued: 60, Available: 60})
}

func TestOverrunIsPaidByLotsForTheOperationAlone(t *testing.T) {
	for _, overrun := range []credits.Overrun{credits.OverrunCapped, credits.OverrunDebt} {
		r := newRig(t)
		r.run(grant("any", 5))
		r.run(credits.Grant{Account: acme, ID: "image", Amount: 5, Only: credits.Only("image")})
		r.run(credits.Grant{Account: acme, ID: "chat", Amount: 5, Only: credits.Only("chat")})
		h := holdWith("h", 7, overrun, 0)
		h.Operation = "image"
		if overrun == credits.OverrunDebt {
			h.DebtLimit = 2
		}
		if got := r.run(h); got.Parts.At(0).Lot != 2 || got.Parts.At(1) != (credits.Part{Lot: 1, Amount: 2}) {
			t.Errorf("%v: the hold took %+v; want the restricted lot first", overrun, got.Parts)
		}
		if overrun == credits.OverrunCapped {
			if c := r.run(capture("h", 20)); c.Amount != 10 {
				t.Errorf("charged %v", c.Amount)
			}
			r.balance(credits.Totals{Issued: 15, Available: 5, Consumed: 10})
			continue
		}
		r.refuse(capture("h", 13), credits.ErrOverHold) // 3 would be owed
		if c := r.run(capture("h", 12)); c.Amount != 12 {
			t.Errorf("charged %v", c.Amount)
		}
		r.balance(credits.Totals{Issued: 15, Available: 5, Consumed: 12, Debt: 2})
	}
}

func TestOverrunDebtStaysWithinTheHoldsLimit(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(holdWith("a", 4, credits.OverrunDebt, 5))
	r.run(holdWith("b", 4, credits.OverrunDebt, 5))
	r.run(holdWith("none", 0, credits.OverrunDebt, 0))
	r.run(holdWith("wide", 0, credits.OverrunDebt, credits.MaxAmount))
	r.refuse(capture("none", 3), credits.ErrOverHold)
	c := r.run(capture("a", 9)) // 4 held, 2 available, 3 owed
	if c.Amount != 9 || c.Totals.Debt != 3 || c.Parts.At(2) != (credits.Part{Lot: 0, Amount: 3, Captured: 3}) {
		t.Errorf("receipt %+v", c)
	}
	r.again(capture("a", 9), c)
	r.refuse(capture("b", 7), credits.ErrOverHold)    // 6 in all
	r.run(capture("b", 6))                            // 5 in all
	r.refuse(capture("none", 1), credits.ErrOverHold) // what others owe counts
	r.balance(credits.Totals{Issued: 10, Consumed: 15, Debt: 5})
	if got := r.snapshot(acme).Debt; got.Totals != (credits.Totals{Consumed: 5, Debt: 5}) {
		t.Errorf("lot 0: %+v", got)
	}
	r.refuse(capture("wide", credits.MaxAmount), credits.ErrOverHold) // more than an account can be issued and owe
	r.run(capture("none", 0))
	r.run(capture("wide", 0))
}

func TestADebtIsRefusedWhereOnlyWhatIsThereMayBeSpent(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(holdWith("h", 4, credits.OverrunDebt, 0))
	r.refuse(capture("h", 11), credits.ErrOverHold)
	r.run(capture("h", 10))
	r.balance(credits.Totals{Issued: 10, Consumed: 10})
}

func TestCapturesThatKeepMayGoBeyondTheHold(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(holdWith("h", 4, credits.OverrunDebt, 6))
	first := r.run(keep("1", "h", 3))
	second := r.run(keep("2", "h", 4)) // 1 held, 3 available
	if second.Amount != 4 || !second.Parts.Equal(credits.NewParts(credits.Part{Lot: 1, Amount: 1}, credits.Part{Lot: 1, Amount: 3})) {
		t.Errorf("the second part: %+v", second)
	}
	third := r.run(keep("3", "h", 6)) // 3 available, 3 owed
	if third.Amount != 6 || third.Totals.Debt != 3 || third.Parts.At(1) != (credits.Part{Lot: 0, Amount: 3}) {
		t.Errorf("the third part: %+v", third)
	}
	r.refuse(keep("4", "h", 4), credits.ErrOverHold)
	r.again(keep("1", "h", 3), first)
	r.again(keep("2", "h", 4), second)
	r.again(keep("3", "h", 6), third)
	r.refuse(keep("3", "h", 5), credits.ErrIntent)
	end := r.run(captureAll("h"))
	if end.Amount != 0 || end.Hold != credits.HoldCaptured {
		t.Errorf("the end: %+v", end)
	}
	r.again(captureAll("h"), end)
	r.again(capture("h", 0), end)
	r.balance(credits.Totals{Issued: 10, Consumed: 13, Debt: 3})
	// What was taken last is refunded first: the debt, then the last of the lot.
	got := r.run(refund("r", "h", 5))
	if got.Parts.At(0) != (credits.Part{Lot: 0, Amount: 3}) || got.Parts.At(1) != (credits.Part{Lot: 1, Amount: 2}) {
		t.Errorf("refunded to %+v", got.Parts)
	}
	r.balance(credits.Totals{Issued: 10, Available: 2, Consumed: 8})
}

// Captures that are capped answer with what they charged, each time.
func TestCappedPartsAnswerWithWhatTheyCharged(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(holdWith("h", 4, credits.OverrunCapped, 0))
	c := r.run(keep("1", "h", 30))
	if c.Amount != 10 {
		t.Errorf("charged %v of 10", c.Amount)
	}
	r.again(keep("1", "h", 30), c)
	r.refuse(keep("1", "h", 10), credits.ErrIntent)
	if c := r.run(keep("2", "h", 5)); c.Amount != 0 {
		t.Errorf("charged %v of nothing", c.Amount)
	}
	r.run(release("h"))
	r.balance(credits.Totals{Issued: 10, Consumed: 10})
}

// The lots beyond a hold are in another order, more, and elsewhere than its own.
func TestOverrunBurnsInTheBurnOrder(t *testing.T) {
	r := newRig(t)
	r.run(grant("first", 2))
	r.run(holdWith("h", 2, credits.OverrunCapped, 0))
	for i, priority := range []int{3, 1, 2} {
		r.run(credits.Grant{Account: acme, ID: credits.OpID(rune('a' + i)), Amount: 2, Priority: priority})
	}
	c := r.run(capture("h", 7))
	if want := credits.NewParts(
		credits.Part{Lot: 1, Amount: 2, Captured: 2}, credits.Part{Lot: 3, Amount: 2, Captured: 2},
		credits.Part{Lot: 4, Amount: 2, Captured: 2}, credits.Part{Lot: 2, Amount: 1, Captured: 1}); !c.Parts.Equal(want) {
		t.Errorf("burnt %+v; want %+v", c.Parts, want)
	}
}

// A hold's policies are a part of its intent.
func TestOtherPoliciesAreAnotherHold(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(holdWith("plain", 1, credits.OverrunRefused, 0))
	r.run(holdWith("debt", 1, credits.OverrunDebt, 5))
	late := hold("late", 1)
	late.Late = credits.LateCharged
	r.run(late)
	for _, h := range []credits.Hold{
		holdWith("plain", 1, credits.OverrunCapped, 0), holdWith("debt", 1, credits.OverrunDebt, 6),
		holdWith("debt", 1, credits.OverrunCapped, 0), hold("debt", 1), hold("late", 1),
	} {
		r.refuse(h, credits.ErrIntent)
	}
	o := r.snapshot(acme).Ops["debt"]
	if o.Terms != (credits.Terms{Overrun: credits.OverrunDebt, DebtLimit: 5}) {
		t.Errorf("agreed on %+v", o.Terms)
	}
}

// The work is done: what a capture takes beyond its hold counts against the
// budgets, and is refused by none.
func TestOverrunCountsAgainstBudgetsAndIsNotRefusedByThem(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 100))
	r.run(credits.Budget{Account: acme, ID: "b", Amount: 10, Every: credits.Month})
	r.run(holdWith("h", 6, credits.OverrunCapped, 0))
	r.run(lateHold("late", 4, credits.OverrunDebt, 100))
	r.denial(hold("no room", 1))
	r.run(keep("part", "h", 8))
	r.run(capture("h", 5))
	r.add(time.Hour)
	r.run(capture("late", 90)) // of 87 that are left
	b, err := r.Budget(t.Context(), acme, "b")
	if err != nil || b.Used != 103 || b.Held != 0 {
		t.Errorf("budget %+v, %v", b, err)
	}
	r.balance(credits.Totals{Issued: 100, Consumed: 103, Debt: 3})
	r.run(credits.Refund{Account: acme, ID: "r", Of: "late", All: true})
	if b, err = r.Budget(t.Context(), acme, "b"); err != nil || b.Used != 13 {
		t.Errorf("budget %+v, %v", b, err)
	}
}
