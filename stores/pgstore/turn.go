package pgstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keytoll/keytoll/errors"
)

// A turn is one try of a transaction that takes few round trips: one exchange
// begins it, locks and reads, and another writes and commits. Or one does all of it.
type turn struct {
	*exchange
	before    int  // statements that stand before the first of the caller's
	nested    bool // in a transaction of somebody else's, who commits
	finishing bool // the commit may have been sent
	refused   bool // the error is not the database's, but of a function of the caller's
}

// finish sends what was asked, and the commit with it. It comes last.
func (t *turn) finish(ctx context.Context, scan func(statement int, columns [][]byte) error) error {
	if !t.nested {
		if err := t.ask(ctx, `COMMIT`); err != nil {
			return err
		}
	}
	t.finishing = true
	return t.send(ctx, scan)
}

// tries is how often a turn is taken that the server undid because of others, and
// connectionTries how often one whose connection was lost before anything was asked
// to stay.
const (
	tries           = 30
	connectionTries = 3
)

// turns has f take turns at the level read committed until one is not undone
// because of others. What f does not finish leaves no trace. When the connection is
// lost once the commit was sent, the error has the code Unavailable, and the outcome
// is not known.
func (db *DB) turns(ctx context.Context, f func(*turn) error) error {
	if err := db.ensureReady(ctx); err != nil {
		return err
	}
	for try := 1; ; try++ {
		var t turn
		err := db.turn(ctx, &t, f)
		if err == nil || t.refused {
			return err
		}
		again := undone(err) || raced(err) || outdated(err) && try < connectionTries
		if !t.finishing {
			again = again || (unsent(err) || broken(err)) && try < connectionTries
		}
		if !again || try == tries {
			return db.fault(ctx, err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// once runs one statement in a turn of its own, in one round trip, and gives the
// row that it answers to scan.
func (db *DB) once(ctx context.Context, statement string, scan func(columns [][]byte), arguments ...[]byte) error {
	return db.turns(ctx, func(t *turn) error {
		if err := t.ask(ctx, statement, arguments...); err != nil {
			return err
		}
		return t.finish(ctx, func(n int, columns [][]byte) error {
			if n == t.before && scan != nil {
				scan(columns)
			}
			return nil
		})
	})
}

func (db *DB) turn(ctx context.Context, t *turn, f func(*turn) error) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release() // which drops a connection whose transaction is open
	t.exchange, t.before = db.newExchange(conn.Conn()), 1
	if err = t.ask(ctx, `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`); err == nil {
		err = f(t)
	}
	if outdated(err) {
		_ = conn.Conn().Close(ctx) // with its statements
	}
	if err != nil || !t.finishing {
		t.undo(ctx)
	}
	return err
}

var errNoTx error = &errors.Error{Code: errors.Invalid, Msg: "tx is nil; give a transaction that has begun"}

// errOthers reports rows that others made, and that a transaction whose view is
// older cannot see.
var errOthers error = &errors.Error{Code: errors.Unavailable, Msg: "others made the same meanwhile; begin the transaction again"}

// turnsIn has f take turns in savepoints of a transaction of the caller's, which
// keeps what f finishes. Statements are those that f asks.
func (db *DB) turnsIn(ctx context.Context, outer pgx.Tx, statements []string, f func(*turn) error) error {
	for try := 1; ; try++ {
		t := turn{nested: true}
		err := db.nested(ctx, outer, func(tx pgx.Tx) (bool, error) {
			t.exchange = db.newExchangeIn(tx)
			err := f(&t)
			return t.finishing, err
		})
		switch {
		case err == nil || t.refused:
			return err
		case outdated(err) && try < connectionTries:
			// The server knows nothing of them any more: the next try prepares them again.
			for _, statement := range statements {
				_ = outer.Conn().Deallocate(ctx, statement) // when that fails, so does the next try
			}
		case !raced(err):
			return db.fault(ctx, err)
		case try == few:
			return &errors.Error{Err: errors.Join(errOthers, err)}
		}
	}
}

// nested runs f in a savepoint, which f says whether to keep.
func (db *DB) nested(ctx context.Context, outer pgx.Tx, f func(tx pgx.Tx) (keep bool, err error)) error {
	if outer == nil {
		return errNoTx
	}
	if err := db.ensureOpen(ctx); err != nil {
		return err
	}
	tx, err := outer.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		const patience = time.Second // it waits for nobody
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		_ = tx.Rollback(ctx) // nothing, after a commit
	}()
	if !db.ready.Load() {
		if err := db.lookAtSchemaIn(ctx, tx); err != nil {
			return err
		}
	}
	keep, err := f(tx)
	if err == nil && keep {
		err = tx.Commit(ctx)
	}
	return err
}

// raced reports whether a new account, a new op of an account without a row, or a
// new endpoint was made by somebody else in the same moment: tried again, it is
// found.
func raced(err error) bool {
	if errors.Is(err, errAppeared) {
		return true
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || e.Code != "23505" {
		return false
	}
	switch e.ConstraintName {
	case "accounts_pkey", "ops_pkey", "endpoints_pkey":
		return true
	}
	return false
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
