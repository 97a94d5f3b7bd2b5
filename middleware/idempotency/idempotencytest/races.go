package idempotencytest

import (
	"context"
	"fmt"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/suite"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// contend has 64 claim a key at once.
func contend(ctx context.Context, s *subject, key string, turn int) error {
	const callers = 64
	var found [callers]idempotency.Found
	calls := make([]func() error, callers)
	for i := range calls {
		calls[i] = func() (err error) {
			found[i], err = s.Claim(ctx, s.claim(key, fmt.Sprintf("caller%d", i)))
			return err
		}
	}
	if err := suite.AtOnce(calls...); err != nil {
		return err
	}
	claimed := 0
	for _, f := range found {
		switch f.State {
		case idempotency.Claimed:
			if claimed++; f.Turn != turn {
				return fmt.Errorf("the Turn of the one that is Claimed is %d, want %d", f.Turn, turn)
			}
		case idempotency.Running:
		default:
			return fmt.Errorf("a claim at once with others = %v, want Claimed or Running", f.State)
		}
	}
	if claimed != 1 {
		return fmt.Errorf("%d of %d claims at once are Claimed, want 1", claimed, callers)
	}
	return nil
}

func oneOfMany(ctx context.Context, s *subject) error {
	for round := range 4 {
		if err := contend(ctx, s, fmt.Sprintf("k%d", round), 0); err != nil {
			return err
		}
	}
	return nil
}

func oneOfManyAfterwards(ctx context.Context, s *subject) error {
	const rounds = 2
	for round := range rounds {
		lease, gone, answer := s.brief(fmt.Sprintf("lease%d", round), "a"), s.brief(fmt.Sprintf("gone%d", round), "a"), fmt.Sprintf("answer%d", round)
		gone.Keep = 0
		if err := errors.Join(
			s.mine(ctx, lease, "a", 0),
			s.mine(ctx, gone, "a", 0),
			s.mine(ctx, s.claim(answer, "a"), "a", 0),
			s.Finish(ctx, s.key(answer), token("a"), nil, s.Span())); err != nil {
			return err
		}
	}
	s.Past()
	for round := range rounds {
		for what, turn := range map[string]int{"lease": 1, "gone": 0, "answer": 0} {
			if err := contend(ctx, s, fmt.Sprintf("%s%d", what, round), turn); err != nil {
				return fmt.Errorf("the %s is over: %w", what, err)
			}
		}
	}
	return nil
}

func finishBesideClaim(ctx context.Context, s *subject) error {
	const rounds = 20
	for round := range rounds {
		if err := s.mine(ctx, s.brief(fmt.Sprintf("k%d", round), "a"), "a", 0); err != nil {
			return err
		}
	}
	s.Past()
	for round := range rounds {
		key := fmt.Sprintf("k%d", round)
		var finished error
		var found idempotency.Found
		if err := suite.AtOnce(
			func() error { finished = s.finish(ctx, key, "a", "answer"); return nil },
			func() (err error) { found, err = s.Claim(ctx, s.claim(key, "b")); return err }); err != nil {
			return err
		}
		switch {
		case finished == nil && found.State == idempotency.Done:
		case errors.Is(finished, idempotency.ErrLost) && found.State == idempotency.Claimed && found.Turn == 1:
			if err := s.is(ctx, s.claim(key, "c"), idempotency.Running); err != nil {
				return fmt.Errorf("after a Finish that came too late: %w", err)
			}
		default:
			return fmt.Errorf("Finish: error %w; Claim = %v, %d", suite.OrNone(finished), found.State, found.Turn)
		}
	}
	return nil
}

func abandonBesideFinish(ctx context.Context, s *subject) error {
	for round := range 50 {
		key := fmt.Sprintf("k%d", round)
		if err := s.mine(ctx, s.claim(key, "a"), "a", 0); err != nil {
			return err
		}
		var finished error
		if err := suite.AtOnce(
			func() error { finished = s.finish(ctx, key, "a", "answer"); return nil },
			func() error { return s.abandon(ctx, key, "a") }); err != nil {
			return err
		}
		var err error
		switch {
		case finished == nil:
			err = s.done(ctx, s.claim(key, "b"), []byte("answer"))
		case errors.Is(finished, idempotency.ErrLost):
			err = s.mine(ctx, s.claim(key, "b"), "b", 0)
		default:
			err = finished
		}
		if err != nil {
			return fmt.Errorf("after a Finish with error %w: %w", suite.OrNone(finished), err)
		}
	}
	return nil
}

func abandonBesideClaim(ctx context.Context, s *subject) error {
	for round := range 50 {
		key := fmt.Sprintf("k%d", round)
		if err := s.mine(ctx, s.claim(key, "a"), "a", 0); err != nil {
			return err
		}
		var got idempotency.Found
		err := suite.AtOnce(
			func() error { return s.abandon(ctx, key, "a") },
			func() (err error) { got, err = s.Claim(ctx, s.claim(key, "b")); return err })
		// Who was given the key has it, and otherwise it is free.
		if got.State == idempotency.Claimed {
			err = errors.Join(err, s.is(ctx, s.claim(key, "c"), idempotency.Running))
		} else {
			err = errors.Join(err, s.mine(ctx, s.claim(key, "c"), "c", 0))
		}
		if err != nil {
			return fmt.Errorf("after the claim beside Abandon was %v: %w", got.State, err)
		}
	}
	return nil
}

func crowd(ctx context.Context, s *subject) error {
	calls := make([]func() error, 32)
	for i := range calls {
		done, given, tok := fmt.Sprintf("done%d", i), fmt.Sprintf("given%d", i), fmt.Sprintf("caller%d", i)
		calls[i] = func() error {
			return errors.Join(
				s.mine(ctx, s.claim(done, tok), tok, 0),
				s.mine(ctx, s.claim(given, tok), tok, 0),
				s.finish(ctx, done, tok, done),
				s.abandon(ctx, given, tok),
				s.done(ctx, s.claim(done, tok), []byte(done)),
				s.mine(ctx, s.claim(given, "b"), "b", 0))
		}
	}
	return suite.AtOnce(calls...)
}
