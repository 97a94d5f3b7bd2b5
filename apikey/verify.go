package apikey

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// VerifyOptions tell what is known of a request beside the key.
type VerifyOptions struct {
	// IP is the client's address. When it is not known, a key that is bound to
	// networks is refused.
	IP netip.Addr
	// Environment, unless empty, is the one the key must belong to.
	Environment string
	// Fresh asks the store, whatever [Options.Cache] keeps: for what cannot be taken
	// back.
	Fresh bool
}

// The errors of Verify, made once: a refusal of garbage allocates nothing.
var (
	errMalformed   = errors.Wrap("apikey.Verify", ErrMalformed)
	errNoHandle    = unknown("no key has this handle")
	errWrongSecret = unknown("the handle is known and the secret is wrong")
	errDeleted     = unprovable("the key was deleted")
	errPepperGone  = unprovable("the record's pepper is not in the keyring or has ended")
	errDisabled    = errors.Wrap("apikey.Verify", ErrDisabled)
	errExpired     = errors.Wrap("apikey.Verify", ErrExpired)
	errSuspended   = errors.Wrap("apikey.Verify", ErrSuspended)
	errRevoked     = errors.Wrap("apikey.Verify", ErrRevoked)
	errEnvironment = errors.Wrap("apikey.Verify", ErrEnvironment)
	errNetwork     = errors.Wrap("apikey.Verify", ErrNetwork)
	errBadImport   = unprovable("the imported digest is not one that its scheme reads")
	errSchemeGone  = unprovable("the scheme of the imported digest is not among Options.Legacy")
	errState       = errors.Wrap("apikey.Verify", errCorruptState)
)

func unknown(cause string) error {
	return errors.Wrap("apikey.Verify", fmt.Errorf("%w: %s", ErrUnknown, cause))
}

// Verify proves token and returns its key. It decides in this order: shape and
// checksum ([ErrMalformed], without asking the store), look-up and proof
// ([ErrUnknown]), state and expiry ([ErrRevoked], [ErrExpired], [ErrDisabled]), the
// owner's suspension ([ErrSuspended]), environment ([ErrEnvironment]) and address
// ([ErrNetwork]). Of the key's scopes and settings it returns what the owner's
// [Policy] includes now. The key returned with an error is empty. A store or a
// policy that cannot answer is [errors.Unavailable].
//
// A success notes the use of the key in memory, while the LastUsedAt returned
// is still the one stored; a refusal changes nothing. Nil options mean that
// nothing is known of the request. With [Options.Cache] the record may be one that
// was read up to [CacheOptions.Bound] ago. With the memory store, and for what the
// cache keeps, Verify allocates nothing if the format has an id.
func (s *Service) Verify(ctx context.Context, token string, o *VerifyOptions) (key Key, err error) {
	claim, ok := s.read(token)
	if !ok {
		return Key{}, s.refuse(errMalformed, nil)
	}
	f, now, err := s.find(ctx, claim.handle, o)
	for err == nil && s.unread(&claim) && !f.known && s.reread(token, &claim) {
		f, now, err = s.find(ctx, claim.handle, o)
	}
	if err != nil {
		return Key{}, s.fault(ctx, "apikey.Verify", err)
	}
	f.show(&key) // now: what is far in memory comes while the proof is made
	if err := s.proven(ctx, token, &claim, f.rec, f.known, now); err != nil {
		return Key{}, s.refuse(err, f.rec)
	}
	s.place(token, &claim, f.rec)
	if err := f.admitted(&claim, o, now); err != nil {
		return Key{}, s.refuse(err, f.rec)
	}
	if err := s.cut(ctx, &key); err != nil {
		return Key{}, err
	}
	s.note(&f, &key, now)
	s.sight(&key, o, now)
	s.renew(token, f.rec)
	return key, nil
}

// A claim is what can be read in a presented text without proving it.
type claim struct {
	handle      string
	environment string  // of a key of a format; others bear none
	format      *Format // or
	legacy      *reader
	next        int // of the formats, and then of the legacy readers: the first not tried
}

// read reads a presented text; false for one that is no key.
func (s *Service) read(token string) (c claim, ok bool) {
	ok = s.reread(token, &c)
	return c, ok
}

// unread reports whether c may have another reading. It is asked whether or not a
// record was found, so that a service of one format does the same for both.
func (s *Service) unread(c *claim) bool { return c.next < len(s.formats)+len(s.legacy) }

// reread makes c the next reading of a text whose handle nobody has, if there is
// another.
func (s *Service) reread(token string, c *claim) bool {
	for ; c.next < len(s.formats); c.next++ {
		f := s.formats[c.next]
		if parts, err := f.Parse(token); err == nil {
			*c = claim{handle: s.handle(token, parts), environment: parts.Environment, format: f, next: c.next + 1}
			return true
		}
	}
	for ; s.unread(c); c.next++ {
		r := s.legacy[c.next-len(s.formats)]
		if !r.matches(token) {
			continue
		}
		if handle := r.handle(token); handle != "" {
			*c = claim{handle: handle, legacy: r, next: c.next + 1}
			return true
		}
	}
	return false
}

// place makes c the reading of a proven text in the environment of its record, if
// a later format reads it so: "sk_live" may have been all of a former prefix.
func (s *Service) place(token string, c *claim, rec *Record) {
	if c.legacy != nil || c.environment == rec.Key.Environment {
		return
	}
	for _, f := range s.formats[c.next:] {
		parts, err := f.Parse(token)
		if err == nil && parts.Environment == rec.Key.Environment && s.handle(token, parts) == c.handle {
			c.environment, c.format = parts.Environment, f
			return
		}
	}
}

// proven returns nil if token is the text of rec, doing the same work for a
// record that was not found.
func (s *Service) proven(ctx context.Context, token string, c *claim, rec *Record, found bool, now time.Time) error {
	if rec.Imported.Scheme != "" && found && rec.Key.State != StateDeleted {
		return s.provenImport(ctx, token, c, rec, now)
	}
	digest := &rec.Digest
	if rec.Key.State == StateDeleted {
		digest = &s.decoy.rec.Load().Digest
	}
	proven, pepperGone := s.ring.prove(token, digest, now)
	switch {
	case !found:
		return errNoHandle
	case rec.Key.State == StateDeleted:
		return errDeleted
	case pepperGone:
		return errPepperGone
	case !proven:
		return errWrongSecret
	}
	return nil
}

// admitted returns nil if the proven key may be used now and here.
func (f *found) admitted(c *claim, o *VerifyOptions, now time.Time) error {
	k := &f.rec.Key
	if f.state != StateActive || f.suspended || k.expired(now) {
		return f.refusal(now)
	}
	if c.legacy == nil && k.Environment != c.environment || o != nil && o.Environment != "" && o.Environment != k.Environment {
		return errEnvironment
	}
	if !k.Networks.IsZero() && (o == nil || !k.Networks.Contains(o.IP)) {
		return errNetwork
	}
	return nil
}

// refusal says why a proven key is not active.
func (f *found) refusal(now time.Time) error {
	var key Key
	f.show(&key)
	switch key.status(now) {
	case StatusDisabled:
		return errDisabled
	case StatusSuspended:
		return errSuspended
	case StatusExpired, StatusRotated:
		return errExpired
	case StatusRevoked:
		return errRevoked
	}
	return errState
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
