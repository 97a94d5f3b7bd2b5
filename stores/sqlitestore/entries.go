package sqlitestore

import (
	"context"
	"database/sql"
	"math"

	"github.com/keytoll/keytoll/credits"
)

const (
	entryColumns = `account, seq, at, kind, op, lot, from_bucket, to_bucket, amount, key, operation`

	entriesUp   = `SELECT ` + entryColumns + ` FROM entries WHERE account = ? AND seq > ? ORDER BY seq LIMIT ?`
	entriesDown = `SELECT ` + entryColumns + ` FROM entries WHERE account = ? AND seq < ? ORDER BY seq DESC LIMIT ?`
	insertEntry = `INSERT INTO entries (` + entryColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

// Entries implements [credits.Store].
func (l ledger) Entries(ctx context.Context, q credits.EntryQuery) ([]credits.Entry, error) {
	text, args := entryQuery(&q)
	var list []credits.Entry
	err := l.db.read(ctx, func(s *session) error {
		return s.rows(ctx, text, args, func(rows *sql.Rows) error {
			var e credits.Entry
			if err := scanEntry(ctx, rows, &e); err != nil {
				return err
			}
			list = append(list, e)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// entryQuery returns the statement for q, and its arguments.
func entryQuery(q *credits.EntryQuery) (string, []any) {
	switch {
	case !q.Descending:
		return entriesUp, []any{string(q.Account), q.After, q.Limit}
	case q.After == 0:
		return entriesDown, []any{string(q.Account), int64(math.MaxInt64), q.Limit}
	}
	return entriesDown, []any{string(q.Account), q.After, q.Limit}
}

// scanEntry reads entryColumns.
func scanEntry(ctx context.Context, rows *sql.Rows, e *credits.Entry) error {
	var at int64
	err := rows.Scan(&e.Account, &e.Seq, &at, &e.Kind, &e.Op, &e.Lot, &e.From, &e.To, &e.Amount, &e.Key, &e.Operation)
	e.At = instant(at)
	return fault(ctx, err)
}

func writeEntry(ctx context.Context, s *session, e *credits.Entry) error {
	return s.exec(ctx, insertEntry, string(e.Account), e.Seq, micros(e.At), int64(e.Kind), string(e.Op), int64(e.Lot),
		int64(e.From), int64(e.To), int64(e.Amount), e.Key, e.Operation)
}
