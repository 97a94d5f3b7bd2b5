package credits

import "time"

// manyRows is from how many rows on a state looks them up in an index.
const manyRows = 16

// A rowIndex is where rows are in a state, by their ids.
type rowIndex[ID comparable] map[ID]int

// place returns where the row of that id is among n, or -1. Rows are only ever
// added, and idOf tells the id of each.
func (x *rowIndex[ID]) place(id ID, n int, idOf func(i int) ID) int {
	if *x == nil {
		*x = make(map[ID]int, 2*n)
	}
	for i := len(*x); i < n; i++ {
		(*x)[idOf(i)] = i
	}
	if i, ok := (*x)[id]; ok {
		return i
	}
	return -1
}

// lot returns the row of a lot, or nil when it was not loaded. The pointer is
// good until a lot is added.
func (s *State) lot(id LotID) *LotRow {
	if len(s.Lots) < manyRows {
		for i := range s.Lots {
			if s.Lots[i].Lot.ID == id {
				return &s.Lots[i]
			}
		}
		return nil
	}
	if i := s.lotIndex.place(id, len(s.Lots), func(i int) LotID { return s.Lots[i].Lot.ID }); i >= 0 {
		return &s.Lots[i]
	}
	return nil
}

// op returns the row of an op, or nil when there is none, or none any more. The
// pointer is good until an op is added.
func (s *State) op(id OpID) *OpRow {
	row := s.findOp(id)
	if row != nil && row.Change.gone() {
		return nil
	}
	return row
}

func (s *State) findOp(id OpID) *OpRow {
	if len(s.Ops) < manyRows {
		for i := range s.Ops {
			if s.Ops[i].Op.ID == id {
				return &s.Ops[i]
			}
		}
		return nil
	}
	if i := s.opIndex.place(id, len(s.Ops), func(i int) OpID { return s.Ops[i].Op.ID }); i >= 0 {
		return &s.Ops[i]
	}
	return nil
}

// touch marks the account as changed at now.
func (s *State) touch(now time.Time) {
	if s.AccountChange == Unchanged {
		s.AccountChange = Updated
		if s.Account.Version == 0 {
			s.AccountChange = Added
		}
		s.Account.Version++
	}
	s.Account.At = now
}

// change marks a loaded row as different from the stored one.
func (c *Change) change() {
	if *c == Unchanged {
		*c = Updated
	}
}

// gone reports whether a row was taken away in this call.
func (c *Change) gone() bool { return *c == Removed || *c == Dropped }

// remove takes a row away.
func (c *Change) remove() {
	if *c == Added {
		*c = Dropped
	} else {
		*c = Removed
	}
}

// renew puts another row in the place of one that is gone.
func (c *Change) renew() {
	if *c == Removed {
		*c = Updated
	} else {
		*c = Added
	}
}

// move writes one entry and keeps the lot's and the account's totals with it.
// What becomes available repays the account's debt first.
func (s *State) move(row *LotRow, from, to Bucket, amount Amount, e Entry) {
	if amount == 0 {
		return
	}
	row.Lot.Totals.move(from, to, amount)
	row.Change.change()
	s.Account.Totals.move(from, to, amount)
	s.Account.Seq++
	e.Account, e.Seq, e.Lot = s.Account.ID, s.Account.Seq, row.Lot.ID
	e.From, e.To, e.Amount = from, to, amount
	if !s.dropped {
		e.Hash = e.Chain(s.Account.Head)
		s.Account.Head = e.Hash
	}
	s.Entries = append(s.Entries, e)
	if to == BucketAvailable {
		s.order.refill(row)
		if s.Account.Totals.Debt > 0 && row.Lot.Only == "" {
			s.repay(row, e)
		}
	}
}

// addLot makes a lot, filled from the issued bucket.
func (s *State) addLot(lot Lot, amount Amount, now time.Time, e Entry) LotID {
	s.Account.LastLot++
	lot.Account, lot.ID, lot.Totals = s.Account.ID, s.Account.LastLot, Totals{}
	s.Lots = append(s.Lots, LotRow{Lot: lot, Change: Added})
	to := BucketAvailable
	if lot.EffectiveAt.After(now) {
		to = BucketPending
	}
	s.move(&s.Lots[len(s.Lots)-1], BucketIssued, to, amount, e)
	return lot.ID
}

// denyOp files the record of a debit that is refused, now and whenever it is
// tried again. It changes nothing else.
func (s *State) denyOp(op Op, d *DeniedError, now time.Time) error {
	op.Account, op.At, op.Seq, op.Totals = s.Account.ID, now, s.Account.Seq, s.Account.Totals
	op.deny(d)
	s.Ops = append(s.Ops, OpRow{Op: op, Change: Added})
	return &filedError{d}
}

// addOp files the record of an accepted command, as of now.
func (s *State) addOp(op Op, now time.Time) *OpRow {
	s.touch(now)
	op.Account, op.At, op.Seq, op.Totals = s.Account.ID, now, s.Account.Seq, s.Account.Totals
	s.Ops = append(s.Ops, OpRow{Op: op, Change: Added})
	return &s.Ops[len(s.Ops)-1]
}
