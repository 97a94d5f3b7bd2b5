package credits

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A ListQuery asks for a page of one account's lots, holds, ops or budgets.
type ListQuery struct {
	Account AccountID
	Cursor  Cursor // zero: from the beginning; else the Next of a page
	Limit   int    // 1 to 1000; zero: 100
}

// A LotPage is a stretch of an account's lots.
type LotPage struct {
	Lots []Lot
	Next Cursor // for the page after this one; empty: there is none now
}

// An OpPage is a stretch of an account's ops.
type OpPage struct {
	Ops  []Op
	Next Cursor // for the page after this one; empty: there is none now
}

// Lots returns a page of the lots of an account by ID, the oldest first, as they
// are by the store's clock: what is due counts as done, written or not. Lots are
// kept for ever, empty ones too. Lot 0, if there is one, is the first: the
// account's debt.
func (l *Ledger) Lots(ctx context.Context, q ListQuery) (LotPage, error) {
	const op = "credits.Lots"
	f := errors.Faults{Op: op}
	after := LotID(-1)
	want := q.check(&f, func() error {
		n, err := q.Cursor.readSeq(q.Account, lotsListing, 0)
		after = LotID(n)
		return err
	})
	if err := f.Err(); err != nil {
		return LotPage{}, err
	}
	var p LotPage
	need := Need{Account: q.Account, List: List{Rows: LotRows, Lot: after, Limit: want + 1}}
	err := l.view(ctx, need, func(st *State, now time.Time) error {
		p = LotPage{}
		if _, err := st.advance(now); err != nil {
			return err
		}
		for i := range st.Lots {
			if lot := &st.Lots[i].Lot; lot.ID > after {
				p.Lots = append(p.Lots, *lot)
			}
		}
		return nil
	})
	if err != nil {
		return LotPage{}, atBoundary(op, err)
	}
	// Among the rows are the first of the listing, and others that were due: the
	// first of both are the first of the listing.
	slices.SortFunc(p.Lots, func(a, b Lot) int { return cmp.Compare(a.ID, b.ID) })
	if len(p.Lots) > want {
		p.Lots = p.Lots[:want]
		p.Next = newSeqCursor(q.Account, lotsListing, int64(p.Lots[want-1].ID))
	}
	return p, nil
}

// Holds returns a page of the holds and leases of an account that are open, or
// whose credits are in suspense, by ID, as they are by the store's clock. A page
// may hold less than Limit, or nothing, while others follow: go by Next.
func (l *Ledger) Holds(ctx context.Context, q ListQuery) (OpPage, error) {
	p, err := l.ops(ctx, "credits.Holds", q, holdsListing, OpenRows)
	open := List{Rows: OpenRows}
	p.Ops = slices.DeleteFunc(p.Ops, func(o Op) bool { return !open.wants(&o) })
	return p, err
}

// Ops returns a page of the records of an account's commands by ID, as they are
// by the store's clock. Refused debits are among them; pruned ones are not.
func (l *Ledger) Ops(ctx context.Context, q ListQuery) (OpPage, error) {
	return l.ops(ctx, "credits.Ops", q, opsListing, OpRows)
}

func (l *Ledger) ops(ctx context.Context, op string, q ListQuery, in listing, rows Rows) (OpPage, error) {
	f := errors.Faults{Op: op}
	after := ""
	want := q.check(&f, func() (err error) {
		after, err = q.Cursor.read(q.Account, in)
		return err
	})
	if err := f.Err(); err != nil {
		return OpPage{}, err
	}
	list := List{Rows: rows, After: after, Limit: want + 1}
	var p OpPage
	err := l.view(ctx, Need{Account: q.Account, List: list}, func(st *State, now time.Time) error {
		p = OpPage{}
		var at []int // of the listing's rows as they are stored, which time may change
		for i := range st.Ops {
			if o := &st.Ops[i].Op; string(o.ID) > after && list.wants(o) {
				at = append(at, i)
			}
		}
		slices.SortFunc(at, func(a, b int) int { return compareIDs(st.Ops[a].Op.ID, st.Ops[b].Op.ID) })
		if len(at) > want {
			at = at[:want]
			p.Next = newCursor(q.Account, in, string(st.Ops[at[want-1]].Op.ID))
		}
		_, err := st.advance(now)
		for _, i := range at {
			p.Ops = append(p.Ops, st.Ops[i].Op)
		}
		return err
	})
	if err != nil {
		return OpPage{}, atBoundary(op, err)
	}
	return p, nil
}

// Op returns the record of one command by its id, as it is by the store's
// clock: how far a hold has come, what was refunded of a debit. It returns
// [ErrNotFound] when there is none, or when it was pruned.
func (l *Ledger) Op(ctx context.Context, account AccountID, id OpID) (Op, error) {
	const op = "credits.Op"
	if err := checkRow(op, account, id); err != nil {
		return Op{}, err
	}
	var found Op
	err := l.view(ctx, Need{Account: account, Ops: []OpID{id}}, func(st *State, now time.Time) error {
		row := st.op(id)
		if row == nil {
			return refuse(ErrNotFound, "no operation "+quote(string(id)))
		}
		_, err := st.advance(now)
		found = st.op(id).Op
		return err
	})
	if err != nil {
		return Op{}, atBoundary(op, err)
	}
	return found, nil
}

// check looks at q and returns how many rows to give.
func (q *ListQuery) check(f *errors.Faults, cursor func() error) int {
	checkID(f, "Account", string(q.Account))
	if q.Cursor != "" {
		f.Join(cursor())
	}
	return pageLimit(f, q.Limit)
}

// view calls fn with the state of one account as of one moment. fn may be called
// again.
func (l *Ledger) view(ctx context.Context, need Need, fn func(st *State, now time.Time) error) error {
	needs := []Need{need}
	apply := func(now time.Time, states []*State) error {
		states[0].zones, states[0].dropped = l.opt.zones, true
		return fn(states[0], micros(now))
	}
	err := l.store.View(ctx, needs, apply)
	for l.opt.zones.again(err) {
		err = l.store.View(ctx, needs, apply)
	}
	return err
}
