package pgstore

import (
	"context"
	"iter"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/keytoll/keytoll/credits"
)

// Entries implements [credits.Store].
func (s *CreditStore) Entries(ctx context.Context, q credits.EntryQuery) ([]credits.Entry, error) {
	var list []credits.Entry
	text, args := s.db.sql.entries(&q)
	_, err := s.db.read(ctx, s.db.planned, text, entriesInto(&list, q.Account), args...)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// entriesInto returns a function that takes rows of entries.
func entriesInto(list *[]credits.Entry, account credits.AccountID) func(int, [][]byte) error {
	return func(row int, columns [][]byte) error {
		if row == 0 {
			*list = nil
		}
		e := credits.Entry{Account: account}
		err := readEntry(columns[0], &e)
		*list = append(*list, e)
		return err
	}
}

// entries returns the statement for q, and its arguments.
func (s *statements) entries(q *credits.EntryQuery) (string, []any) {
	switch {
	case !q.Descending:
		return s.entriesUp, []any{string(q.Account), q.After, q.Limit}
	case q.After == 0:
		return s.entriesDown, []any{string(q.Account), int64(math.MaxInt64), q.Limit}
	}
	return s.entriesDown, []any{string(q.Account), q.After, q.Limit}
}

// Accounts implements [credits.Store].
func (s *CreditStore) Accounts(ctx context.Context, after credits.AccountID, limit int) ([]credits.AccountID, error) {
	var ids []credits.AccountID
	_, err := s.db.read(ctx, s.db.planned, s.db.sql.accountsAfter, accountsInto(&ids), string(after), limit)
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// accountsInto returns a function that takes the ids of accounts.
func accountsInto(ids *[]credits.AccountID) func(int, [][]byte) error {
	return func(row int, columns [][]byte) error {
		if row == 0 {
			*ids = nil
		}
		*ids = append(*ids, credits.AccountID(columns[0]))
		return nil
	}
}

// Inspect implements [credits.Store], in a transaction that sees one moment. Rows
// come a page at a time.
func (s *CreditStore) Inspect(ctx context.Context, account credits.AccountID, fn func(credits.Snapshot) error) error {
	if err := s.db.ensureReady(ctx); err != nil {
		return err
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	for try := 1; ; try++ {
		p := pages{db: s.db, account: account}
		called := false
		var failed error // by fn
		err := pgx.BeginTxFunc(ctx, s.db.pool, options, func(tx pgx.Tx) error {
			p.from = tx
			snapshot, err := p.snapshot(ctx)
			if err != nil {
				return err
			}
			called = true
			failed = fn(snapshot)
			return failed
		})
		switch {
		case err == nil || failed != nil:
			return failed
		case called: // what was read was of one moment, whatever became of the transaction after
			return nil
		case !unsent(err) && !broken(err) || try == connectionTries:
			return s.db.fault(ctx, err)
		}
	}
}

// pages reads the rows of one account.
type pages struct {
	db      *DB
	from    source
	account credits.AccountID
}

// pageRows is how many rows are read at a time.
const pageRows = 1000

// rows runs a query that is planned each time.
func (p *pages) rows(ctx context.Context, query string, scan func(int, [][]byte) error, args ...any) error {
	_, err := rows(ctx, p.from, query, scan, append([]any{p.db.planned, pgx.QueryResultFormats{pgx.BinaryFormatCode}}, args...))
	return err
}

func (p *pages) snapshot(ctx context.Context) (credits.Snapshot, error) {
	s := credits.Snapshot{Account: credits.Account{ID: p.account}}
	scan := func(_ int, c [][]byte) error { return readAccount(c[0], &s.Account) }
	if err := p.rows(ctx, p.db.sql.account, scan, string(p.account)); err != nil {
		return s, err
	}
	s.Lots = sequence(ctx, p, p.db.sql.lotsAfter, int64(-1), func(row []byte, l *credits.Lot) (int64, error) {
		l.Account = p.account
		err := readLot(row, l)
		return int64(l.ID), err
	})
	s.Ops = sequence(ctx, p, p.db.sql.opsAfter, "", func(row []byte, o *credits.Op) (string, error) {
		o.Account = p.account
		err := readOp(row, o)
		return string(o.ID), err
	})
	s.Budgets = sequence(ctx, p, p.db.sql.budgetsAfter, "", func(row []byte, b *credits.Budget) (string, error) {
		b.Account = p.account
		err := readBudget(row, b)
		return string(b.ID), err
	})
	s.Schedules = sequence(ctx, p, p.db.sql.schedulesAfter, "", func(row []byte, c *credits.Schedule) (string, error) {
		c.Account = p.account
		err := readSchedule(row, c)
		return string(c.ID), err
	})
	s.Entries = sequence(ctx, p, p.db.sql.entriesUp, int64(0), func(row []byte, e *credits.Entry) (int64, error) {
		e.Account = p.account
		err := readEntry(row, e)
		return e.Seq, err
	})
	return s, nil
}

// sequence yields the rows of a query that lists those after a place.
func sequence[R, Place any](ctx context.Context, p *pages, query string, first Place, read func([]byte, *R) (Place, error)) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		page := make([]R, 0, pageRows)
		for after := first; ; {
			page = page[:0]
			err := p.rows(ctx, query, func(_ int, c [][]byte) error {
				var row R
				at, err := read(c[0], &row)
				page, after = append(page, row), at
				return err
			}, string(p.account), after, pageRows)
			for i := range page {
				if err == nil && !yield(page[i], nil) {
					return
				}
			}
			if err != nil {
				var none R
				yield(none, p.db.fault(ctx, err))
				return
			}
			if len(page) < pageRows {
				return
			}
		}
	}
}
