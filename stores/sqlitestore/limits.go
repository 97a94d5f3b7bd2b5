package sqlitestore

import (
	"context"
	"crypto/rand"
	"encoding/binary"

	"github.com/keytoll/keytoll/ratelimit"
)

const (
	limitState  = `SELECT at, used, part, expires, entries FROM limits WHERE key = ? AND name = ? AND algorithm = ?`
	upsertState = `INSERT INTO limits (key, name, algorithm, at, used, part, expires, entries) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (key, name, algorithm) DO UPDATE
		SET at = excluded.at, used = excluded.used, part = excluded.part, expires = excluded.expires, entries = excluded.entries`
	deleteState = `DELETE FROM limits WHERE key = ? AND name = ? AND algorithm = ?`

	insertSettled = `INSERT INTO settled (id, until) VALUES (?, ?) ON CONFLICT DO NOTHING`
)

// limits implements [ratelimit.Store].
type limits struct{ db *DB }

var _ ratelimit.Store = limits{}

// Limits returns the file's store of rate limits. It works as long as db is
// open. All processes on the file share them; each decision that spends is a
// write as any other of this package, and peeks only read.
func (db *DB) Limits() ratelimit.Store { return limits{db} }

// Apply implements [ratelimit.Store].
func (l limits) Apply(ctx context.Context, req *ratelimit.Request) error {
	run := l.db.write
	switch {
	case req.Mode == ratelimit.ModePeek && len(req.Ops) == 1:
		run = l.db.read // of one row
	case req.Mode == ratelimit.ModePeek:
		run = l.db.snapshot
	}
	err := run(ctx, func(s *session) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return l.carryOut(context.WithoutCancel(ctx), s, req)
	})
	if err != nil {
		req.Allowed = false
	}
	return err
}

// carryOut does what req asks at the time it is called.
func (l limits) carryOut(ctx context.Context, s *session, req *ratelimit.Request) error {
	now := l.db.now().UnixMicro()
	if req.Mode == ratelimit.ModeSettle {
		if first, err := l.settle(ctx, s, req, now); !first || err != nil {
			return err
		}
	}
	kept := make([]ratelimit.Kept, len(req.Ops))
	var found uint64 // bit i: op i has a row
	for i := range req.Ops {
		if req.Mode == ratelimit.ModeReset {
			break // nothing to know
		}
		there, err := loadState(ctx, s, &req.Ops[i], &kept[i])
		if err != nil {
			return err
		}
		if there {
			found |= 1 << i
		}
	}
	changed := req.Run(kept, now, newID())
	fresh := 0
	for i := range req.Ops {
		if changed&(1<<i) == 0 {
			continue
		}
		stays, err := storeState(ctx, s, &req.Ops[i], &kept[i])
		if err != nil {
			return err
		}
		if stays && found&(1<<i) == 0 {
			fresh++
		}
	}
	if fresh == 0 {
		return nil // a peek has not the writer's session, to which the sweeper belongs
	}
	return l.db.sweeper.added(ctx, s, fresh, now)
}

// settle notes that the decision is settled, as long as that matters, and
// reports whether this settlement is the first and can change anything.
func (l limits) settle(ctx context.Context, s *session, req *ratelimit.Request, now int64) (bool, error) {
	until := now + req.Hold()
	for i := range req.Ops {
		until = max(until, req.Ops[i].Until)
	}
	if until <= now {
		return false, nil
	}
	if n, err := s.change(ctx, insertSettled, req.ID[:], until); n == 0 || err != nil {
		return false, err
	}
	return true, forgetSettled(ctx, s, now)
}

// newID returns an ID that nobody else has or can guess.
func newID() (id ratelimit.ID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// place returns the primary key of an op's state.
func place(op *ratelimit.Op) (key []byte, name, algorithm string) {
	limit := op.Rule.Limit()
	return []byte(op.Key), limit.Name, limit.Algorithm.String()
}

// loadState fills k and reports whether there was anything.
func loadState(ctx context.Context, s *session, op *ratelimit.Op, k *ratelimit.Kept) (bool, error) {
	key, name, algorithm := place(op)
	var c ratelimit.Cell
	var entries []byte
	err := s.row(ctx, limitState, []any{key, name, algorithm}, &c.At, &c.Used, &c.Part, &c.Expires, &entries)
	switch {
	case isNoRows(err):
		return false, nil
	case err != nil:
		return false, err
	case !op.Rule.Logged():
		k.Cell = c
	default:
		k.Log = ratelimit.Log{At: c.At, Entries: unpackEntries(entries)}
	}
	return true, nil
}

// storeState writes k, or deletes the row of one that is as good as absent, and
// reports whether it wrote.
func storeState(ctx context.Context, s *session, op *ratelimit.Op, k *ratelimit.Kept) (bool, error) {
	key, name, algorithm := place(op)
	c, entries := k.Cell, any(nil)
	if op.Rule.Logged() {
		c = ratelimit.Cell{At: k.Log.At, Expires: k.Log.Expires()}
		entries = packEntries(k.Log.Entries)
	}
	if c.Expires <= 0 {
		return false, s.exec(ctx, deleteState, key, name, algorithm)
	}
	return true, s.exec(ctx, upsertState, key, name, algorithm, c.At, c.Used, c.Part, c.Expires, entries)
}

const entryBytes = 32

func packEntries(entries []ratelimit.Entry) []byte {
	b := make([]byte, 0, entryBytes*len(entries))
	for i := range entries {
		e := &entries[i]
		b = append(b, e.ID[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(e.Until))
		b = binary.BigEndian.AppendUint64(b, uint64(e.Units))
	}
	return b
}

// unpackEntries returns what packEntries packed; the table holds nothing else.
func unpackEntries(b []byte) []ratelimit.Entry {
	entries := make([]ratelimit.Entry, len(b)/entryBytes, len(b)/entryBytes+1)
	for i := range entries {
		e, part := &entries[i], b[i*entryBytes:]
		copy(e.ID[:], part)
		e.Until = int64(binary.BigEndian.Uint64(part[16:]))
		e.Units = int64(binary.BigEndian.Uint64(part[24:]))
	}
	return entries
}
