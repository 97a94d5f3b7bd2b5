package apikey

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of the secrets that are bound to one key.
const (
	MaxSecrets    = 8  // names
	MaxSecretName = 64 // bytes of a name
	MaxOverlap    = 4  // former secrets of one name that have not ended yet
)

// A BoundSecret is a secret that a key has beside its text, under a name such as
// "webhook": 32 random bytes, which the host can read again to sign or to verify
// with. Its Secret redacts itself wherever the whole is printed.
//
// It lives and dies with the key, but is not its text: [Service.Rotate] gives the
// successor secrets of its own, and a new text for the same key leaves them as
// they are, because a text that leaked tells nothing about them.
type BoundSecret struct {
	Name string `json:"name"`
	// Secret is the padded standard base64 of the 32 bytes. Behind "whsec_" it is
	// a secret of the Standard Webhooks specification.
	Secret    Secret    `json:"secret"`
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is the first instant at which a former secret no longer counts; the
	// current one has none.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Bytes returns the 32 bytes in a slice of the caller's own, or nil for the zero
// BoundSecret.
func (b BoundSecret) Bytes() []byte {
	raw, err := base64.StdEncoding.DecodeString(b.Secret.Reveal())
	if err != nil || len(raw) == 0 {
		return nil
	}
	return raw
}

// What is asked of a key's secrets and cannot be had.
var (
	// ErrNoSecret says that the key has no secret with this name.
	ErrNoSecret error = &errors.Error{Code: errors.NotFound, Msg: "the API key has no secret with this name"}
	// ErrSecretExists says that the key has a secret with this name, and that what
	// is wanted may be to rotate it.
	ErrSecretExists error = &errors.Error{Code: errors.Exists, Msg: "the API key has a secret with this name; rotate it"}
	// ErrSecretLimit says that the key holds as many secrets as it can.
	ErrSecretLimit error = &errors.Error{
		Code: errors.Exhausted, Msg: "the API key holds as many secrets as it can; wait until one has ended, or end the former ones with a grace of 0",
	}
)

// OpenSecrets returns the secrets that the key has under name: the current one,
// with which to sign, and then those that [Service.RotateSecret] left a time of
// grace, newest first, with which signatures may still verify, or which a
// receiver may still use.
//
// It answers for keys that [Service.Verify] would accept, and refuses as that
// does, under the code Conflict: [ErrRevoked], [ErrExpired] (of a key that was
// rotated: use the successor's), [ErrDisabled] and [ErrSuspended]. Other errors
// are [ErrNotFound], [ErrNoSecret], and [errors.Corrupt] for what was tampered
// with, moved from another record, or sealed under a key that is not in
// [Options.SealingKeys]. It asks the store at each call.
func (s *Service) OpenSecrets(ctx context.Context, id, name string) ([]BoundSecret, error) {
	const op = "apikey.OpenSecrets"
	rec, err := s.byID(ctx, id)
	if err != nil {
		return nil, s.fault(ctx, op, err)
	}
	now := s.clock()
	if err := openable(op, &rec.Key, now); err != nil {
		return nil, err
	}
	b, err := s.unbind(op, &rec)
	if err != nil {
		return nil, err
	}
	open := b.named(name, now)
	if len(open) == 0 {
		return nil, errors.Wrap(op, ErrNoSecret)
	}
	return open, nil
}

// openable returns nil if k is in use, or why it is not.
func openable(op string, k *Key, now time.Time) error {
	switch k.status(now) {
	case StatusActive:
		return nil
	case StatusDisabled:
		return gone(op, ErrDisabled)
	case StatusSuspended:
		return gone(op, ErrSuspended)
	case StatusExpired, StatusRotated:
		return gone(op, ErrExpired)
	case StatusRevoked:
		return gone(op, ErrRevoked)
	case StatusDeleted:
		return errors.Wrap(op, errTombstone)
	}
	return errors.Wrap(op, errCorruptState)
}

// RotateSecret gives the key a new secret under name, which is shown this once.
// Former secrets under the name are opened until grace is over, or their own end
// if that is earlier; a grace of 0 ends them all at once, as after a leak. The
// key itself stays as it is. What the record seals is sealed anew under the
// current sealing key. Where an error left it open whether the secret was
// rotated, rotate again.
//
// Refused are a key that is deleted ([ErrNotFound]), revoked ([ErrRevoked], code
// Conflict) or expired ([ErrExpired], code Conflict), a name that it does not
// have ([ErrNoSecret]), a grace that would leave more than [MaxOverlap] former
// secrets ([ErrSecretLimit]), and a negative grace ([errors.Invalid]).
func (s *Service) RotateSecret(ctx context.Context, id, name string, grace time.Duration) (BoundSecret, error) {
	const op = "apikey.RotateSecret"
	if grace < 0 {
		return BoundSecret{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: "grace is " + grace.String() + "; give 0 to end the old secret at once, or more"}
	}
	tries := attempts
	if grace == 0 {
		tries = insistence
	}
	return s.rebind(ctx, op, id, tries, EventSecretRotated, name, func(b binding, now time.Time) (time.Time, error) {
		if !slices.Contains(b.names(), name) {
			return time.Time{}, errors.Wrap(op, ErrNoSecret)
		}
		return toMicros(now.Add(grace)), nil
	})
}

// AddSecret gives a key that was made without it a secret under name, a new one,
// which is shown this once. It refuses as [Service.RotateSecret] does; a name
// that the key has is [ErrSecretExists], and more than [MaxSecrets] names are
// [ErrSecretLimit].
func (s *Service) AddSecret(ctx context.Context, id, name string) (BoundSecret, error) {
	const op = "apikey.AddSecret"
	faults := errors.Faults{Op: op}
	s.checkSecrets(&faults, []string{name})
	if err := faults.Err(); err != nil {
		return BoundSecret{}, err
	}
	return s.rebind(ctx, op, id, attempts, EventSecretAdded, name, func(b binding, now time.Time) (time.Time, error) {
		switch names := b.names(); {
		case slices.Contains(names, name):
			return time.Time{}, errors.Wrap(op, ErrSecretExists)
		case len(names) == MaxSecrets:
			return time.Time{}, errors.Wrap(op, ErrSecretLimit)
		}
		return now, nil
	})
}

// Reseal seals the key's secrets under the current sealing key, and reports
// whether they were not: a retired sealing key is needed until every key that is
// listed was given to Reseal. Keys without secrets are left as they are, and
// tombstones are [ErrNotFound]. Nothing changes but the seal, so no event tells
// of it.
func (s *Service) Reseal(ctx context.Context, id string) (bool, error) {
	const op = "apikey.Reseal"
	resealed := false
	_, err := s.change(ctx, op, id, attempts, func(d *draft) (bool, error) {
		if resealed = s.sealer.Stale(d.Sealed); !resealed {
			return false, nil
		}
		b, err := s.unbind(op, &d.Record)
		if err != nil {
			return false, err
		}
		return true, s.seal(op, &d.Record, b)
	})
	return resealed && err == nil, err
}

// rebind gives a key a new secret under name, with an event of that kind. End,
// told what the key has, says when those before it end at the latest.
func (s *Service) rebind(
	ctx context.Context, op, id string, tries int, kind EventKind, name string, end func(binding, time.Time) (time.Time, error),
) (BoundSecret, error) {
	var made BoundSecret
	_, err := s.change(ctx, op, id, tries, func(d *draft) (bool, error) {
		if err := changeable(op, &d.Key, d.now); err != nil {
			return false, err
		}
		b, err := s.unbind(op, &d.Record)
		if err != nil {
			return false, err
		}
		at, err := end(b, d.now)
		if err != nil {
			return false, err
		}
		if made, err = s.freshen(op, &b, name, d.now, at); err != nil {
			return false, err
		}
		d.kind, d.note = kind, name
		return true, s.seal(op, &d.Record, b)
	})
	if err != nil {
		return BoundSecret{}, err
	}
	return made, nil
}

// changeable returns nil if the secrets of k may still change.
func changeable(op string, k *Key, now time.Time) error {
	switch {
	case k.State == StateRevoked:
		return gone(op, ErrRevoked)
	case k.Expired(now):
		return gone(op, ErrExpired)
	case k.State != StateActive && k.State != StateDisabled:
		return errors.Wrap(op, errCorruptState)
	}
	return nil
}

// CheckSecrets reports everything for which [Service.Create] would not make a key
// with secrets of these names, a lack of [Options.SealingKeys] among it: for whoever
// configures names that keys are made with later.
func (s *Service) CheckSecrets(names []string) error {
	faults := errors.Faults{Op: "apikey.CheckSecrets"}
	s.checkSecrets(&faults, names)
	return faults.Err()
}

// checkSecrets adds what is wrong with names that a key shall have.
func (s *Service) checkSecrets(faults *errors.Faults, names []string) {
	if len(names) > 0 && s.sealer.Empty() {
		faults.Join(errNoSealingKey)
	}
	if len(names) > MaxSecrets {
		faults.Add("secrets has %d names; give %d or less", len(names), MaxSecrets)
		return
	}
	for i, name := range names {
		switch {
		case name == "" || !plain(name, MaxSecretName):
			faults.Add("secrets[%d] is %q; give 1 to %d bytes of UTF-8 without control characters", i, clip(name), MaxSecretName)
		case slices.Contains(names[:i], name):
			faults.Add("secrets[%d] is %q for the second time; give each name once", i, name)
		}
	}
}

// freshen gives b a new secret under name; those before it end at end or earlier.
func (s *Service) freshen(op string, b *binding, name string, now, end time.Time) (BoundSecret, error) {
	fresh := bound{name: name, created: now}
	source := s.rand
	if source == nil {
		source = rand.Reader
	}
	if _, err := io.ReadFull(source, fresh.secret[:]); err != nil {
		return BoundSecret{}, &errors.Error{Code: errors.Unavailable, Op: op, Msg: "the source of randomness failed", Err: err}
	}
	if err := b.rotate(fresh, end); err != nil {
		return BoundSecret{}, errors.Wrap(op, err)
	}
	return fresh.open(), nil
}

// bind makes secrets for a record that is about to be inserted, in the order of
// names, and seals them in it.
func (s *Service) bind(op string, rec *Record, names []string) ([]BoundSecret, error) {
	rec.Sealed = nil
	if len(names) == 0 {
		return nil, nil
	}
	var b binding
	made := make([]BoundSecret, len(names))
	for i, name := range names {
		var err error
		if made[i], err = s.freshen(op, &b, name, rec.Key.CreatedAt, rec.Key.CreatedAt); err != nil {
			return nil, err
		}
	}
	return made, s.seal(op, rec, b)
}

// boundNames returns the names under which a record's successor, or a copy of
// it, gets secrets of its own.
func (s *Service) boundNames(op string, rec *Record) ([]string, error) {
	b, err := s.unbind(op, rec)
	return b.names(), err
}

// rebound makes secrets for the heir of a record, under the same names.
func (s *Service) rebound(op string, old, heir *Record) ([]BoundSecret, error) {
	names, err := s.boundNames(op, old)
	if err != nil {
		return nil, err
	}
	return s.bind(op, heir, names)
}

// seal brings b into a record.
func (s *Service) seal(op string, rec *Record, b binding) error {
	text := b.text()
	defer clear(text)
	sealed, err := s.sealer.Seal(rec.Key.ID, text)
	if err != nil {
		return sealFault(op, err)
	}
	rec.Sealed = sealed
	return nil
}

// unbind reads what a record seals; nothing where it seals nothing.
func (s *Service) unbind(op string, rec *Record) (binding, error) {
	if len(rec.Sealed) == 0 {
		return nil, nil
	}
	text, err := s.sealer.Open(rec.Key.ID, rec.Sealed)
	if err != nil {
		return nil, sealFault(op, err)
	}
	defer clear(text)
	b, err := readBinding(text)
	if err != nil {
		return nil, errors.Wrap(op, err)
	}
	return b, nil
}
