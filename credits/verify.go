package credits

import (
	"context"
	"iter"

	"github.com/keytoll/keytoll/errors"
)

// VerifyOptions of an audit. The zero value, and nil, are the defaults.
type VerifyOptions struct {
	Accounts []AccountID   // default: every account of the store, and of Sealed
	Sealed   *SealTree     // heads that were sealed before: each journal must still go through its own; default: none
	Progress func(Audited) // called after each account, and every few thousand rows; must not call the ledger; default: nobody
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
//     between, and no step but a grant issues anything, so that every command sums
//     to zero;
//   - the journal, replayed, gives exactly the stored lots, with no bucket ever
//     below zero on the way;
//   - each lot is balanced: what was issued is the sum of its parts; and only lot
//     0 owes;
//   - the account's totals are the sum of its lots', at most [MaxAmount] was
//     issued, and it does not owe while it could pay;
//   - open holds set aside, lot by lot, exactly what is held, open leases what is
//     leased, lapsed ones what is in suspense, and debits and holds have spent,
//     less what was refunded, exactly what is consumed, but for what pruned ones
//     have; no op has captured, released or refunded more than it took; and the
//     account counts its open holds, its open leases and its budgets;
//   - each budget has spent and set aside, in its window, what the ops that were
//     charged to it have, but for its Base;
//   - each entry's hash is that of its fields and of the hash before it, and the
//     last is the account's; and with Sealed, the head that was sealed is one of
//     them, so that nothing was rewritten since.
//
// It streams: its memory grows with the lots and the budgets of one account, not
// with the journal. An account that fails is counted and named in the error with
// what contradicts first, which matches [ErrCorrupt]; the audit goes on, and names
// the first hundred. It changes nothing, and what is due but not posted is no
// fault. It ends when ctx does.
func (l *Ledger) Verify(ctx context.Context, o *VerifyOptions) (Audited, error) {
	const op = "credits.Verify"
	if o == nil {
		o = &VerifyOptions{}
	}
	f := errors.Faults{Op: op}
	for _, id := range o.Accounts {
		checkID(&f, "Accounts: "+quote(string(id)), string(id))
	}
	if err := f.Err(); err != nil {
		return Audited{}, err
	}
	v := verifier{ctx: ctx, opt: o}
	err := v.all(l)
	if err != nil {
		return v.sum, atBoundary(op, err)
	}
	return v.sum, errors.Wrap(op, errors.Join(v.faults...))
}

// all checks the accounts that were asked for.
func (v *verifier) all(l *Ledger) error {
	if v.opt.Accounts != nil {
		for _, id := range v.opt.Accounts {
			if err := v.one(l, id); err != nil {
				return err
			}
		}
		return nil
	}
	var sealed []Head // of accounts that are still to come
	if v.opt.Sealed != nil {
		sealed = v.opt.Sealed.heads
	}
	for id, err := range l.accounts(v.ctx) {
		for ; err == nil && len(sealed) > 0 && sealed[0].Account <= id; sealed = sealed[1:] {
			if sealed[0].Account < id { // the store has no such account any more
				err = v.one(l, sealed[0].Account)
			}
		}
		if err == nil {
			err = v.one(l, id)
		}
		if err != nil {
			return err
		}
	}
	for i := range sealed {
		if err := v.one(l, sealed[i].Account); err != nil {
			return err
		}
	}
	return nil
}

// one checks one account.
func (v *verifier) one(l *Ledger, id AccountID) error {
	v.sum.Accounts++
	return v.note(l.store.Inspect(v.ctx, id, v.account))
}

// accounts yields the ids of every account of the store.
func (l *Ledger) accounts(ctx context.Context) iter.Seq2[AccountID, error] {
	const page = 500
	return func(yield func(AccountID, error) bool) {
		for after := AccountID(""); ; {
			ids, err := l.store.Accounts(ctx, after, page)
			if err != nil {
				yield("", err)
				return
			}
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
				after = id
			}
			if len(ids) == 0 {
				return
			}
		}
	}
}

// A verifier carries one audit through its accounts.
type verifier struct {
	ctx    context.Context
	opt    *VerifyOptions
	sum    Audited
	faults []error
	rows   int64 // since the last call of Progress
}

// note files what is wrong with one account, and returns what ends the audit.
func (v *verifier) note(err error) error {
	switch {
	case errors.Is(err, ErrCorrupt):
		if v.sum.Faults++; len(v.faults) < maxFaults {
			v.faults = append(v.faults, err)
		}
	case err != nil:
		return err
	}
	v.tell()
	return nil
}

func (v *verifier) tell() {
	v.rows = 0
	if v.opt.Progress != nil {
		v.opt.Progress(v.sum)
	}
}

// read counts a row, and returns what ends the audit.
func (v *verifier) read(count *int64) error {
	const often = 4096
	*count++
	if v.rows++; v.rows < often {
		return nil
	}
	v.tell()
	return v.ctx.Err()
}
