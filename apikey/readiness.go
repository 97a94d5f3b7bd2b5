package apikey

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Readiness says how far the holder of a rotated key has changed over to its
// successor.
type Readiness struct {
	// Key and Successor as they are, with their last uses.
	Key, Successor Key
	// At is the instant this was said.
	At time.Time
}

// Readiness looks at a key that was rotated and at its successor. One that was
// not is [errors.Conflict]; the other errors are those of [Service.Get].
//
// Uses count as in [Service.Unused], to the precision of [Options.LastUsedEvery].
// To end the old key at once use [Service.Revoke]; to let it end earlier than the
// grace said, [Service.Update] with an earlier ExpiresAt.
func (s *Service) Readiness(ctx context.Context, id string) (Readiness, error) {
	const op = "apikey.Readiness"
	old, err := s.byID(ctx, id)
	if err != nil {
		return Readiness{}, s.fault(ctx, op, err)
	}
	if old.Key.Successor == "" {
		return Readiness{}, &errors.Error{Code: errors.Conflict, Op: op, Msg: "the API key was not rotated; rotate it first"}
	}
	heir, err := s.byID(ctx, old.Key.Successor)
	if err != nil {
		return Readiness{}, s.fault(ctx, op, err)
	}
	s.uses.overlay(&old.Key)
	s.uses.overlay(&heir.Key)
	return Readiness{Key: old.Key, Successor: heir.Key, At: s.clock()}, nil
}

// Ends returns when the old key stops working by itself. It may have ended already.
func (r Readiness) Ends() time.Time { return r.Key.ExpiresAt }

// Noticed reports whether somebody might notice if the old key ended now: it
// works, and was used within the last quiet time, be it before the rotation, since
// who used it so lately need not have changed over. With a quiet time of the longest
// pause between two uses of the key, and at least the time in which uses are
// written, false is sure.
func (r Readiness) Noticed(quiet time.Duration) bool {
	used := r.Key.LastUsedAt
	return r.Key.Status(r.At) == StatusActive && !used.IsZero() && r.At.Sub(used) <= quiet
}

// String says it for people.
func (r Readiness) String() string {
	text := "the old key was " + r.used(&r.Key) + "; its successor was " + r.used(&r.Successor)
	if status := r.Key.Status(r.At); status != StatusActive {
		return text + "; the old key is " + string(status)
	}
	return text + "; the old key ends in " + r.Ends().Sub(r.At).String()
}

func (r Readiness) used(k *Key) string {
	if k.LastUsedAt.IsZero() {
		return "never used"
	}
	return "last used " + r.At.Sub(k.LastUsedAt).String() + " ago"
}
