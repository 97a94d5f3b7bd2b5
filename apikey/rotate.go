package apikey

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Rotate makes a successor of a key, for its holder to change over to without
// downtime: both work until grace is over, 0 ending the old key at once. The old key
// ends at the earlier of its own expiry and now plus grace, and never later than it
// would have. The successor has an ID and a text of its own, is created now and not
// yet used, and inherits all else: the name, the state, the expiry and the Meter
// too; secrets bound to the old key have fresh ones of the same names beside them,
// bound to the successor. No [Policy] is asked: of the two the successor alone
// counts, so bound a grace that users may choose, or by rotating again and again
// they have more keys that work than the policy allows. One key has one successor:
// of concurrent rotations one succeeds. Where an error left it open whether the key
// was rotated, Key.Successor tells, and the successor, whose text nobody saw, can be
// rotated in turn.
//
// Refused are a key that was rotated before ([ErrRotated]), revoked
// ([ErrRevoked], code Conflict), expired ([ErrExpired], code Conflict) or
// deleted ([ErrNotFound]), and a negative grace ([errors.Invalid]).
func (s *Service) Rotate(ctx context.Context, id string, grace time.Duration) (Issued, error) {
	const op = "apikey.Rotate"
	if grace < 0 {
		return Issued{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: "grace is " + grace.String() + "; give 0 to end the old key at once, or more"}
	}
	tries := attempts
	if grace == 0 {
		tries = insistence
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
		change, issued, err := s.succession(ctx, op, old, now, grace)
		if err != nil {
			return Issued{}, err
		}
		err = s.apply(ctx, change)
		switch {
		case err == nil:
			return issued, nil
		case !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) || try == tries:
			return Issued{}, s.fault(ctx, op, err)
		}
	}
}

// succession returns the change that makes a successor of old and lets old end,
// and the successor.
func (s *Service) succession(ctx context.Context, op string, old Record, now time.Time, grace time.Duration) (Change, Issued, error) {
	id, err := randomText(s.rand, base62, idLength)
	if err != nil {
		return Change{}, Issued{}, errors.Wrap(op, err)
	}
	// The epoch is the old key's: what revokes the owner's keys while this goes on
	// revokes the successor too. The end is the same, so what was said of it stands.
	heir := Record{Key: old.Key, Label: old.Label, Epoch: old.Epoch, Reminded: Reminded{Expiry: old.Reminded.Expiry}}
	heir.Key.ID, heir.Key.Predecessor = "key_"+id, old.Key.ID
	heir.Key.CreatedAt, heir.Key.SecretAt, heir.Key.LastUsedAt, heir.Key.Version = now, now, time.Time{}, 1
	secret, err := s.mint(op, &heir)
	if err != nil {
		return Change{}, Issued{}, err
	}
	secrets, err := s.rebound(op, &old, &heir)
	if err != nil {
		return Change{}, Issued{}, err
	}
	past := old
	past.Label, past.Key.Successor = "", heir.Key.ID
	past.Key.Version++
	if end := toMicros(now.Add(grace)); !later(end, old.Key.ExpiresAt) || old.Key.ExpiresAt.IsZero() {
		past.Key.ExpiresAt = end
	}
	events := keyEvents(ctx, EventRotated, "", &old.Key, &past.Key, now)
	return Change{
		Update: []Record{past}, Insert: []Record{heir},
		Events: append(events, keyEvents(ctx, EventCreated, "", new(Key), &heir.Key, now)...),
	}, Issued{Key: heir.Key, Secret: secret, Secrets: secrets}, nil
}

// Regenerate gives a key a new text, and the old one is unknown at once. All else
// stays: ID, name, state, expiry, Meter and the secrets bound to the key, about
// which a text that leaked tells nothing. It works at any number of keys, and
// what the text was proven by before, an import too, is gone. Where an error left
// it open whether the key has a new text, regenerate it again.
//
// Refused are a key that was rotated ([ErrRotated]: regenerate its successor),
// revoked ([ErrRevoked], code Conflict), expired ([ErrExpired], code Conflict) or
// deleted ([ErrNotFound]).
func (s *Service) Regenerate(ctx context.Context, id string) (Issued, error) {
	const op = "apikey.Regenerate"
	var secret Secret
	key, err := s.change(ctx, op, id, insistence, func(d *draft) (bool, error) {
		err := rotatable(op, &d.Key, d.now)
		if err != nil {
			return false, err
		}
		d.Key.SecretAt, d.Reminded.Age, d.kind = d.now, 0, EventRegenerated
		if secret, err = s.mint(op, &d.Record); err == nil && d.Handle == d.was.Handle {
			// The store would take it, and the old text would go on working.
			err = &errors.Error{Code: errors.Unavailable, Op: op, Msg: "the source of randomness repeats itself; the API key stays as it is"}
		}
		return true, err
	})
	if err != nil {
		return Issued{}, err
	}
	return Issued{Key: key, Secret: secret}, nil
}

// rotatable refuses keys that no other text or key can take the place of.
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
