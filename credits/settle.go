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

// settle writes a hold's one terminal record: it captures amount and gives the
// rest back to the lots it came from, or lets it expire with them.
func (s *State) settle(row *OpRow, end HoldStatus, amount Amount, now time.Time) {
	s.capture(row, amount, row.Op.ID, now) // which has made a list of parts of its own
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
	o.Hold, o.SettledAt, o.SettledAmount, o.SettledSeq, o.SettledTotals = end, now, amount, s.Account.Seq, s.Account.Totals
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
		lot := s.lot(p.Lot)
		if !lot.Lot.expired(now) {
			s.move(lot, BucketConsumed, BucketAvailable, back, e)
			given.add(Part{Lot: p.Lot, Amount: back})
			continue
		}
		s.move(lot, BucketConsumed, BucketIssued, back, e)
		heir := lot.Lot
		heir.Op, heir.Schedule, heir.EffectiveAt, heir.Pruned = op, "", now, 0
		heir.ExpiresAt = micros(now.Add(lot.Lot.ExpiresAt.Sub(o.At)))
		given.add(Part{Lot: s.addLot(heir, back, now, e), Amount: back})
	}
	o.Parts = parts
	return given
}

// corrupt tells an operator what contradicts; a client reads only that something
// does.
func (s *State) corrupt(what string) error {
	return fmt.Errorf("account %s: %s: %w", quote(string(s.Account.ID)), what, ErrCorrupt)
}
