package apikey

import (
	"context"

	"github.com/keytoll/keytoll/errors"
)

// Update changes a key and returns it as it is afterwards. Refused are deleted
// keys ([ErrNotFound]), revoked ones ([ErrRevoked], code Conflict), a later
// expiry for a rotated one ([ErrRotated]), a version that has moved on
// ([ErrConflict]), and what the owner's [Policy] does not allow, with the errors
// of [Service.Create]. An expired key may be given a later end and then works
// again, if there is room for it. Changes that change nothing write nothing.
func (s *Service) Update(ctx context.Context, id string, changes Changes) (Key, error) {
	const op = "apikey.Update"
	if err := changes.check(op, s.clock()); err != nil {
		return Key{}, err
	}
	return s.change(ctx, op, id, changes.tries(), func(d *draft) (bool, error) {
		k := &d.Key
		switch {
		case k.State == StateRevoked:
			return false, gone(op, ErrRevoked)
		case changes.Version != 0 && changes.Version != k.Version:
			return false, errors.Wrap(op, ErrConflict)
		case changes.ExpiresAt != nil && k.Successor != "" &&
			(changes.ExpiresAt.IsZero() || changes.ExpiresAt.After(k.ExpiresAt)):
			return false, &errors.Error{Code: errors.Conflict, Op: op, Msg: "a rotated key can only end earlier", Err: ErrRotated}
		}
		if !changes.apply(k) {
			return false, nil
		}
		if !k.ExpiresAt.Equal(d.was.Key.ExpiresAt) {
			d.Reminded.Expiry = 0
		}
		if err := s.checkGrant(op, d.was.Key.Scopes, k.Scopes); err != nil {
			return false, err
		}
		err := s.govern(ctx, op, d)
		return !k.Equal(d.was.Key), err
	})
}

// Disable switches a key off until [Service.Enable]. Disabling a disabled key
// changes nothing; a revoked one is [ErrRevoked], code Conflict.
func (s *Service) Disable(ctx context.Context, id string) (Key, error) {
	return s.turn(ctx, "apikey.Disable", id, insistence, StateDisabled, EventDisabled)
}

// Enable switches a disabled key on again, if the owner's [Policy] has room for it
// ([ErrKeyLimit]). Enabling an active key changes nothing; a revoked one is
// [ErrRevoked], code Conflict. An expired key stays expired.
func (s *Service) Enable(ctx context.Context, id string) (Key, error) {
	return s.turn(ctx, "apikey.Enable", id, attempts, StateActive, EventEnabled)
}

func (s *Service) turn(ctx context.Context, op, id string, tries int, to State, kind EventKind) (Key, error) {
	return s.change(ctx, op, id, tries, func(d *draft) (bool, error) {
		switch d.Key.State {
		case to:
			return false, nil
		case StateActive, StateDisabled:
			d.Key.State, d.kind = to, kind
			return true, s.govern(ctx, op, d)
		case StateRevoked:
			return false, gone(op, ErrRevoked)
		}
		return false, errors.Wrap(op, errCorruptState)
	})
}

// Revoke switches a key off for good, whatever its state, and notes why: up to
// [MaxReason] bytes of UTF-8 without control characters, or "". The key stays in
// listings and its holder is told that it was revoked. Its name is free for another,
// and the secrets bound to it are wiped. Revoking it again changes nothing: the
// first reason stays.
func (s *Service) Revoke(ctx context.Context, id, reason string) (Key, error) {
	const op = "apikey.Revoke"
	if err := checkReason(op, reason); err != nil {
		return Key{}, err
	}
	return s.change(ctx, op, id, insistence, func(d *draft) (bool, error) { return d.revoke(reason), nil })
}

func (d *draft) revoke(reason string) bool {
	if d.Key.State == StateRevoked {
		return false
	}
	d.Key.State, d.Key.RevokedReason, d.Label, d.Sealed = StateRevoked, reason, "", nil
	d.kind, d.note = EventRevoked, reason
	return true
}

// RevokeSelf revokes the key whose text is token, for whoever holds it: to hold a
// key suffices to end it, whatever its state, from anywhere, without another
// right. It is otherwise as [Service.Revoke], and refuses as [Service.Identify].
// The event's Actor, where ctx has none, is the key.
func (s *Service) RevokeSelf(ctx context.Context, token, reason string) (Key, error) {
	const op = "apikey.RevokeSelf"
	if err := checkReason(op, reason); err != nil {
		return Key{}, err
	}
	proven, err := s.identify(ctx, op, token)
	if err != nil {
		return Key{}, err
	}
	if ActorFrom(ctx).ID == "" {
		ctx = WithActor(ctx, Actor{ID: proven.Key.ID, IP: ActorFrom(ctx).IP})
	}
	return s.change(ctx, op, proven.Key.ID, insistence, func(d *draft) (bool, error) {
		if d.Handle != proven.Handle { // regenerated since
			return false, errors.Wrap(op, ErrUnknown)
		}
		return d.revoke(reason), nil
	})
}

// Delete makes a key a tombstone: its digest and the secrets bound to it are wiped,
// its text is unknown from now on, its name is free, and listings leave it out
// unless they ask for it. The ID, and what was noted on the key, stay for ledgers
// and logs. Deleting it again changes nothing.
//
// There is no way back, and the holder is told no more than of a key that never
// was: [Service.Revoke] is kinder. To ask a person for confirmation is the host's,
// before the call.
func (s *Service) Delete(ctx context.Context, id string) error {
	const op = "apikey.Delete"
	_, err := s.change(ctx, op, id, insistence, func(d *draft) (bool, error) {
		d.Key.State, d.Digest, d.Imported, d.Sealed, d.Label = StateDeleted, Digest{}, Imported{}, nil, ""
		d.kind = EventDeleted
		return true, nil
	})
	if errors.Is(err, errTombstone) {
		return nil
	}
	return err
}

// gone says that a key's end forbids what was asked: a conflict here, where the
// same sentinel refuses the key's holder in Verify.
func gone(op string, why error) error {
	return &errors.Error{Code: errors.Conflict, Op: op, Err: why}
}

func checkReason(op, reason string) error {
	if plain(reason, MaxReason) {
		return nil
	}
	return &errors.Error{
		Code: errors.Invalid, Op: op,
		Msg: "reason " + quote(clip(reason)) + ": give at most " + itoa(MaxReason) + " bytes of UTF-8 without control characters",
	}
}
