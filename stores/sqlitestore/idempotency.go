package sqlitestore

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

const (
	requestByKey = `SELECT fingerprint, first, turn, token, lease, answer IS NOT NULL, answer FROM idempotent_requests WHERE key = ?1 AND until > ?2`

	claimRequest = `INSERT INTO idempotent_requests (key, fingerprint, first, turn, token, lease, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, first = excluded.first, turn = excluded.turn,
			token = excluded.token, lease = excluded.lease, until = excluded.until, answer = NULL`

	finishRequest = `UPDATE idempotent_requests SET answer = ?3, until = ?4 WHERE key = ?1 AND token = ?2 AND answer IS NULL AND until > ?5`
	wasFinished   = `SELECT count(*) FROM idempotent_requests WHERE key = ?1 AND token = ?2 AND answer IS NOT NULL AND until > ?3`

	abandonRequest = `DELETE FROM idempotent_requests WHERE key = ?1 AND token = ?2 AND answer IS NULL`

	requestsUntil = `DELETE FROM idempotent_requests WHERE key IN (SELECT key FROM idempotent_requests WHERE until <= ? ORDER BY until LIMIT 4)`
)

// requests implements [idempotency.Store].
type requests struct{ db *DB }

var _ idempotency.Store = requests{}

// Idempotency returns the file's memory of requests that came with an
// Idempotency-Key, and of their answers. It works as long as db is open. All
// processes on the file share it.
func (db *DB) Idempotency() idempotency.Store { return requests{db} }

// Claim implements [idempotency.Store].
func (r requests) Claim(ctx context.Context, c idempotency.Claim) (idempotency.Found, error) {
	var found idempotency.Found
	err := r.db.writeNow(ctx, func(ctx context.Context, s *session, now int64) error {
		kept, err := requestOf(ctx, s, c.Key, now)
		if err != nil {
			return err
		}
		if found = kept.answerTo(&c, now); found.State != idempotency.Claimed {
			return nil
		}
		lease := now + roundUp(c.Lease)
		err = s.exec(ctx, claimRequest, c.Key[:], c.Fingerprint[:], found.First[:], found.Turn, c.Token[:], lease, lease+roundUp(c.Keep))
		if err != nil {
			return err
		}
		return s.exec(ctx, requestsUntil, now) // more than come, so that they do not pile up
	})
	if err != nil {
		return idempotency.Found{}, err
	}
	return found, nil
}

// Finish implements [idempotency.Store].
func (r requests) Finish(ctx context.Context, key idempotency.Key, token idempotency.Token, answer []byte, keep time.Duration) error {
	return r.db.writeNow(ctx, func(ctx context.Context, s *session, now int64) error {
		said := append(make([]byte, 0, len(answer)), answer...) // not null, if it is empty
		n, err := s.change(ctx, finishRequest, key[:], token[:], said, now+roundUp(keep), now)
		if err == nil && n == 0 {
			err = s.row(ctx, wasFinished, []any{key[:], token[:], now}, &n)
		}
		if err == nil && n == 0 {
			err = idempotency.ErrLost
		}
		return err
	})
}

// Abandon implements [idempotency.Store].
func (r requests) Abandon(ctx context.Context, key idempotency.Key, token idempotency.Token) error {
	return r.db.writeNow(ctx, func(ctx context.Context, s *session, _ int64) error {
		return s.exec(ctx, abandonRequest, key[:], token[:])
	})
}

// A keptRequest is a row, or nil where there is none that counts.
type keptRequest struct {
	fingerprint  idempotency.Fingerprint
	first, token idempotency.Token
	turn         int
	lease        int64
	done         bool
	answer       []byte
}

// requestOf reads what is kept of a key.
func requestOf(ctx context.Context, s *session, key idempotency.Key, now int64) (*keptRequest, error) {
	var fingerprint, first, token []byte
	var k keptRequest
	err := s.row(ctx, requestByKey, []any{key[:], now}, &fingerprint, &first, &k.turn, &token, &k.lease, &k.done, &k.answer)
	switch {
	case isNoRows(err):
		return nil, nil
	case err != nil:
		return nil, err
	case len(fingerprint) != len(k.fingerprint) || len(first) != len(k.first) || len(token) != len(k.token) || k.turn < 0:
		return nil, &errors.Error{Code: errors.Corrupt, Msg: "a stored request cannot be read"}
	}
	copy(k.fingerprint[:], fingerprint)
	copy(k.first[:], first)
	copy(k.token[:], token)
	return &k, nil
}

// answerTo tells what becomes of a claim.
func (k *keptRequest) answerTo(c *idempotency.Claim, now int64) idempotency.Found {
	switch {
	case k == nil:
		return idempotency.Found{State: idempotency.Claimed, First: c.Token}
	case k.fingerprint != c.Fingerprint:
		return idempotency.Found{State: idempotency.Mismatch}
	case k.done:
		return idempotency.Found{State: idempotency.Done, Answer: k.answer}
	case k.token == c.Token:
		return idempotency.Found{State: idempotency.Claimed, First: k.first, Turn: k.turn}
	case k.lease > now:
		return idempotency.Found{State: idempotency.Running, Wait: time.Duration(k.lease-now) * time.Microsecond}
	default:
		return idempotency.Found{State: idempotency.Claimed, First: k.first, Turn: k.turn + 1}
	}
}

// roundUp returns a length of time in microseconds, and no less.
func roundUp(d time.Duration) int64 {
	n := d.Microseconds()
	if d%time.Microsecond > 0 {
		n++
	}
	return n
}
