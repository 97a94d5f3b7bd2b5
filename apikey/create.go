package apikey

import (
	"context"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Issued is a new key with its secret, which can never be read again.
type Issued struct {
	Key    Key
	Secret Secret
	// Replayed says that an earlier create with the same request ID made this key.
	// Secret is then zero, and Secrets is nil: they were in the answer to that one.
	Replayed bool
	// Secrets are fresh ones bound to the key, in the order of [Spec.Secrets].
	Secrets []BoundSecret
}

// Create makes a key. With a request ID it makes one key, however often and
// from wherever it is asked: see [Spec.RequestID].
//
// The error is [errors.Invalid], with every fault of spec; [ErrIntent]; what the
// owner's [Policy] refuses ([ErrMayNotCreate], [ErrKeyLimit], [ErrNameTaken],
// scopes.ErrUnknown, scopes.ErrPlan); or [errors.Unavailable] where the
// random source, the policy or the store failed, or that of ctx. A key that a
// failing store made nonetheless has a secret that nobody knows, and shows in
// listings, to be deleted; with a request ID, asking again finds it.
func (s *Service) Create(ctx context.Context, spec Spec) (Issued, error) {
	const op = "apikey.Create"
	now := s.clock()
	rec := Record{}
	if spec.RequestID != "" {
		rec.Key.ID, rec.Intent = spec.KeyID(), spec.intent()
		if found, err := s.replay(ctx, op, &rec); err != nil || found.Replayed {
			return found, err
		}
	}
	if err := s.checkSpec(op, s.format, &spec, now); err != nil {
		return Issued{}, err
	}
	id := rec.Key.ID
	rec.Key = Key{
		ID: id, Owner: spec.Owner, Name: spec.Name, Environment: spec.Environment,
		Scopes: spec.Scopes, Metadata: spec.Metadata, Settings: spec.Settings, Networks: spec.Networks,
		CreatedAt: now, SecretAt: now, ExpiresAt: spec.ExpiresAt, State: StateActive, Version: 1,
	}
	return s.grant(ctx, op, rec, spec.Secrets, nil)
}

const (
	// attempts is how often a change is tried when somebody else is faster each
	// time, or an ID turns out to be taken.
	attempts = 16
	// insistence is the same for what takes a key out of service: whoever holds
	// the key, and may rename it as fast as the store goes, must not outlast that.
	insistence = 1000
)

// grant makes a key that did not exist, with secrets of these names, as far as the
// owner's policy allows it: a copy of source, unless nil, or one from nothing. A key
// that has an ID already was asked for with a request ID.
func (s *Service) grant(ctx context.Context, op string, rec Record, names []string, source *Key) (Issued, error) {
	had := Key{}
	if source != nil {
		had.Scopes = source.Scopes
	}
	d := draft{Record: rec, now: rec.Key.CreatedAt, kind: EventCreated}
	if err := s.checkGrant(op, had.Scopes, d.Key.Scopes); err != nil {
		return Issued{}, err
	}
	if err := s.govern(ctx, op, &d); err != nil {
		return Issued{}, err
	}
	request := rec.Key.ID != ""
	for try := 1; ; try++ {
		if !request {
			id, err := randomText(s.rand, base62, idLength)
			if err != nil {
				return Issued{}, errors.Wrap(op, err)
			}
			d.Key.ID = "key_" + id
		}
		d.Key.Meter = d.Key.ID
		secret, err := s.mint(op, &d.Record)
		if err != nil {
			return Issued{}, err
		}
		secrets, err := s.bind(op, &d.Record, names)
		if err != nil {
			return Issued{}, err
		}
		err = s.apply(ctx, Change{
			Insert: []Record{d.Record}, Cap: d.cap,
			Events: keyEvents(ctx, d.kind, d.note, new(Key), &d.Key, d.now),
		})
		switch {
		case err == nil:
			return Issued{Key: d.Key, Secret: secret, Secrets: secrets}, nil
		case request && (errors.Is(err, ErrExists) || errors.Is(err, ErrNameTaken) || errors.Is(err, ErrKeyLimit)):
			// The same request, made at the same time, may be what stands in the way.
			if found, fault := s.replay(ctx, op, &d.Record); fault != nil || found.Replayed {
				return found, fault
			}
		}
		if !errors.Is(err, ErrExists) || try == attempts {
			return Issued{}, s.refusal(ctx, op, err, &d)
		}
	}
}

// mint gives rec a new text of its environment: handle, digest, and what may be
// shown of it. A key of a former format stays in one while the present format
// lacks its environment.
func (s *Service) mint(op string, rec *Record) (Secret, error) {
	format := s.format
	for _, f := range s.formats {
		if _, ok := f.head(rec.Key.Environment); ok {
			format = f
			break
		}
	}
	secret, err := format.Generate(rec.Key.Environment, s.rand)
	if err != nil {
		return Secret{}, errors.Wrap(op, err)
	}
	token := secret.Reveal()
	parts, err := format.Parse(token)
	if err != nil {
		return Secret{}, errors.Wrap(op, err)
	}
	rec.Handle, rec.Digest, rec.Imported = strings.Clone(s.handle(token, parts)), s.ring.digest(token), Imported{}
	rec.Key.Start, rec.Key.Last4 = format.display(token)
	return secret, nil
}

// replay returns the key that the request of rec made before, with Replayed set,
// or nothing and no error when it made none.
func (s *Service) replay(ctx context.Context, op string, rec *Record) (Issued, error) {
	made, err := s.byID(ctx, rec.Key.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return Issued{}, nil
	case err != nil:
		return Issued{}, s.fault(ctx, op, err)
	case made.Intent != rec.Intent:
		return Issued{}, errors.Wrap(op, ErrIntent)
	case made.Key.State == StateDeleted:
		return Issued{}, errors.Wrap(op, errTombstone)
	}
	s.uses.overlay(&made.Key)
	return Issued{Key: made.Key, Replayed: true}, nil
}

// Clone makes a new key like an existing one, with changes, such as a name of its
// own: same owner, environment, state, scopes, metadata, settings, networks and
// expiry, but a text, an ID, a Meter, and bound secrets of the same names of its
// own. The two live apart from then
// on, except that [Service.RevokeOwner] revokes both.
//
// A clone is a new key to the owner's [Policy], which refuses as in
// [Service.Create]; scopes that the original has and no registry knows pass.
// Refused are also an original that was rotated ([ErrRotated]: clone its
// successor), revoked ([ErrRevoked], code Conflict) or deleted ([ErrNotFound]),
// one that is expired, unless the changes bring another end ([ErrExpired], code
// Conflict), and a version that has moved on ([ErrConflict]).
func (s *Service) Clone(ctx context.Context, id string, changes Changes) (Issued, error) {
	const op = "apikey.Clone"
	now := s.clock()
	if err := changes.check(op, now); err != nil {
		return Issued{}, err
	}
	rec, err := s.byID(ctx, id)
	if err != nil {
		return Issued{}, s.fault(ctx, op, err)
	}
	names, err := s.boundNames(op, &rec)
	if err != nil {
		return Issued{}, err
	}
	source := rec.Key
	if changes.Version != 0 && changes.Version != source.Version {
		return Issued{}, errors.Wrap(op, ErrConflict)
	}
	key := source
	changes.apply(&key)
	if err := rotatable(op, &key, now); err != nil {
		return Issued{}, err
	}
	key.ID, key.Predecessor, key.CreatedAt, key.SecretAt, key.LastUsedAt, key.Version = "", "", now, now, time.Time{}, 1
	// The epoch is the original's: what revokes the owner's keys while this goes on
	// revokes the clone too.
	return s.grant(ctx, op, Record{Key: key, Epoch: rec.Epoch, Owner: rec.Owner}, names, &source)
}
