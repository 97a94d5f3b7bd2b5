package credits

import (
	"fmt"
	"time"
)

func (c *acquisition) need(n *Need) {
	n.Account, n.Targets, n.Scopes = c.Account, append(n.Targets, c.ID), scopes(n.Scopes, c.Key, c.Operation)
	n.spend(c.Operation, c.Want)
}

func (c *acquisition) intent(scratch []byte) [32]byte {
	return newIntent(scratch, KindLease).text(string(c.Account)).text(string(c.ID)).text(c.Owner).int(c.Epoch).
		text(c.Key).text(c.Operation).int(int64(c.Min)).int(int64(c.Want)).int(c.Share).int(int64(c.TTL)).sum()
}

func (c *acquisition) apply(st *State, now time.Time, _ *settings, scratch []byte) (Receipt, error) {
	c.receipt = LeaseReceipt{} // fn may run again
	in := c.intent(scratch)
	if r, done, err := st.known(c.ID, KindLease, in, now); done {
		if err == nil {
			c.receipt = st.leaseReceipt(&st.op(c.ID).Op, now)
			c.receipt.Replayed = true
		}
		return r, err
	}
	now, err := st.advance(now)
	if err != nil {
		return Receipt{}, err
	}
	op := Op{
		ID: c.ID, Kind: KindLease, Intent: in, Key: c.Key, Operation: c.Operation, Hold: HoldOpen,
		Terms: Terms{Owner: c.Owner, Epoch: c.Epoch},
	}
	denied, err := st.admit(want{amount: c.Min, key: c.Key, operation: c.Operation}, now)
	switch {
	case err != nil:
		return Receipt{}, err
	case denied != nil:
		return Receipt{}, denied
	}
	if op.Amount, err = c.size(st, now); err != nil {
		return Receipt{}, err
	}
	var ok bool
	op.Parts, ok = st.burn(op.Amount, BucketLeased, c.Operation, Entry{At: now, Kind: KindLease, Op: c.ID, Key: c.Key, Operation: c.Operation})
	if !ok {
		return Receipt{}, st.corrupt("lots have less available than they had a moment ago")
	}
	st.charge(&op, now)
	op.Deadline = st.leaseEnd(&op, now, c.TTL)
	st.Account.Leases++
	st.count(&op, op.Amount, 0, now)
	row := st.addOp(op, now)
	c.receipt = st.leaseReceipt(&row.Op, now)
	return row.Op.receipt(), nil
}

// size returns how much the lease takes: what is wanted, within what is there
// for the operation and the room of the budgets, and a share of either.
func (c *acquisition) size(st *State, now time.Time) (Amount, error) {
	share := Amount(max(c.Share, 1))
	// No more lots than Want takes are loaded: the share is one of all that the
	// account has.
	amount := min(st.spendable(c.Want, c.Operation), st.Account.Totals.Available/share)
	if amount < c.Min {
		return 0, st.tooSmallAShare(SourceBalance, "", c.Min, amount, now)
	}
	for _, i := range st.covering(c.Key, c.Operation) {
		b := st.Budgets[i].Budget // a copy: a refusal changes nothing
		if b.Soft {
			continue
		}
		if err := b.roll(now, st.zones); err != nil {
			return 0, err
		}
		if amount = min(amount, b.room()/share); amount < c.Min {
			return 0, st.tooSmallAShare(b.source(), b.ID, c.Min, amount, now)
		}
	}
	return amount, nil
}

// tooSmallAShare refuses a lease that would get less of a source than it is worth.
func (s *State) tooSmallAShare(source Source, budget BudgetID, least, share Amount, now time.Time) error {
	d := s.denied(source, want{amount: least}, share, now)
	d.Budget, d.Transient = budget, true
	return d
}

// leaseEnd returns when a lease ends by itself that is to last for ttl from now:
// not after a lot that it took from, nor after the window of a budget that it
// counts against.
func (s *State) leaseEnd(o *Op, now time.Time, ttl time.Duration) time.Time {
	if ttl == 0 {
		ttl = defaultLeaseTTL
	}
	end := micros(now.Add(ttl))
	for p := range o.Parts.All() {
		if e := s.lot(p.Lot).Lot.ExpiresAt; p.Held() > 0 && !e.IsZero() && e.Before(end) {
			end = e
		}
	}
	for c := range o.Charges.All() {
		row := s.budget(c.Budget)
		switch {
		case row == nil || row.Budget.End.IsZero():
		case !row.Budget.Start.Equal(c.Start): // the window is over
			return now
		case row.Budget.End.Before(end):
			end = row.Budget.End
		}
	}
	return end
}

// lease returns the row of the lease of that id, if it is that owner's.
func (s *State) lease(id OpID) (*OpRow, error) {
	if row := s.op(id); row != nil && row.Op.Kind == KindLease {
		return row, nil
	}
	return nil, s.absent(id, "lease")
}

func (s *State) leaseReceipt(o *Op, now time.Time) LeaseReceipt {
	if now.Before(s.Account.At) {
		now = s.Account.At // a replay tells no earlier time than the first answer
	}
	r := LeaseReceipt{
		Account: o.Account, Lease: o.ID, At: o.At, Now: now, Deadline: o.Deadline, Amount: o.Amount, Rest: o.held(), Hold: o.Hold,
		Recalled: !s.Account.RecalledAt.Before(o.At), Totals: s.Account.Totals,
	}
	switch {
	case s.leaseOver(o, now):
		r.Hold = HoldReleased
	case isDue(o.Due(), now):
		r.Hold = HoldSuspense
	}
	return r
}

// leaseOver reports whether a lease is closed, or is by its deadline, which leaves
// nothing in suspense when nothing was left: posted or not.
func (s *State) leaseOver(o *Op, now time.Time) bool {
	if now.Before(s.Account.At) {
		now = s.Account.At
	}
	return o.Hold == HoldReleased || o.Hold == HoldOpen && isDue(o.Deadline, now) && o.held() == 0
}

func (c *settlement) need(n *Need) {
	n.Account, n.Targets = c.Account, append(n.Targets, c.Lease)
	for i := range c.Spends {
		n.Ops = append(n.Ops, c.Spends[i].ID)
	}
}

func (c *settlement) apply(st *State, now time.Time, _ *settings, scratch []byte) (Receipt, error) {
	c.receipt = LeaseReceipt{} // fn may run again
	row, err := st.lease(c.Lease)
	if err != nil {
		return Receipt{}, err
	}
	if t := &row.Op.Terms; t.Owner != c.Owner || t.Epoch != c.Epoch {
		return Receipt{}, refuse(ErrNotOwner, "settle it as the owner and the epoch that made it")
	}
	filed := make([]LeaseFiled, len(c.Spends))
	fresh := 0
	for i := range c.Spends {
		s := &c.Spends[i]
		filed[i].ID = s.ID
		if known := st.op(s.ID); known != nil {
			filed[i].replay(&known.Op, c.debit(&row.Op, s).intent(scratch), now)
			continue
		}
		if st.forgotten(s.ID) {
			filed[i].Err = refuse(ErrKeyTooOld, quote(string(s.ID)))
			continue
		}
		fresh++
	}
	if st.leaseOver(&row.Op, now) || fresh == 0 && !c.Close && c.TTL == 0 && c.Return <= row.Op.released() {
		for i := range filed {
			if f := &filed[i]; !f.Replayed && f.Err == nil {
				f.Err = refuse(ErrSettled, "the lease is closed")
			}
		}
		c.receipt = st.leaseReceipt(&row.Op, now)
		c.receipt.Spends, c.receipt.Replayed = filed, true
		return Receipt{}, nil
	}
	if now, err = st.advance(now); err != nil {
		return Receipt{}, err
	}
	row, _ = st.lease(c.Lease) // rows may have been added
	if !st.loaded(row) {
		return Receipt{}, st.corrupt("a lot that the lease took from is missing")
	}
	at := 0 // the first part that may have something left
	for i := range c.Spends {
		if f := &filed[i]; !f.Replayed && f.Err == nil {
			at = st.fileSpend(c, &c.Spends[i], f, at, scratch, now)
		}
	}
	row, _ = st.lease(c.Lease) // the same
	rest := c.Return - row.Op.released()
	if c.Close {
		rest = row.Op.held()
	}
	if rest > 0 {
		st.touch(now)
		st.leaseOut(row, rest, BucketAvailable, Entry{At: now, Kind: KindReturn, Op: c.Lease, Key: row.Op.Key, Operation: row.Op.Operation}, now)
	}
	if c.Close || row.Op.Hold == HoldSuspense && row.Op.held() == 0 {
		st.endLease(row, max(rest, 0), now)
	}
	if c.TTL != 0 && row.Op.Hold == HoldOpen && st.Account.RecalledAt.Before(row.Op.At) {
		if end := st.leaseEnd(&row.Op, now, c.TTL); end.After(row.Op.Deadline) {
			st.touch(now)
			row.Change.change()
			row.Op.Deadline = end
		}
	}
	c.receipt = st.leaseReceipt(&row.Op, now)
	c.receipt.Spends = filed
	return Receipt{}, nil
}

// debit returns the command that a spend of the lease o is.
func (c *settlement) debit(o *Op, s *LeaseSpend) *Debit {
	return &Debit{Account: c.Account, ID: s.ID, Amount: s.Amount, Key: o.Key, Operation: o.Operation, Price: s.Price, Note: s.Note}
}

// replay says what came of a spend whose id is known.
func (f *LeaseFiled) replay(o *Op, in [32]byte, now time.Time) {
	_, err := o.replay(KindDebit, in, now)
	f.Err, f.Replayed = err, err == nil
}

// fileSpend files a spend that is not known yet, if the lease can pay it.
func (s *State) fileSpend(c *settlement, spend *LeaseSpend, f *LeaseFiled, at int, scratch []byte, now time.Time) int {
	row, _ := s.lease(c.Lease)
	o := &row.Op
	in := c.debit(o, spend).intent(scratch)
	if known := s.op(spend.ID); known != nil { // twice in this settlement
		f.replay(&known.Op, in, now)
		return at
	}
	if rest := o.held(); spend.Amount > rest {
		f.Err = refuse(ErrOverLease, fmt.Sprintf("%v credits spent, %v left", spend.Amount, rest))
		return at
	}
	s.touch(now)
	row.Change.change()
	debit := Op{
		ID: spend.ID, Kind: KindDebit, Intent: in, Amount: spend.Amount, Target: o.ID, Charges: o.Charges,
		Key: o.Key, Operation: o.Operation, Price: spend.Price, Note: spend.Note,
	}
	e := Entry{At: now, Kind: KindDebit, Op: spend.ID, Key: o.Key, Operation: o.Operation, Price: spend.Price}
	debit.Parts, at = s.leaseSpent(row, spend.Amount, at, e)
	s.count(&debit, -spend.Amount, spend.Amount, now)
	s.addOp(debit, now)
	return at
}

// leaseBucket returns where the rest of a lease is.
func (o *Op) leaseBucket() Bucket {
	if o.Hold == HoldSuspense {
		return BucketSuspense
	}
	return BucketLeased
}

// leaseSpent moves amount from a lease to consumed, in the order in which it took
// it, and returns the parts of the op that spends it, and the first part of the
// lease that may have something left.
func (s *State) leaseSpent(row *OpRow, amount Amount, at int, e Entry) (Parts, int) {
	var spent Parts
	parts := row.Op.Parts.edit()
	for ; at < parts.n && amount > 0; at++ {
		p := parts.at(at)
		take := min(amount, p.Held())
		if take == 0 {
			continue
		}
		p.Captured += take
		amount -= take
		spent.add(Part{Lot: p.Lot, Amount: take, Captured: take})
		s.move(s.lot(p.Lot), row.Op.leaseBucket(), BucketConsumed, take, e)
		if p.Held() > 0 {
			break
		}
	}
	row.Op.Parts = parts
	return spent, at
}

// leaseOut moves amount of what a lease has left to available, or to expired what
// is of a lot that has expired: of the part that it took last first. It returns
// what went where.
func (s *State) leaseOut(row *OpRow, amount Amount, to Bucket, e Entry, now time.Time) Parts {
	o := &row.Op
	row.Change.change()
	var out Parts
	parts := o.Parts.edit()
	gone := Amount(0)
	for i := parts.n - 1; i >= 0 && amount > 0; i-- {
		p := parts.at(i)
		back := min(amount, p.Held())
		if back == 0 {
			continue
		}
		p.Released += back
		amount -= back
		gone += back
		lot, bucket := s.lot(p.Lot), to
		if lot.Lot.expired(now) {
			bucket = BucketExpired
		}
		out.add(Part{Lot: p.Lot, Amount: back})
		s.move(lot, o.leaseBucket(), bucket, back, e)
	}
	o.Parts = parts
	s.count(o, -gone, 0, now)
	return out
}

// endLease writes the terminal record of a lease that has nothing left.
func (s *State) endLease(row *OpRow, rest Amount, now time.Time) {
	s.touch(now)
	row.Change.change()
	o := &row.Op
	if o.Hold == HoldOpen {
		s.Account.Leases--
	}
	o.Hold, o.SettledAt, o.SettledRest, o.SettledSeq, o.SettledTotals = HoldReleased, now, rest, s.Account.Seq, s.Account.Totals
}

// lapse ends a lease at its deadline without its owner's word: what is left of
// it may be spent already, so it goes to suspense and not back.
func (s *State) lapse(row *OpRow, now time.Time) {
	o := &row.Op
	row.Change.change()
	if o.held() == 0 {
		s.endLease(row, 0, now)
		return
	}
	for i := range o.Parts.n {
		p := o.Parts.at(i)
		s.move(s.lot(p.Lot), BucketLeased, BucketSuspense, p.Held(), Entry{At: now, Kind: KindLapse, Op: o.ID, Key: o.Key, Operation: o.Operation})
	}
	o.Hold = HoldSuspense
	s.Account.Leases--
}

// released returns how much of a lease was given back.
func (o *Op) released() Amount {
	sum := Amount(0)
	for i := range o.Parts.n {
		sum += o.Parts.at(i).Released
	}
	return sum
}
