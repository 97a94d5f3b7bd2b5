package credits

import (
	"fmt"
	"time"
)

// hold returns the row of the hold of that id.
func (s *State) hold(id OpID) (*OpRow, error) {
	if row := s.op(id); row != nil && row.Op.Kind == KindHold {
		return row, nil
	}
	return nil, s.absent(id, "hold")
}

// open lets time pass, and refuses when the hold has ended or ends by that.
func (s *State) open(row *OpRow, now time.Time) (time.Time, error) {
	if row.Op.Hold == HoldOpen {
		var err error
		if now, err = s.advance(now); err != nil {
			return now, err
		}
	}
	switch o := &row.Op; o.Hold {
	case HoldOpen:
		return now, nil
	case HoldTimedOut:
		return now, refuse(ErrTimedOut, "its deadline was "+o.Deadline.Format(time.RFC3339))
	case HoldCaptured:
		return now, refuse(ErrSettled, "it was captured at "+o.SettledAmount.String()+" credits")
	}
	return now, refuse(ErrSettled, "it was released")
}

// overrun says how much of what a capture asks for beyond its hold is paid from
// what is available, and how much becomes a debt. loaded is what lots were asked
// for; when they may be too few, the error is a [*moreError].
func (s *State) overrun(o *Op, excess, asked Amount, late bool, loaded Spend) (paid, owed Amount, err error) {
	t, terms := &s.Account.Totals, &o.Terms
	switch {
	case excess == 0:
		return 0, 0, nil
	case terms.Overrun == OverrunRefused && (!late || excess > o.SettledRest):
		return 0, 0, refuse(ErrOverHold, fmt.Sprintf("%v credits asked for, %v held", asked, max(asked-excess, o.SettledRest)))
	case loaded.Amount < excess && (t.Available > 0 || terms.Overrun == OverrunDebt):
		return 0, 0, &moreError{Spend{o.Operation, asked}, terms.Overrun == OverrunDebt}
	}
	paid = s.spendable(excess, o.Operation)
	rest := excess - paid
	switch {
	case rest == 0 || terms.Overrun == OverrunCapped:
		return paid, 0, nil
	case terms.Overrun == OverrunRefused:
		return 0, 0, refuse(ErrTimedOut, fmt.Sprintf("%v credits asked for, %v available again", asked, paid))
	case rest > terms.DebtLimit-t.Debt || rest > MaxAmount-t.Issued-t.Debt:
		return 0, 0, refuse(ErrOverHold, fmt.Sprintf("%v credits would be owed; at most %v may be", t.Debt+rest, terms.DebtLimit))
	}
	return paid, rest, nil
}

// A moreError asks for lots: that a capture takes more than its hold has, and
// from which lots it may, is known only when the hold is read.
type moreError struct {
	spend Spend
	debt  bool // and lot 0
}

// Error is never shown: the ledger loads what is missing and tries again.
func (*moreError) Error() string { return "more lots are needed" }

// loaded reports whether every lot of an op is in the state.
func (s *State) loaded(row *OpRow) bool {
	for i := range row.Op.Parts.n {
		if s.lot(row.Op.Parts.at(i).Lot) == nil {
			return false
		}
	}
	return true
}

// capture moves amount from held to consumed, in the order in which the hold
// took it, and returns what that took from each lot.
func (s *State) capture(row *OpRow, amount Amount, op OpID, now time.Time) Parts {
	o := &row.Op
	row.Change.change()
	var taken Parts
	parts := o.Parts.edit()
	for i := 0; i < parts.n && amount > 0; i++ {
		p := parts.at(i)
		take := min(amount, p.Held())
		if take == 0 {
			continue
		}
		p.Captured += take
		amount -= take
		taken.add(Part{Lot: p.Lot, Amount: take})
		s.move(s.lot(p.Lot), BucketHeld, BucketConsumed, take,
			Entry{At: now, Kind: KindCapture, Op: op, Key: o.Key, Operation: o.Operation, Price: o.Price})
	}
	o.Parts = parts
	captured := Amount(0)
	for i := range taken.n {
		captured += taken.at(i).Amount
	}
	s.count(o, -captured, captured, now)
	return taken
}

// beyond spends what a capture takes beyond the hold: paid from what is
// available, owed as a debt. It becomes a part of the hold, so that a refund
// unwinds it, and is returned.
func (s *State) beyond(row *OpRow, paid, owed Amount, op OpID, now time.Time) Parts {
	o := &row.Op
	row.Change.change()
	e := Entry{At: now, Kind: KindCapture, Op: op, Key: o.Key, Operation: o.Operation, Price: o.Price}
	extra, _ := s.burn(paid, BucketConsumed, o.Operation, e) // which overrun has found to be there
	if owed > 0 {
		s.move(s.debtLot(op, now), BucketDebt, BucketConsumed, owed, e)
		extra.add(Part{Lot: 0, Amount: owed, Captured: owed})
	}
	parts := o.Parts.edit()
	for p := range extra.All() {
		parts.add(p)
	}
	o.Parts = parts
	s.count(o, 0, paid+owed, now)
	return extra
}

// settle writes a hold's one terminal record: it captures amount and gives the
// rest back.
func (s *State) settle(row *OpRow, end HoldStatus, amount Amount, now time.Time) {
	s.capture(row, amount, row.Op.ID, now)
	s.end(row, end, amount, now)
}

// end gives what a hold still sets aside back to the lots it came from, or lets
// it expire with them, and writes how it ended. The hold's list of parts is one
// of its own since it was captured.
func (s *State) end(row *OpRow, end HoldStatus, charged Amount, now time.Time) {
	o := &row.Op
	s.Account.Holds--
	kind := KindRelease
	if end == HoldTimedOut {
		kind = KindTimeout
	}
	for i := range o.Parts.n {
		p := o.Parts.at(i)
		rest := p.Held()
		if rest == 0 {
			continue
		}
		lot, to := s.lot(p.Lot), BucketAvailable
		if lot.Lot.expired(now) {
			to = BucketExpired
		}
		p.Released += rest
		o.SettledRest += rest
		s.move(lot, BucketHeld, to, rest, Entry{At: now, Kind: kind, Op: o.ID, Key: o.Key, Operation: o.Operation, Price: o.Price})
	}
	s.count(o, -o.SettledRest, 0, now)
	s.record(o, end, charged, now)
}

// record writes how a hold ended: the one terminal record.
func (s *State) record(o *Op, end HoldStatus, charged Amount, now time.Time) {
	o.Hold, o.SettledAt, o.SettledAmount, o.SettledSeq, o.SettledTotals = end, now, charged, s.Account.Seq, s.Account.Totals
}

// giveBack moves amount from consumed back to the lots that an op spent from,
// the last one first, and returns where it went.
func (s *State) giveBack(row *OpRow, amount Amount, op OpID, now time.Time) Parts {
	o := &row.Op
	row.Change.change()
	e := Entry{At: now, Kind: KindRefund, Op: op, Key: o.Key, Operation: o.Operation, Price: o.Price}
	var given Parts
	parts := o.Parts.edit()
	for i := parts.n - 1; i >= 0 && amount > 0; i-- {
		p := parts.at(i)
		back := min(amount, p.Captured-p.Refunded)
		if back == 0 {
			continue
		}
		p.Refunded += back
		amount -= back
		switch lot := s.lot(p.Lot); {
		case p.Lot == 0:
			s.forgive(back, &given, o.At, e)
		case lot.Lot.expired(now):
			s.move(lot, BucketConsumed, BucketIssued, back, e)
			given.add(Part{Lot: s.addLot(lot.Lot.heir(o.At, e), back, now, e), Amount: back})
		default:
			s.move(lot, BucketConsumed, BucketAvailable, back, e)
			given.add(Part{Lot: p.Lot, Amount: back})
		}
	}
	o.Parts = parts
	return given
}

// corrupt tells an operator what contradicts; a client reads only that something
// does.
func (s *State) corrupt(what string) error {
	return fmt.Errorf("account %s: %s: %w", quote(string(s.Account.ID)), what, ErrCorrupt)
}
