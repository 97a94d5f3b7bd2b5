package apikey

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/keytoll/keytoll/errors"
)

// VerifyOptions tell what is known of a request beside the key.
type VerifyOptions struct {
	// IP is the client's address. When it is not known, a key that is bound to
	// networks is refused.
	IP netip.Addr
	// Environment, unless empty, is the one the key must belong to.
	Environment string
}

// The errors of Verify, made once: a refusal of garbage allocates nothing.
var (
	errMalformed   = errors.Wrap("apikey.Verify", ErrMalformed)
	errNoHandle    = unknown("no key has this handle")
	errWrongSecret = unknown("the handle is known and the secret is wrong")
	errDeleted     = unknown("the key was deleted")
	errPepperGone  = unknown("the record's pepper is not in the keyring or has ended")
	errDisabled    = errors.Wrap("apikey.Verify", ErrDisabled)
	errExpired     = errors.Wrap("apikey.Verify", ErrExpired)
	errRevoked     = errors.Wrap("apikey.Verify", ErrRevoked)
	errEnvironment = errors.Wrap("apikey.Verify", ErrEnvironment)
	errNetwork     = errors.Wrap("apikey.Verify", ErrNetwork)
	errState       = errors.Wrap("apikey.Verify", errCorruptState)
)

func unknown(cause string) error {
	return errors.Wrap("apikey.Verify", fmt.Errorf("%w: %s", ErrUnknown, cause))
}

// Verify proves token and returns its key. It decides in this order: shape and
// checksum ([ErrMalformed], without asking the store), look-up and proof
// ([ErrUnknown]), state and expiry ([ErrRevoked], [ErrExpired], [ErrDisabled]),
// environment ([ErrEnvironment]) and address ([ErrNetwork]). The key returned
// with an error is empty. A store that cannot answer is [errors.Unavailable].
//
// A success notes the use of the key in memory, while the LastUsedAt returned
// is still the one stored; a refusal changes nothing. Nil options mean that
// nothing is known of the request. With the memory store and a format with id,
// Verify allocates nothing.
func (s *Service) Verify(ctx context.Context, token string, o *VerifyOptions) (Key, error) {
	parts, err := s.format.Parse(token)
	if err != nil {
		return Key{}, errMalformed
	}
	rec, err := s.store.ByHandle(ctx, s.handle(token, parts))
	found := err == nil
	if !found && !errors.Is(err, ErrNotFound) {
		return Key{}, s.fault(ctx, "apikey.Verify", err)
	}
	now := s.now()
	digest := &rec.Digest
	if !found || rec.Key.State == StateDeleted {
		digest = &Digest{Version: s.ring.current} // the decoy: the same work for no key
	}
	proven, pepperGone := s.ring.prove(token, digest, now)
	switch {
	case !found:
		return Key{}, errNoHandle
	case rec.Key.State == StateDeleted:
		return Key{}, errDeleted
	case pepperGone:
		return Key{}, errPepperGone
	case !proven:
		return Key{}, errWrongSecret
	}
	switch rec.Key.status(now) {
	case StatusActive:
	case StatusDisabled:
		return Key{}, errDisabled
	case StatusExpired, StatusRotated:
		return Key{}, errExpired
	case StatusRevoked:
		return Key{}, errRevoked
	default:
		return Key{}, errState
	}
	if rec.Key.Environment != parts.Environment || o != nil && o.Environment != "" && o.Environment != parts.Environment {
		return Key{}, errEnvironment
	}
	if !rec.Key.Networks.IsZero() && (o == nil || !rec.Key.Networks.Contains(o.IP)) {
		return Key{}, errNetwork
	}
	s.uses.note(&rec.Key, now)
	return rec.Key, nil
}

// handle returns what a key is looked up by: its public id, or for formats
// without one the first 16 bytes, in hex, of a hash of the whole text.
func (s *Service) handle(token string, parts Parts) string {
	if parts.ID != "" {
		return parts.ID
	}
	var text [len(handleLabel) + MaxTokenLength]byte
	n := copy(text[:], handleLabel)
	n += copy(text[n:], token)
	sum := sha256.Sum256(text[:n])
	var out [32]byte
	hex.Encode(out[:], sum[:16])
	return string(out[:])
}
