package sqlitestore

import (
	"context"
	"iter"
	"math"
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

// Inspect implements [credits.Store].
func (l ledger) Inspect(ctx context.Context, account credits.AccountID, fn func(credits.Snapshot) error) error {
	return l.db.snapshot(ctx, func(s *session) error {
		snap := credits.Snapshot{Account: credits.Account{ID: account}}
		if _, _, err := loadAccount(ctx, s, &snap.Account, math.MinInt64); err != nil {
			return err
		}
		id := string(account)
		snap.Lots = sequence(ctx, s, account, unpackLot, lotsAfter, id, -1, -1)
		snap.Ops = sequence(ctx, s, account, unpackOp, opsAll, id)
		snap.Budgets = sequence(ctx, s, account, unpackBudget, budgetsAfter, id, "", -1)
		snap.Schedules = sequence(ctx, s, account, unpackSchedule, schedulesAfter, id, "", -1)
		snap.Entries = sequence(ctx, s, account, unpackEntry, entriesUp, id, 0, -1)
		return fn(snap)
	})
}

// sequence yields the rows of a query.
func sequence[R any](
	ctx context.Context, s *session, account credits.AccountID, unpack func(credits.AccountID, string) (R, error), query string, args ...any,
) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		err := s.texts(ctx, query, args, func(text string) error {
			row, err := unpack(account, text)
			if err == nil && !yield(row, nil) {
				return errEnough
			}
			return err
		})
		if err != nil {
			var none R
			yield(none, err)
		}
	}
}
