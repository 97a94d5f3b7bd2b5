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
	r := Receipt{
		Account: o.Account, Op: o.ID, Kind: o.Kind, At: o.At, Amount: o.Amount, Parts: o.Parts.taken(o.Kind == KindHold),
		Hold: o.Hold, Deadline: o.Deadline, Totals: o.Totals,
	}
	if o.Kind == KindGrant && o.Parts.n == 1 {
		r.Lot = o.Parts.At(0).Lot
	}
	return r
}

// settled is the result of the step that ended the hold o.
func (o *Op) settled(k Kind, amount Amount, replayed bool) Receipt {
	return Receipt{
		Account: o.Account, Op: o.ID, Kind: k, At: o.SettledAt, Amount: amount, Parts: o.Parts.taken(false),
		Hold: o.Hold, Deadline: o.Deadline, Totals: o.SettledTotals, Replayed: replayed,
	}
}

// replay answers a command whose id is o's: with the first result when it asks
// for the same, and otherwise with a refusal.
func (o *Op) replay(k Kind, in [32]byte, now time.Time) (Receipt, error) {
	if o.Kind != k || o.Intent != in {
		return Receipt{}, refuse(ErrIntent, o.Kind.String()+" "+quote(string(o.ID)))
	}
	r := o.receipt()
	r.Replayed = true
	if isDue(o.Due(), now) {
		r.Hold = HoldTimedOut
	}
	return r, nil
}
