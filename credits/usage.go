package credits

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/calendar"
)

// A UsageQuery asks what an account has spent, and on what.
type UsageQuery struct {
	Account     AccountID
	From, To    time.Time // what was spent and refunded in [From, To); zero: no bound on that side
	Key         string    // only for this key, or this path and all below it; empty: for any
	Operation   string    // only for this operation; empty: for any
	By          Unit      // rows for each hour, day, week, month or year of Zone's calendar; zero: for all of [From, To) together
	ByKey       bool      // and for each key
	ByOperation bool      // and for each operation
	Zone        string    // IANA name; empty: UTC
	MaxRows     int       // how many rows there may be: 1 to 100 000; zero: 10 000
}

// A UsageRow is what was spent in one period, for one key and one operation, as
// far as the query tells them apart.
type UsageRow struct {
	Start, End time.Time // of the period, whatever of it is in [From, To); without By they are From and To
	Key        string    // with ByKey
	Operation  string    // with ByOperation
	Spent      Amount    // by captures, debits and leases
	Refunded   Amount    // in this period, whenever it was spent
	Spends     int64     // how many captures, debits and spends of leases; what cost nothing is not among them
}

const (
	defaultRows = 10_000
	mostRows    = 100_000
)

// Usage adds up the journal of an account, for charts and reports: rows in order
// of period, key and operation, none where nothing was spent or refunded. A spend
// counts at the instant it was made at; what is held or leased is not spent yet.
//
// It finds the beginning in a number of steps that grows with the logarithm of
// the journal and streams from there, so time grows with the entries of the range
// and memory with the rows alone. A query with more than MaxRows rows is an error
// of code Invalid that says so; no part of it is returned.
func (l *Ledger) Usage(ctx context.Context, q UsageQuery) ([]UsageRow, error) {
	const op = "credits.Usage"
	u, err := newUsage(&q, op, l.opt.zones)
	if err != nil {
		return nil, err
	}
	eq := EntryQuery{Account: q.Account, Limit: maxLimit}
	if !q.From.IsZero() {
		if eq.After, err = l.entriesBefore(ctx, q.Account, q.From); err != nil {
			return nil, atBoundary(op, err)
		}
	}
	for more := true; more; {
		list, err := l.store.Entries(ctx, eq)
		if err != nil {
			return nil, atBoundary(op, err)
		}
		for i := range list {
			if more, err = u.add(&list[i]); !more || err != nil {
				break
			}
		}
		if err != nil {
			return nil, errors.Wrap(op, err)
		}
		if len(list) < eq.Limit {
			break
		}
		eq.After = list[len(list)-1].Seq
	}
	slices.SortFunc(u.rows, func(a, b UsageRow) int {
		return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.Key, b.Key), strings.Compare(a.Operation, b.Operation))
	})
	return u.rows, nil
}

// A usage is a sum of entries that is being made.
type usage struct {
	q          *UsageQuery
	span       calendar.Span
	zone       *time.Location
	covers     Budget // for what it covers
	start, end time.Time
	rows       []UsageRow
	index      map[usageGroup]int // of the rows of the current period
	last       OpID               // that has spent something
}

type usageGroup struct{ key, operation string }

// newUsage checks q and fills in its defaults.
func newUsage(q *UsageQuery, op string, z *zones) (*usage, error) {
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(q.Account))
	checkText(&f, "Key", q.Key, MaxIDBytes)
	checkText(&f, "Operation", q.Operation, MaxIDBytes)
	q.From, q.To = microsUp(q.From), microsUp(q.To)
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		f.Add("To is before From; give a later instant, or leave one out")
	}
	if q.MaxRows < 0 || q.MaxRows > mostRows {
		f.Add("MaxRows is %d; give 1 to %d, or 0 for %d", q.MaxRows, mostRows, defaultRows)
	}
	if q.MaxRows == 0 {
		q.MaxRows = defaultRows
	}
	spans := [...]calendar.Span{0, Hours: calendar.Hour, Days: calendar.Day, Weeks: calendar.Week, Months: calendar.Month, Years: calendar.Year}
	u := &usage{q: q, index: make(map[usageGroup]int), covers: Budget{Key: q.Key, Operation: q.Operation}}
	if q.By == 0 {
		u.start, u.end = q.From, q.To
	}
	if int(q.By) < len(spans) {
		u.span = spans[q.By]
	} else {
		f.Add("By is %d; give Hours, Days, Weeks, Months or Years, or 0 for one period", q.By)
	}
	z.check(&f, "Zone", q.Zone)
	if err := f.Err(); err != nil {
		return nil, err
	}
	var err error
	u.zone, err = z.of(q.Zone)
	return u, err
}

// add adds an entry, and reports false when it and what follows is beyond the
// range.
func (u *usage) add(e *Entry) (bool, error) {
	if !u.q.To.IsZero() && !e.At.Before(u.q.To) {
		return false, nil
	}
	if e.From != BucketConsumed && e.To != BucketConsumed || !u.covers.covers(e.Key, e.Operation) {
		return true, nil
	}
	if u.span != 0 && !e.At.Before(u.end) { // time in a journal never goes back
		u.start, u.end = calendar.Window(u.span, u.zone, e.At)
		u.start, u.end = u.start.UTC(), u.end.UTC()
		clear(u.index)
	}
	var g usageGroup
	if u.q.ByKey {
		g.key = e.Key
	}
	if u.q.ByOperation {
		g.operation = e.Operation
	}
	i, ok := u.index[g]
	if !ok {
		if len(u.rows) == u.q.MaxRows {
			return false, &errors.Error{
				Code: errors.Invalid,
				Msg:  fmt.Sprintf("there are more than %d rows; ask for a shorter range, longer periods or fewer groups, or raise MaxRows", u.q.MaxRows),
			}
		}
		i = len(u.rows)
		u.rows = append(u.rows, UsageRow{Start: u.start, End: u.end, Key: g.key, Operation: g.operation})
		u.index[g] = i
	}
	row := &u.rows[i]
	if e.From == BucketConsumed {
		row.Refunded = saturate(row.Refunded, e.Amount)
		return true, nil
	}
	row.Spent = saturate(row.Spent, e.Amount)
	if e.Op != u.last { // the entries of one spend follow each other
		u.last = e.Op
		row.Spends++
	}
	return true, nil
}
