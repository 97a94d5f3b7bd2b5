package webhooktest

import (
	"context"
	"errors"
	"fmt"

	"github.com/keytoll/keytoll/webhook"
)

// A check is one promise of [webhook.ReplayStore]. It returns how a store
// breaks it, and takes a store that is empty.
type check struct {
	promise string
	run     func(ctx context.Context, s *subject) error
}

// checks are those in which no time has to pass, and waits those in which it has.
// Neither is ever written to.
var (
	checks = []check{
		{"a free key is granted", func(ctx context.Context, s *subject) error {
			return errors.Join(s.claims(ctx, "k", "a", webhook.ClaimGranted), s.claims(ctx, "l", "a", webhook.ClaimGranted))
		}},
		{"a key in flight is refused to others and stays its owner's", func(ctx context.Context, s *subject) error {
			return errors.Join(
				s.claims(ctx, "k", "a", webhook.ClaimGranted),
				s.claims(ctx, "k", "b", webhook.ClaimInFlight),
				s.claims(ctx, "k", "b", webhook.ClaimInFlight),
				s.claims(ctx, "k", "a", webhook.ClaimGranted))
		}},
		{"a done key is done for everyone, its owner included", func(ctx context.Context, s *subject) error {
			return errors.Join(
				s.claims(ctx, "k", "a", webhook.ClaimGranted),
				s.Done(ctx, "k", long),
				s.claims(ctx, "k", "b", webhook.ClaimDone),
				s.claims(ctx, "k", "a", webhook.ClaimDone))
		}},
		{"Done holds for a key that was never claimed", func(ctx context.Context, s *subject) error {
			return errors.Join(s.Done(ctx, "k", long), s.claims(ctx, "k", "a", webhook.ClaimDone))
		}},
		{"a released key is free again", func(ctx context.Context, s *subject) error {
			return errors.Join(
				s.claims(ctx, "k", "a", webhook.ClaimGranted),
				s.Release(ctx, "k", "a"),
				s.claims(ctx, "k", "b", webhook.ClaimGranted),
				s.claims(ctx, "k", "a", webhook.ClaimInFlight))
		}},
		{"Release by another owner changes nothing", func(ctx context.Context, s *subject) error {
			return errors.Join(
				s.claims(ctx, "k", "a", webhook.ClaimGranted),
				s.Release(ctx, "k", "b"),
				s.claims(ctx, "k", "b", webhook.ClaimInFlight))
		}},
		{"Release of a done key changes nothing", func(ctx context.Context, s *subject) error {
			return errors.Join(
				s.claims(ctx, "k", "a", webhook.ClaimGranted),
				s.Done(ctx, "k", long),
				s.Release(ctx, "k", "a"),
				s.claims(ctx, "k", "a", webhook.ClaimDone))
		}},
		{"Release of a free key changes nothing and is no error", func(ctx context.Context, s *subject) error {
			return errors.Join(
				s.Release(ctx, "k", "a"),
				s.claims(ctx, "k", "b", webhook.ClaimGranted))
		}},
		{"keys and owners are compared byte for byte", byteForByte},
		{"of concurrent claims by different owners exactly one is granted", oneOfMany},
		{"a Release at the same time as Done undoes nothing", doneBesideRelease},
		{"a claim at the same time as Done undoes nothing", doneBesideClaim},
		{"a Release at the same time as a claim undoes nothing", releaseBesideClaim},
		{"calls about different keys do not disturb each other", crowd},
		{"a call whose context is over changes nothing and says so", contextOver},
	}
	waits = []check{
		{"a lease ends after its length, not before", func(ctx context.Context, s *subject) error {
			err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
			s.Nearly()
			err = errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimInFlight))
			s.Over()
			return errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimGranted))
		}},
		{"a done key is kept for its time, not longer", func(ctx context.Context, s *subject) error {
			err := s.Done(ctx, "k", s.Span())
			s.Nearly()
			err = errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimDone))
			s.Over()
			return errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimGranted))
		}},
		{"Done outlasts the lease it replaces", func(ctx context.Context, s *subject) error {
			err := errors.Join(s.claimsFor(ctx, "k", "a", webhook.ClaimGranted), s.Done(ctx, "k", long))
			s.Nearly()
			s.Over()
			return errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimDone))
		}},
		{"Done holds although the lease has ended", func(ctx context.Context, s *subject) error {
			err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
			s.Nearly()
			s.Over()
			return errors.Join(err, s.Done(ctx, "k", long), s.claims(ctx, "k", "b", webhook.ClaimDone))
		}},
		{"Done holds although another owner has claimed meanwhile", func(ctx context.Context, s *subject) error {
			err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
			s.Nearly()
			s.Over()
			return errors.Join(err,
				s.claims(ctx, "k", "b", webhook.ClaimGranted),
				s.Done(ctx, "k", long),
				s.claims(ctx, "k", "c", webhook.ClaimDone),
				s.Release(ctx, "k", "b"),
				s.claims(ctx, "k", "c", webhook.ClaimDone))
		}},
		{"Done again keeps the later end", func(ctx context.Context, s *subject) error {
			err := errors.Join(
				s.Done(ctx, "shorter", long), s.Done(ctx, "shorter", s.Span()),
				s.Done(ctx, "longer", s.Span()), s.Done(ctx, "longer", long))
			s.Nearly()
			s.Over()
			return errors.Join(err,
				s.claims(ctx, "shorter", "a", webhook.ClaimDone),
				s.claims(ctx, "longer", "a", webhook.ClaimDone))
		}},
		{"a claim by the owner begins the lease anew", func(ctx context.Context, s *subject) error {
			err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
			s.Nearly()
			err = errors.Join(err, s.claims(ctx, "k", "a", webhook.ClaimGranted)) // for long
			s.Over()
			return errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimInFlight))
		}},
		{"a claim by the owner may make the lease shorter", func(ctx context.Context, s *subject) error {
			err := errors.Join(s.claims(ctx, "k", "a", webhook.ClaimGranted), s.claimsFor(ctx, "k", "a", webhook.ClaimGranted))
			s.Nearly()
			err = errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimInFlight))
			s.Over()
			return errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimGranted))
		}},
		{"whose lease has ended has no more right than others", func(ctx context.Context, s *subject) error {
			err := errors.Join(s.claimsFor(ctx, "k", "a", webhook.ClaimGranted), s.claimsFor(ctx, "l", "a", webhook.ClaimGranted))
			s.Nearly()
			s.Over()
			return errors.Join(err,
				s.claims(ctx, "k", "b", webhook.ClaimGranted),
				s.claims(ctx, "k", "a", webhook.ClaimInFlight),
				s.claims(ctx, "l", "a", webhook.ClaimGranted),
				s.claims(ctx, "l", "b", webhook.ClaimInFlight))
		}},
		{"Done of a key whose time to keep has ended keeps it anew", func(ctx context.Context, s *subject) error {
			err := s.Done(ctx, "k", s.Span())
			s.Nearly()
			s.Over()
			err = errors.Join(err, s.Done(ctx, "k", s.Span()))
			s.Nearly()
			err = errors.Join(err, s.claims(ctx, "k", "a", webhook.ClaimDone))
			s.Over()
			return errors.Join(err, s.claims(ctx, "k", "a", webhook.ClaimGranted))
		}},
		{"a refused claim does not lengthen the lease", func(ctx context.Context, s *subject) error {
			err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
			s.Nearly()
			err = errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimInFlight)) // asks for long
			s.Over()
			return errors.Join(err, s.claims(ctx, "k", "c", webhook.ClaimGranted))
		}},
		{"a refused claim does not lengthen the time to keep", func(ctx context.Context, s *subject) error {
			err := s.Done(ctx, "k", s.Span())
			s.Nearly()
			err = errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimDone)) // asks for long
			s.Over()
			return errors.Join(err, s.claims(ctx, "k", "c", webhook.ClaimGranted))
		}},
		{"a late Release does not free what another owner has claimed meanwhile", func(ctx context.Context, s *subject) error {
			err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
			s.Nearly()
			s.Over()
			return errors.Join(err,
				s.claims(ctx, "k", "b", webhook.ClaimGranted),
				s.Release(ctx, "k", "a"),
				s.claims(ctx, "k", "c", webhook.ClaimInFlight))
		}},
		{"the shortest and the longest of times are kept", longAndShort},
		{"of concurrent claims on what has ended exactly one is granted", oneOfManyAfterwards},
	}
)

// claims reports an error unless a claim for long is answered with want.
func (s *subject) claims(ctx context.Context, key, owner string, want webhook.ClaimState) error {
	return wantState(want, key, owner)(s.Claim(ctx, key, owner, long))
}

// claimsFor is claims with a lease that ends within the test.
func (s *subject) claimsFor(ctx context.Context, key, owner string, want webhook.ClaimState) error {
	return wantState(want, key, owner)(s.Claim(ctx, key, owner, s.Span()))
}

func wantState(want webhook.ClaimState, key, owner string) func(webhook.ClaimState, error) error {
	return func(got webhook.ClaimState, err error) error {
		if err != nil {
			return fmt.Errorf("Claim(%.40q, %.40q): %w", key, owner, err)
		}
		if got != want {
			return fmt.Errorf("Claim(%.40q, %.40q) = %v, want %v", key, owner, got, want)
		}
		return nil
	}
}
