package credits

import "fmt"

// An accountAudit checks the rows of one account against each other.
type accountAudit struct {
	*verifier
	Snapshot
	replayed map[LotID]Totals // what the journal gives
	claims   []claim          // of the lots in order of ID
	first    LotID            // of the first claim: 0 or 1
	budgets  map[BudgetID]*tally
	holds    int64 // open ones
	leases   int64
}

// A claim is what a lot says that ops have of it, less what was found of that.
type claim struct{ held, leased, suspense, consumed Amount }

// account checks one account.
func (v *verifier) account(s Snapshot) error {
	a := accountAudit{verifier: v, Snapshot: s}
	for _, step := range [...]func() error{a.checkJournal, a.checkLots, a.checkBudgets, a.checkOps, a.checkSchedules} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// bad names the account and what is wrong with it.
func (a *accountAudit) bad(format string, args ...any) error {
	return (&State{Account: a.Account}).corrupt(fmt.Sprintf(format, args...))
}

// checkLots compares the lots with the journal and with the account.
func (a *accountAudit) checkLots() error {
	var total Totals
	owes, pays := Amount(0), LotID(-1)
	next := LotID(1)
	for lot, err := range a.Lots {
		if err == nil {
			err = a.read(&a.sum.Lots)
		}
		if err != nil {
			return err
		}
		if lot.ID == 0 && len(a.claims) == 0 {
			next = 0
		}
		if len(a.claims) == 0 {
			a.first = next
		}
		t := lot.Totals
		switch debt := (Totals{Issued: t.Issued, Consumed: t.Consumed, Debt: t.Debt}); {
		case lot.Account != a.Account.ID || lot.ID != next:
			return a.bad("lot %d stands where lot %d should", lot.ID, next)
		case !t.Balanced():
			return a.bad("lot %d is not the sum of its parts: %+v", lot.ID, t)
		case a.replayed[lot.ID] != t:
			return a.bad("lot %d is %+v, its journal gives %+v", lot.ID, t, a.replayed[lot.ID])
		case lot.ID == 0 && t != debt:
			return a.bad("lot 0, the debt, has what only a grant can have: %+v", t)
		case lot.ID != 0 && t.Debt != 0:
			return a.bad("lot %d owes %v; only lot 0 can", lot.ID, t.Debt)
		case lot.Pruned < 0 || lot.Pruned > t.Consumed:
			return a.bad("lot %d has consumed %v, of that %v by what was pruned", lot.ID, t.Consumed, lot.Pruned)
		case t.Issued > MaxAmount-total.Issued:
			return a.bad("more was issued than can be")
		}
		owes += t.Debt
		if lot.Only == "" && t.Available > 0 {
			pays = lot.ID
		}
		a.claims = append(a.claims, claim{t.Held, t.Leased, t.Suspense, t.Consumed - lot.Pruned})
		total.merge(t)
		next++
	}
	switch {
	case next-1 != a.Account.LastLot && (next != 0 || a.Account.LastLot != 0), len(a.replayed) > len(a.claims):
		return a.bad("it has %d lots, its row says %d, its journal %d", len(a.claims), a.Account.LastLot, len(a.replayed))
	case total != a.Account.Totals:
		return a.bad("its totals are %+v, its lots sum to %+v", a.Account.Totals, total)
	case owes > 0 && pays >= 0:
		return a.bad("it owes %v, and lot %d has %v that would repay", owes, pays, a.replayed[pays].Available)
	}
	return nil
}

// checkSchedules looks at what schedules say of themselves.
func (a *accountAudit) checkSchedules() error {
	for s, err := range a.Schedules {
		switch {
		case err != nil:
			return err
		case s.Account != a.Account.ID:
			return a.bad("schedule %s is another account's", quote(string(s.ID)))
		case s.Amount <= 0 || s.Every < 1:
			return a.bad("schedule %s grants %v every %d units", quote(string(s.ID)), s.Amount, s.Every)
		}
	}
	return nil
}

// merge adds u to t.
func (t *Totals) merge(u Totals) {
	sum, part := t.amounts(), u.amounts()
	for i := range sum {
		*sum[i] += *part[i]
	}
}
