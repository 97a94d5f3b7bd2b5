package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// CreditsOptions are the choices of [DB.Credits]. The zero value, and nil, are
// the defaults.
type CreditsOptions struct {
	// Now tells the time of each decision, and is for tests and replays. Nil is
	// the server's clock, read under the locks, which all programs share. It must
	// be safe for concurrent use.
	Now func() time.Time
}

// A CreditStore keeps credits in PostgreSQL. Make one with [DB.Credits]; it is
// safe for concurrent use, and works as long as its DB is open.
type CreditStore struct {
	db     *DB
	now    func() time.Time // nil: the server's clock
	spaces workspaces
}

var _ credits.Store = (*CreditStore)(nil)

// Credits returns a store of the credits of the schema, which all stores of it
// share, in however many processes.
func (db *DB) Credits(options *CreditsOptions) *CreditStore {
	s := &CreditStore{db: db}
	if options != nil {
		s.now = options.Now
	}
	return s
}

// Update implements [credits.Store], in two round trips: the first begins a
// transaction at the level read committed, locks the accounts' rows in the order
// of needs, and then reads, in a statement of its own, which sees all that the
// locks waited for; the second writes and commits. What changes nothing is rolled
// back in the second.
//
// What the server undid because of others is tried again from the beginning. When
// the connection is lost once the commit was sent, the error has the code
// Unavailable, and the outcome is not known.
func (s *CreditStore) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	w := s.spaces.get(needs)
	defer s.spaces.put(w)
	return s.db.turns(ctx, func(t *turn) error {
		u := update{t, s, w}
		return u.run(ctx, fn)
	})
}

// An update is one try.
type update struct {
	*turn
	store *CreditStore
	space *workspace
}

func (u *update) run(ctx context.Context, fn func(time.Time, []*credits.State) error) error {
	if err := u.load(ctx); err != nil {
		return err
	}
	changed, err := u.decide(ctx, fn)
	if err != nil || !changed {
		return err
	}
	if err := u.ask(ctx, u.store.db.sql.writeCredits, u.space.changed.arguments(&u.space.types)...); err != nil {
		return err
	}
	return u.finish(ctx, nil)
}

// load locks and reads.
func (u *update) load(ctx context.Context) error {
	w, s := u.space, u.store
	w.empty()
	arguments := w.wanted.arguments(s.given())
	if err := u.ask(ctx, s.db.sql.lockAccounts, arguments[1]); err != nil {
		return err
	}
	if err := u.ask(ctx, s.db.sql.readCredits, arguments...); err != nil {
		return err
	}
	locked := int64(0)
	err := u.send(ctx, func(statement int, columns [][]byte) error {
		switch statement {
		case u.before:
			locked = number(columns[0])
		case u.before + 1:
			return w.take(columns)
		}
		return nil
	})
	if err == nil && w.found != locked {
		err = errAppeared
	}
	return misread(err)
}

// errAppeared reports an account that was made after the locks were taken, and so
// is not locked.
var errAppeared error = &errors.Error{Code: errors.Unavailable, Msg: "an account was made in the same moment"}

// decide calls fn, and returns whether it changed anything.
func (u *update) decide(ctx context.Context, fn func(time.Time, []*credits.State) error) (bool, error) {
	w := u.space
	if err := fn(w.now, w.loaded()); err != nil {
		u.refused = true
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return w.changed.gather(w.loaded(), w.places)
}

// View implements [credits.Store]: one statement, which sees one moment.
func (s *CreditStore) View(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	if err := s.db.ensureReady(ctx); err != nil {
		return err
	}
	w := s.spaces.get(needs)
	defer s.spaces.put(w)
	for try := 1; ; try++ {
		err := s.view(ctx, w)
		if err == nil {
			return fn(w.now, w.loaded())
		}
		if !undone(err) && !unsent(err) && !broken(err) && !outdated(err) || try == connectionTries {
			return s.db.fault(ctx, err)
		}
	}
}

func (s *CreditStore) view(ctx context.Context, w *workspace) error {
	conn, err := s.db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	err = s.look(ctx, s.db.newExchange(conn.Conn()), w)
	if outdated(err) {
		_ = conn.Conn().Close(ctx) // with its statements
	}
	return err
}

// look reads without locks.
func (s *CreditStore) look(ctx context.Context, x *exchange, w *workspace) error {
	w.empty()
	if err := x.ask(ctx, s.db.sql.readCredits, w.wanted.arguments(s.given())...); err != nil {
		return err
	}
	return misread(x.send(ctx, func(_ int, columns [][]byte) error { return w.take(columns) }))
}

// given returns the time of the store's own clock, or the zero time for the
// server's.
func (s *CreditStore) given() time.Time {
	if s.now == nil {
		return time.Time{}
	}
	return s.now()
}

// misread gives the code Corrupt to the server's errors about a stored text that
// the function credits_read cannot take apart.
func misread(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "22P02", "22003", "22023": // no number or no JSON, a number out of range, JSON of another kind
			return &errors.Error{Code: errors.Corrupt, Msg: "a stored operation cannot be read", Err: err}
		}
	}
	return err
}
