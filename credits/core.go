package credits

import (
	"fmt"
	"time"
)

// This file is the deterministic core: what each command does to a state at an
// instant. It does no I/O, reads no clock and iterates no map. A command first
// looks whether it was accepted before, then lets time pass, then checks
// everything, and only then changes the state; so a refusal has changed nothing
// but what was due anyway.

func (c *Grant) need(n *Need) { n.Account, n.Ops = c.Account, append(n.Ops, c.ID) }

func (c *Grant) apply(st *State, now time.Time, _ *settings, scratch []byte) (Receipt, error) {
	in := c.intent(scratch)
	if r, done, err := st.known(c.ID, KindGrant, in, now); done {
		return r, err
	}
	now, err := st.advance(now)
	if err != nil {
		return Receipt{}, err
	}
	expires := micros(c.ExpiresAt)
	if isDue(expires, now) {
		return Receipt{}, ErrExpired
	}
	if t := &st.Account.Totals; c.Amount > MaxAmount-t.Issued-t.Debt {
		return Receipt{}, refuse(ErrOverIssue, fmt.Sprintf("%v credits are issued and owed; at most %v can be", t.Issued+t.Debt, MaxAmount))
	}
	effective := micros(c.EffectiveAt)
	if effective.IsZero() {
		effective = now
	}
	lot := st.addLot(Lot{
		Op: c.ID, Priority: c.Priority, Category: c.Category, Only: c.Only, EffectiveAt: effective, ExpiresAt: expires,
	}, c.Amount, now, Entry{At: now, Kind: KindGrant, Op: c.ID})
	row := st.addOp(Op{
		ID: c.ID, Kind: KindGrant, Intent: in, Amount: c.Amount, Note: c.Note,
		Parts: Parts{n: 1, one: Part{Lot: lot, Amount: c.Amount}},
	}, now)
	return row.Op.receipt(), nil
}

func (c *Hold) need(n *Need) {
	n.Account, n.Ops, n.Scopes = c.Account, append(n.Ops, c.ID), scopes(n.Scopes, c.Key, c.Operation)
	n.spend(c.Operation, c.Amount)
}

func (c *Hold) apply(st *State, now time.Time, opt *settings, scratch []byte) (Receipt, error) {
	in := c.intent(scratch)
	if r, done, err := st.known(c.ID, KindHold, in, now); done {
		return r, err
	}
	now, err := st.advance(now)
	if err != nil {
		return Receipt{}, err
	}
	denied, err := st.admit(c.want(opt), now)
	switch {
	case err != nil:
		return Receipt{}, err
	case denied != nil:
		return Receipt{}, denied
	}
	parts, ok := st.burn(c.Amount, BucketHeld, c.Operation, Entry{At: now, Kind: KindHold, Op: c.ID, Key: c.Key, Operation: c.Operation, Price: c.Price})
	if !ok {
		return Receipt{}, st.corrupt("lots have less available than they had a moment ago")
	}
	op := Op{
		ID: c.ID, Kind: KindHold, Intent: in, Amount: c.Amount, Parts: parts,
		Key: c.Key, Operation: c.Operation, Price: c.Price, Note: c.Note, Hold: HoldOpen,
		Deadline: opt.deadline(c.TTL, now), Terms: Terms{Overrun: c.Overrun, DebtLimit: c.DebtLimit, Late: c.Late},
	}
	st.Account.Holds++
	st.charge(&op, now)
	st.count(&op, c.Amount, 0, now)
	return st.addOp(op, now).Op.receipt(), nil
}

// deadline returns when what lives for ttl from now on ends.
func (opt *settings) deadline(ttl time.Duration, now time.Time) time.Time {
	switch ttl {
	case NoTimeout:
		return time.Time{}
	case 0:
		ttl = opt.holdTTL
	}
	return micros(now.Add(ttl))
}

// A capturing is a capture and what lots it was loaded with.
type capturing struct {
	Capture
	more moreError
}

func (c *capturing) need(n *Need) {
	n.Account, n.Targets = c.Account, append(n.Targets, c.Hold)
	if c.Keep {
		n.Ops = append(n.Ops, c.ID)
	}
	if c.more.spend.Amount > 0 {
		n.spend(c.more.spend.Operation, c.more.spend.Amount)
	}
	if c.more.debt {
		n.List = List{Rows: LotRows, Lot: -1, Limit: 1}
	}
}

func (c *capturing) apply(st *State, now time.Time, _ *settings, scratch []byte) (Receipt, error) {
	var in [32]byte
	if c.Keep {
		in = c.intent(scratch)
		if r, done, err := st.known(c.ID, KindCapture, in, now); done {
			return r, err
		}
	}
	row, err := st.hold(c.Hold)
	if err != nil {
		return Receipt{}, err
	}
	o := &row.Op
	if o.ended(&c.Capture) {
		return o.settled(KindCapture, o.SettledAmount, true), nil
	}
	now, err = st.open(row, now)
	late := !c.Keep && o.Hold == HoldTimedOut && o.Terms.Late == LateCharged
	if late {
		now, err = st.advance(now)
	}
	if err != nil {
		return Receipt{}, err
	}
	held := o.held()
	asked := c.Amount
	if c.All {
		asked = held
		if late {
			asked = o.SettledRest
		}
	}
	excess := max(asked-held, 0)
	paid, owed, err := st.overrun(o, excess, asked, late, c.more.spend)
	if err != nil {
		return Receipt{}, err
	}
	if !st.loaded(row) {
		return Receipt{}, st.corrupt("a lot that the hold took from is missing")
	}
	st.touch(now)
	charged := asked - excess + paid + owed
	if c.Keep {
		taken := st.capture(row, asked-excess, c.ID, now)
		if excess > 0 {
			for p := range st.beyond(row, paid, owed, c.ID, now).All() {
				taken.add(Part{Lot: p.Lot, Amount: p.Amount})
			}
		}
		kept := st.addOp(Op{
			ID: c.ID, Kind: KindCapture, Intent: in, Amount: charged, Target: c.Hold, Parts: taken, Charges: o.told(),
			Key: o.Key, Operation: o.Operation, Note: c.Note,
		}, now)
		return kept.Op.receipt(), nil
	}
	if excess > 0 {
		o.Terms.Asked = asked
	}
	if late {
		st.beyond(row, paid, owed, c.Hold, now)
		st.record(o, HoldCaptured, charged, now)
		return o.settled(KindCapture, charged, false), nil
	}
	st.capture(row, asked-excess, c.Hold, now)
	if excess > 0 {
		st.beyond(row, paid, owed, c.Hold, now)
	}
	st.end(row, HoldCaptured, charged, now)
	return o.settled(KindCapture, charged, false), nil
}

func (c *Release) need(n *Need) { n.Account, n.Targets = c.Account, append(n.Targets, c.Hold) }

func (c *Release) apply(st *State, now time.Time, _ *settings, _ []byte) (Receipt, error) {
	row, err := st.hold(c.Hold)
	if err != nil {
		return Receipt{}, err
	}
	if o := &row.Op; o.Hold == HoldReleased {
		return o.settled(KindRelease, o.SettledRest, true), nil
	}
	if now, err = st.open(row, now); err != nil {
		return Receipt{}, err
	}
	if !st.loaded(row) {
		return Receipt{}, st.corrupt("a lot that the hold took from is missing")
	}
	st.touch(now)
	st.settle(row, HoldReleased, 0, now)
	return row.Op.settled(KindRelease, row.Op.SettledRest, false), nil
}

func (c *Extend) need(n *Need) { n.Account, n.Targets = c.Account, append(n.Targets, c.Hold) }

func (c *Extend) apply(st *State, now time.Time, opt *settings, _ []byte) (Receipt, error) {
	row, err := st.hold(c.Hold)
	if err != nil {
		return Receipt{}, err
	}
	o := &row.Op
	if now.Before(st.Account.At) {
		now = st.Account.At
	}
	if o.Hold == HoldOpen && !isDue(o.Deadline, now) && !o.Deadline.Before(c.until(o, now, opt)) {
		return o.extended(true), nil
	}
	if now, err = st.open(row, now); err != nil {
		return Receipt{}, err
	}
	st.touch(now)
	row.Change.change()
	o.Deadline = c.until(o, now, opt)
	return o.extended(false), nil
}

// until returns how long the hold lasts when it is extended now.
func (c *Extend) until(o *Op, now time.Time, opt *settings) time.Time {
	if o.Deadline.IsZero() {
		return o.Deadline
	}
	return opt.putOff(c.TTL, o.At, now)
}

// putOff returns until when a hold that was made at an instant lasts when it is
// to last for ttl from now on.
func (opt *settings) putOff(ttl time.Duration, made, now time.Time) time.Time {
	until, last := opt.deadline(ttl, now), micros(made.Add(opt.maxHoldLife))
	if until.After(last) {
		return last
	}
	return until
}

func (c *Debit) need(n *Need) {
	n.Account, n.Ops, n.Scopes = c.Account, append(n.Ops, c.ID), scopes(n.Scopes, c.Key, c.Operation)
	n.spend(c.Operation, c.Amount)
}

func (c *Debit) apply(st *State, now time.Time, opt *settings, scratch []byte) (Receipt, error) {
	in := c.intent(scratch)
	if r, done, err := st.known(c.ID, KindDebit, in, now); done {
		return r, err
	}
	now, err := st.advance(now)
	if err != nil {
		return Receipt{}, err
	}
	op := Op{
		ID: c.ID, Kind: KindDebit, Intent: in, Amount: c.Amount,
		Key: c.Key, Operation: c.Operation, Price: c.Price, Note: c.Note,
	}
	denied, err := st.admit(c.want(opt), now)
	switch {
	case err != nil:
		return Receipt{}, err
	case denied != nil:
		return Receipt{}, st.denyOp(op, denied, now)
	}
	parts, ok := st.burn(c.Amount, BucketConsumed, c.Operation, Entry{At: now, Kind: KindDebit, Op: c.ID, Key: c.Key, Operation: c.Operation, Price: c.Price})
	if !ok {
		return Receipt{}, st.corrupt("lots have less available than they had a moment ago")
	}
	op.Parts = parts
	st.charge(&op, now)
	st.count(&op, 0, c.Amount, now)
	return st.addOp(op, now).Op.receipt(), nil
}

func (c *Refund) need(n *Need) {
	n.Account, n.Ops, n.Targets = c.Account, append(n.Ops, c.ID), append(n.Targets, c.Of)
}

func (c *Refund) apply(st *State, now time.Time, _ *settings, scratch []byte) (Receipt, error) {
	in := c.intent(scratch)
	if r, done, err := st.known(c.ID, KindRefund, in, now); done {
		return r, err
	}
	of := st.op(c.Of)
	if of == nil || of.Op.Kind != KindDebit && of.Op.Kind != KindHold || of.Op.Denied != SourceNone {
		return Receipt{}, st.absent(c.Of, "debit or hold")
	}
	now, err := st.advance(now)
	if err != nil {
		return Receipt{}, err
	}
	amount, most := c.Amount, of.Op.refundable()
	if c.All {
		amount = most
	}
	if amount > most || amount == 0 {
		return Receipt{}, refuse(ErrOverRefund, fmt.Sprintf("%v credits can be refunded", most))
	}
	if !st.loaded(of) {
		return Receipt{}, st.corrupt("a lot that was spent from is missing")
	}
	parts := st.giveBack(of, amount, c.ID, now)
	st.count(&of.Op, 0, -amount, now)
	row := st.addOp(Op{
		ID: c.ID, Kind: KindRefund, Intent: in, Amount: amount, Target: c.Of, Parts: parts,
		Key: of.Op.Key, Operation: of.Op.Operation, Note: c.Note,
	}, now)
	return row.Op.receipt(), nil
}
