package pgstore

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// ReplaysOptions are the choices of [DB.Replays]. The zero value, and nil, are the
// defaults.
type ReplaysOptions struct {
	// Now tells the time of each decision, and is for tests. Nil is the server's
	// clock, which all programs share. It must be safe for concurrent use.
	Now func() time.Time
}

// A ReplayStore remembers in PostgreSQL which messages were received. Make one
// with [DB.Replays]; it is safe for concurrent use, and works as long as its DB is
// open.
type ReplayStore struct {
	db  *DB
	now func() time.Time // nil: the server's clock
}

var _ webhook.ReplayStore = (*ReplayStore)(nil)

// Replays returns a store of the messages that the schema remembers, which all
// stores of it share, in however many processes.
func (db *DB) Replays(options *ReplaysOptions) *ReplayStore {
	s := &ReplayStore{db: db}
	if options != nil {
		s.now = options.Now
	}
	return s
}

// Claim implements [webhook.ReplayStore] in one round trip.
func (s *ReplayStore) Claim(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
	var state webhook.ClaimState
	err := s.db.once(ctx, s.db.sql.replayClaim, func(c [][]byte) { state = webhook.ClaimState(small(c[0])) },
		clock(s.now), []byte(key), []byte(owner), bigint(lease.Microseconds()))
	if err != nil {
		return 0, err
	}
	return state, nil
}

// Done implements [webhook.ReplayStore] in one round trip.
func (s *ReplayStore) Done(ctx context.Context, key string, keep time.Duration) error {
	return s.db.once(ctx, s.db.sql.replayDone, nil, clock(s.now), []byte(key), bigint(keep.Microseconds()))
}

// Release implements [webhook.ReplayStore] in one round trip.
func (s *ReplayStore) Release(ctx context.Context, key, owner string) error {
	return s.db.once(ctx, s.db.sql.replayRelease, nil, []byte(key), []byte(owner))
}

// bigint returns a number in binary form.
func bigint(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// clock returns the time of a store's own clock in binary form, or null for the
// server's.
func clock(now func() time.Time) []byte {
	if now == nil {
		return nil
	}
	return bigint(now().UnixMicro())
}
