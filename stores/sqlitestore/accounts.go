package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/keytoll/keytoll/credits"
)

const (
	totalsColumns = `issued, pending, available, held, leased, consumed, expired, suspense, debt`
	packedTotals  = `issued, ' ', pending, ' ', available, ' ', held, ' ', leased, ' ', consumed, ' ', expired, ' ',
		suspense, ' ', debt, ' '`

	// The account, and whether any op, lot or schedule of it is due, which mostly
	// none is. See keyColumns for how rows are packed.
	accountByID = `SELECT concat(version, ' ', seq, ' ', last_lot, ' ', at, ' ', ` + packedTotals + `,
		holds, ' ', leases, ' ', budgets, ' ', recalled_at, ' ', pruned_to, ' ', hex(head), ' ',
		EXISTS (SELECT 1 FROM ops WHERE account = ?1 AND due <= ?2), ' ',
		EXISTS (SELECT 1 FROM lots WHERE account = ?1 AND due <= ?2), ' ',
		EXISTS (SELECT 1 FROM schedules WHERE account = ?1 AND due <= ?2), ' ') AS account
		FROM accounts WHERE id = ?1`

	accountColumns = `version, seq, head, last_lot, at, ` + totalsColumns + `, holds, leases, budgets, recalled_at, pruned_to`
	insertAccount  = `INSERT INTO accounts (` + accountColumns + `, id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateAccount = `UPDATE accounts SET version = ?, seq = ?, head = ?, last_lot = ?, at = ?, issued = ?, pending = ?,
		available = ?, held = ?, leased = ?, consumed = ?, expired = ?, suspense = ?, debt = ?, holds = ?, leases = ?,
		budgets = ?, recalled_at = ?, pruned_to = ?
		WHERE id = ? AND version = ?`

	accountsAfter = `SELECT id FROM accounts WHERE id > ? ORDER BY id LIMIT +?`
)

// Accounts implements [credits.Store].
func (l ledger) Accounts(ctx context.Context, after credits.AccountID, limit int) ([]credits.AccountID, error) {
	var ids []credits.AccountID
	err := l.db.read(ctx, func(s *session) error {
		return s.rows(ctx, accountsAfter, []any{string(after), limit}, func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			ids = append(ids, credits.AccountID(id))
			return fault(ctx, err)
		})
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// dueRows says of which kinds an account has rows that are due.
type dueRows struct{ ops, lots, schedules bool }

// loadAccount reads the row of a.ID, if there is one, and what is due until the
// given instant.
func loadAccount(ctx context.Context, s *session, a *credits.Account, until int64) (due dueRows, found bool, err error) {
	var text string
	switch err := s.row(ctx, accountByID, []any{string(a.ID), until}, &text); {
	case isNoRows(err):
		return due, false, nil
	case err != nil:
		return due, false, err
	}
	p := packed{rest: text}
	a.Version, a.Seq, a.LastLot, a.At = p.number(), p.number(), credits.LotID(p.number()), p.instant()
	a.Totals = p.totals()
	a.Holds, a.Leases, a.Budgets, a.RecalledAt, a.PrunedTo = p.number(), p.number(), p.number(), p.instant(), p.instant()
	p.bytes(a.Head[:])
	due.ops, due.lots, due.schedules = p.number() != 0, p.number() != 0, p.number() != 0
	return due, true, p.done("account")
}

// writeAccount stores the account of st if it has changed.
func writeAccount(ctx context.Context, s *session, st *credits.State) error {
	a := &st.Account
	if st.AccountChange != credits.Added && st.AccountChange != credits.Updated {
		return nil
	}
	args := append(make([]any, 0, 21), a.Version, a.Seq, a.Head[:], int64(a.LastLot), micros(a.At))
	args = append(totalsArgs(args, &a.Totals), a.Holds, a.Leases, a.Budgets, nullable(a.RecalledAt), nullable(a.PrunedTo), string(a.ID))
	if st.AccountChange == credits.Added {
		return s.exec(ctx, insertAccount, args...)
	}
	return s.replace(ctx, updateAccount, append(args, a.Version-1)...)
}

// totalsArgs appends the values of totalsColumns.
func totalsArgs(args []any, t *credits.Totals) []any {
	return append(args, int64(t.Issued), int64(t.Pending), int64(t.Available), int64(t.Held), int64(t.Leased),
		int64(t.Consumed), int64(t.Expired), int64(t.Suspense), int64(t.Debt))
}
