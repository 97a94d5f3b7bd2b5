package apikey

import (
	"context"
	"fmt"

	"github.com/keytoll/keytoll/errors"
)

// ErrUnprovable is an [ErrUnknown] that may be wrong: there was a key with this
// handle, and what proved its text is gone, with the key's deletion or its
// pepper's end.
var ErrUnprovable error = &errors.Error{Err: ErrUnknown}

func unprovable(cause string) error {
	return errors.Wrap("apikey.Verify", fmt.Errorf("%w: %s", ErrUnprovable, cause))
}

// Identify proves token and returns its key, whatever the state of the key: one
// that is disabled, expired, revoked or suspended too. It is for what is done
// with keys, such as their holder giving one up, and admits nobody: that is
// [Service.Verify].
//
// It always asks the store, and notes no use. It refuses with [ErrMalformed],
// without asking the store, and with [ErrUnknown]; a key that was deleted, or
// whose pepper is gone, is [ErrUnprovable]. The key returned with an error is
// empty.
func (s *Service) Identify(ctx context.Context, token string) (Key, error) {
	rec, err := s.identify(ctx, "apikey.Identify", token)
	if err != nil {
		return Key{}, err
	}
	s.uses.overlay(&rec.Key)
	return rec.Key, nil
}

// identify returns the record whose text token is, as the store has it now.
func (s *Service) identify(ctx context.Context, op, token string) (Record, error) {
	claim, ok := s.read(token)
	if !ok {
		return Record{}, errors.Wrap(op, ErrMalformed)
	}
	rec, err := s.store.ByHandle(ctx, claim.handle)
	for errors.Is(err, ErrNotFound) && s.reread(token, &claim) {
		rec, err = s.store.ByHandle(ctx, claim.handle)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Record{}, s.fault(ctx, op, err)
	}
	rec.settle()
	if err := s.proven(ctx, token, &claim, &rec, err == nil, s.now()); err != nil {
		if e, ok := errors.AsType[*errors.Error](err); ok && e.Op == "apikey.Verify" {
			err = e.Err
		}
		return Record{}, errors.Wrap(op, err)
	}
	return rec, nil
}
