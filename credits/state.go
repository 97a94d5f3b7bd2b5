package credits

import (
	"bytes"
	"slices"
	"time"
)

// manyRows is from how many rows on a state looks them up in an index.
const manyRows = 16

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
	if s.lotIndex == nil {
		s.lotIndex = make(map[LotID]int, 2*len(s.Lots))
	}
	for i := len(s.lotIndex); i < len(s.Lots); i++ { // lots are only ever added
		s.lotIndex[s.Lots[i].Lot.ID] = i
	}
	if i, ok := s.lotIndex[id]; ok {
		return &s.Lots[i]
	}
	return nil
}

// op returns the row of an op, or nil when there is none. The pointer is good
// until an op is added.
func (s *State) op(id OpID) *OpRow {
	if len(s.Ops) < manyRows {
		for i := range s.Ops {
			if s.Ops[i].Op.ID == id {
				return &s.Ops[i]
			}
		}
		return nil
	}
	if s.opIndex == nil {
		s.opIndex = make(map[OpID]int, 2*len(s.Ops))
	}
	for i := len(s.opIndex); i < len(s.Ops); i++ { // ops are only ever added
		s.opIndex[s.Ops[i].Op.ID] = i
	}
	if i, ok := s.opIndex[id]; ok {
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

// move writes one entry and keeps the lot's and the account's totals with it.
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
	e.Hash = e.Chain(s.Account.Head)
	s.Account.Head = e.Hash
	s.Entries = append(s.Entries, e)
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

// addOp files the record of an accepted command, as of now.
func (s *State) addOp(op Op, now time.Time) *OpRow {
	s.touch(now)
	op.Account, op.At, op.Seq, op.Totals = s.Account.ID, now, s.Account.Seq, s.Account.Totals
	s.Ops = append(s.Ops, OpRow{Op: op, Change: Added})
	return &s.Ops[len(s.Ops)-1]
}

// burn takes amount from the available lots that can be spent on operation, in
// burn order, and moves it to the given bucket. The caller has made sure that the account has it; false means
// that the lots disagree, or were not loaded.
func (s *State) burn(amount Amount, to Bucket, operation string, e Entry) (Parts, bool) {
	var parts Parts
	var few [4]ranked
	for _, r := range s.burnOrder(few[:0], operation) {
		if amount == 0 {
			break
		}
		row := &s.Lots[r.at]
		take := min(amount, row.Lot.Totals.Available)
		s.move(row, BucketAvailable, to, take, e)
		p := Part{Lot: row.Lot.ID, Amount: take}
		if to == BucketConsumed {
			p.Captured = take
		}
		parts.add(p)
		amount -= take
	}
	return parts, amount == 0
}

// ranked is where a lot is in a state, with its place in the burn order.
type ranked struct {
	rank Rank
	at   int
}

// burnOrder appends the lots that have something available for operation, first to burn
// first. Stores hand lots over in any order.
func (s *State) burnOrder(order []ranked, operation string) []ranked {
	for i := range s.Lots {
		if l := &s.Lots[i].Lot; l.Totals.Available > 0 && l.Only.Has(operation) {
			order = append(order, ranked{at: i})
		}
	}
	if len(order) > 1 {
		for i := range order {
			order[i].rank = s.Lots[order[i].at].Lot.Rank()
		}
		slices.SortFunc(order, func(a, b ranked) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	}
	return order
}
