package apikey

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Update changes a key and returns it as it is afterwards. Refused are deleted
// keys ([ErrNotFound]), revoked ones ([ErrRevoked], code Conflict), a later
// expiry for a rotated one ([ErrRotated]), and a version that has moved on
// ([ErrConflict]). An expired key may be given a later end and then works
// again. Changes that change nothing write nothing.
func (s *Service) Update(ctx context.Context, id string, changes Changes) (Key, error) {
	const op = "apikey.Update"
	if err := changes.check(s.clock()); err != nil {
		return Key{}, err
	}
	return s.change(ctx, op, id, attempts, func(rec *Record) (bool, error) {
		k := &rec.Key
		switch {
		case k.State == StateRevoked:
			return false, gone(op, ErrRevoked)
		case changes.Version != 0 && changes.Version != k.Version:
			return false, errors.Wrap(op, ErrConflict)
		case changes.ExpiresAt != nil && k.Successor != "" &&
			(changes.ExpiresAt.IsZero() || changes.ExpiresAt.After(k.ExpiresAt)):
			return false, &errors.Error{Code: errors.Conflict, Op: op, Msg: "a rotated key can only end earlier", Err: ErrRotated}
		}
		return changes.apply(k), nil
	})
}

// Disable switches a key off until [Service.Enable]. Disabling a disabled key
// changes nothing; a revoked one is [ErrRevoked], code Conflict.
func (s *Service) Disable(ctx context.Context, id string) (Key, error) {
	return s.turn(ctx, "apikey.Disable", id, insistence, StateDisabled)
}

// Enable switches a disabled key on again. Enabling an active key changes
// nothing; a revoked one is [ErrRevoked], code Conflict. An expired key stays
// expired.
func (s *Service) Enable(ctx context.Context, id string) (Key, error) {
	return s.turn(ctx, "apikey.Enable", id, attempts, StateActive)
}

func (s *Service) turn(ctx context.Context, op, id string, tries int, to State) (Key, error) {
	return s.change(ctx, op, id, tries, func(rec *Record) (bool, error) {
		switch rec.Key.State {
		case to:
			return false, nil
		case StateActive, StateDisabled:
			rec.Key.State = to
			return true, nil
		case StateRevoked:
			return false, gone(op, ErrRevoked)
		}
		return false, errors.Wrap(op, errCorruptState)
	})
}

// Revoke switches a key off for good, whatever its state, and notes why: up to
// [MaxReason] bytes of UTF-8 without control characters, or "". The key stays
// in listings and its holder is told that it was revoked. Revoking it again
// changes nothing: the first reason stays.
func (s *Service) Revoke(ctx context.Context, id, reason string) (Key, error) {
	const op = "apikey.Revoke"
	if !plain(reason, MaxReason) {
		return Key{}, &errors.Error{
			Code: errors.Invalid, Op: op,
			Msg: "reason " + quote(clip(reason)) + ": give at most " + itoa(MaxReason) + " bytes of UTF-8 without control characters",
		}
	}
	return s.change(ctx, op, id, insistence, func(rec *Record) (bool, error) {
		if rec.Key.State == StateRevoked {
			return false, nil
		}
		rec.Key.State, rec.Key.RevokedReason = StateRevoked, reason
		return true, nil
	})
}

// Delete makes a key a tombstone: its digest is wiped, its text is unknown from
// now on, and listings leave it out unless they ask for it. The ID, and what
// was noted on the key, stay for ledgers and logs. Deleting it again changes
// nothing.
func (s *Service) Delete(ctx context.Context, id string) error {
	const op = "apikey.Delete"
	_, err := s.change(ctx, op, id, insistence, func(rec *Record) (bool, error) {
		rec.Key.State, rec.Digest, rec.Imported = StateDeleted, Digest{}, Imported{}
		return true, nil
	})
	if errors.Is(err, errTombstone) {
		return nil
	}
	return err
}

// Rotate makes a successor of a key, for its holder to change over to without
// downtime: both work until grace is over, 0 ending the old key at once. The
// old key ends at the earlier of its own expiry and now plus grace, and never
// later than it would have. The successor has an ID and a text of its own, is
// created now and not yet used, and inherits all else: the state, the expiry and
// the Meter too. One key has one successor: of concurrent rotations one succeeds.
// Where an error left it open whether the key was rotated, Key.Successor tells,
// and the successor, whose text nobody saw, can be rotated in turn.
//
// Refused are a key that was rotated before ([ErrRotated]), revoked
// ([ErrRevoked], code Conflict), expired ([ErrExpired], code Conflict) or
// deleted ([ErrNotFound]), and a negative grace ([errors.Invalid]).
func (s *Service) Rotate(ctx context.Context, id string, grace time.Duration) (Issued, error) {
	const op = "apikey.Rotate"
	if grace < 0 {
		return Issued{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: "grace is " + grace.String() + "; give 0 to end the old key at once, or more"}
	}
	for try := 1; ; try++ {
		old, err := s.byID(ctx, id)
		if err != nil {
			return Issued{}, s.fault(ctx, op, err)
		}
		now := s.clock()
		if err := rotatable(op, &old.Key, now); err != nil {
			return Issued{}, err
		}
		heir := old.Key
		heir.Predecessor, heir.CreatedAt, heir.SecretAt, heir.LastUsedAt, heir.Version = old.Key.ID, now, now, time.Time{}, 1
		if end := toMicros(now.Add(grace)); old.Key.ExpiresAt.IsZero() || end.Before(old.Key.ExpiresAt) {
			old.Key.ExpiresAt = end
		}
		old.Key.Version++
		issued, err := s.insert(ctx, op, heir, func(successor string) Record {
			old.Key.Successor = successor
			return old
		})
		if !errors.Is(err, ErrConflict) || try == attempts {
			return issued, err
		}
	}
}

func rotatable(op string, k *Key, now time.Time) error {
	switch {
	case k.State == StateDeleted:
		return errors.Wrap(op, errTombstone)
	case k.State == StateRevoked:
		return gone(op, ErrRevoked)
	case k.Successor != "":
		return errors.Wrap(op, ErrRotated)
	case k.Expired(now):
		return gone(op, ErrExpired)
	case k.State != StateActive && k.State != StateDisabled:
		return errors.Wrap(op, errCorruptState)
	}
	return nil
}

// gone says that a key's end forbids what was asked: a conflict here, where the
// same sentinel refuses the key's holder in Verify.
func gone(op string, why error) error {
	return &errors.Error{Code: errors.Conflict, Op: op, Err: why}
}

// change reads a key, lets alter change it, and writes it back if alter says
// so, all anew, up to so many tries, when somebody else was faster: alter judges
// the key as it is each time. Tombstones are not found: errTombstone.
func (s *Service) change(ctx context.Context, op, id string, tries int, alter func(*Record) (bool, error)) (Key, error) {
	for try := 1; ; try++ {
		rec, err := s.byID(ctx, id)
		if err == nil && rec.Key.State == StateDeleted {
			err = errTombstone
		}
		if err != nil {
			return Key{}, s.fault(ctx, op, err)
		}
		write, err := alter(&rec)
		if err != nil {
			return Key{}, err
		}
		if write {
			rec.Key.Version++
			err = s.apply(ctx, Change{Update: []Record{rec}, Notices: []Notice{{Handle: rec.Handle}}})
		}
		if err == nil {
			s.uses.overlay(&rec.Key)
			return rec.Key, nil
		}
		if !errors.Is(err, ErrConflict) || try == tries {
			return Key{}, s.fault(ctx, op, err)
		}
	}
}
