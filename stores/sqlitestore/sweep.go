package sqlitestore

import (
	"context"
	"database/sql"
)

const (
	statesAfter = `SELECT key, name, algorithm, expires FROM limits WHERE (key, name, algorithm) > (?, ?, ?)
		ORDER BY key, name, algorithm LIMIT +?`

	settledUntil = `DELETE FROM settled WHERE id IN (SELECT id FROM settled WHERE until <= ? ORDER BY until LIMIT 4)`
)

// A sweep looks at sweepSteps states for each sweepEvery new ones, so that the
// file holds few more than those that count, whatever order they come in.
const (
	sweepEvery = 16
	sweepSteps = 8 * sweepEvery
)

// A sweeper deletes states of limits that have expired, in small steps beside
// the writes that make new ones. It belongs to whoever holds the writer's
// session.
type sweeper struct {
	fresh int   // states made since the last step
	hand  state // where the last step ended
}

// A state is a row of limits by its primary key.
type state struct {
	key             []byte
	name, algorithm string
}

// start comes before every state.
func start() state { return state{key: []byte{}} }

// added counts new states, and takes a step when there are enough of them.
func (w *sweeper) added(ctx context.Context, s *session, n int, now int64) error {
	if w.fresh += n; w.fresh < sweepEvery {
		return nil
	}
	w.fresh = 0
	var expired []state
	seen := 0
	err := s.rows(ctx, statesAfter, []any{w.hand.key, w.hand.name, w.hand.algorithm, sweepSteps}, func(rows *sql.Rows) error {
		var st state
		var expires int64
		if err := rows.Scan(&st.key, &st.name, &st.algorithm, &expires); err != nil {
			return fault(ctx, err)
		}
		seen++
		w.hand = st
		if expires <= now {
			expired = append(expired, st)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if seen < sweepSteps {
		w.hand = start() // from the beginning again
	}
	for _, st := range expired {
		if err := s.exec(ctx, deleteState, st.key, st.name, st.algorithm); err != nil {
			return err
		}
	}
	return nil
}

// forgetSettled deletes a few of the settlements that nothing depends on any
// more: more than come, so that they do not pile up.
func forgetSettled(ctx context.Context, s *session, now int64) error {
	return s.exec(ctx, settledUntil, now)
}
