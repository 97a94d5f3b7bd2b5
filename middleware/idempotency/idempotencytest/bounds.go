package idempotencytest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/suite"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// bounds are the checks of a store that is full. It is never written to.
var bounds = []check{
	{"a full store refuses newcomers with Exhausted and forgets nothing", func(ctx context.Context, s *subject) error {
		n, err := s.fill(ctx)
		for i := range n {
			err = errors.Join(err, s.is(ctx, s.claim(fmt.Sprint(i), "b"), idempotency.Running), s.mine(ctx, s.claim(fmt.Sprint(i), "a"), "a", 0))
		}
		return errors.Join(err, s.exhausted(ctx, "newcomer"))
	}},
	{"a small answer has room where its claim had", func(ctx context.Context, s *subject) error {
		n, err := s.fill(ctx)
		small := bytes.Repeat([]byte{'x'}, idempotency.SmallAnswer)
		for i := range n {
			err = errors.Join(err, s.Finish(ctx, s.key(fmt.Sprint(i)), token("a"), small, long))
		}
		for i := range n {
			err = errors.Join(err, s.done(ctx, s.claim(fmt.Sprint(i), "b"), small))
		}
		return errors.Join(err, s.exhausted(ctx, "newcomer"))
	}},
	{"an answer without room is Exhausted and its claim stays", func(ctx context.Context, s *subject) error {
		n, err := s.fill(ctx)
		large := make([]byte, idempotency.MaxStored)
		for i := range min(n, 3) {
			key := fmt.Sprint(i)
			switch got := s.Finish(ctx, s.key(key), token("a"), large, long); {
			case got == nil:
				err = errors.Join(err, s.done(ctx, s.claim(key, "b"), large))
			case errors.CodeOf(got) == errors.Exhausted:
				err = errors.Join(err, s.is(ctx, s.claim(key, "b"), idempotency.Running), s.finish(ctx, key, "a", "small"), s.done(ctx, s.claim(key, "b"), []byte("small")))
			default:
				err = errors.Join(err, got)
			}
		}
		return err
	}},
	{"a full store has room for what was abandoned and for what is over", func(ctx context.Context, s *subject) error {
		_, err := s.fill(ctx)
		err = errors.Join(err,
			s.abandon(ctx, "0", "a"), s.mine(ctx, s.claim("1st", "b"), "b", 0), s.exhausted(ctx, "2nd"),
			s.Finish(ctx, s.key("1"), token("a"), []byte("answer"), s.Span()))
		s.Past()
		return errors.Join(err, s.mine(ctx, s.claim("2nd", "b"), "b", 0), s.exhausted(ctx, "3rd"))
	}},
}

// fill claims keys, named by their numbers, until the store is full, and returns
// how many there are.
func (s *subject) fill(ctx context.Context) (n int, err error) {
	const most = 4096
	for n := range most {
		_, err := s.Claim(ctx, s.claim(fmt.Sprint(n), "a"))
		switch {
		case errors.CodeOf(err) == errors.Exhausted && n > 3:
			return n, nil
		case err != nil:
			return n, fmt.Errorf("Claim number %d: %w", n+1, err)
		}
	}
	return most, fmt.Errorf("the small store has room for %d keys", most)
}

// exhausted reports an error unless there is no room for the key.
func (s *subject) exhausted(ctx context.Context, key string) error {
	f, err := s.Claim(ctx, s.claim(key, "a"))
	if errors.CodeOf(err) != errors.Exhausted || f.State != 0 {
		return fmt.Errorf("Claim in a full store = %v, error %w, want code exhausted", f.State, suite.OrNone(err))
	}
	return nil
}
