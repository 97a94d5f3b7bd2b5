package sqlitestore

import (
	"context"
	"sync"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A workspace is the memory of one call of Update or View.
type workspace struct {
	states  []*credits.State
	loader  loader
	ops     []any // values of rows to insert
	entries []any
}

// workspaces keeps them from call to call.
type workspaces struct{ pool sync.Pool }

// get returns a workspace with n states.
func (w *workspaces) get(n int) *workspace {
	ws, _ := w.pool.Get().(*workspace)
	if ws == nil {
		ws = new(workspace)
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
	ws.loader.forget()
	w.pool.Put(ws)
}

// load fills the states as needs ask.
func (ws *workspace) load(ctx context.Context, s *session, needs []credits.Need, now time.Time) error {
	for i := range needs {
		l := &ws.loader
		l.begin(ctx, s, ws.states[i], &needs[i], now)
		if err := l.load(); err != nil {
			return err
		}
	}
	return nil
}

// store writes what changed: accounts first, which the other rows refer to, and
// lots before the entries about them.
func (ws *workspace) store(ctx context.Context, s *session, n int) error {
	ops, entries := ws.ops[:0], ws.entries[:0]
	defer func() {
		clear(ops)
		clear(entries)
		ws.ops, ws.entries = ops[:0], entries[:0]
	}()
	for _, st := range ws.states[:n] {
		err := writeAccount(ctx, s, st)
		for i := 0; i < len(st.Lots) && err == nil; i++ {
			err = writeLot(ctx, s, &st.Lots[i])
		}
		for i := 0; i < len(st.Ops) && err == nil; i++ {
			ops, err = writeOp(ctx, s, &st.Ops[i], ops)
		}
		for i := 0; i < len(st.Budgets) && err == nil; i++ {
			err = writeBudget(ctx, s, &st.Budgets[i])
		}
		for i := 0; i < len(st.Schedules) && err == nil; i++ {
			err = writeSchedule(ctx, s, &st.Schedules[i])
		}
		if err != nil {
			return err
		}
		for i := range st.Entries {
			entries = entryArgs(entries, &st.Entries[i])
		}
	}
	if err := s.insert(ctx, insertOp, opColumns, ops); err != nil {
		return err
	}
	return s.insert(ctx, insertEntry, entryColumns, entries)
}
