package credits

import "time"

// known looks at a command's id before everything else. done says that the
// command is answered: by the record of that id, or because a record of it may
// have been pruned. A command that is not done is to be decided.
func (s *State) known(id OpID, k Kind, in [32]byte, now time.Time) (r Receipt, done bool, err error) {
	if row := s.op(id); row != nil {
		r, err = row.Op.replay(k, in, now)
		return r, true, err
	}
	if s.forgotten(id) {
		return Receipt{}, true, refuse(ErrKeyTooOld, quote(string(id)))
	}
	return Receipt{}, false, nil
}

// forgotten reports whether id, which the state has no op of, is so old that its
// record may have been pruned.
func (s *State) forgotten(id OpID) bool {
	if s.Account.PrunedTo.IsZero() {
		return false
	}
	at := id.madeAt()
	return !at.IsZero() && !at.After(s.Account.PrunedTo)
}

// absent refuses a command whose target has no record.
func (s *State) absent(id OpID, what string) error {
	if s.forgotten(id) {
		return refuse(ErrKeyTooOld, quote(string(id)))
	}
	return refuse(ErrNotFound, "no "+what+" "+quote(string(id)))
}

// receipt is the result of the command that o records, as it was at first.
func (o *Op) receipt() Receipt {
	parts := o.Parts
	if o.Kind == KindHold {
		parts = parts.first(o.Amount) // without what was captured beyond
	}
	r := Receipt{
		Account: o.Account, Op: o.ID, Kind: o.Kind, At: o.At, Amount: o.Amount, Parts: parts.taken(o.Kind == KindHold),
		Hold: o.Hold, Deadline: o.Deadline, Totals: o.Totals,
	}
	switch {
	case o.Kind == KindGrant && o.Parts.n == 1:
		r.Lot = o.Parts.At(0).Lot
	case o.Kind == KindDebit || o.Kind == KindCapture: // those of a hold are its terminal step's
		r.Alerts = o.Charges.alerts()
	}
	return r
}

// settled is the result of the step that ended the hold o.
func (o *Op) settled(k Kind, amount Amount, replayed bool) Receipt {
	return Receipt{
		Account: o.Account, Op: o.ID, Kind: k, At: o.SettledAt, Amount: amount, Parts: o.Parts.taken(false),
		Hold: o.Hold, Deadline: o.Deadline, Totals: o.SettledTotals, Alerts: o.Charges.alerts(), Replayed: replayed,
	}
}

// extended is the result of extending the hold o.
func (o *Op) extended(replayed bool) Receipt {
	r := o.receipt()
	r.Replayed = replayed
	return r
}

// replay answers a command whose id is o's: with the first result when it asks
// for the same, and otherwise with a refusal.
func (o *Op) replay(k Kind, in [32]byte, now time.Time) (Receipt, error) {
	if o.Kind != k || o.Intent != in {
		return Receipt{}, refuse(ErrIntent, o.Kind.String()+" "+quote(string(o.ID)))
	}
	if o.Denied != SourceNone {
		return Receipt{}, o.denial()
	}
	r := o.receipt()
	r.Replayed = true
	if isDue(o.Due(), now) {
		r.Hold = HoldTimedOut
	}
	return r, nil
}

// ended reports whether the hold o ended by this very capture. All asks for what
// was held, and after a time-out for what that gave back.
func (o *Op) ended(c *Capture) bool {
	asked := o.SettledAmount
	if o.Terms.Asked != 0 {
		asked = o.Terms.Asked
	}
	late := !o.Deadline.IsZero() && !o.SettledAt.Before(o.Deadline)
	switch {
	case c.Keep || o.Hold != HoldCaptured:
		return false
	case !c.All:
		return c.Amount == asked
	case late:
		return o.SettledRest == asked
	}
	return o.SettledRest == 0 && o.Terms.Asked == 0
}

// deny writes into the record of a debit why it was refused. A debit has no other
// use for these fields.
func (o *Op) deny(d *DeniedError) {
	o.Denied, o.SettledAmount, o.SettledAt, o.Deadline = d.Source, d.Available, d.ClearsAt, d.NextGrantAt
	if d.Transient {
		o.SettledRest = d.Need - d.Available
	}
	if d.Budget != "" {
		o.Charges = NewCharges(Charge{Budget: d.Budget})
	}
}

// denial reads what deny has written.
func (o *Op) denial() *DeniedError {
	d := &DeniedError{
		Account: o.Account, At: o.At, Source: o.Denied, Need: o.Amount, Available: o.SettledAmount,
		Held: o.Totals.Held, Leased: o.Totals.Leased, Pending: o.Totals.Pending, Debt: o.Totals.Debt,
		Transient: o.SettledRest > 0, ClearsAt: o.SettledAt, NextGrantAt: o.Deadline, Replayed: true,
	}
	for c := range o.Charges.All() {
		d.Budget = c.Budget
	}
	return d
}

// A filedError is a denial whose record is to be written: the debit stays
// refused.
type filedError struct{ denied *DeniedError }

// Error is never shown: the ledger returns the denial.
func (e *filedError) Error() string { return e.denied.Error() }
