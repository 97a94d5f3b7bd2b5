package pgstore

import (
	"context"
	"sync/atomic"

	"github.com/keytoll/keytoll/errors"
)

// A sweep looks at sweepSteps states for each sweepEvery new ones, so that the
// table holds few more than those that count, whatever order they come in.
const (
	sweepEvery = 32
	sweepSteps = 8 * sweepEvery
	sweepMost  = 4 // times as much, when new ones came while others walked
)

// A sweeper walks over the states of limits.
type sweeper struct {
	fresh atomic.Int64 // states made since the last step

	turn chan struct{} // holds one while somebody walks
	hand state         // of whom it is: where the last step ended
}

func newSweeper() sweeper { return sweeper{turn: make(chan struct{}, 1), hand: start()} }

// A state is a row of limits by its primary key.
type state struct {
	key             []byte
	name, algorithm string
}

// start comes before every state.
func start() state { return state{key: []byte{}} }

// due counts new states, and returns at how many to look for them.
func (w *sweeper) due(made int64) int {
	n := w.fresh.Load()
	if made > 0 {
		n = w.fresh.Add(made)
	}
	if n < sweepEvery {
		return 0
	}
	return int(min(n/sweepEvery, sweepMost)) * sweepSteps
}

// Sweep looks at the next limit states, from where the last Sweep of this store
// ended, deletes those that have expired, and as many settlements at most that
// nothing depends on any more. It returns how many it deleted. The store does the
// same by itself, a few at a time, as new ones are made; nothing depends on it
// but the size of the tables. A limit below 1 is an error.
func (s *LimitStore) Sweep(ctx context.Context, limit int) (int, error) {
	const op = "pgstore.Sweep"
	if limit < 1 {
		return 0, &errors.Error{Code: errors.Invalid, Op: op, Msg: "the limit of a sweep is below 1; give how many states to look at"}
	}
	select {
	case s.sweeper.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, errors.Wrap(op, ctx.Err())
	}
	swept, err := s.walk(ctx, limit)
	if err != nil {
		return swept, errors.Wrap(op, err)
	}
	settled := 0
	err = s.db.transact(ctx, func(from source) error {
		return from.QueryRow(ctx, s.db.sql.sweepSettled, s.db.planned, s.given(), limit).Scan(&settled)
	})
	return swept + settled, errors.Wrap(op, err)
}

// sweepBeside looks at some states after a decision made new ones. When somebody
// does that already they are left to the next: no caller waits for it.
func (s *LimitStore) sweepBeside(ctx context.Context, made int64) {
	steps := s.sweeper.due(made)
	if steps == 0 {
		return
	}
	select {
	case s.sweeper.turn <- struct{}{}:
		s.sweeper.fresh.Store(0)
		_, _ = s.walk(ctx, steps) // the decision is made; another will sweep
	default:
	}
}

// walk looks at the next limit states, a few at a time. It ends the caller's
// turn.
func (s *LimitStore) walk(ctx context.Context, limit int) (swept int, err error) {
	defer func() { <-s.sweeper.turn }()
	for given := s.given(); limit > 0; limit -= sweepSteps {
		n, end, err := s.step(ctx, min(limit, sweepSteps), given)
		swept += n
		if err != nil || end {
			return swept, err
		}
	}
	return swept, nil
}

// step looks at a few states, and reports whether they were the last.
func (s *LimitStore) step(ctx context.Context, limit int, given *int64) (swept int, end bool, err error) {
	hand := s.sweeper.hand
	var keys [][]byte
	var names, algorithms []string
	var locks []int64
	n, err := s.db.read(ctx, s.db.planned, s.db.sql.limitsAfter, func(row int, c [][]byte) error {
		if row == 0 {
			keys, names, algorithms, locks = nil, nil, nil, nil
		}
		hand = state{append([]byte(nil), c[0]...), string(c[1]), string(c[2])}
		if c[3][0] != 0 {
			keys, names, algorithms = append(keys, hand.key), append(names, hand.name), append(algorithms, hand.algorithm)
			locks = append(locks, lockOf(s.db.schema, hand.key))
		}
		return nil
	}, hand.key, hand.name, hand.algorithm, limit, given)
	if err != nil {
		return 0, false, err
	}
	if end = n < limit; end {
		hand = start()
	}
	s.sweeper.hand = hand
	if len(keys) == 0 {
		return 0, end, nil
	}
	err = s.db.transact(ctx, func(from source) error {
		return from.QueryRow(ctx, s.db.sql.sweepLimits, s.db.mode, given, locks, keys, names, algorithms).Scan(&swept)
	})
	return swept, end, err
}
