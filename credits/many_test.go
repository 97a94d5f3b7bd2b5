package credits_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// From some number on, a state finds budgets by an index instead of by looking at
// each. Around that number and beyond it they count the same.
func TestManyBudgetsCountAsFewDo(t *testing.T) {
	keys, operations := []string{"", "red", "red/app"}, []string{"", "image"}
	for _, n := range []int{14, 15, 16, 17, 18, 40} {
		r := newRig(t)
		r.run(grant("g", 1000))
		for i := range n {
			r.setBudget(credits.Budget{
				Account: acme, ID: credits.BudgetID(fmt.Sprint(i)), Amount: 500, Every: credits.Day, Key: keys[i%3], Operation: operations[i/3%2],
			})
		}
		r.run(keyed("d1", 5, "red/app", "image")) // counts in all
		r.run(keyed("d2", 7, "red", "image"))
		r.run(keyed("d3", 11, "red/app", "text"))
		r.run(keyedHold("h", 20, "red/app", "image"))
		r.run(refund("r", "d1", 2))
		r.run(capture("h", 13))
		for i := range n {
			want := credits.Amount(5 - 2 + 13)
			if i%3 < 2 {
				want += 7
			}
			if i/3%2 == 0 {
				want += 11
			}
			r.budget(credits.BudgetID(fmt.Sprint(i)), want, 0)
		}
		r.setBudget(credits.Budget{Account: acme, ID: "0", Amount: 1, Every: credits.Day}) // lowered
		if d := r.denied(keyed("d4", 1, "red/app", "image")); d.Budget != "0" {
			t.Errorf("%d budgets: denied by %q", n, d.Budget)
		}
	}
}

// The terms that are kept for a debt may end at the very instant at which the
// next debt is made: a credit that is refunded of that one is not born expired.
func TestRefundOfADebtWhoseTermsEndedAsItWasMade(t *testing.T) {
	r := newRig(t)
	owe := func(id credits.OpID) {
		r.run(credits.Hold{Account: acme, ID: id, Overrun: credits.OverrunDebt, DebtLimit: 10})
		r.run(capture(id, 5))
	}
	owe("a")
	r.run(credits.Grant{Account: acme, ID: "pays", Amount: 5, ExpiresAt: epoch.Add(time.Hour)})
	r.add(time.Hour)
	owe("b")
	r.add(time.Minute)
	r.run(refund("ra", "a", 5)) // takes the debt of b away
	r.run(refund("rb", "b", 5))
	if b, err := r.Balance(t.Context(), acme); err != nil || b.Available != 5 || b.Expired != 0 {
		t.Errorf("%+v, %v", b, err)
	}
	r.add(time.Hour - time.Microsecond) // nor is it there for ever: an hour was from the first debt to the end of its terms
	r.run(debit("d", 4))
	r.add(time.Microsecond)
	r.balance(credits.Totals{Issued: 5, Consumed: 4, Expired: 1})
}
