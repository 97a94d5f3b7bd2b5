package apikey

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Expiring returns the keys that will expire within that time, 0 or more from
// now, the soonest first. It bounds what q selects otherwise: one owner's or any
// owner's, page by page. Of q, Order, LiveAt, ExpiresBefore and Unreplaced are set
// by it, and States, when empty, to active: keys that are disabled, revoked,
// expired or rotated away need no renewal.
func (s *Service) Expiring(ctx context.Context, within time.Duration, q Query) (Page, error) {
	const op = "apikey.Expiring"
	if within < 0 {
		return Page{}, negative(op, "within", within)
	}
	now := s.clock()
	q = due(q, now)
	q.Order, q.ExpiresBefore = SoonestFirst, atMost(now.Add(within))
	return s.list(ctx, op, q)
}

// Unused returns the keys that were made before since and not used from then on,
// newest first. Uses count once they are written: those that this service noted
// count at once, those of other processes after their next flush. It sets of q
// what [Service.Expiring] sets, but Order and UnusedSince for ExpiresBefore; a
// page may hold fewer keys than its limit and not be the last.
func (s *Service) Unused(ctx context.Context, since time.Time, q Query) (Page, error) {
	const op = "apikey.Unused"
	if since.IsZero() {
		return Page{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: "since is zero; give the instant from which on keys were not used"}
	}
	q = due(q, s.clock())
	q.UnusedSince = toMicros(since)
	page, err := s.list(ctx, op, q)
	page.Keys = slices.DeleteFunc(page.Keys, func(k Key) bool { return !k.LastUsedAt.Before(q.UnusedSince) })
	return page, err
}

// RotationDue returns the keys whose text is of that age, or older, newest first:
// those made, rotated or regenerated that long ago. It sets of q what
// [Service.Expiring] sets, but Order and SecretBefore for ExpiresBefore.
func (s *Service) RotationDue(ctx context.Context, age time.Duration, q Query) (Page, error) {
	const op = "apikey.RotationDue"
	if age < 0 {
		return Page{}, negative(op, "age", age)
	}
	now := s.clock()
	q = due(q, now)
	q.SecretBefore = atMost(now.Add(-age))
	return s.list(ctx, op, q)
}

func negative(op, name string, is time.Duration) error {
	return &errors.Error{Code: errors.Invalid, Op: op, Msg: name + " is " + is.String() + "; give 0 or more"}
}

// due bounds a query to the keys that work and will not be replaced.
func due(q Query, now time.Time) Query {
	q.Order, q.LiveAt, q.Unreplaced = NewestFirst, now, true
	q.ExpiresBefore, q.UnusedSince, q.SecretBefore = time.Time{}, time.Time{}, time.Time{}
	if len(q.States) == 0 {
		q.States = []State{StateActive}
	}
	return q
}

// atMost returns the bound that means "not after at" to a query that asks for
// "before".
func atMost(at time.Time) time.Time { return at.Add(time.Microsecond) }
