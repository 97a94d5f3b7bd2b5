package credits

import (
	"bytes"
	"slices"
)

// A burnOrder is the burn order of a state's lots. It is made once and kept while
// many commands take from the same state.
type burnOrder struct {
	list  []ranked
	seen  int // so many rows of the state are in the list
	spent int // so many at the beginning of the list have nothing available
}

// ranked is where a lot is in a state, with its place in the burn order.
type ranked struct {
	rank Rank
	at   int
}

// place returns where a lot of that rank is in the list, or belongs.
func (o *burnOrder) place(rank Rank) int {
	i, _ := slices.BinarySearchFunc(o.list, rank, func(r ranked, rank Rank) int { return bytes.Compare(r.rank[:], rank[:]) })
	return i
}

// refill notes that a lot has something available again.
func (o *burnOrder) refill(row *LotRow) {
	if o.spent > 0 {
		o.spent = min(o.spent, o.place(row.Lot.Rank()))
	}
}

// burning returns the lots of the state from the first that has something
// available on, in burn order. Stores hand lots over in any order.
func (s *State) burning() []ranked {
	o := &s.order
	if o.seen < len(s.Lots) {
		s.rank()
	}
	for o.spent < len(o.list) && s.Lots[o.list[o.spent].at].Lot.Totals.Available == 0 {
		o.spent++
	}
	return o.list[o.spent:]
}

// rank puts the lots that are new in the state into the order.
func (s *State) rank() {
	o := &s.order
	first := o.seen == 0
	for ; o.seen < len(s.Lots); o.seen++ {
		lot := &s.Lots[o.seen].Lot
		if lot.ID == 0 {
			continue // nothing of it can be spent, ever
		}
		r := ranked{lot.Rank(), o.seen}
		if first {
			o.list = append(o.list, r)
			continue
		}
		i := o.place(r.rank)
		o.list = slices.Insert(o.list, i, r)
		o.spent = min(o.spent, i)
	}
	if first {
		slices.SortFunc(o.list, func(a, b ranked) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	}
}

// spendable returns how much of amount the loaded lots have available for an
// operation. When it is less than amount, it is all that the account has: a store
// loads as much as was asked for, see [Need].
func (s *State) spendable(amount Amount, operation string) Amount {
	sum := Amount(0)
	if amount > 0 {
		for _, r := range s.burning() {
			if lot := &s.Lots[r.at].Lot; lot.Totals.Available > 0 && lot.Only.Has(operation) {
				sum += lot.Totals.Available
			}
			if sum >= amount {
				return amount
			}
		}
	}
	return sum
}

// burn takes amount from the available lots that can be spent on operation, in
// burn order, and moves it to the given bucket. False means that they have less,
// of which the caller has made sure before.
func (s *State) burn(amount Amount, to Bucket, operation string, e Entry) (Parts, bool) {
	var parts Parts
	if amount == 0 {
		return parts, true
	}
	for _, r := range s.burning() {
		row := &s.Lots[r.at]
		take := min(amount, row.Lot.Totals.Available)
		if take == 0 || !row.Lot.Only.Has(operation) {
			continue
		}
		s.move(row, BucketAvailable, to, take, e)
		p := Part{Lot: row.Lot.ID, Amount: take}
		if to == BucketConsumed {
			p.Captured = take
		}
		parts.add(p)
		if amount -= take; amount == 0 {
			return parts, true
		}
	}
	return parts, false
}
