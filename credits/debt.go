package credits

import "time"

// debtLot returns the row of lot 0, which the first overrun makes.
func (s *State) debtLot(op OpID, now time.Time) *LotRow {
	if row := s.lot(0); row != nil {
		return row
	}
	s.Lots = append(s.Lots, LotRow{Lot: Lot{Account: s.Account.ID, Op: op, EffectiveAt: now}, Change: Added})
	return &s.Lots[len(s.Lots)-1]
}

// repay pays the account's debt from what a lot for everything has available, as
// soon as it has it: nobody owes and can spend at once. It goes the way of the
// entry e that made it available.
func (s *State) repay(row *LotRow, e Entry) {
	debt := s.lot(0)
	if debt == nil {
		return // advance has seen that it is here
	}
	amount := min(row.Lot.Totals.Available, debt.Lot.Totals.Debt)
	paid := &row.Lot
	debt.Lot.Priority, debt.Lot.Category, debt.Lot.Only, debt.Lot.ExpiresAt = paid.Priority, paid.Category, paid.Only, paid.ExpiresAt
	e.Kind, e.Key, e.Operation, e.Price = KindRepay, "", "", ""
	s.move(row, BucketAvailable, BucketIssued, amount, e)
	s.move(debt, BucketIssued, BucketDebt, amount, e)
}

// forgive gives back what was spent of lot 0: it lessens the debt, and what was
// repaid meanwhile becomes a lot of the terms of the one that repaid last. op
// is the refund, and spent when what it refunds was made.
func (s *State) forgive(amount Amount, given *Parts, spent time.Time, e Entry) {
	debt := s.lot(0)
	if owed := min(amount, debt.Lot.Totals.Debt); owed > 0 {
		s.move(debt, BucketConsumed, BucketDebt, owed, e)
		given.add(Part{Lot: 0, Amount: owed})
		amount -= owed
	}
	if amount > 0 {
		s.move(debt, BucketConsumed, BucketIssued, amount, e)
		given.add(Part{Lot: s.addLot(debt.Lot.heir(spent, e), amount, e.At, e), Amount: amount})
	}
}

// heir returns the lot that a refund makes in the place of l. When l has
// expired, it lives as long from now as l had left at the instant spent. Where
// that is after l's end, because the spend of a lease was told late or the terms
// of lot 0 are older, what was left is not known: it lives as long as l did in
// all.
func (l *Lot) heir(spent time.Time, e Entry) Lot {
	heir := Lot{Op: e.Op, Priority: l.Priority, Category: l.Category, Only: l.Only, EffectiveAt: e.At, ExpiresAt: l.ExpiresAt}
	if l.expired(e.At) {
		if l.expired(spent) {
			spent = l.EffectiveAt
		}
		heir.ExpiresAt = micros(e.At.Add(l.ExpiresAt.Sub(spent)))
	}
	return heir
}
