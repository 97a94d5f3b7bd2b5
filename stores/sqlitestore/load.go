package sqlitestore

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/keytoll/keytoll/credits"
)

const (
	accountColumns = `id, version, seq, last_lot, at, issued, pending, available, held, consumed, expired`

	// The account, and whether any op or lot of it is due, which mostly none is.
	accountByID = `SELECT ` + accountColumns + `,
		EXISTS (SELECT 1 FROM ops WHERE account = ?1 AND due <= ?2),
		EXISTS (SELECT 1 FROM lots WHERE account = ?1 AND due <= ?2)
		FROM accounts WHERE id = ?1`

	insertAccount = `INSERT INTO accounts (` + accountColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateAccount = `UPDATE accounts SET version = ?, seq = ?, last_lot = ?, at = ?,
		issued = ?, pending = ?, available = ?, held = ?, consumed = ?, expired = ?
		WHERE id = ? AND version = ?`

	accountsAfter = `SELECT id FROM accounts WHERE id > ? ORDER BY id LIMIT ?`
)

// A workspace is the memory of one call of Update or View.
type workspace struct {
	states []*credits.State
	loaded map[credits.LotID]struct{} // of the account that is being loaded
}

// workspaces keeps them from call to call.
type workspaces struct{ pool sync.Pool }

// get returns a workspace with n states.
func (w *workspaces) get(n int) *workspace {
	ws, _ := w.pool.Get().(*workspace)
	if ws == nil {
		ws = &workspace{loaded: make(map[credits.LotID]struct{})}
	}
	for len(ws.states) < n {
		ws.states = append(ws.states, new(credits.State))
	}
	return ws
}

// put takes a workspace back, without what it held.
func (w *workspaces) put(ws *workspace) {
	for _, st := range ws.states {
		st.Reset("")
	}
	w.pool.Put(ws)
}

// load fills the states as needs ask.
func (ws *workspace) load(ctx context.Context, s *session, needs []credits.Need, now time.Time) error {
	for i := range needs {
		ws.states[i].Reset(needs[i].Account)
		clear(ws.loaded)
		if err := ws.loadOne(ctx, s, ws.states[i], &needs[i], micros(now)); err != nil {
			return err
		}
	}
	return nil
}

func (ws *workspace) loadOne(ctx context.Context, s *session, st *credits.State, n *credits.Need, now int64) error {
	account := string(n.Account)
	dueOps, dueLots, err := loadAccount(ctx, s, &st.Account, now)
	if isNoRows(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if dueOps {
		if err := ws.ops(ctx, s, st, opsDue, account, now); err != nil {
			return err
		}
	}
	for _, id := range n.Targets {
		if err := ws.op(ctx, s, st, id); err != nil {
			return err
		}
	}
	withLots := len(st.Ops)
	for _, id := range n.Ops {
		if err := ws.op(ctx, s, st, id); err != nil {
			return err
		}
	}
	if dueLots {
		if err := ws.lots(ctx, s, st, lotsDue, nil, account, now); err != nil {
			return err
		}
	}
	for i := range st.Ops[:withLots] {
		for p := range st.Ops[i].Op.Parts.All() {
			if _, ok := ws.loaded[p.Lot]; ok {
				continue
			}
			if err := ws.lots(ctx, s, st, lotByID, nil, account, int64(p.Lot)); err != nil {
				return err
			}
		}
	}
	if n.Spend <= 0 {
		return nil
	}
	var sum credits.Amount
	enough := func(l *credits.Lot) bool {
		sum += l.Totals.Available
		return sum >= n.Spend
	}
	return ws.lots(ctx, s, st, lotsBurn, enough, account, now)
}

// loadAccount reads the row of a.ID, and whether ops and lots of it are due.
func loadAccount(ctx context.Context, s *session, a *credits.Account, now int64) (dueOps, dueLots bool, err error) {
	var at int64
	t := &a.Totals
	err = s.row(ctx, accountByID, []any{string(a.ID), now}, &a.ID, &a.Version, &a.Seq, &a.LastLot, &at,
		&t.Issued, &t.Pending, &t.Available, &t.Held, &t.Consumed, &t.Expired, &dueOps, &dueLots)
	if err == nil {
		a.At = instant(at)
	}
	return dueOps, dueLots, err
}

// op adds the op of that id, unless it is there already or does not exist.
func (ws *workspace) op(ctx context.Context, s *session, st *credits.State, id credits.OpID) error {
	for i := range st.Ops {
		if st.Ops[i].Op.ID == id {
			return nil
		}
	}
	return ws.ops(ctx, s, st, opByID, string(st.Account.ID), string(id))
}

// ops adds what the query finds.
func (ws *workspace) ops(ctx context.Context, s *session, st *credits.State, query string, args ...any) error {
	return s.rows(ctx, query, args, func(rows *sql.Rows) error {
		st.Ops = append(st.Ops, credits.OpRow{})
		return scanOp(ctx, rows, &st.Ops[len(st.Ops)-1].Op)
	})
}

// lots adds what the query finds and was not there, until enough, if it is not
// nil, says so.
func (ws *workspace) lots(ctx context.Context, s *session, st *credits.State, query string, enough func(*credits.Lot) bool, args ...any) error {
	return s.rows(ctx, query, args, func(rows *sql.Rows) error {
		var l credits.Lot
		if err := scanLot(ctx, rows, &l); err != nil {
			return err
		}
		if _, ok := ws.loaded[l.ID]; !ok {
			ws.loaded[l.ID] = struct{}{}
			st.Lots = append(st.Lots, credits.LotRow{Lot: l})
		}
		if enough != nil && enough(&l) {
			return errEnough
		}
		return nil
	})
}

// store writes what changed: the account first, which the other rows refer to.
func (ws *workspace) store(ctx context.Context, s *session, n int) error {
	for _, st := range ws.states[:n] {
		if err := storeAccount(ctx, s, st); err != nil {
			return err
		}
		for i := range st.Ops {
			if err := writeOp(ctx, s, &st.Ops[i]); err != nil {
				return err
			}
		}
		for i := range st.Lots {
			if err := writeLot(ctx, s, &st.Lots[i]); err != nil {
				return err
			}
		}
		for i := range st.Entries {
			if err := writeEntry(ctx, s, &st.Entries[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func storeAccount(ctx context.Context, s *session, st *credits.State) error {
	a := &st.Account
	t := &a.Totals
	switch st.AccountChange {
	case credits.Added:
		return s.exec(ctx, insertAccount, string(a.ID), a.Version, a.Seq, int64(a.LastLot), micros(a.At),
			int64(t.Issued), int64(t.Pending), int64(t.Available), int64(t.Held), int64(t.Consumed), int64(t.Expired))
	case credits.Updated:
		return s.replace(ctx, updateAccount, a.Version, a.Seq, int64(a.LastLot), micros(a.At),
			int64(t.Issued), int64(t.Pending), int64(t.Available), int64(t.Held), int64(t.Consumed), int64(t.Expired),
			string(a.ID), a.Version-1)
	}
	return nil
}
