package credits

import "time"

// A want is what a hold, a debit or a lease asks of an account.
type want struct {
	amount    Amount
	key       string
	operation string
	maxHolds  int64 // of a hold: how many may be open at once; 0: any number
}

// admit says why what is wanted has no room, or nil. Of several reasons it tells
// the first in the order of [Source]. Whoever owes spends nothing.
func (s *State) admit(w want, now time.Time) *DeniedError {
	t := &s.Account.Totals
	available := Amount(0)
	if t.Debt == 0 {
		available = s.spendable(w.amount, w.operation)
	}
	missing := w.amount - available
	leased := missing > 0 && missing+t.Debt <= t.Leased
	switch {
	case missing > 0 && !leased:
		return s.denied(SourceBalance, w, available, now)
	case w.maxHolds > 0 && s.Account.Holds >= w.maxHolds:
		return s.denied(SourceHolds, w, available, now)
	case leased:
		return s.denied(SourceLeases, w, available, now)
	}
	return nil
}

// denied is the error that tells why what is wanted has no room.
func (s *State) denied(source Source, w want, available Amount, _ time.Time) *DeniedError {
	t := &s.Account.Totals
	return &DeniedError{
		Account: s.Account.ID, Source: source, Need: w.amount, Available: available,
		Held: t.Held, Leased: t.Leased, Pending: t.Pending, Debt: t.Debt,
		Transient: source == SourceHolds || w.amount-available+t.Debt <= t.Held+t.Leased,
	}
}
