package credits

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// VerifyOptions of an audit. The zero value, and nil, are the defaults.
type VerifyOptions struct {
	Accounts []AccountID   // default: every account of the store
	Progress func(Audited) // called after each account; default: nobody
}

// Audited counts what an audit has read.
type Audited struct {
	Accounts, Lots, Ops, Entries int64
	Faults                       int64 // accounts that failed
}

// maxFaults is how many accounts an audit's error names.
const maxFaults = 100

// Verify reads every row of the accounts and proves, for each as of one moment:
//
//   - its journal counts from 1 without gaps, and time in it never goes back, nor
//     is it ahead of the account;
//   - each entry moves more than 0 between two buckets that its kind may move
//     between, so that every command sums to zero;
//   - the journal, replayed, gives exactly the stored lots, with no bucket ever
//     below zero on the way;
//   - each lot is balanced: what was issued is the sum of its parts;
//   - the account's totals are the sum of its lots', and at most [MaxAmount] was
//     issued;
//   - open holds set aside, lot by lot, exactly what is held, and debits and holds
//     have spent, less what was refunded, exactly what is consumed; and no op has
//     captured, released or refunded more than it took.
//
// It streams: its memory grows with the lots of one account, not with the
// journal. An account that fails is counted and named in the error, which
// matches [ErrCorrupt]; the audit goes on, and names the first hundred. It
// changes nothing, and what is due but not posted is no fault.
func (l *Ledger) Verify(ctx context.Context, o *VerifyOptions) (Audited, error) {
	const op = "credits.Verify"
	if o == nil {
		o = &VerifyOptions{}
	}
	var sum Audited
	var faults []error
	one := func(id AccountID) error {
		err := l.store.Inspect(ctx, id, func(s Snapshot) error { return audit(s, &sum) })
		sum.Accounts++
		switch {
		case errors.Is(err, ErrCorrupt):
			if sum.Faults++; len(faults) < maxFaults {
				faults = append(faults, err)
			}
		case err != nil:
			return atBoundary(op, err)
		}
		if o.Progress != nil {
			o.Progress(sum)
		}
		return nil
	}
	if o.Accounts != nil {
		f := errors.Faults{Op: op}
		for _, id := range o.Accounts {
			checkID(&f, "Accounts: "+quote(string(id)), string(id))
		}
		if err := f.Err(); err != nil {
			return sum, err
		}
		for _, id := range o.Accounts {
			if err := one(id); err != nil {
				return sum, err
			}
		}
		return sum, errors.Wrap(op, errors.Join(faults...))
	}
	const page = 500
	for after := AccountID(""); ; {
		ids, err := l.store.Accounts(ctx, after, page)
		if err != nil {
			return sum, atBoundary(op, err)
		}
		for _, id := range ids {
			if err := one(id); err != nil {
				return sum, err
			}
			after = id
		}
		if len(ids) == 0 {
			return sum, errors.Wrap(op, errors.Join(faults...))
		}
	}
}

// audit checks one account.
func audit(s Snapshot, sum *Audited) error {
	bad := func(format string, args ...any) error {
		return (&State{Account: s.Account}).corrupt(fmt.Sprintf(format, args...))
	}
	replayed, n, err := replayJournal(s, bad)
	sum.Entries += n
	if err != nil {
		return err
	}
	var total Totals
	claims := make([]claim, 0, len(replayed)) // of lot i+1
	for lot, err := range s.Lots {
		if err != nil {
			return err
		}
		sum.Lots++
		next := LotID(len(claims) + 1)
		switch {
		case lot.Account != s.Account.ID || lot.ID != next:
			return bad("lot %d stands where lot %d should", lot.ID, next)
		case !lot.Totals.Balanced():
			return bad("lot %d is not the sum of its parts: %+v", lot.ID, lot.Totals)
		case replayed[lot.ID] != lot.Totals:
			return bad("lot %d is %+v, its journal gives %+v", lot.ID, lot.Totals, replayed[lot.ID])
		case lot.Totals.Issued > MaxAmount-total.Issued:
			return bad("more was issued than can be")
		}
		claims = append(claims, claim{lot.Totals.Held, lot.Totals.Consumed})
		total.merge(lot.Totals)
	}
	switch lots := LotID(len(claims)); {
	case lots != s.Account.LastLot || len(replayed) > len(claims):
		return bad("it has %d lots, its row says %d, its journal %d", lots, s.Account.LastLot, len(replayed))
	case total != s.Account.Totals:
		return bad("its totals are %+v, its lots sum to %+v", s.Account.Totals, total)
	}
	for o, err := range s.Ops {
		if err != nil {
			return err
		}
		sum.Ops++
		if o.Account != s.Account.ID {
			return bad("op %s is another account's", quote(string(o.ID)))
		}
		if what := o.settleClaims(claims); what != "" {
			return bad("op %s %s", quote(string(o.ID)), what)
		}
	}
	for i, c := range claims {
		if c != (claim{}) {
			return bad("lot %d holds %v credits more than its open holds, and %v more are consumed than its ops have spent", i+1, c.held, c.consumed)
		}
	}
	return nil
}

// A claim is what a lot says that ops hold of it and have spent of it.
type claim struct{ held, consumed Amount }

// settleClaims takes what o holds and has spent off the claims of its lots, and
// says what is wrong with o, or "".
func (o *Op) settleClaims(claims []claim) string {
	rest := o.Amount
	for p := range o.Parts.All() {
		if !p.sound() || p.Lot > LotID(len(claims)) || p.Amount > rest {
			return fmt.Sprintf("of %v credits has an impossible part %+v", o.Amount, p)
		}
		rest -= p.Amount
		c := &claims[p.Lot-1]
		c.consumed -= p.Captured - p.Refunded
		if o.Hold != HoldNone {
			c.held -= p.Held()
		}
	}
	switch {
	case rest != 0:
		return fmt.Sprintf("of %v credits has lots for all but %v", o.Amount, rest)
	case o.Hold != HoldNone && o.Hold != HoldOpen && o.held() != 0:
		return fmt.Sprintf("is %v and still sets aside %v credits", o.Hold, o.held())
	}
	return ""
}

// replayJournal rebuilds the totals of each lot from the entries.
func replayJournal(s Snapshot, bad func(string, ...any) error) (map[LotID]Totals, int64, error) {
	lots := make(map[LotID]Totals)
	n := int64(0)
	var last time.Time
	for e, err := range s.Entries {
		if err != nil {
			return nil, n, err
		}
		n++
		t := lots[e.Lot]
		t.move(e.From, e.To, e.Amount)
		switch {
		case e.Account != s.Account.ID || e.Seq != n:
			return nil, n, bad("entry %d stands where entry %d should", e.Seq, n)
		case e.At.Before(last):
			return nil, n, bad("entry %d is before entry %d", e.Seq, n-1)
		case e.Amount <= 0 || !e.Kind.moves(e.From, e.To):
			return nil, n, bad("entry %d, %v, moves %v from %v to %v", e.Seq, e.Kind, e.Amount, e.From, e.To)
		case !t.Balanced():
			return nil, n, bad("entry %d takes lot %d below zero: %+v", e.Seq, e.Lot, t)
		}
		lots[e.Lot] = t
		last = e.At
	}
	switch {
	case n != s.Account.Seq:
		return nil, n, bad("it has %d entries, its row says %d", n, s.Account.Seq)
	case last.After(s.Account.At):
		return nil, n, bad("its last entry is of %v, its row of %v", last, s.Account.At)
	}
	return lots, n, nil
}

// moves reports whether an entry of kind k may move between two buckets.
func (k Kind) moves(from, to Bucket) bool {
	switch k {
	case KindGrant:
		return from == BucketIssued && (to == BucketAvailable || to == BucketPending)
	case KindEffect:
		return from == BucketPending && to == BucketAvailable
	case KindHold:
		return from == BucketAvailable && to == BucketHeld
	case KindCapture:
		return from == BucketHeld && to == BucketConsumed
	case KindRelease, KindTimeout:
		return from == BucketHeld && (to == BucketAvailable || to == BucketExpired)
	case KindDebit:
		return from == BucketAvailable && to == BucketConsumed
	case KindRefund:
		return from == BucketConsumed && (to == BucketAvailable || to == BucketIssued) || from == BucketIssued && to == BucketAvailable
	case KindExpire:
		return from == BucketAvailable && to == BucketExpired
	}
	return false
}

// merge adds u to t.
func (t *Totals) merge(u Totals) {
	t.Issued += u.Issued
	t.Pending += u.Pending
	t.Available += u.Available
	t.Held += u.Held
	t.Consumed += u.Consumed
	t.Expired += u.Expired
	t.Leased += u.Leased
	t.Suspense += u.Suspense
	t.Debt += u.Debt
}
