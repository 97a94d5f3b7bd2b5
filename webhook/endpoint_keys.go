package webhook

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// newest returns the key in front; a zero one of none.
func (k Keys) newest() Key {
	if len(k.list) == 0 {
		return Key{}
	}
	return k.list[0]
}

// live reports whether a key is live.
func (k Keys) live(now time.Time) bool {
	return slices.ContainsFunc(k.list, func(k Key) bool { return k.live(now) })
}

// sameKeys reports whether both sets hold the same, in the same order.
func sameKeys(a, b Keys) bool {
	return slices.EqualFunc(a.list, b.list, func(a, b Key) bool {
		return a.ID == b.ID && a.Scheme == b.Scheme && a.Secret.Equal(b.Secret) && a.NotAfter.Equal(b.NotAfter)
	})
}

// checkKeys adds to faults what keeps these keys from signing, together with those
// of the host.
func (s *Sender) checkKeys(faults *errors.Faults, keys Keys) {
	if !keys.live(s.now()) {
		faults.Add("keys: none that is live; give at least one")
	}
	_, err := signerOf(faults.Op, slices.Concat(keys.list, s.courier.keys.list))
	faults.Join(err)
}

// signerOf makes the signer of what goes to an endpoint. Its keys and those of the
// host have to be one set: with too many signatures, or two meanings of one header,
// no receiver could verify anything.
func signerOf(op string, keys []Key) (*Signer, error) {
	all, err := newKeys(op, keys)
	if err != nil {
		return nil, err
	}
	return NewSigner(all)
}

// EndpointKeys returns the keys that sign what goes to an endpoint, newest first,
// expired ones included. Whoever calls it shows the secrets to nobody but the
// endpoint's account.
func (s *Sender) EndpointKeys(ctx context.Context, id string) (Keys, error) {
	const op = "webhook.EndpointKeys"
	e, err := s.Endpoint(ctx, id)
	if err != nil {
		return Keys{}, err
	}
	secrets, err := s.sealer.open(e.ID, e.Sealed)
	if err != nil {
		return Keys{}, errors.Wrap(op, err)
	}
	return secrets.Keys, nil
}

// UpdateKeys lets fn make another set of the keys that sign what goes to an
// endpoint, and returns it: with [Keys.Rotate] to change over to another scheme, or
// with NewKeys. fn does no I/O, and may be called again with keys that somebody else
// has changed; an error of fn's ends the update. The set has to have a live key, and
// every one has to be able to sign, beside those of [SenderOptions.Keys].
func (s *Sender) UpdateKeys(ctx context.Context, id string, fn func(now time.Time, keys Keys) (Keys, error)) (Keys, error) {
	const op = "webhook.UpdateKeys"
	if fn == nil {
		return Keys{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: "fn: nil; give a function that returns keys"}
	}
	return s.updateKeys(ctx, op, id, fn)
}

func (s *Sender) updateKeys(ctx context.Context, op, id string, fn func(now time.Time, keys Keys) (Keys, error)) (Keys, error) {
	var after Keys
	_, err := s.change(ctx, op, id, func(now time.Time, e *Endpoint) error {
		secrets, err := s.sealer.open(e.ID, e.Sealed)
		if err != nil {
			return err
		}
		if after, err = fn(now, secrets.Keys); err != nil {
			return err
		}
		if sameKeys(after, secrets.Keys) {
			return errUnchanged
		}
		faults := errors.Faults{Op: op}
		s.checkKeys(&faults, after)
		if err := faults.Err(); err != nil {
			return err
		}
		secrets.Keys = after
		e.Sealed, err = s.sealer.seal(e.ID, secrets)
		return err
	})
	if err != nil {
		return Keys{}, err
	}
	return after, nil
}

// RotateSecret puts a new key in front of those that sign what goes to an endpoint,
// and returns it. All others end after grace, see [Keys.Rotate]: until then every
// message carries signatures of both, and receivers change over when they like. A
// zero key means a generated secret of the kind and under the scheme of the key that
// is in front. With a Secret, rotating to the key that is in front already does
// nothing, so that it can be called again after an error.
func (s *Sender) RotateSecret(ctx context.Context, id string, key Key, grace time.Duration) (Key, error) {
	const op = "webhook.RotateSecret"
	generate := key.Secret.IsZero()
	if generate && key.Scheme != (Scheme{}) {
		return Key{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: "the key has a scheme and no secret; give both, or neither for the scheme that is in use"}
	}
	keys, err := s.updateKeys(ctx, op, id, func(now time.Time, keys Keys) (Keys, error) {
		front := keys.newest()
		next := key
		if generate {
			secret, err := front.Secret.another()
			if err != nil {
				return Keys{}, err
			}
			next.Secret, next.Scheme = secret, front.Scheme
		}
		alone, err := newKeys(op, []Key{next})
		if err != nil {
			return Keys{}, err
		}
		if next = alone.newest(); next.ID == front.ID && next.Scheme == front.Scheme && next.Secret.Equal(front.Secret) {
			return keys, nil
		}
		if !next.live(now) {
			return Keys{}, &errors.Error{Code: errors.Invalid, Msg: "the key has expired; give one that is live"}
		}
		return keys.Rotate(next, now, grace)
	})
	return keys.newest(), err
}

// another returns a generated secret of the kind of s.
func (s Secret) another() (Secret, error) {
	switch s.Kind() {
	case SecretRaw:
		return SecretFromRaw(GenerateSecret().Reveal())
	case SecretPrivate:
		private, _ := GenerateKeyPair()
		return private, nil
	default:
		return GenerateSecret(), nil
	}
}

// Reseal seals the secrets of all endpoints under the sealing key in front, and
// returns how many it has sealed: those that were under another. Once no process has
// another in front, and it has been called, the others can be left out of
// [NewSender]. It takes a while with many endpoints and
// can be ended and called again. An endpoint that cannot be read does not keep it
// from the others; the error names up to ten.
func (s *Sender) Reseal(ctx context.Context) (int, error) {
	const op = "webhook.Reseal"
	const most = 10
	done := 0
	faults := errors.Faults{Op: op}
	for unread, after := 0, ""; ; {
		page, err := s.Endpoints(ctx, EndpointQuery{After: after, Limit: maxPage})
		if err != nil {
			faults.Join(err)
			return done, faults.Err()
		}
		for i := range page.Endpoints {
			sealed, err := s.reseal(ctx, &page.Endpoints[i])
			switch {
			case sealed:
				done++
			case errors.CodeOf(err) == errors.Corrupt:
				if unread++; unread <= most {
					faults.Join(errors.Wrap(op+": endpoint "+page.Endpoints[i].ID, err))
				}
			case err != nil:
				faults.Join(err)
				return done, faults.Err()
			}
		}
		if after = page.Next; after == "" {
			return done, faults.Err()
		}
	}
}

// reseal seals the secrets of e anew if they are under an old key, and reports
// whether it did. An endpoint that is deleted meanwhile has none.
func (s *Sender) reseal(ctx context.Context, e *Endpoint) (bool, error) {
	if !s.sealer.stale(e.Sealed) {
		return false, nil
	}
	sealed := false
	err := s.store.Change(ctx, e.ID, func(_ time.Time, e *Endpoint) error {
		if sealed = false; e.State == 0 || e.State == EndpointDeleted || !s.sealer.stale(e.Sealed) {
			return errUnchanged
		}
		secrets, err := s.sealer.open(e.ID, e.Sealed)
		if err == nil {
			e.Sealed, err = s.sealer.seal(e.ID, secrets)
		}
		sealed = err == nil
		return err
	})
	if err == nil || errors.Is(err, errUnchanged) {
		return sealed, nil
	}
	return false, errors.Wrap("webhook.Reseal", err)
}
