package sqlitestore

import (
	"context"
	"encoding"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

const (
	// See keyColumns for how rows are packed.
	opRow = `concat(kind, ' ', hold, ' ', at, ' ', amount, ' ', seq, ' ', denied, ' ', deadline, ' ',
		settled_at, ' ', settled_amount, ' ', settled_rest, ' ', settled_seq, ' ', hex(intent), ' ',
		octet_length(id), ' ', octet_length(target), ' ', octet_length(parts), ' ', octet_length(charges), ' ',
		octet_length(terms), ' ', octet_length(totals), ' ', octet_length(settled_totals), ' ', octet_length(key), ' ',
		octet_length(operation), ' ', octet_length(price), ' ', octet_length(note), ' ',
		id, target, parts, charges, terms, totals, settled_totals, key, operation, price, note) AS op`

	// Most ids that are looked for are new: this asks for as little as can be.
	opKnown  = `SELECT id FROM ops WHERE account = ?1 AND id = ?2`
	opsKnown = `SELECT id` + listed + `ops ON account = ?1 AND id = listed`

	opByID      = `SELECT ` + opRow + ` FROM ops WHERE account = ?1 AND id = ?2`
	opsByID     = `SELECT ` + opRow + listed + `ops ON account = ?1 AND id = listed`
	opsDue      = `SELECT ` + opRow + ` FROM ops WHERE account = ?1 AND due <= ?2 ORDER BY due, id LIMIT +?3`
	opsPrunable = `SELECT ` + opRow + ` FROM ops WHERE account = ?1 AND prunable <= ?2 ORDER BY prunable, id LIMIT +?3`
	opsAfter    = `SELECT ` + opRow + ` FROM ops WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT +?3`
	opsOpen     = `SELECT ` + opRow + ` FROM ops WHERE account = ?1 AND hold IN (1, 5) AND id > ?2 ORDER BY id LIMIT +?3`
	opsOfTarget = `SELECT ` + opRow + ` FROM ops WHERE account = ?1 AND target = ?4 AND target <> '' AND id > ?2 ORDER BY id LIMIT +?3`
	opsAll      = `SELECT ` + opRow + ` FROM ops WHERE account = ?1`

	insertOp = `INSERT INTO ops (account, id, kind, hold, intent, at, amount, target, parts, charges, terms, totals, seq,
		key, operation, price, note, denied, deadline, due, prunable)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertSettledOp = `INSERT INTO ops (account, id, kind, hold, intent, at, amount, target, parts, charges, terms, totals, seq,
		key, operation, price, note, denied, deadline, due, prunable,
		settled_at, settled_amount, settled_rest, settled_seq, settled_totals)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateOp = `UPDATE ops SET hold = ?, parts = ?, charges = ?, terms = ?, deadline = ?, due = ?, prunable = ?,
		settled_at = ?, settled_amount = ?, settled_rest = ?, settled_seq = ?, settled_totals = ?
		WHERE account = ? AND id = ?`
	deleteOp = `DELETE FROM ops WHERE account = ? AND id = ?`
)

// unpackOp reads an opRow.
func unpackOp(account credits.AccountID, text string) (credits.Op, error) {
	p := packed{rest: text}
	o := credits.Op{Account: account}
	o.Kind, o.Hold, o.At, o.Amount = credits.Kind(p.number()), credits.HoldStatus(p.number()), p.instant(), credits.Amount(p.number())
	o.Seq, o.Denied, o.Deadline = p.number(), credits.Source(p.number()), p.instant()
	o.SettledAt, o.SettledAmount, o.SettledRest, o.SettledSeq = p.instant(), credits.Amount(p.number()), credits.Amount(p.number()), p.number()
	p.bytes(o.Intent[:])
	var lengths [11]int64
	for i := range lengths {
		lengths[i] = p.number()
	}
	o.ID, o.Target = credits.OpID(p.text(lengths[0])), credits.OpID(p.text(lengths[1]))
	for i, v := range [...]encoding.TextUnmarshaler{&o.Parts, &o.Charges, &o.Terms, &o.Totals, &o.SettledTotals} {
		if err := v.UnmarshalText([]byte(p.text(lengths[2+i]))); err != nil && p.err == nil {
			p.err = err
		}
	}
	o.Key, o.Operation, o.Price, o.Note = p.text(lengths[7]), p.text(lengths[8]), p.text(lengths[9]), p.text(lengths[10])
	return o, p.done("operation")
}

// opColumns is how many values insertOp takes.
const opColumns = 21

// writeOp stores a row that was updated, and deletes one that was removed. The
// values of one that was added it appends to args, for insertOp.
func writeOp(ctx context.Context, s *session, row *credits.OpRow, args []any) ([]any, error) {
	o := &row.Op
	switch row.Change {
	case credits.Added:
		return addOp(ctx, s, o, args)
	case credits.Updated:
		texts, err := marshal(o.Parts, o.Charges, o.Terms)
		if err != nil {
			return args, err
		}
		values := append(make([]any, 0, 14), int64(o.Hold), texts[0], texts[1], texts[2], nullable(o.Deadline), nullable(o.Due()), nullable(o.Prunable()))
		if values, err = settledArgs(values, o); err != nil {
			return args, err
		}
		return args, s.replace(ctx, updateOp, append(values, string(o.Account), string(o.ID))...)
	case credits.Removed:
		return args, s.replace(ctx, deleteOp, string(o.Account), string(o.ID))
	}
	return args, nil
}

func addOp(ctx context.Context, s *session, o *credits.Op, args []any) ([]any, error) {
	texts, err := marshal(o.Parts, o.Charges, o.Terms, o.Totals)
	if err != nil {
		return args, err
	}
	n := len(args)
	args = append(args, string(o.Account), string(o.ID), int64(o.Kind), int64(o.Hold), o.Intent[:], micros(o.At), int64(o.Amount),
		string(o.Target), texts[0], texts[1], texts[2], texts[3], o.Seq, o.Key, o.Operation, o.Price, o.Note, int64(o.Denied),
		nullable(o.Deadline), nullable(o.Due()), nullable(o.Prunable()))
	if o.SettledAt.IsZero() && o.SettledAmount == 0 && o.SettledRest == 0 && o.SettledSeq == 0 && o.SettledTotals == (credits.Totals{}) {
		return args, nil
	}
	// It was made and has ended within one update, which is rare.
	values, err := settledArgs(args[n:], o)
	if err == nil {
		err = s.exec(ctx, insertSettledOp, values...)
	}
	return args[:n], err
}

// settledArgs appends the values of the settled columns.
func settledArgs(args []any, o *credits.Op) ([]any, error) {
	totals := ""
	if o.SettledTotals != (credits.Totals{}) {
		text, err := o.SettledTotals.MarshalText()
		if err != nil {
			return nil, err
		}
		totals = string(text)
	}
	return append(args, nullable(o.SettledAt), int64(o.SettledAmount), int64(o.SettledRest), o.SettledSeq, totals), nil
}

// marshal returns the texts of four values.
func marshal(values ...encoding.TextMarshaler) (texts [4]string, err error) {
	for i, v := range values {
		text, err := v.MarshalText()
		if err != nil {
			return texts, &errors.Error{Code: errors.Corrupt, Msg: "an operation cannot be stored", Err: err}
		}
		texts[i] = string(text)
	}
	return texts, nil
}
