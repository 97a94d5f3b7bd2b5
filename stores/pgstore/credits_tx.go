package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keytoll/keytoll/credits"
)

// In returns a store that works in a transaction of the caller's, so that
// credits and rows of the caller's own are written together or not at all:
//
//	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
//		ledger, err := credits.NewLedger(store.In(tx), nil)
//		...
//		if _, err := ledger.Debit(ctx, debit); err != nil {
//			return err
//		}
//		_, err = tx.Exec(ctx, "INSERT INTO jobs ...")
//		return err
//	})
//
// Each update is a savepoint: one that is refused or fails leaves the transaction
// as it was. What it returns becomes true with the caller's commit, and only
// then. From the update to that commit the accounts stay locked for everybody
// else, so let it be the last that the transaction does, and update accounts in
// the order of their ids.
//
// At every isolation level the outcome is right. At those above read committed,
// and when the caller's locks and those of others form a circle, the server may
// undo the transaction: such an error, of code Unavailable, has an SQLSTATE of
// 40001 or 40P01, reachable as a [*pgconn.PgError], and the caller begins again
// with a new transaction and the same ids. An update never does that by itself.
//
// The store is the caller's for as long as the transaction, and like that for
// one goroutine at a time.
func (s *CreditStore) In(tx pgx.Tx) credits.Store { return creditsIn{s, tx} }

type creditsIn struct {
	store *CreditStore
	tx    pgx.Tx
}

var _ credits.Store = creditsIn{}

// nested runs f in a savepoint, which f says whether to keep.
func (c creditsIn) nested(ctx context.Context, f func(tx pgx.Tx) (keep bool, err error)) error {
	return c.store.db.nested(ctx, c.tx, f)
}

// statements are those that are kept on the caller's connection.
func (c creditsIn) statements() []string {
	sql := &c.store.db.sql
	return []string{sql.lockAccounts, sql.readCredits, sql.writeCredits}
}

// Update implements [credits.Store].
func (c creditsIn) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	w := c.store.spaces.get(needs)
	defer c.store.spaces.put(w)
	return c.store.db.turnsIn(ctx, c.tx, c.statements(), func(t *turn) error {
		u := update{t, c.store, w}
		return u.run(ctx, fn)
	})
}

// View implements [credits.Store].
func (c creditsIn) View(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	w := c.store.spaces.get(needs)
	defer c.store.spaces.put(w)
	err := c.store.db.turnsIn(ctx, c.tx, c.statements(), func(t *turn) error { return c.store.look(ctx, t.exchange, w) })
	if err != nil {
		return err
	}
	return fn(w.now, w.loaded())
}

// Entries implements [credits.Store].
func (c creditsIn) Entries(ctx context.Context, q credits.EntryQuery) ([]credits.Entry, error) {
	var list []credits.Entry
	text, args := c.store.db.sql.entries(&q)
	err := c.list(ctx, text, entriesInto(&list, q.Account), args...)
	return list, err
}

// Accounts implements [credits.Store].
func (c creditsIn) Accounts(ctx context.Context, after credits.AccountID, limit int) ([]credits.AccountID, error) {
	var ids []credits.AccountID
	err := c.list(ctx, c.store.db.sql.accountsAfter, accountsInto(&ids), string(after), limit)
	return ids, err
}

func (c creditsIn) list(ctx context.Context, query string, scan func(int, [][]byte) error, args ...any) error {
	err := c.nested(ctx, func(tx pgx.Tx) (bool, error) {
		p := pages{db: c.store.db, from: tx}
		return false, p.rows(ctx, query, scan, args...)
	})
	if err != nil {
		return c.store.db.fault(ctx, err)
	}
	return nil
}

// Inspect implements [credits.Store]. At the level read committed, where each
// statement sees another moment, it keeps the account locked meanwhile.
func (c creditsIn) Inspect(ctx context.Context, account credits.AccountID, fn func(credits.Snapshot) error) error {
	var failed error // by fn
	err := c.nested(ctx, func(tx pgx.Tx) (bool, error) {
		p := pages{db: c.store.db, from: tx, account: account}
		var level string
		if err := tx.QueryRow(ctx, `SELECT current_setting('transaction_isolation')`).Scan(&level); err != nil {
			return false, err
		}
		if level != string(pgx.RepeatableRead) && level != string(pgx.Serializable) {
			ignore := func(int, [][]byte) error { return nil }
			if err := p.rows(ctx, c.store.db.sql.lockAccounts, ignore, []string{string(account)}); err != nil {
				return false, err
			}
		}
		snapshot, err := p.snapshot(ctx)
		if err == nil {
			failed = fn(snapshot)
		}
		return false, err
	})
	if err != nil {
		return c.store.db.fault(ctx, err)
	}
	return failed
}
