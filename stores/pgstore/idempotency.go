package pgstore

import (
	"bytes"
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// IdempotencyOptions are the choices of [DB.Idempotency]. The zero value, and nil,
// are the defaults.
type IdempotencyOptions struct {
	// Now tells the time of each decision, and is for tests. Nil is the server's
	// clock, which all programs share. It must be safe for concurrent use.
	Now func() time.Time
}

// An IdempotencyStore remembers in PostgreSQL what was asked for under an
// Idempotency-Key, and what was answered. Make one with [DB.Idempotency]; it is
// safe for concurrent use, and works as long as its DB is open.
type IdempotencyStore struct {
	db  *DB
	now func() time.Time // nil: the server's clock
}

var _ idempotency.Store = (*IdempotencyStore)(nil)

// Idempotency returns a store of the requests that the schema remembers, which all
// stores of it share, in however many processes.
func (db *DB) Idempotency(options *IdempotencyOptions) *IdempotencyStore {
	s := &IdempotencyStore{db: db}
	if options != nil {
		s.now = options.Now
	}
	return s
}

// Claim implements [idempotency.Store] in one round trip.
func (s *IdempotencyStore) Claim(ctx context.Context, c idempotency.Claim) (idempotency.Found, error) {
	var found idempotency.Found
	sound := true
	err := s.db.once(ctx, s.db.sql.requestClaim, func(columns [][]byte) { found, sound = requestFound(columns) },
		clock(s.now), c.Key[:], c.Fingerprint[:], c.Token[:], bigint(roundUp(c.Lease)), bigint(roundUp(c.Keep)))
	if err == nil && !sound {
		err = &errors.Error{Code: errors.Corrupt, Msg: "a stored request cannot be read"}
	}
	if err != nil {
		return idempotency.Found{}, err
	}
	return found, nil
}

// Finish implements [idempotency.Store] in one round trip.
func (s *IdempotencyStore) Finish(ctx context.Context, key idempotency.Key, token idempotency.Token, answer []byte, keep time.Duration) error {
	kept := false
	if answer == nil {
		answer = []byte{} // which is not null
	}
	err := s.db.once(ctx, s.db.sql.requestFinish, func(columns [][]byte) { kept = columns[0][0] != 0 },
		clock(s.now), key[:], token[:], answer, bigint(roundUp(keep)))
	if err == nil && !kept {
		err = idempotency.ErrLost
	}
	return err
}

// Abandon implements [idempotency.Store] in one round trip.
func (s *IdempotencyStore) Abandon(ctx context.Context, key idempotency.Key, token idempotency.Token) error {
	return s.db.once(ctx, s.db.sql.requestAbandon, nil, key[:], token[:])
}

// requestFound reads what the function idempotency_claim says, and reports whether
// it can be read.
func requestFound(columns [][]byte) (idempotency.Found, bool) {
	found := idempotency.Found{State: idempotency.State(small(columns[0]))}
	switch found.State {
	case idempotency.Claimed:
		found.Turn = int(number(columns[2]))
		return found, copy(found.First[:], columns[1]) == len(found.First)
	case idempotency.Running:
		found.Wait = time.Duration(number(columns[3])) * time.Microsecond
	case idempotency.Done:
		found.Answer = bytes.Clone(columns[4])
	}
	return found, true
}

// roundUp returns a length of time in microseconds, and no less.
func roundUp(d time.Duration) int64 {
	n := d.Microseconds()
	if d%time.Microsecond > 0 {
		n++
	}
	return n
}
