package credits_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/keytoll/keytoll/credits"
)

// invariants says the same as Verify, written a second time from the contract
// alone: it sums buckets, lots, holds and leases from the journal.
func invariants(c contents) error {
	var all buckets
	lots := make([]buckets, c.Account.LastLot+1) // by ID
	aside := make(map[credits.OpID]*buckets)
	var head credits.Hash
	for i, e := range c.Entries {
		if head = chained(head, e); e.Seq != int64(i+1) || e.Amount <= 0 || e.Hash != head {
			return fmt.Errorf("entry %d is %+v; its hash should be %v", i, e, head)
		}
		for _, b := range []*buckets{&all, &lots[e.Lot]} {
			b[e.From] -= e.Amount
			b[e.To] += e.Amount
			if e.From != credits.BucketIssued && e.From != credits.BucketDebt && b[e.From] < 0 {
				return fmt.Errorf("after entry %d there is less than nothing in %v: %v", e.Seq, e.From, b)
			}
		}
		name := e.Op
		if o := c.Ops[e.Op]; o.Target != "" {
			name = o.Target // a capture, a spend or a resolution: the hold's or the lease's
		}
		if aside[name] == nil {
			aside[name] = new(buckets)
		}
		aside[name][e.From] -= e.Amount
		aside[name][e.To] += e.Amount
	}
	if err := budgetInvariants(c); err != nil {
		return err
	}
	if got := all.totals(); got != c.Account.Totals || all.sum() != 0 || head != c.Account.Head {
		return fmt.Errorf("account %+v; its journal gives %+v, which sums to %v", c.Account, got, all.sum())
	}
	for _, l := range append(c.Lots, c.Debt) {
		if b := &lots[l.ID]; b.totals() != l.Totals || b.sum() != 0 {
			return fmt.Errorf("lot %d is %+v; its journal gives %+v", l.ID, l.Totals, b.totals())
		}
		if c.Account.Totals.Debt > 0 && l.Totals.Available > 0 && l.Only == "" {
			return fmt.Errorf("lot %d has %v, and %v are owed", l.ID, l.Totals.Available, c.Account.Totals.Debt)
		}
	}
	var held, leased, suspense credits.Amount
	holds, leases := int64(0), int64(0)
	for id, o := range c.Ops {
		rest := credits.Amount(0)
		if o.Kind == credits.KindHold || o.Kind == credits.KindLease {
			for p := range o.Parts.All() {
				rest += p.Held()
			}
		}
		b := aside[id]
		if b == nil {
			b = new(buckets)
		}
		got := b[credits.BucketHeld] + b[credits.BucketLeased] + b[credits.BucketSuspense]
		if rest != got && o.Target == "" {
			return fmt.Errorf("op %+v sets aside %v; its journal gives %v", o, rest, got)
		}
		switch {
		case o.Kind == credits.KindHold && o.Hold == credits.HoldOpen:
			holds++
			held += rest
		case o.Kind == credits.KindLease && o.Hold == credits.HoldOpen:
			leases++
			leased += rest
		case o.Hold == credits.HoldSuspense:
			suspense += rest
		case rest > 0:
			return fmt.Errorf("op %+v has ended and sets aside %v", o, rest)
		}
		if o.Denied != credits.SourceNone && *b != (buckets{}) {
			return fmt.Errorf("op %+v was denied and has entries", o)
		}
	}
	if t := c.Account.Totals; held != t.Held || leased != t.Leased || suspense != t.Suspense || holds != c.Account.Holds || leases != c.Account.Leases {
		return fmt.Errorf("%d holds set aside %v, %d leases %v, %v are in suspense; the account is %+v", holds, held, leases, leased, suspense, c.Account)
	}
	return nil
}

// budgetInvariants counts, from the journal, what each budget has spent and set
// aside in its window.
func budgetInvariants(c contents) error {
	for _, b := range c.Budgets {
		var used, held credits.Amount
		count := func(in credits.Bucket, amount credits.Amount) {
			switch in {
			case credits.BucketConsumed:
				used += amount
			case credits.BucketHeld, credits.BucketLeased, credits.BucketSuspense:
				held += amount
			}
		}
		for _, e := range c.Entries {
			o := c.Ops[e.Op]
			if o.Target != "" && o.Kind != credits.KindDebit { // whose own charges are its lease's
				o = c.Ops[o.Target]
			}
			for charge := range o.Charges.All() {
				if charge.Budget == b.ID && charge.Start.Equal(b.Start) {
					count(e.From, -e.Amount)
					count(e.To, e.Amount)
				}
			}
		}
		if b.Used-b.Base != used || b.Held != held {
			return fmt.Errorf("budget %+v; the journal gives %v used and %v held", b, used, held)
		}
	}
	return nil
}

// chained is the hash of an entry after the given one, as the contract has it:
// over a version, that hash, and every field but Hash, numbers in eight bytes and
// texts with their length before them.
func chained(before credits.Hash, e credits.Entry) credits.Hash {
	b := append([]byte{1}, before[:]...)
	for _, n := range []int64{e.Seq, e.At.UnixMicro(), int64(e.Kind), int64(e.From), int64(e.To), int64(e.Lot), int64(e.Amount)} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	for _, s := range []string{string(e.Account), string(e.Op), e.Key, e.Operation, e.Price} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return sha256.Sum256(b)
}

// buckets is what a journal has put into each bucket.
type buckets [credits.BucketDebt + 1]credits.Amount

func (b *buckets) sum() credits.Amount {
	sum := credits.Amount(0)
	for _, n := range b {
		sum += n
	}
	return sum
}

func (b *buckets) totals() credits.Totals {
	return credits.Totals{
		Issued: -b[credits.BucketIssued], Pending: b[credits.BucketPending], Available: b[credits.BucketAvailable],
		Held: b[credits.BucketHeld], Leased: b[credits.BucketLeased], Consumed: b[credits.BucketConsumed],
		Expired: b[credits.BucketExpired], Suspense: b[credits.BucketSuspense], Debt: -b[credits.BucketDebt],
	}
}
