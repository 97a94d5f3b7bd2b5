package apikey

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A renewal is a Restamp that is noted and not yet written.
type renewal struct {
	restamp Restamp
	handle  string
}

// fits reports whether the renewal is of rec as it is.
func (r *renewal) fits(rec *Record) bool {
	return r != nil && r.restamp.Was == rec.Digest && r.restamp.Imported == rec.Imported
}

// renew notes that a key that was just proven should get a digest under the
// current pepper, if it has another or is imported. It is written like a use,
// off the request's path.
func (s *Service) renew(token string, rec *Record) {
	if rec.Imported.Scheme == "" && !s.ring.outdated(rec.Digest.Version) {
		return
	}
	if s.uses.renewal(rec) == nil {
		s.uses.renew(rec, s.ring.digest(token))
	}
}

// outdated reports whether digests of a version should give way to the current
// one. They do to a higher one, or when their own pepper has an end, and not
// else: while some processes have the new pepper first and others still the old,
// none undoes what another did.
func (r *keyring) outdated(version uint32) bool {
	if version == r.current {
		return false
	}
	p := r.find(version)
	return version < r.current || p != nil && !p.notAfter.IsZero()
}

// renewal returns what is noted for rec as it is, or nil.
func (u *uses) renewal(rec *Record) *renewal {
	s := u.shard(rec.Key.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.renewals[rec.Key.ID]; r.fits(rec) {
		return r
	}
	return nil
}

// renew notes a digest for rec as it is, in place of one for rec as it was.
func (u *uses) renew(rec *Record, digest Digest) {
	r := &renewal{Restamp{Was: rec.Digest, Imported: rec.Imported, Digest: digest}, rec.Handle}
	s := u.shard(rec.Key.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.renewals[rec.Key.ID]
	switch {
	case u.closed.Load(): // asked under mu: what is noted before Close is written by it
	case known:
		s.renewals[rec.Key.ID] = r
	case u.renewals.Add(1) <= u.most:
		s.renewals[rec.Key.ID] = r
	default:
		u.renewals.Add(-1)
	}
}

// provenImport returns nil if token is the text of rec, which was imported by
// the digest of another system and has none of its own in the store yet. From its
// first use until that is written, what is noted proves it.
func (s *Service) provenImport(ctx context.Context, token string, c *claim, rec *Record, now time.Time) error {
	if c.legacy == nil || c.legacy.Name != rec.Imported.Scheme || c.legacy.Scheme == nil {
		return errSchemeGone
	}
	var err error
	prove := func() {
		if noted := s.uses.renewal(rec); noted != nil {
			proven, _ := s.ring.prove(token, &noted.restamp.Digest, now)
			err = verdict(proven, nil)
			return
		}
		err = verdict(c.legacy.Scheme.Prove(c.legacy.secret(token), rec.Imported.Encoded))
	}
	if !c.legacy.Scheme.Slow() || s.uses.renewal(rec) != nil {
		prove()
		return err
	}
	fault := s.slow.run(ctx, rec.Key.ID, prove)
	switch {
	case fault == nil:
		return err
	case errors.CodeOf(fault) == errors.Unavailable:
		return fault
	}
	return s.fault(ctx, "apikey.Verify", fault)
}

func verdict(proven bool, err error) error {
	switch {
	case err != nil:
		return errBadImport
	case !proven:
		return errWrongSecret
	}
	return nil
}

// restamped tells whoever may hold the records as they were.
func (s *Service) restamped(ctx context.Context, notices []Notice) error {
	return s.apply(ctx, Change{Notices: notices})
}
