package idempotencytest

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// waits are the checks in which time has to pass. It is never written to.
var waits = []check{
	{"a lease ends after its length, not before, and is taken over then", func(ctx context.Context, s *subject) error {
		err := s.mine(ctx, s.brief("k", "a"), "a", 0)
		s.Nearly()
		err = errors.Join(err, s.is(ctx, s.claim("k", "b"), idempotency.Running))
		s.Over()
		return errors.Join(err, s.mine(ctx, s.claim("k", "b"), "a", 1), s.is(ctx, s.claim("k", "c"), idempotency.Running))
	}},
	{"each that takes over has the First and the next Turn", func(ctx context.Context, s *subject) error {
		err := s.mine(ctx, s.brief("k", "a"), "a", 0)
		s.Past()
		err = errors.Join(err, s.mine(ctx, s.brief("k", "b"), "a", 1), s.mine(ctx, s.brief("k", "b"), "a", 1))
		s.Past()
		return errors.Join(err,
			s.mine(ctx, s.claim("k", "c"), "a", 2),
			s.is(ctx, s.claim("k", "b"), idempotency.Running),
			s.mine(ctx, s.claim("k", "c"), "a", 2))
	}},
	{"who was taken over is as others, and may take over again", func(ctx context.Context, s *subject) error {
		err := s.mine(ctx, s.brief("k", "a"), "a", 0)
		s.Past()
		err = errors.Join(err,
			s.mine(ctx, s.brief("k", "b"), "a", 1),
			s.is(ctx, s.claim("k", "a"), idempotency.Running),
			s.lost(ctx, "k", "a"),
			s.abandon(ctx, "k", "a"),
			s.is(ctx, s.claim("k", "a"), idempotency.Running))
		s.Past()
		return errors.Join(err, s.mine(ctx, s.claim("k", "a"), "a", 2), s.lost(ctx, "k", "b"), s.finish(ctx, "k", "a", "answer"))
	}},
	{"a claim whose lease ended is still the caller's while nobody took it over", func(ctx context.Context, s *subject) error {
		err := errors.Join(s.mine(ctx, s.brief("k", "a"), "a", 0), s.mine(ctx, s.brief("l", "a"), "a", 0), s.mine(ctx, s.brief("m", "a"), "a", 0))
		s.Past()
		return errors.Join(err,
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.is(ctx, s.claim("k", "b"), idempotency.Running),
			s.finish(ctx, "l", "a", "late"),
			s.done(ctx, s.claim("l", "b"), []byte("late")),
			s.abandon(ctx, "m", "a"),
			s.mine(ctx, s.claim("m", "b"), "b", 0))
	}},
	{"another fingerprint is Mismatch after the lease too", func(ctx context.Context, s *subject) error {
		err := s.mine(ctx, s.brief("k", "a"), "a", 0)
		s.Past()
		return errors.Join(err, s.is(ctx, s.foreign("k", "b"), idempotency.Mismatch), s.mine(ctx, s.claim("k", "c"), "a", 1))
	}},
	{"a claim is kept for its Lease and then its Keep, not longer", func(ctx context.Context, s *subject) error {
		c := s.claim("k", "a")
		c.Lease, c.Keep = s.Span()/2, s.Span()/2
		err := s.mine(ctx, c, "a", 0)
		s.Nearly()
		err = errors.Join(err, s.is(ctx, s.foreign("k", "b"), idempotency.Mismatch))
		s.Over()
		return errors.Join(err, s.lost(ctx, "k", "a"), s.abandon(ctx, "k", "a"), s.mine(ctx, s.foreign("k", "b"), "b", 0))
	}},
	{"a claim with a Keep of 0 is over with its lease", func(ctx context.Context, s *subject) error {
		c := s.brief("k", "a")
		c.Keep = 0
		err := s.mine(ctx, c, "a", 0)
		s.Nearly()
		err = errors.Join(err, s.is(ctx, s.claim("k", "b"), idempotency.Running))
		s.Over()
		return errors.Join(err, s.mine(ctx, s.foreign("k", "b"), "b", 0))
	}},
	{"the same token begins Lease and Keep anew, longer or shorter", func(ctx context.Context, s *subject) error {
		gone := s.brief("gone", "a")
		gone.Keep = 0
		err := errors.Join(
			s.mine(ctx, s.brief("longer", "a"), "a", 0), s.mine(ctx, s.claim("longer", "a"), "a", 0),
			s.mine(ctx, s.claim("shorter", "a"), "a", 0), s.mine(ctx, s.brief("shorter", "a"), "a", 0),
			s.mine(ctx, s.claim("gone", "a"), "a", 0), s.mine(ctx, gone, "a", 0),
			s.mine(ctx, s.brief("later", "a"), "a", 0))
		s.Nearly()
		err = errors.Join(err, s.mine(ctx, s.claim("later", "a"), "a", 0))
		s.Over()
		return errors.Join(err,
			s.is(ctx, s.claim("longer", "b"), idempotency.Running),
			s.mine(ctx, s.claim("shorter", "b"), "a", 1),
			s.mine(ctx, s.foreign("gone", "b"), "b", 0),
			s.is(ctx, s.claim("later", "b"), idempotency.Running))
	}},
	{"what is answered Running or Mismatch is not changed", func(ctx context.Context, s *subject) error {
		err := s.mine(ctx, s.brief("k", "a"), "a", 0)
		s.Nearly()
		err = errors.Join(err, s.is(ctx, s.claim("k", "b"), idempotency.Running), s.is(ctx, s.foreign("k", "a"), idempotency.Mismatch))
		s.Over()
		return errors.Join(err, s.mine(ctx, s.claim("k", "c"), "a", 1))
	}},
	{"an answer is kept for its time, not longer, however often it is asked for", func(ctx context.Context, s *subject) error {
		err := errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.Finish(ctx, s.key("k"), token("a"), []byte("answer"), s.Span()))
		s.Nearly()
		err = errors.Join(err, s.done(ctx, s.claim("k", "b"), []byte("answer")), s.is(ctx, s.foreign("k", "b"), idempotency.Mismatch))
		s.Over()
		return errors.Join(err, s.lost(ctx, "k", "a"), s.mine(ctx, s.foreign("k", "b"), "b", 0))
	}},
	{"Finish again with the same token does not keep the answer longer", func(ctx context.Context, s *subject) error {
		err := errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.Finish(ctx, s.key("k"), token("a"), []byte("answer"), s.Span()))
		s.Nearly()
		err = errors.Join(err, s.finish(ctx, "k", "a", "answer"))
		s.Over()
		return errors.Join(err, s.mine(ctx, s.claim("k", "b"), "b", 0))
	}},
	{"an answer outlasts the claim it replaces", func(ctx context.Context, s *subject) error {
		c := s.brief("k", "a")
		c.Keep = 0
		err := errors.Join(s.mine(ctx, c, "a", 0), s.finish(ctx, "k", "a", "answer"))
		s.Past()
		return errors.Join(err, s.done(ctx, s.claim("k", "b"), []byte("answer")))
	}},
	{"what was abandoned after others took over begins anew", func(ctx context.Context, s *subject) error {
		err := s.mine(ctx, s.brief("k", "a"), "a", 0)
		s.Past()
		return errors.Join(err,
			s.mine(ctx, s.claim("k", "b"), "a", 1),
			s.abandon(ctx, "k", "b"),
			s.mine(ctx, s.claim("k", "c"), "c", 0))
	}},
	{"the shortest and the longest of times are kept", longAndShort},
	{"of 64 claims at once on what is over exactly one is Claimed", oneOfManyAfterwards},
	{"of Finish and a claim that takes over at once one wins", finishBesideClaim},
}

func longAndShort(ctx context.Context, s *subject) error {
	longest := s.claim("longest", "a")
	longest.Lease, longest.Keep = idempotency.MaxTime, idempotency.MaxTime
	shortest := s.claim("shortest", "a")
	shortest.Lease = time.Millisecond
	err := errors.Join(
		s.mine(ctx, longest, "a", 0), s.mine(ctx, longest, "a", 0),
		s.mine(ctx, shortest, "a", 0),
		s.mine(ctx, s.claim("brief", "a"), "a", 0),
		s.Finish(ctx, s.key("brief"), token("a"), nil, time.Millisecond),
		s.mine(ctx, s.claim("ages", "a"), "a", 0),
		s.Finish(ctx, s.key("ages"), token("a"), nil, idempotency.MaxTime))
	s.Tick()
	f, claimErr := s.Claim(ctx, s.claim("longest", "b"))
	if claimErr == nil && (f.State != idempotency.Running || f.Wait > idempotency.MaxTime || f.Wait < idempotency.MaxTime-time.Hour) {
		claimErr = fmt.Errorf("Claim = %v with a Wait of %v, want Running and nearly %v", f.State, f.Wait, idempotency.MaxTime)
	}
	return errors.Join(err, claimErr,
		s.mine(ctx, s.claim("shortest", "b"), "a", 1),
		s.mine(ctx, s.claim("brief", "b"), "b", 0),
		s.done(ctx, s.claim("ages", "b"), nil))
}
