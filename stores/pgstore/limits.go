package pgstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// LimitsOptions are the choices of [DB.Limits]. The zero value, and nil, are the
// defaults.
type LimitsOptions struct {
	// Relaxed lets a take pass before it is on the disk. When the server crashes,
	// what was taken in its last moments, up to three times its wal_writer_delay,
	// is free again; an orderly stop loses nothing. By default each take waits for
	// the disk as the server's synchronous_commit says.
	Relaxed bool

	// Now tells the time of each decision, and is for tests and replays. Nil is
	// the server's clock, which all programs share. It must be safe for concurrent
	// use.
	Now func() time.Time
}

// A LimitStore keeps rate limits in PostgreSQL. Make one with [DB.Limits]; it is
// safe for concurrent use, and works as long as its DB is open.
type LimitStore struct {
	db      *DB
	relaxed bool
	now     func() time.Time // nil: the server's clock
	last    atomic.Int64     // the time that the server told last
	sweeper sweeper
}

var _ ratelimit.Store = (*LimitStore)(nil)

// Limits returns a store of the rate limits of the schema, which all stores of
// it share, in however many processes.
func (db *DB) Limits(options *LimitsOptions) *LimitStore {
	var o LimitsOptions
	if options != nil {
		o = *options
	}
	return &LimitStore{db: db, relaxed: o.Relaxed, now: o.Now, sweeper: newSweeper()}
}

// An answer is what the functions of the schema say to a question.
type answer struct {
	now      int64
	allowed  bool
	outside  bool // a time lies in none of the windows that were given
	verdicts []int64
	taken    *int64
	made     int64
}

// Apply implements [ratelimit.Store] in one round trip and one transaction. A
// request with a calendar may need another one, when the store has not heard the
// server's time for longer than a window.
func (s *LimitStore) Apply(ctx context.Context, req *ratelimit.Request) error {
	q := newQuestion(s.db.schema, req)
	var a answer
	for i := range req.Ops {
		q.frame(i, &req.Ops[i], s.last.Load())
	}
	err := s.ask(ctx, req, q, &a)
	for try := 0; err == nil && a.outside; try++ {
		if try == 3 {
			err = errNoWindow
			break
		}
		for i := range req.Ops {
			q.frame(i, &req.Ops[i], a.verdicts[i*verdictNumbers])
		}
		err = s.ask(ctx, req, q, &a)
	}
	if err != nil {
		req.Allowed = false
		return err
	}
	s.last.Store(a.now)
	a.fill(req, q.id)
	s.sweepBeside(ctx, a.made)
	return nil
}

// errNoWindow reports a time that keeps running away.
var errNoWindow error = &errors.Error{Code: errors.Unavailable, Msg: "the database's clock jumps too often to decide"}

// ask has the server carry out q.
func (s *LimitStore) ask(ctx context.Context, req *ratelimit.Request, q *question, a *answer) error {
	given := s.given()
	*a = answer{}
	var err error
	if req.Mode == ratelimit.ModePeek {
		err = s.db.transact(ctx, func(from source) error {
			return from.QueryRow(ctx, s.db.sql.decideLimits, s.db.mode, given, q.keys, q.names, q.algorithms, q.rules).
				Scan(&a.now, &a.allowed, &a.outside, &a.verdicts)
		})
	} else {
		err = s.db.transact(ctx, func(from source) error {
			return from.QueryRow(ctx, s.db.sql.applyLimits, s.db.mode, q.verb, given, s.relaxed, q.locks, q.id[:],
				q.keys, q.names, q.algorithms, q.rules, q.takes, q.latest, q.hold).
				Scan(&a.now, &a.allowed, &a.outside, &a.verdicts, &a.taken, &a.made)
		})
	}
	return err
}

// given returns the time of the store's own clock as the rules take it, or nil
// for the server's.
func (s *LimitStore) given() *int64 {
	if s.now == nil {
		return nil
	}
	return new(min(max(s.now().UnixMicro(), 0), 1<<60))
}

// fill fills in what the contract says of req.
func (a *answer) fill(req *ratelimit.Request, id ratelimit.ID) {
	req.Now = a.now
	switch req.Mode {
	case ratelimit.ModeSettle, ratelimit.ModeRelease, ratelimit.ModeReset:
		return
	case ratelimit.ModeRenew:
		req.Allowed = a.allowed
		return
	case ratelimit.ModeCharge:
		req.ID = ratelimit.ID{}
		for i := range req.Ops {
			if req.Ops[i].Cost > 0 {
				req.ID = id
			}
		}
		return
	}
	req.Allowed, req.ID = a.allowed, ratelimit.ID{}
	for i := range req.Ops {
		op, v := &req.Ops[i], a.verdicts[i*verdictNumbers:]
		if a.taken != nil {
			op.Cost = *a.taken
		}
		op.Outcome = ratelimit.Outcome{RetryAfter: v[1], Remaining: v[2], ResetAfter: v[3], Rest: v[4]}
		if a.allowed && v[1] == 0 && op.Cost > 0 && req.Mode != ratelimit.ModePeek {
			op.Outcome = ratelimit.Outcome{Remaining: v[2] - op.Cost, ResetAfter: v[5], Rest: v[6]}
			req.ID = id
		}
	}
}
