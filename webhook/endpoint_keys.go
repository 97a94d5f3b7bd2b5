package webhook

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// newest returns the key in front.
func (x *endpointSecrets) newest() Key {
	for k := range x.Keys.All() {
		return k
	}
	return Key{}
}

// live reports whether a key is live.
func (x *endpointSecrets) live(now time.Time) bool {
	for k := range x.Keys.All() {
		if k.live(now) {
			return true
		}
	}
	return false
}

func sameKeys(a, b Keys) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i, k := range a.list {
		if !sameKey(k, b.list[i]) || !k.NotAfter.Equal(b.list[i].NotAfter) {
			return false
		}
	}
	return true
}

func sameKey(a, b Key) bool { return a.ID == b.ID && a.Secret.Equal(b.Secret) }

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

// RotateSecret puts a new key in front of those that sign what goes to an endpoint,
// and returns it. The others end after grace, see [Keys.Rotate]: until then every
// message carries signatures of both, and receivers change over when they like. A
// key without a Secret gets a generated one. With a Secret, rotating to the key that
// is in front already does nothing, so that it can be called again after an error.
func (s *Sender) RotateSecret(ctx context.Context, id string, key Key, grace time.Duration) (Key, error) {
	const op = "webhook.RotateSecret"
	if key.Secret.IsZero() {
		key.Secret = GenerateSecret()
	}
	var front Key
	_, err := s.change(ctx, op, id, func(now time.Time, e *Endpoint) error {
		secrets, err := s.sealer.open(e.ID, e.Sealed)
		if err != nil {
			return err
		}
		if front = secrets.newest(); front.Secret.Equal(key.Secret) && (key.ID == "" || key.ID == front.ID) {
			return errUnchanged
		}
		if !key.live(now) {
			return &errors.Error{Code: errors.Invalid, Msg: "the key has expired; give one that is live"}
		}
		if secrets.Keys, err = secrets.Keys.Rotate(key, now, grace); err != nil {
			return err
		}
		front = secrets.newest()
		e.Sealed, err = s.sealer.seal(e.ID, secrets)
		return err
	})
	if err != nil {
		return Key{}, err
	}
	return front, nil
}

// Reseal seals the secrets of all endpoints under the sealing key in front, and
// returns how many it has sealed: those that were under another. Afterwards the
// other keys can be left out of NewSender. It takes a while with many endpoints and
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
