package apikey

import (
	"context"

	"github.com/keytoll/keytoll/errors"
)

// Owner returns what was decided about an owner, and where the owner's events
// stand. One of whom nothing is known is not an error: any owner may have keys.
func (s *Service) Owner(ctx context.Context, id string) (Owner, error) {
	o, err := s.store.Owner(ctx, id)
	if err != nil {
		return Owner{}, s.fault(ctx, "apikey.Owner", err)
	}
	return o, nil
}

// RevokeOwner revokes every key that the owner has now, in one step whatever
// their number, and notes why, as [Service.Revoke] does; the reason of the last
// such call is shown for all of them. Keys made later live, also one whose Create
// had begun: [Service.SuspendOwner] stops those too. Each call does it again. The
// Owner returned has Events and Head as they were before.
func (s *Service) RevokeOwner(ctx context.Context, id, reason string) (Owner, error) {
	return s.decide(ctx, "apikey.RevokeOwner", id, reason, insistence, EventOwnerRevoked, func(o *Owner) bool {
		o.Epoch++
		o.RevokedReason = reason
		return true
	})
}

// SuspendOwner stops every key that the owner has or will have, until
// [Service.RestoreOwner], and notes why. Suspending again changes nothing: the
// first reason stays. The Owner returned is as that of RevokeOwner.
func (s *Service) SuspendOwner(ctx context.Context, id, reason string) (Owner, error) {
	return s.decide(ctx, "apikey.SuspendOwner", id, reason, insistence, EventOwnerSuspended, func(o *Owner) bool {
		changes := !o.Suspended
		if changes {
			o.Suspended, o.SuspendedReason = true, reason
		}
		return changes
	})
}

// RestoreOwner lets the keys of a suspended owner work again, as far as they are
// neither disabled nor expired nor revoked, and notes why. For one that is not
// suspended it changes nothing. The Owner returned is as that of RevokeOwner.
func (s *Service) RestoreOwner(ctx context.Context, id, reason string) (Owner, error) {
	return s.decide(ctx, "apikey.RestoreOwner", id, reason, attempts, EventOwnerRestored, func(o *Owner) bool {
		changes := o.Suspended
		o.Suspended, o.SuspendedReason = false, ""
		return changes
	})
}

// decide reads an owner, lets alter change it, and writes it back if alter says
// so, all anew, up to so many tries, when somebody else was faster.
func (s *Service) decide(ctx context.Context, op, id, reason string, tries int, kind EventKind, alter func(*Owner) bool) (Owner, error) {
	faults := errors.Faults{Op: op}
	checkOwner(&faults, id)
	faults.Join(checkReason(op, reason))
	if err := faults.Err(); err != nil {
		return Owner{}, err
	}
	for try := 1; ; try++ {
		was, err := s.store.Owner(ctx, id)
		if err != nil {
			return Owner{}, s.fault(ctx, op, err)
		}
		is := was
		if !alter(&is) {
			s.outdate(Notice{Owner: id})
			return is, nil
		}
		is.ChangedAt = s.clock()
		is.Version++
		event := newEvent(ctx, kind, id, "", is.ChangedAt)
		event.Note = reason
		event.Changes, _ = differences(ownerFields[:], &was, &is)
		err = s.apply(ctx, Change{Owner: &is, Events: []Event{event}})
		if err == nil {
			return is, nil
		}
		if !errors.Is(err, ErrConflict) || try == tries {
			return Owner{}, s.fault(ctx, op, err)
		}
	}
}
