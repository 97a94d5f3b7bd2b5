package credits

import (
	"context"
	"sort"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Query asks for a page of one account's journal.
type Query struct {
	Account  AccountID
	From, To time.Time // entries with At in [From, To); zero: no bound on that side
	Newest   bool      // newest entry first; default oldest first
	Cursor   Cursor    // zero: from the beginning; else a Page's Next
	Limit    int       // 1 to 1000; zero: 100
}

// A Page is a stretch of a journal.
type Page struct {
	Entries []Entry
	Next    Cursor // for the page after this one; empty: there is none now
}

// listing returns which listing q's cursors are places in.
func (q *Query) listing() listing {
	if q.Newest {
		return entriesNewest
	}
	return entriesOldest
}

// Entries returns a page of the journal of an account. What is due and not
// posted yet is not in it; see the package comment. An account without a grant
// has an empty journal. New entries never move old ones: pages that follow each
// other hold each entry once. Where From or To says where to begin, the first page
// looks for that in a number of steps that grows with the logarithm of the
// journal.
func (l *Ledger) Entries(ctx context.Context, q Query) (Page, error) {
	const op = "credits.Entries"
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(q.Account))
	eq := EntryQuery{Account: q.Account, Descending: q.Newest, Limit: pageLimit(&f, q.Limit)}
	q.From, q.To = microsUp(q.From), microsUp(q.To)
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		f.Add("To is before From; give a later instant, or leave one out")
	}
	if q.Cursor != "" {
		var err error
		eq.After, err = q.Cursor.readSeq(q.Account, q.listing(), 1)
		f.Join(err)
	}
	if err := f.Err(); err != nil {
		return Page{}, err
	}
	page, err := l.page(ctx, q, eq)
	return page, atBoundary(op, err)
}

// page reads the page after eq.After. The order of a journal is the order of its
// instants, so what is beyond the bound ends it.
func (l *Ledger) page(ctx context.Context, q Query, eq EntryQuery) (Page, error) {
	start, end := q.From, q.To
	if q.Newest {
		start, end = q.To, q.From
	}
	if eq.After == 0 && !start.IsZero() {
		before, err := l.entriesBefore(ctx, q.Account, start)
		if err != nil {
			return Page{}, err
		}
		switch {
		case !q.Newest:
			eq.After = before
		case before == 0:
			return Page{}, nil
		default:
			eq.After = before + 1
		}
	}
	want := eq.Limit
	eq.Limit++ // one more tells whether there is a next page
	list, err := l.store.Entries(ctx, eq)
	if err != nil {
		return Page{}, err
	}
	if !end.IsZero() {
		within := sort.Search(len(list), func(i int) bool {
			if q.Newest {
				return list[i].At.Before(end)
			}
			return !list[i].At.Before(end)
		})
		list = list[:within]
	}
	p := Page{Entries: list}
	if len(list) > want {
		p.Entries = list[:want]
		p.Next = newSeqCursor(q.Account, q.listing(), list[want-1].Seq)
	}
	return p, nil
}

// entriesBefore returns how many entries took effect before t, which is the Seq
// of the last that did.
func (l *Ledger) entriesBefore(ctx context.Context, account AccountID, t time.Time) (int64, error) {
	last, err := l.store.Entries(ctx, EntryQuery{Account: account, Descending: true, Limit: 1})
	if err != nil || len(last) == 0 {
		return 0, err
	}
	n := sort.Search(int(last[0].Seq), func(i int) bool {
		var at []Entry
		if err == nil {
			at, err = l.store.Entries(ctx, EntryQuery{Account: account, After: int64(i), Limit: 1})
		}
		return len(at) == 0 || !at[0].At.Before(t)
	})
	return int64(n), err
}

// microsUp returns the first instant of the ledger's precision that is not
// before t; the zero time stays zero.
func microsUp(t time.Time) time.Time {
	if m := micros(t); t.IsZero() || !m.Before(t) {
		return m
	}
	return micros(t).Add(time.Microsecond)
}
