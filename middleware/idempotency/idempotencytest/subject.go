package idempotencytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/suite"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// A subject is a store under test and the means to let time pass.
type subject struct {
	idempotency.Store
	suite.Clock

	small  idempotency.Store
	corner string // which keys are this subject's
}

// long never ends within a test that does not move the clock.
const long = 24 * time.Hour

func newSubject(f Fixture) *subject {
	return &subject{Store: f.Store, Clock: suite.NewClock(f.Advance), small: f.Small}
}

// inSmall returns the subject with the small store.
func (s *subject) inSmall() *subject {
	s.Store = s.small
	return s
}

// key, fingerprint and token make names into what stores take.
func (s *subject) key(name string) idempotency.Key {
	return sha256.Sum256([]byte("key " + s.corner + name))
}

func fingerprint(name string) idempotency.Fingerprint { return sha256.Sum256([]byte("print " + name)) }

func token(name string) (t idempotency.Token) {
	sum := sha256.Sum256([]byte("token " + name))
	copy(t[:], sum[:])
	return t
}

// claim is a claim of the key for the token, with the fingerprint that all have,
// that does not end by itself.
func (s *subject) claim(key, tok string) idempotency.Claim {
	return idempotency.Claim{Key: s.key(key), Fingerprint: fingerprint("all"), Token: token(tok), Lease: long, Keep: long}
}

// brief is claim with a lease that ends within the test.
func (s *subject) brief(key, tok string) idempotency.Claim {
	c := s.claim(key, tok)
	c.Lease = s.Span()
	return c
}

// foreign is claim with another fingerprint.
func (s *subject) foreign(key, tok string) idempotency.Claim {
	c := s.claim(key, tok)
	c.Fingerprint = fingerprint("other")
	return c
}

// mine reports an error unless c is Claimed, with that First and Turn.
func (s *subject) mine(ctx context.Context, c idempotency.Claim, first string, turn int) error {
	f, err := s.Claim(ctx, c)
	switch {
	case err != nil:
		return fmt.Errorf("Claim: %w", err)
	case f.State != idempotency.Claimed:
		return fmt.Errorf("Claim = %v, want Claimed", f.State)
	case f.First != token(first) || f.Turn != turn:
		return fmt.Errorf("Claim: First %x and Turn %d, want %x (%s) and %d", f.First, f.Turn, token(first), first, turn)
	}
	return nil
}

// is reports an error unless c is answered so, without an answer of Done and with a
// Wait of Running.
func (s *subject) is(ctx context.Context, c idempotency.Claim, want idempotency.State) error {
	f, err := s.Claim(ctx, c)
	switch {
	case err != nil:
		return fmt.Errorf("Claim: %w", err)
	case f.State != want:
		return fmt.Errorf("Claim = %v, want %v", f.State, want)
	case want == idempotency.Running && (f.Wait <= 0 || f.Wait > long):
		return fmt.Errorf("Claim: Wait %v", f.Wait)
	}
	return nil
}

// done reports an error unless c is answered Done with that answer.
func (s *subject) done(ctx context.Context, c idempotency.Claim, answer []byte) error {
	f, err := s.Claim(ctx, c)
	switch {
	case err != nil:
		return fmt.Errorf("Claim: %w", err)
	case f.State != idempotency.Done:
		return fmt.Errorf("Claim = %v, want Done", f.State)
	case !bytes.Equal(f.Answer, answer):
		return fmt.Errorf("Claim: an answer of %d bytes that begins %.32q, want %d and %.32q", len(f.Answer), f.Answer, len(answer), answer)
	}
	return nil
}

// finish is Finish for long.
func (s *subject) finish(ctx context.Context, key, tok, answer string) error {
	return s.Finish(ctx, s.key(key), token(tok), []byte(answer), long)
}

// lost reports an error unless Finish says that the claim is lost.
func (s *subject) lost(ctx context.Context, key, tok string) error {
	if err := s.finish(ctx, key, tok, "too late"); !errors.Is(err, idempotency.ErrLost) {
		return fmt.Errorf("Finish: error %w, want ErrLost", suite.OrNone(err))
	}
	return nil
}

func (s *subject) abandon(ctx context.Context, key, tok string) error {
	return s.Abandon(ctx, s.key(key), token(tok))
}
