package idempotencytest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/suite"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// checks are those in which no time has to pass. It is never written to.
var checks = []check{
	{"a key for which nothing is kept is Claimed, first of its kind", func(ctx context.Context, s *subject) error {
		return errors.Join(s.mine(ctx, s.claim("k", "a"), "a", 0), s.mine(ctx, s.claim("l", "a"), "a", 0))
	}},
	{"another fingerprint is Mismatch, while it runs and for the same token", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.is(ctx, s.foreign("k", "b"), idempotency.Mismatch),
			s.is(ctx, s.foreign("k", "a"), idempotency.Mismatch),
			s.is(ctx, s.claim("k", "b"), idempotency.Running))
	}},
	{"the same token is Claimed again, with the same First and Turn", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.is(ctx, s.claim("k", "b"), idempotency.Running))
	}},
	{"a claim whose lease lasts is Running for others, with what is left of it", func(ctx context.Context, s *subject) error {
		err := s.mine(ctx, s.claim("k", "a"), "a", 0)
		f, claimErr := s.Claim(ctx, s.brief("k", "b"))
		if f.State != idempotency.Running || f.Wait <= long-time.Hour || f.Wait > long || f.Answer != nil {
			claimErr = fmt.Errorf("Claim = %+v, %w; want Running and a Wait of nearly %v", f, suite.OrNone(claimErr), long)
		}
		return errors.Join(err, claimErr)
	}},
	{"an answer is Done for every token, its own included", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.finish(ctx, "k", "a", "answer"),
			s.done(ctx, s.claim("k", "b"), []byte("answer")),
			s.done(ctx, s.claim("k", "a"), []byte("answer")))
	}},
	{"an answer with another fingerprint is Mismatch", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.finish(ctx, "k", "a", "answer"),
			s.is(ctx, s.foreign("k", "b"), idempotency.Mismatch),
			s.is(ctx, s.foreign("k", "a"), idempotency.Mismatch),
			s.done(ctx, s.claim("k", "b"), []byte("answer")))
	}},
	{"an answer comes back byte by byte, whatever it is", answers},
	{"answers are copied, in and out", copied},
	{"Finish again with the same token is nil and keeps the first answer", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.finish(ctx, "k", "a", "first"),
			s.finish(ctx, "k", "a", "first"),
			s.finish(ctx, "k", "a", "second"),
			s.done(ctx, s.claim("k", "b"), []byte("first")))
	}},
	{"Finish of another's claim is ErrLost and changes nothing", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.lost(ctx, "k", "b"),
			s.is(ctx, s.claim("k", "b"), idempotency.Running),
			s.finish(ctx, "k", "a", "answer"),
			s.lost(ctx, "k", "b"),
			s.done(ctx, s.claim("k", "b"), []byte("answer")))
	}},
	{"Finish of what was never claimed, or was abandoned, is ErrLost and changes nothing", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.lost(ctx, "k", "a"),
			s.mine(ctx, s.claim("k", "b"), "b", 0),
			s.abandon(ctx, "k", "b"),
			s.lost(ctx, "k", "b"),
			s.mine(ctx, s.claim("k", "c"), "c", 0))
	}},
	{"ErrLost has code Conflict", func(ctx context.Context, s *subject) error {
		if err := s.finish(ctx, "k", "a", ""); errors.CodeOf(err) != errors.Conflict {
			return fmt.Errorf("Finish: error %w of code %v", suite.OrNone(err), errors.CodeOf(err))
		}
		return nil
	}},
	{"what was abandoned begins anew, whoever asks and for whatever request", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.abandon(ctx, "k", "a"),
			s.mine(ctx, s.foreign("k", "b"), "b", 0),
			s.is(ctx, s.claim("k", "a"), idempotency.Mismatch))
	}},
	{"Abandon of another's claim does nothing and is no error", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.abandon(ctx, "k", "b"),
			s.is(ctx, s.claim("k", "b"), idempotency.Running),
			s.finish(ctx, "k", "a", "answer"))
	}},
	{"Abandon does nothing to an answer and is no error", func(ctx context.Context, s *subject) error {
		return errors.Join(
			s.mine(ctx, s.claim("k", "a"), "a", 0),
			s.finish(ctx, "k", "a", "answer"),
			s.abandon(ctx, "k", "a"),
			s.abandon(ctx, "k", "b"),
			s.done(ctx, s.claim("k", "b"), []byte("answer")))
	}},
	{"Abandon of what is not kept does nothing and is no error", func(ctx context.Context, s *subject) error {
		return errors.Join(s.abandon(ctx, "k", "a"), s.mine(ctx, s.claim("k", "b"), "b", 0), s.abandon(ctx, "l", "b"), s.is(ctx, s.claim("k", "a"), idempotency.Running))
	}},
	{"keys, fingerprints and tokens count in all their bytes", allBytes},
	{"of 64 claims on one key at once exactly one is Claimed", oneOfMany},
	{"an Abandon beside Finish undoes nothing", abandonBesideFinish},
	{"an Abandon beside a claim undoes nothing", abandonBesideClaim},
	{"calls about different keys do not disturb each other", crowd},
	{"a call whose context is over changes nothing and says so", contextOver},
}

func answers(ctx context.Context, s *subject) error {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	var errs []error
	for name, answer := range map[string][]byte{
		"nil": nil, "empty": {}, "zero": {0}, "zeros": make([]byte, 100), "every byte": every,
		"no UTF-8": {0xff, 0xfe, 0x80}, "large": slices.Repeat(every, 1<<10), "largest": slices.Repeat(every, idempotency.MaxStored/len(every)),
	} {
		if err := errors.Join(
			s.mine(ctx, s.claim(name, "a"), "a", 0),
			s.Finish(ctx, s.key(name), token("a"), answer, long),
			s.done(ctx, s.claim(name, "b"), answer)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func copied(ctx context.Context, s *subject) error {
	answer := []byte("answer")
	err := errors.Join(
		s.mine(ctx, s.claim("k", "a"), "a", 0),
		s.Finish(ctx, s.key("k"), token("a"), answer, long))
	clear(answer)
	f, claimErr := s.Claim(ctx, s.claim("k", "b"))
	err = errors.Join(err, claimErr, s.done(ctx, s.claim("k", "b"), []byte("answer")))
	clear(f.Answer)
	return errors.Join(err, s.done(ctx, s.claim("k", "b"), []byte("answer")))
}

func allBytes(ctx context.Context, s *subject) error {
	var errs []error
	base := s.claim("k", "a")
	errs = append(errs, s.mine(ctx, base, "a", 0))
	for i := range base.Key {
		c := base
		c.Key[i] ^= 0x20 // what folding case would miss
		errs = append(errs, s.mine(ctx, c, "a", 0))
		c = base
		c.Fingerprint[i] ^= 0x20
		errs = append(errs, s.is(ctx, c, idempotency.Mismatch))
	}
	for i := range base.Token {
		c := base
		c.Token[i] ^= 0x20
		errs = append(errs, s.is(ctx, c, idempotency.Running), s.Abandon(ctx, c.Key, c.Token))
		if err := s.Finish(ctx, c.Key, c.Token, nil, long); !errors.Is(err, idempotency.ErrLost) {
			errs = append(errs, fmt.Errorf("Finish with a token that differs in byte %d: %w", i, suite.OrNone(err)))
		}
	}
	for _, b := range []byte{0, 0xff, '%', '\''} {
		c := base
		for i := range c.Key {
			c.Key[i], c.Fingerprint[i] = b, ^b
		}
		for i := range c.Token {
			c.Token[i] = b | 1
		}
		f, err := s.Claim(ctx, c)
		if err != nil || f.State != idempotency.Claimed || f.First != c.Token {
			errs = append(errs, fmt.Errorf("Claim of bytes %#x = %+v, %w", b, f, suite.OrNone(err)))
		}
		errs = append(errs, s.Finish(ctx, c.Key, c.Token, []byte{b}, long))
		if f, err = s.Claim(ctx, c); err != nil || f.State != idempotency.Done {
			errs = append(errs, fmt.Errorf("Claim of what is done, of bytes %#x = %+v, %w", b, f, suite.OrNone(err)))
		}
	}
	return errors.Join(append(errs, s.is(ctx, s.claim("k", "b"), idempotency.Running), s.finish(ctx, "k", "a", "answer"))...)
}

func contextOver(ctx context.Context, s *subject) error {
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancel()
	errs := []error{s.mine(ctx, s.claim("mine", "a"), "a", 0)}
	for over, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
		f, err := s.Claim(over, s.claim("free", "a"))
		if f.State != 0 {
			errs = append(errs, fmt.Errorf("Claim with a context that is over = %v", f.State))
		}
		errs = append(errs,
			wantOver("Claim", err, want),
			wantOver("Finish", s.finish(over, "mine", "a", "answer"), want),
			wantOver("Abandon", s.abandon(over, "mine", "a"), want))
	}
	return errors.Join(append(errs,
		s.mine(ctx, s.claim("free", "b"), "b", 0),
		s.is(ctx, s.claim("mine", "b"), idempotency.Running))...)
}

// wantOver reports an error unless err is that of the context.
func wantOver(method string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s with a context that is over: error %w, want one that matches %q", method, suite.OrNone(err), want)
	}
	return nil
}
