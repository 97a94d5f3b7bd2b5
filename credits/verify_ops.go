package credits

import (
	"fmt"
	"time"
)

// A tally is what a budget says that ops have spent and set aside of it in its
// window, less what was found of that.
type tally struct {
	start      time.Time
	used, held Amount
}

// checkBudgets reads the budgets, which checkOps goes on with.
func (a *accountAudit) checkBudgets() error {
	n := int64(0)
	for b, err := range a.Budgets {
		switch {
		case err != nil:
			return err
		case b.Account != a.Account.ID:
			return a.bad("budget %s is another account's", quote(string(b.ID)))
		case b.Used < 0 || b.Held < 0:
			return a.bad("budget %s has spent %v and sets aside %v", quote(string(b.ID)), b.Used, b.Held)
		}
		if n++; n == 1 {
			a.budgets = make(map[BudgetID]*tally)
		}
		a.budgets[b.ID] = &tally{b.Start, b.Used - b.Base, b.Held}
	}
	if n != a.Account.Budgets {
		return a.bad("it has %d budgets, its row says %d", n, a.Account.Budgets)
	}
	return nil
}

// checkOps takes what each op has of the lots and the budgets off what they say;
// nothing must be left.
func (a *accountAudit) checkOps() error {
	for o, err := range a.Ops {
		if err == nil {
			err = a.read(&a.sum.Ops)
		}
		if err != nil {
			return err
		}
		if o.Account != a.Account.ID {
			return a.bad("op %s is another account's", quote(string(o.ID)))
		}
		if what := o.contradiction(); what != "" {
			return a.bad("op %s %s", quote(string(o.ID)), what)
		}
		if what := a.claim(&o); what != "" {
			return a.bad("op %s %s", quote(string(o.ID)), what)
		}
	}
	for i, c := range a.claims {
		if c != (claim{}) {
			return a.bad("lot %d has, besides what its ops have, %v held, %v leased, %v in suspense and %v consumed",
				a.first+LotID(i), c.held, c.leased, c.suspense, c.consumed)
		}
	}
	var odd BudgetID // the first one, whatever the order of the map
	for id, t := range a.budgets {
		if (t.used != 0 || t.held != 0) && (odd == "" || id < odd) {
			odd = id
		}
	}
	switch t := a.budgets[odd]; {
	case odd != "":
		return a.bad("budget %s has, besides what its ops have, %v spent and %v set aside", quote(string(odd)), t.used, t.held)
	case a.holds != a.Account.Holds:
		return a.bad("it has %d open holds, its row says %d", a.holds, a.Account.Holds)
	case a.leases != a.Account.Leases:
		return a.bad("it has %d open leases, its row says %d", a.leases, a.Account.Leases)
	}
	return nil
}

// claim takes what o has off what its lots and budgets say.
func (a *accountAudit) claim(o *Op) string {
	if o.Hold == HoldOpen {
		if o.Kind == KindLease {
			a.leases++
		} else {
			a.holds++
		}
	}
	for i := range o.Parts.n {
		p := o.Parts.at(i)
		if p.Lot < a.first || p.Lot-a.first >= LotID(len(a.claims)) {
			return fmt.Sprintf("is of lot %d, which is not there", p.Lot)
		}
		c := &a.claims[p.Lot-a.first]
		c.consumed -= o.spent(p)
		switch {
		case o.Kind == KindLease && o.Hold == HoldSuspense:
			c.suspense -= p.Held()
		case o.Kind == KindLease:
			c.leased -= p.Held()
		case o.Kind == KindHold:
			c.held -= p.Held()
		}
	}
	used, held := o.counted()
	for c := range o.Charges.All() {
		if t := a.budgets[c.Budget]; t != nil && t.start.Equal(c.Start) {
			t.used -= used
			t.held -= held
		}
	}
	return ""
}

// spent returns what o itself has consumed of a part, less what was refunded. What
// captures that kept the rest, and what spends of a lease, are their hold's and
// their own.
func (o *Op) spent(p *Part) Amount {
	switch o.Kind {
	case KindHold, KindDebit, KindResolve:
		return p.Captured - p.Refunded
	}
	return 0
}

// counted returns what o counts for in the budgets of its Charges.
func (o *Op) counted() (used, held Amount) {
	for i := range o.Parts.n {
		p := o.Parts.at(i)
		used += o.spent(p)
		if o.Hold == HoldOpen || o.Hold == HoldSuspense {
			held += p.Held()
		}
	}
	return used, held
}

// contradiction says what is wrong with o alone, or "".
func (o *Op) contradiction() string {
	sum, rest, released := Amount(0), Amount(0), Amount(0)
	for i := range o.Parts.n {
		p := o.Parts.at(i)
		if !p.sound() || p.Amount > MaxAmount-sum {
			return fmt.Sprintf("of %v credits has an impossible part %+v", o.Amount, *p)
		}
		sum += p.Amount
		rest += p.Held()
		released += p.Released
	}
	isHold := o.Kind == KindHold || o.Kind == KindLease
	switch {
	case isHold == (o.Hold == HoldNone) || o.Hold == HoldSuspense && o.Kind != KindLease:
		return fmt.Sprintf("is a %v whose hold is %v", o.Kind, o.Hold)
	case o.Denied != SourceNone && (o.Kind != KindDebit || o.Parts.n > 0):
		return fmt.Sprintf("is a %v that was refused for its %v, and has %d parts", o.Kind, o.Denied, o.Parts.n)
	case o.Denied == SourceNone && sum != o.Amount && !(o.mayTakeMore() && sum > o.Amount):
		return fmt.Sprintf("of %v credits has lots for %v", o.Amount, sum)
	case o.Kind == KindDebit && o.Denied == SourceNone && !o.spentAll():
		return fmt.Sprintf("is a debit that has not spent all of its %v", o.Amount)
	case isHold && o.Hold != HoldOpen && o.Hold != HoldSuspense && rest != 0:
		return fmt.Sprintf("is %v and still sets aside %v credits", o.Hold, rest)
	case o.Kind == KindHold && (o.Hold == HoldOpen) != o.SettledAt.IsZero():
		return fmt.Sprintf("is %v and was settled at %v", o.Hold, o.SettledAt)
	case o.Kind == KindHold && released != o.SettledRest:
		return fmt.Sprintf("is a hold that gave %v back, its lots say %v", o.SettledRest, released)
	}
	return ""
}

// mayTakeMore reports whether a capture may have spent beyond what o set aside.
func (o *Op) mayTakeMore() bool {
	return o.Kind == KindHold && (o.Terms.Overrun != OverrunRefused || o.Terms.Late != LateRefused)
}

func (o *Op) spentAll() bool {
	for i := range o.Parts.n {
		if p := o.Parts.at(i); p.Captured != p.Amount {
			return false
		}
	}
	return true
}
