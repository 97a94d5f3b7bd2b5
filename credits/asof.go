package credits

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// BalanceAt returns what the balance of an account was at an instant, after all
// that took effect by then. It is worked out from the journal, whose entries of
// one side of the instant it reads, the fewer; what was due by then counts as
// done, as it did in Balance. An instant after the store's now counts as now; see
// SpendableAt for the future.
//
// It is what Balance answered then, but for a schedule with CatchUpLatest or
// CatchUpNone: of what that had due while nobody came by, some was not granted in
// the end.
func (l *Ledger) BalanceAt(ctx context.Context, account AccountID, at time.Time) (Balance, error) {
	const op = "credits.BalanceAt"
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(account))
	checkInstant(&f, "At", at)
	if at.IsZero() {
		f.Add("At is zero; give an instant, or use Balance")
	}
	if err := f.Err(); err != nil {
		return Balance{}, err
	}
	b := Balance{Account: account, At: micros(at)}
	var row Account
	err := l.view(ctx, Need{Account: account}, func(st *State, now time.Time) (err error) {
		row = st.Account
		if b.At.Before(row.At) {
			return nil
		}
		if b.At.After(now) {
			b.At = now
		}
		b.At, err = st.advance(b.At)
		b.Totals = st.Account.Totals
		return err
	})
	if err == nil && b.At.Before(row.At) {
		b.Totals, err = l.totalsAt(ctx, &row, b.At)
	}
	if err != nil {
		return Balance{}, atBoundary(op, err)
	}
	return b, nil
}

// totalsAt returns the totals of an account after all entries up to an instant
// before its last change.
func (l *Ledger) totalsAt(ctx context.Context, row *Account, at time.Time) (Totals, error) {
	seq, err := l.entriesBefore(ctx, row.ID, at.Add(time.Microsecond))
	if err != nil {
		return Totals{}, err
	}
	var t Totals
	q := EntryQuery{Account: row.ID, Limit: maxLimit}
	left := seq
	if back := row.Seq - seq; back < seq {
		t, left = row.Totals, back
		q.Descending, q.After = true, row.Seq+1
	}
	for left > 0 {
		q.Limit = int(min(left, maxLimit))
		list, err := l.store.Entries(ctx, q)
		switch {
		case err != nil:
			return Totals{}, err
		case len(list) != q.Limit:
			return Totals{}, (&State{Account: *row}).corrupt("its journal has fewer entries than its row says")
		}
		for i := range list {
			e := &list[i]
			if q.Descending {
				t.move(e.To, e.From, e.Amount)
			} else {
				t.move(e.From, e.To, e.Amount)
			}
		}
		q.After = list[len(list)-1].Seq
		left -= int64(len(list))
	}
	return t, nil
}
