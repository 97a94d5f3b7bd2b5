package sqlitestore

import (
	"context"
	"database/sql"
	"iter"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// ledger implements [credits.Store].
type ledger struct{ db *DB }

var _ credits.Store = ledger{}

// Credits returns the file's store of credits. It works as long as db is open.
func (db *DB) Credits() credits.Store { return ledger{db} }

// Update implements [credits.Store]. All updates of a file exclude each other,
// whatever their accounts: SQLite has one writer.
func (l ledger) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return l.db.write(ctx, func(s *session) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		ctx := context.WithoutCancel(ctx)
		ws := l.db.workspaces.get(len(needs))
		defer l.db.workspaces.put(ws)
		now := l.clock()
		if err := ws.load(ctx, s, needs, now); err != nil {
			return err
		}
		if err := fn(now, ws.states[:len(needs)]); err != nil {
			return err
		}
		return ws.store(ctx, s, len(needs))
	})
}

// View implements [credits.Store].
func (l ledger) View(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return l.db.snapshot(ctx, func(s *session) error {
		ctx := context.WithoutCancel(ctx) // few rows by their indexes
		ws := l.db.workspaces.get(len(needs))
		defer l.db.workspaces.put(ws)
		now := l.clock()
		if err := ws.load(ctx, s, needs, now); err != nil {
			return err
		}
		return fn(now, ws.states[:len(needs)])
	})
}

// clock returns the store's time to the microsecond.
func (l ledger) clock() time.Time { return instant(micros(l.db.now())) }

// Accounts implements [credits.Store].
func (l ledger) Accounts(ctx context.Context, after credits.AccountID, limit int) ([]credits.AccountID, error) {
	var ids []credits.AccountID
	err := l.db.read(ctx, func(s *session) error {
		return s.rows(ctx, accountsAfter, []any{string(after), limit}, func(rows *sql.Rows) error {
			var id credits.AccountID
			err := rows.Scan(&id)
			ids = append(ids, id)
			return fault(ctx, err)
		})
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// Inspect implements [credits.Store].
func (l ledger) Inspect(ctx context.Context, account credits.AccountID, fn func(credits.Snapshot) error) error {
	return l.db.snapshot(ctx, func(s *session) error {
		snap := credits.Snapshot{Account: credits.Account{ID: account}}
		if _, _, err := loadAccount(ctx, s, &snap.Account, 0); err != nil && !isNoRows(err) {
			return err
		}
		snap.Lots = sequence(ctx, s, scanLot, lotsAll, string(account))
		snap.Ops = sequence(ctx, s, scanOp, opsAll, string(account))
		snap.Entries = sequence(ctx, s, scanEntry, entriesUp, string(account), 0, -1)
		return fn(snap)
	})
}

// sequence yields the rows of a query.
func sequence[R any](ctx context.Context, s *session, scan func(context.Context, *sql.Rows, *R) error, query string, args ...any) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		err := s.rows(ctx, query, args, func(rows *sql.Rows) error {
			var row R
			if err := scan(ctx, rows, &row); err != nil {
				return err
			}
			if !yield(row, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil {
			var none R
			yield(none, err)
		}
	}
}
