package sqlitestore

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

const (
	// A row that is over is as good as none.
	claimReplay = `INSERT INTO webhook_replays (key, owner, until) VALUES (?1, ?2, ?3)
		ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE until <= ?4 OR owner = excluded.owner`
	replayOwner = `SELECT owner FROM webhook_replays WHERE key = ?1`

	doneReplay = `INSERT INTO webhook_replays (key, owner, until) VALUES (?1, '', ?2)
		ON CONFLICT (key) DO UPDATE SET owner = '', until = excluded.until WHERE owner <> '' OR until < excluded.until`

	releaseReplay = `DELETE FROM webhook_replays WHERE key = ?1 AND owner = ?2 AND owner <> ''`

	replaysUntil = `DELETE FROM webhook_replays WHERE key IN (SELECT key FROM webhook_replays WHERE until <= ? ORDER BY until LIMIT 4)`
)

// replays implements [webhook.ReplayStore].
type replays struct{ db *DB }

var _ webhook.ReplayStore = replays{}

// Replays returns the file's memory of received webhooks. It works as long as db
// is open. All processes on the file share it.
func (db *DB) Replays() webhook.ReplayStore { return replays{db} }

// Claim implements [webhook.ReplayStore].
func (r replays) Claim(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
	var state webhook.ClaimState
	err := r.db.writeNow(ctx, func(ctx context.Context, s *session, now int64) error {
		n, err := s.change(ctx, claimReplay, []byte(key), owner, now+lease.Microseconds(), now)
		if err != nil {
			return err
		}
		if n > 0 {
			state = webhook.ClaimGranted
			return s.exec(ctx, replaysUntil, now) // more than come, so that they do not pile up
		}
		var holder string
		if err := s.row(ctx, replayOwner, []any{[]byte(key)}, &holder); err != nil {
			return err
		}
		state = webhook.ClaimInFlight
		if holder == "" {
			state = webhook.ClaimDone
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return state, nil
}

// Done implements [webhook.ReplayStore].
func (r replays) Done(ctx context.Context, key string, keep time.Duration) error {
	return r.db.writeNow(ctx, func(ctx context.Context, s *session, now int64) error {
		if err := s.exec(ctx, doneReplay, []byte(key), now+keep.Microseconds()); err != nil {
			return err
		}
		return s.exec(ctx, replaysUntil, now)
	})
}

// Release implements [webhook.ReplayStore].
func (r replays) Release(ctx context.Context, key, owner string) error {
	return r.db.writeNow(ctx, func(ctx context.Context, s *session, _ int64) error {
		return s.exec(ctx, releaseReplay, []byte(key), owner)
	})
}
