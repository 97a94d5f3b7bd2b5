package webhooktest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/keytoll/keytoll/internal/suite"
	"github.com/keytoll/keytoll/webhook"
)

func byteForByte(ctx context.Context, s *subject) error {
	base := strings.Repeat("k", 511)
	var errs []error
	for i, key := range []string{
		"key", "Key", "KEY", "key.", "ke", "k", ".key", "a.key", "%", "_", "*", "key*", "k_y", "'", `"`, `\`, "{key}", ":", "a:b", "/", base, base + "k", base + "l", "0", "00", "1e1",
	} {
		errs = append(errs, s.claims(ctx, key, fmt.Sprintf("owner%d", i), webhook.ClaimGranted))
	}
	errs = append(errs, s.claims(ctx, "key", "Owner0", webhook.ClaimInFlight), s.Release(ctx, "key", "Owner0"), s.claims(ctx, "key", "b", webhook.ClaimInFlight))
	errs = append(errs, s.Done(ctx, "key", long), s.Release(ctx, "k", "owner5"),
		s.claims(ctx, "Key", "b", webhook.ClaimInFlight), s.claims(ctx, "key.", "b", webhook.ClaimInFlight), s.claims(ctx, "K", "b", webhook.ClaimGranted),
		s.claims(ctx, "ke", "b", webhook.ClaimInFlight), s.claims(ctx, "k", "b", webhook.ClaimGranted), s.claims(ctx, "key", "b", webhook.ClaimDone))
	owner := strings.Repeat("o", 63)
	errs = append(errs,
		s.claims(ctx, "owners", owner+"1", webhook.ClaimGranted),
		s.claims(ctx, "owners", owner+"2", webhook.ClaimInFlight),
		s.claims(ctx, "owners", owner+"1", webhook.ClaimGranted))
	return errors.Join(errs...)
}

// contend has many owners claim a free key at once.
func contend(ctx context.Context, s *subject, key string) error {
	const owners = 16
	var results [owners]webhook.ClaimState
	calls := make([]func() error, owners)
	for i := range calls {
		calls[i] = func() (err error) {
			results[i], err = s.Claim(ctx, key, fmt.Sprintf("owner%d", i), long)
			return err
		}
	}
	if err := suite.AtOnce(calls...); err != nil {
		return err
	}
	granted := 0
	for _, state := range results {
		switch state {
		case webhook.ClaimGranted:
			granted++
		case webhook.ClaimInFlight:
		default:
			return fmt.Errorf("a concurrent Claim = %v, want granted or in flight", state)
		}
	}
	if granted != 1 {
		return fmt.Errorf("%d of %d concurrent claims were granted, want 1", granted, owners)
	}
	return nil
}

func oneOfMany(ctx context.Context, s *subject) error {
	for round := range 20 {
		if err := contend(ctx, s, fmt.Sprintf("k%d", round)); err != nil {
			return err
		}
	}
	return nil
}

func oneOfManyAfterwards(ctx context.Context, s *subject) error {
	const rounds = 8
	for round := range rounds {
		if err := errors.Join(
			s.claimsFor(ctx, fmt.Sprintf("lease%d", round), "a", webhook.ClaimGranted),
			s.Done(ctx, fmt.Sprintf("done%d", round), s.Span()),
			s.claims(ctx, fmt.Sprintf("released%d", round), "a", webhook.ClaimGranted),
			s.Release(ctx, fmt.Sprintf("released%d", round), "a")); err != nil {
			return err
		}
	}
	s.Nearly()
	s.Over()
	for round := range rounds {
		for _, what := range []string{"lease", "done", "released"} {
			if err := contend(ctx, s, fmt.Sprintf("%s%d", what, round)); err != nil {
				return fmt.Errorf("a key that was %s: %w", what, err)
			}
		}
	}
	return nil
}

func doneBesideRelease(ctx context.Context, s *subject) error {
	for round := range 50 {
		key := fmt.Sprintf("k%d", round)
		if err := s.claims(ctx, key, "a", webhook.ClaimGranted); err != nil {
			return err
		}
		err := suite.AtOnce(
			func() error { return s.Done(ctx, key, long) },
			func() error { return s.Release(ctx, key, "a") })
		// Whichever came first, the key is done.
		if err = errors.Join(err, s.claims(ctx, key, "b", webhook.ClaimDone)); err != nil {
			return err
		}
	}
	return nil
}

func doneBesideClaim(ctx context.Context, s *subject) error {
	for round := range 50 {
		key := fmt.Sprintf("k%d", round)
		err := suite.AtOnce(
			func() error { return s.Done(ctx, key, long) },
			func() error { _, err := s.Claim(ctx, key, "a", long); return err })
		// Whichever came first, the key is done.
		if err = errors.Join(err, s.claims(ctx, key, "b", webhook.ClaimDone), s.claims(ctx, key, "a", webhook.ClaimDone)); err != nil {
			return err
		}
	}
	return nil
}

func releaseBesideClaim(ctx context.Context, s *subject) error {
	for round := range 50 {
		key := fmt.Sprintf("k%d", round)
		if err := s.claims(ctx, key, "a", webhook.ClaimGranted); err != nil {
			return err
		}
		var got webhook.ClaimState
		err := suite.AtOnce(
			func() error { return s.Release(ctx, key, "a") },
			func() (err error) { got, err = s.Claim(ctx, key, "b", long); return err })
		// Who was granted the key has it, and otherwise it is free.
		next := webhook.ClaimGranted
		if got == webhook.ClaimGranted {
			next = webhook.ClaimInFlight
		}
		if err = errors.Join(err, s.claims(ctx, key, "c", next)); err != nil {
			return fmt.Errorf("after the claim beside the Release was %v: %w", got, err)
		}
	}
	return nil
}

func crowd(ctx context.Context, s *subject) error {
	calls := make([]func() error, 32)
	for i := range calls {
		done, released, owner := fmt.Sprintf("done%d", i), fmt.Sprintf("released%d", i), fmt.Sprintf("owner%d", i)
		calls[i] = func() error {
			return errors.Join(
				s.claims(ctx, done, owner, webhook.ClaimGranted),
				s.claims(ctx, released, owner, webhook.ClaimGranted),
				s.Done(ctx, done, long),
				s.Release(ctx, released, owner),
				s.claims(ctx, done, owner, webhook.ClaimDone),
				s.claims(ctx, released, "b", webhook.ClaimGranted))
		}
	}
	return suite.AtOnce(calls...)
}

func longAndShort(ctx context.Context, s *subject) error {
	const longest = time.Duration(math.MaxInt64 - math.MaxInt64%1_000_000) // whole milliseconds
	errs := []error{
		s.Done(ctx, "done", longest),
		wantState(webhook.ClaimGranted, "flight", "a")(s.Claim(ctx, "flight", "a", longest)),
		wantState(webhook.ClaimGranted, "flight", "a")(s.Claim(ctx, "flight", "a", longest)),
		wantState(webhook.ClaimGranted, "short", "a")(s.Claim(ctx, "short", "a", time.Millisecond)),
		s.Done(ctx, "brief", time.Millisecond),
	}
	s.Tick()
	return errors.Join(append(errs,
		s.claims(ctx, "short", "b", webhook.ClaimGranted),
		s.claims(ctx, "brief", "b", webhook.ClaimGranted),
		s.claims(ctx, "done", "b", webhook.ClaimDone),
		s.claims(ctx, "flight", "b", webhook.ClaimInFlight))...)
}

func contextOver(ctx context.Context, s *subject) error {
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancel()
	errs := []error{s.claims(ctx, "mine", "a", webhook.ClaimGranted)}
	for over, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
		state, err := s.Claim(over, "free", "a", long)
		if state == webhook.ClaimGranted {
			errs = append(errs, errors.New("Claim with a context that is over was granted"))
		}
		errs = append(errs,
			wantOver("Claim", err, want),
			wantOver("Done", s.Done(over, "free", long), want),
			wantOver("Done", s.Done(over, "mine", long), want),
			wantOver("Release", s.Release(over, "mine", "a"), want))
	}
	return errors.Join(append(errs,
		s.claims(ctx, "free", "b", webhook.ClaimGranted),
		s.claims(ctx, "mine", "b", webhook.ClaimInFlight))...)
}

// wantOver reports an error unless err is that of the context.
func wantOver(method string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s with a context that is over: error %w, want one that matches %q", method, suite.OrNone(err), want)
	}
	return nil
}
