package credits

import "time"

// A transit is what the steps of one command have taken back to the issued
// bucket and not issued again: a refund from an expired lot, what a lot repays
// or rolls over. It is nothing when the command is done.
type transit struct {
	kind   Kind
	op     OpID
	at     time.Time
	amount Amount
}

// checkJournal replays the entries, with all that an entry alone can have wrong.
func (a *accountAudit) checkJournal() error {
	a.replayed = make(map[LotID]Totals)
	var before Entry // the last one
	var way transit
	goal := a.sealed()
	for e, err := range a.Entries {
		if err == nil {
			err = a.read(&a.sum.Entries)
		}
		if err != nil {
			return err
		}
		if !way.same(&e) && way.amount != 0 {
			return a.bad("entry %d, %v, ends a step that leaves %v issued out of nothing, or lost", before.Seq, before.Kind, -way.amount)
		}
		way.add(&e)
		t := a.replayed[e.Lot]
		t.move(e.From, e.To, e.Amount)
		switch {
		case e.Account != a.Account.ID || e.Seq != before.Seq+1:
			return a.bad("entry %d stands where entry %d should", e.Seq, before.Seq+1)
		case e.At.Before(before.At):
			return a.bad("entry %d is before entry %d", e.Seq, before.Seq)
		case e.Amount <= 0 || !e.moves():
			return a.bad("entry %d, %v, moves %v of lot %d from %v to %v", e.Seq, e.Kind, e.Amount, e.Lot, e.From, e.To)
		case !t.Balanced():
			return a.bad("entry %d takes lot %d below zero: %+v", e.Seq, e.Lot, t)
		case e.Hash != e.Chain(before.Hash):
			return a.bad("entry %d is not what its hash was made of, or does not follow entry %d", e.Seq, before.Seq)
		}
		if e.Seq == goal.Seq && e.Hash != goal.Hash {
			return a.bad("entry %d is not the one that was sealed", e.Seq)
		}
		a.replayed[e.Lot] = t
		before = e
	}
	switch {
	case way.amount != 0:
		return a.bad("entry %d, %v, ends a step that leaves %v issued out of nothing, or lost", before.Seq, before.Kind, -way.amount)
	case before.Seq != a.Account.Seq:
		return a.bad("it has %d entries, its row says %d", before.Seq, a.Account.Seq)
	case before.Hash != a.Account.Head:
		return a.bad("its last entry has the hash %v, its row says %v", before.Hash, a.Account.Head)
	case before.Seq < goal.Seq:
		return a.bad("it has %d entries, %d were sealed", before.Seq, goal.Seq)
	case before.At.After(a.Account.At):
		return a.bad("its last entry is of %v, its row of %v", before.At, a.Account.At)
	}
	return nil
}

// sealed returns the head that was sealed; a zero one, which all journals go
// through, when there is none.
func (a *accountAudit) sealed() Head {
	if t := a.opt.Sealed; t != nil {
		if i, ok := t.find(a.Account.ID); ok {
			return t.heads[i]
		}
	}
	return Head{}
}

// same reports whether e belongs to the step that t follows.
func (t *transit) same(e *Entry) bool { return e.Kind == t.kind && e.Op == t.op && e.At.Equal(t.at) }

func (t *transit) add(e *Entry) {
	if !t.same(e) {
		*t = transit{kind: e.Kind, op: e.Op, at: e.At}
	}
	if e.Kind == KindGrant {
		return
	}
	if e.From == BucketIssued {
		t.amount -= e.Amount
	}
	if e.To == BucketIssued {
		t.amount += e.Amount
	}
}

// moves reports whether an entry of e's kind may move between e's buckets, in
// lot 0 or in others.
func (e *Entry) moves() bool {
	from, to := e.From, e.To
	if e.Lot == 0 {
		switch e.Kind {
		case KindCapture, KindDebit:
			return from == BucketDebt && to == BucketConsumed
		case KindRefund:
			return from == BucketConsumed && (to == BucketDebt || to == BucketIssued)
		case KindRepay:
			return from == BucketIssued && to == BucketDebt
		}
		return false
	}
	switch e.Kind {
	case KindGrant:
		return from == BucketIssued && (to == BucketAvailable || to == BucketPending)
	case KindEffect:
		return from == BucketPending && to == BucketAvailable
	case KindHold:
		return from == BucketAvailable && to == BucketHeld
	case KindCapture:
		return (from == BucketHeld || from == BucketAvailable) && to == BucketConsumed
	case KindRelease, KindTimeout:
		return from == BucketHeld && (to == BucketAvailable || to == BucketExpired)
	case KindDebit:
		return (from == BucketAvailable || from == BucketLeased || from == BucketSuspense) && to == BucketConsumed
	case KindRefund:
		return from == BucketConsumed && (to == BucketAvailable || to == BucketIssued) || from == BucketIssued && to == BucketAvailable
	case KindExpire:
		return from == BucketAvailable && to == BucketExpired
	case KindLease:
		return from == BucketAvailable && to == BucketLeased
	case KindReturn:
		return (from == BucketLeased || from == BucketSuspense) && (to == BucketAvailable || to == BucketExpired)
	case KindLapse:
		return from == BucketLeased && to == BucketSuspense
	case KindResolve:
		return from == BucketSuspense && (to == BucketAvailable || to == BucketConsumed || to == BucketExpired)
	case KindRepay:
		return from == BucketAvailable && to == BucketIssued
	case KindRoll:
		return from == BucketAvailable && to == BucketIssued || from == BucketIssued && to == BucketAvailable
	}
	return false
}
