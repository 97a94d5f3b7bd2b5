package credits

import (
	"fmt"
	"time"
)

func (c *ResolveLease) need(n *Need) {
	n.Account, n.Ops, n.Targets = c.Account, append(n.Ops, c.ID), append(n.Targets, c.Lease)
}

func (c *ResolveLease) apply(st *State, now time.Time, _ *settings, scratch []byte) (Receipt, error) {
	in := c.intent(scratch)
	if r, done, err := st.known(c.ID, KindResolve, in, now); done {
		return r, err
	}
	if _, err := st.lease(c.Lease); err != nil {
		return Receipt{}, err
	}
	now, err := st.advance(now)
	if err != nil {
		return Receipt{}, err
	}
	row, _ := st.lease(c.Lease) // advancing may have moved it
	o := &row.Op
	switch o.Hold {
	case HoldSuspense:
	case HoldOpen:
		return Receipt{}, refuse(ErrLeaseOpen, "its deadline is "+o.Deadline.Format(time.RFC3339))
	default:
		return Receipt{}, refuse(ErrSettled, "nothing of it is in suspense")
	}
	amount, most := c.Amount, o.held()
	if c.All {
		amount = most
	}
	if amount > most {
		return Receipt{}, refuse(ErrOverLease, fmt.Sprintf("%v credits are in suspense", most))
	}
	if !st.loaded(row) {
		return Receipt{}, st.corrupt("a lot that the lease took from is missing")
	}
	st.touch(now)
	e := Entry{At: now, Kind: KindResolve, Op: c.ID, Key: o.Key, Operation: o.Operation}
	op := Op{
		ID: c.ID, Kind: KindResolve, Intent: in, Amount: amount, Target: c.Lease, Key: o.Key, Operation: o.Operation, Note: c.Note,
	}
	if c.To == BucketConsumed {
		row.Change.change()
		op.Charges = o.Charges
		op.Parts, _ = st.leaseSpent(row, amount, 0, e)
		st.count(&op, -amount, amount, now)
	} else {
		op.Parts = st.leaseOut(row, amount, c.To, e, now)
	}
	if amount == most {
		st.endLease(row, 0, now)
	}
	return st.addOp(op, now).Op.receipt(), nil
}

func (c *recallLeases) need(n *Need) { n.Account = c.Account }

func (c *recallLeases) apply(st *State, now time.Time, _ *settings, _ []byte) (Receipt, error) {
	now, err := st.advance(now)
	if err == nil && st.Account.Leases > 0 && st.Account.RecalledAt.Before(now) {
		st.touch(now)
		st.Account.RecalledAt = now
	}
	return Receipt{}, err
}

func (c *ResolveLease) intent(scratch []byte) [32]byte {
	return newIntent(scratch, KindResolve).text(string(c.Account)).text(string(c.ID)).text(string(c.Lease)).
		int(int64(c.Amount)).bool(c.All).int(int64(c.To)).text(c.Note).sum()
}
