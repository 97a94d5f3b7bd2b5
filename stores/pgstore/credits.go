package pgstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
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

// creditTries is how often an update is tried that the server undid because of
// others, and connectionTries how often one whose connection was lost before
// anything was asked to stay.
const (
	creditTries     = 30
	connectionTries = 3
)

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
	if err := s.db.ensureReady(ctx); err != nil {
		return err
	}
	w := s.spaces.get(needs)
	defer s.spaces.put(w)
	for try := 1; ; try++ {
		u := update{store: s, space: w}
		err := u.run(ctx, fn)
		if err == nil || u.refused {
			return err
		}
		again := undone(err) || raced(err) || outdated(err) && try < connectionTries
		if u.step != finishing {
			again = again || (unsent(err) || broken(err)) && try < connectionTries
		}
		if !again || try == creditTries {
			return s.db.fault(ctx, err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// A step is how far an update has come.
type step uint8

const (
	reading   step = iota // nothing was asked to stay
	finishing             // the commit may have been sent
)

// An update is one try.
type update struct {
	store   *CreditStore
	space   *workspace
	step    step
	refused bool // the error is fn's
}

func (u *update) run(ctx context.Context, fn func(time.Time, []*credits.State) error) error {
	conn, err := u.store.db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release() // which drops a connection whose transaction is open
	x := u.store.db.newExchange(conn.Conn())
	wrote := false
	if err = x.ask(ctx, `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`); err == nil {
		err = u.load(ctx, x, 1)
	}
	if err == nil {
		wrote, err = u.decide(ctx, fn)
	}
	if err == nil && wrote {
		err = u.write(ctx, x, `COMMIT`)
	}
	if outdated(err) {
		_ = conn.Conn().Close(ctx) // with its statements
	}
	if err != nil || !wrote {
		x.undo(ctx)
	}
	return err
}

// load locks and reads; before says how many statements stand before.
func (u *update) load(ctx context.Context, x *exchange, before int) error {
	w, s := u.space, u.store
	w.empty()
	arguments := w.wanted.arguments(s.given())
	if err := x.ask(ctx, s.db.sql.lockAccounts, arguments[1]); err != nil {
		return err
	}
	if err := x.ask(ctx, s.db.sql.readCredits, arguments...); err != nil {
		return err
	}
	locked := int64(0)
	err := x.send(ctx, func(statement int, columns [][]byte) error {
		switch statement {
		case before:
			locked = number(columns[0])
		case before + 1:
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

// write writes what was changed, and ends with what else is to be said.
func (u *update) write(ctx context.Context, x *exchange, end ...string) error {
	if err := x.ask(ctx, u.store.db.sql.writeCredits, u.space.changed.arguments(&u.space.types)...); err != nil {
		return err
	}
	for _, statement := range end {
		if err := x.ask(ctx, statement); err != nil {
			return err
		}
	}
	u.step = finishing
	return x.send(ctx, nil)
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

// raced reports whether a new account, or a new op of an account without a row,
// was made by somebody else in the same moment: tried again, it is found.
func raced(err error) bool {
	if errors.Is(err, errAppeared) {
		return true
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "23505" && (e.ConstraintName == "accounts_pkey" || e.ConstraintName == "ops_pkey")
}

// outdated reports whether a prepared statement is gone, or of tables of before:
// it was not run, and its connection is of no more use.
func outdated(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch e.Code {
	case "26000", "0A000":
		return true
	case "XX000":
		return strings.HasPrefix(e.Message, "cache lookup failed") // for a type that is gone
	}
	return false
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

// pause waits before another try: not at all before the first, then up to twice
// as long each time, and for no two the same, so that those who met part.
func pause(ctx context.Context, try int) error {
	if try == 1 {
		return ctx.Err()
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	most := min(time.Millisecond<<min(try-2, 10), 100*time.Millisecond)
	timer := time.NewTimer(time.Duration(binary.BigEndian.Uint64(random[:]) % uint64(most))) //nolint:forbidigo // the server gives no signal; this is the one place that waits for others
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
