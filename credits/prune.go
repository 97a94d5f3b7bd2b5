package credits

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// PruneOptions say which records to drop. The zero value, and nil, are the
// defaults.
type PruneOptions struct {
	Accounts []AccountID   // default: every account of the store
	Before   time.Time     // ids that were made until this instant; default: as late as MinAge allows
	MinAge   time.Duration // how old an id must be by the store's clock; default 30 days, 1 hour or more
	Progress func(Pruned)  // called after each account that had something to drop; default: nobody
}

const (
	defaultPruneAge = 30 * 24 * time.Hour
	minPruneAge     = time.Hour
)

// Pruned counts what was dropped.
type Pruned struct {
	Accounts int64 // that had something to drop
	Ops      int64
}

// Prune drops the records of old commands, by which retries are answered, so
// that a ledger need not grow with them for ever. Its journal is never pruned, nor
// are lots, budgets and balances: no credit moves.
//
// A record is dropped when its id tells when it was made, as version 7 UUIDs do
// (RFC 9562, section 5.7), when that is old enough, and when it is not an open
// hold or lease, or one in suspense. Ids of other forms are kept for ever. What
// dropped records have spent is added to [Lot.Pruned] and, where their budget's
// window is still the current one, to the budget's Base.
//
// No command is ever done twice for that: from then on the account refuses every
// id it does not know that was made at that instant or earlier, with
// [ErrKeyTooOld], whether it was dropped or never seen. So ids are to be made
// when a command is first tried, by a clock that is not MinAge behind. What was
// dropped can no longer be refunded, captured or explained.
//
// It works in bounded steps, each of which leaves a ledger that [Ledger.Verify]
// passes; it may be stopped at any time, run again, and run beside all commands.
func (l *Ledger) Prune(ctx context.Context, o *PruneOptions) (Pruned, error) {
	const op = "credits.Prune"
	if o == nil {
		o = &PruneOptions{}
	}
	f := errors.Faults{Op: op}
	for _, id := range o.Accounts {
		checkID(&f, "Accounts: "+quote(string(id)), string(id))
	}
	checkInstant(&f, "Before", o.Before)
	cut := cutoff{before: micros(o.Before), age: o.MinAge}
	if cut.age == 0 {
		cut.age = defaultPruneAge
	}
	if cut.age < minPruneAge {
		f.Add("MinAge is %v; give %v or more, or 0 for %v", o.MinAge, minPruneAge, defaultPruneAge)
	}
	if err := f.Err(); err != nil {
		return Pruned{}, err
	}
	var sum Pruned
	one := func(id AccountID) error {
		n, err := l.prune(ctx, id, cut)
		if sum.Ops += n; n > 0 {
			sum.Accounts++
			if o.Progress != nil {
				o.Progress(sum)
			}
		}
		return err
	}
	if err := cut.settle(ctx, l); err != nil {
		return sum, atBoundary(op, err)
	}
	if o.Accounts != nil {
		for _, id := range o.Accounts {
			if err := one(id); err != nil {
				return sum, atBoundary(op, err)
			}
		}
		return sum, nil
	}
	for id, err := range l.accounts(ctx) {
		if err == nil {
			err = one(id)
		}
		if err != nil {
			return sum, atBoundary(op, err)
		}
	}
	return sum, nil
}

// A cutoff is until when ids are dropped, and how old they must be.
type cutoff struct {
	before time.Time
	age    time.Duration
}

// settle compares the cutoff with the store's clock.
func (c *cutoff) settle(ctx context.Context, l *Ledger) error {
	return l.store.View(ctx, []Need{{Account: "-", Limit: dueLimit}}, func(now time.Time, _ []*State) error {
		latest := micros(now).Add(-c.age)
		if c.before.After(latest) {
			return &errors.Error{Code: errors.Invalid, Msg: fmt.Sprintf("Before is %v; give %v or earlier, which is MinAge, %v, ago",
				c.before.Format(time.RFC3339), latest.Format(time.RFC3339), c.age)}
		}
		if c.before.IsZero() {
			c.before = latest
		}
		return nil
	})
}

// prune drops records of one account, a portion with each update.
func (l *Ledger) prune(ctx context.Context, account AccountID, cut cutoff) (int64, error) {
	for total := int64(0); ; {
		n := int64(0)
		err := l.update(ctx, Need{Account: account, Prunable: cut.before}, func(st *State, now time.Time) (err error) {
			n, err = st.prune(cut.before, now)
			return err
		})
		if err != nil {
			return total, err
		}
		if total += n; n == 0 {
			return total, nil
		}
	}
}

// prune drops the loaded ops that can be, and returns how many. What is due need
// not be posted before: it is closed ops that are dropped.
func (s *State) prune(before, now time.Time) (int64, error) {
	n := int64(0)
	for i := range s.Ops {
		row := &s.Ops[i]
		at := row.Op.Prunable()
		if at.IsZero() || at.After(before) || row.Change != Unchanged && row.Change != Updated {
			continue
		}
		if !s.loaded(row) {
			return 0, s.corrupt("a lot that a record to be pruned has spent from is missing")
		}
		s.drop(row)
		n++
	}
	if n == 0 {
		return 0, nil
	}
	at := s.Account.At
	if at.IsZero() { // of refused debits alone
		at = now
	}
	s.touch(at)
	if before.After(s.Account.PrunedTo) {
		s.Account.PrunedTo = before
	}
	return n, nil
}

// drop takes one op out, and keeps what it has spent.
func (s *State) drop(row *OpRow) {
	o := &row.Op
	for i := range o.Parts.n {
		if p := o.Parts.at(i); o.spent(p) != 0 {
			lot := s.lot(p.Lot)
			lot.Lot.Pruned += o.spent(p)
			lot.Change.change()
		}
	}
	if used, _ := o.counted(); used != 0 { // nothing of a closed op is set aside
		for c := range o.Charges.All() {
			if b := s.budget(c.Budget); b != nil && b.Budget.Start.Equal(c.Start) {
				b.Budget.Base += used
				b.Change.change()
			}
		}
	}
	row.Change = Removed
}
