package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/keytoll/keytoll/credits"
)

// chainVersion is the version of the schema in which a journal has hashes. What
// SQL cannot work out of the step that leads there is done here.
const chainVersion = 4

const (
	// How many rows are in memory at a time.
	chainPage = "1000"

	unchained = `SELECT account, seq, at, kind, op, lot, from_bucket, to_bucket, amount, key, operation
		FROM entries_3 WHERE (account, seq) > (?, ?) ORDER BY account, seq LIMIT ` + chainPage
	chainHead = `UPDATE accounts SET head = ? WHERE id = ?`

	// Version 7 UUIDs alone tell a time.
	timedOps   = `SELECT rowid, id, hold FROM ops WHERE rowid > ? AND length(id) = 36 ORDER BY rowid LIMIT ` + chainPage
	prunableOp = `UPDATE ops SET prunable = ? WHERE rowid = ?`

	dropVersion3 = `DROP TABLE entries_3; DROP TABLE ops_3; DROP TABLE lots_3; DROP TABLE accounts_3`
)

// chainJournal writes the journal of version 3 anew, each entry with its hash,
// notes which ops can be pruned, and drops the tables of version 3.
func chainJournal(ctx context.Context, s *session) error {
	var last credits.Entry
	var args []any
	for more := true; more; {
		page, err := unchainedAfter(ctx, s, &last)
		if err != nil {
			return err
		}
		for i := range page {
			e := &page[i]
			before := last.Hash
			if e.Account != last.Account {
				if err := writeHead(ctx, s, &last); err != nil {
					return err
				}
				before = credits.Hash{}
			}
			e.Hash = e.Chain(before)
			args = entryArgs(args, e)
			last = *e
		}
		if err := s.insert(ctx, insertEntry, entryColumns, args); err != nil {
			return err
		}
		args = args[:0]
		more = len(page) > 0
	}
	if err := writeHead(ctx, s, &last); err != nil {
		return err
	}
	if err := markPrunable(ctx, s); err != nil {
		return err
	}
	return s.script(ctx, dropVersion3)
}

func unchainedAfter(ctx context.Context, s *session, last *credits.Entry) ([]credits.Entry, error) {
	var page []credits.Entry
	err := s.rows(ctx, unchained, []any{string(last.Account), last.Seq}, func(rows *sql.Rows) error {
		var e credits.Entry
		var at int64
		err := rows.Scan(&e.Account, &e.Seq, &at, &e.Kind, &e.Op, &e.Lot, &e.From, &e.To, &e.Amount, &e.Key, &e.Operation)
		e.At = instant(at)
		page = append(page, e)
		return fault(ctx, err)
	})
	return page, err
}

// writeHead notes the last entry of an account, if there is one.
func writeHead(ctx context.Context, s *session, last *credits.Entry) error {
	if last.Account == "" {
		return nil
	}
	return s.replace(ctx, chainHead, last.Hash[:], string(last.Account))
}

func markPrunable(ctx context.Context, s *session) error {
	type timed struct {
		row int64
		op  credits.Op
	}
	for last := int64(0); ; {
		var page []timed
		err := s.rows(ctx, timedOps, []any{last}, func(rows *sql.Rows) error {
			var t timed
			err := rows.Scan(&t.row, &t.op.ID, &t.op.Hold)
			page = append(page, t)
			return fault(ctx, err)
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			last = page[i].row
			at := page[i].op.Prunable()
			if at.IsZero() {
				continue
			}
			if err := s.replace(ctx, prunableOp, micros(at), last); err != nil {
				return err
			}
		}
	}
}
