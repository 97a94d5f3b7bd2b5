package sqlitestore

import (
	"context"
	"math"

	"github.com/keytoll/keytoll/credits"
)

const (
	// See keyColumns for how rows are packed.
	entryRow = `concat(seq, ' ', at, ' ', kind, ' ', lot, ' ', from_bucket, ' ', to_bucket, ' ', amount, ' ', hex(hash), ' ',
		octet_length(op), ' ', octet_length(key), ' ', octet_length(operation), ' ', octet_length(price), ' ',
		op, key, operation, price) AS entry FROM entries`

	entriesUp   = `SELECT ` + entryRow + ` WHERE account = ?1 AND seq > ?2 ORDER BY seq LIMIT +?3`
	entriesDown = `SELECT ` + entryRow + ` WHERE account = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT +?3`
	insertEntry = `INSERT INTO entries (account, seq, at, kind, op, lot, from_bucket, to_bucket, amount, key, operation, price, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

// Entries implements [credits.Store].
func (l ledger) Entries(ctx context.Context, q credits.EntryQuery) ([]credits.Entry, error) {
	text, args := entryQuery(&q)
	var list []credits.Entry
	err := l.db.read(ctx, func(s *session) error {
		return s.texts(ctx, text, args, func(text string) error {
			e, err := unpackEntry(q.Account, text)
			list = append(list, e)
			return err
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

// unpackEntry reads an entryRow.
func unpackEntry(account credits.AccountID, text string) (credits.Entry, error) {
	p := packed{rest: text}
	e := credits.Entry{Account: account}
	e.Seq, e.At, e.Kind, e.Lot = p.number(), p.instant(), credits.Kind(p.number()), credits.LotID(p.number())
	e.From, e.To, e.Amount = credits.Bucket(p.number()), credits.Bucket(p.number()), credits.Amount(p.number())
	p.bytes(e.Hash[:])
	op, key, operation, price := p.number(), p.number(), p.number(), p.number()
	e.Op, e.Key, e.Operation, e.Price = credits.OpID(p.text(op)), p.text(key), p.text(operation), p.text(price)
	return e, p.done("entry")
}

// entryColumns is how many values insertEntry takes.
const entryColumns = 13

// entryArgs appends the values of insertEntry.
func entryArgs(args []any, e *credits.Entry) []any {
	return append(args, string(e.Account), e.Seq, micros(e.At), int64(e.Kind), string(e.Op), int64(e.Lot),
		int64(e.From), int64(e.To), int64(e.Amount), e.Key, e.Operation, e.Price, e.Hash[:])
}
