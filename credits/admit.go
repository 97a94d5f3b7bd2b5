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
// the first in the order of [Source]. Whoever owes spends nothing. The error is that
// of a budget's zone which is not loaded.
func (s *State) admit(w want, now time.Time) (*DeniedError, error) {
	t := &s.Account.Totals
	available := Amount(0)
	if t.Debt == 0 {
		available = s.spendable(w.amount, w.operation)
	}
	missing := w.amount - available
	leased := missing > 0 && missing+t.Debt <= t.Leased
	q, err := s.squeezed(w, now)
	switch {
	case err != nil:
		return nil, err
	case missing > 0 && !leased:
		d := s.denied(SourceBalance, w, available, now)
		d.Transient = d.Transient && (q.source == SourceNone || q.transient)
		return d, nil
	case q.source != SourceNone:
		d := s.denied(q.source, w, q.budget.room(), now)
		d.Budget, d.Transient, d.ClearsAt = q.budget.ID, q.transient, q.clears
		if leased {
			d.ClearsAt = time.Time{}
		}
		return d, nil
	case w.maxHolds > 0 && s.Account.Holds >= w.maxHolds:
		return s.denied(SourceHolds, w, available, now), nil
	case leased:
		return s.denied(SourceLeases, w, available, now), nil
	}
	return nil, nil
}

// denied is the error that tells why what is wanted has no room.
func (s *State) denied(source Source, w want, available Amount, now time.Time) *DeniedError {
	t := &s.Account.Totals
	return &DeniedError{
		Account: s.Account.ID, At: now, Source: source, Need: w.amount, Available: available,
		Held: t.Held, Leased: t.Leased, Pending: t.Pending, Debt: t.Debt,
		Transient: source == SourceHolds || w.amount-available+t.Debt <= t.Held+t.Leased,
	}
}
