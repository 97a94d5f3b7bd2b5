package webhooktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/keytoll/keytoll/webhook"
)

// A check is one promise of [webhook.ReplayStore]. It returns how a store
// breaks it, and takes a store that is empty.
type check struct {
	promise string
	run     func(ctx context.Context, s *subject) error
}

// checks is never written to.
var checks = []check{
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
	{"a lease ends after its length, not before", func(ctx context.Context, s *subject) error {
		err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
		s.nearly()
		err = errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimInFlight))
		s.over()
		return errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimGranted))
	}},
	{"a done key is kept for its time, not longer", func(ctx context.Context, s *subject) error {
		err := s.Done(ctx, "k", s.span())
		s.nearly()
		err = errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimDone))
		s.over()
		return errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimGranted))
	}},
	{"Done outlasts the lease it replaces", func(ctx context.Context, s *subject) error {
		err := errors.Join(s.claimsFor(ctx, "k", "a", webhook.ClaimGranted), s.Done(ctx, "k", long))
		s.nearly()
		s.over()
		return errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimDone))
	}},
	{"Done holds although the lease has ended", func(ctx context.Context, s *subject) error {
		err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
		s.nearly()
		s.over()
		return errors.Join(err, s.Done(ctx, "k", long), s.claims(ctx, "k", "b", webhook.ClaimDone))
	}},
	{"Done holds although another owner has claimed meanwhile", func(ctx context.Context, s *subject) error {
		err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
		s.nearly()
		s.over()
		return errors.Join(err,
			s.claims(ctx, "k", "b", webhook.ClaimGranted),
			s.Done(ctx, "k", long),
			s.claims(ctx, "k", "c", webhook.ClaimDone),
			s.Release(ctx, "k", "b"),
			s.claims(ctx, "k", "c", webhook.ClaimDone))
	}},
	{"Done again keeps the later end", func(ctx context.Context, s *subject) error {
		err := errors.Join(
			s.Done(ctx, "shorter", long), s.Done(ctx, "shorter", s.span()),
			s.Done(ctx, "longer", s.span()), s.Done(ctx, "longer", long))
		s.nearly()
		s.over()
		return errors.Join(err,
			s.claims(ctx, "shorter", "a", webhook.ClaimDone),
			s.claims(ctx, "longer", "a", webhook.ClaimDone))
	}},
	{"a claim by the owner begins the lease anew", func(ctx context.Context, s *subject) error {
		err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
		s.nearly()
		err = errors.Join(err, s.claims(ctx, "k", "a", webhook.ClaimGranted)) // for long
		s.over()
		return errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimInFlight))
	}},
	{"a refused claim does not lengthen the lease", func(ctx context.Context, s *subject) error {
		err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
		s.nearly()
		err = errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimInFlight)) // asks for long
		s.over()
		return errors.Join(err, s.claims(ctx, "k", "c", webhook.ClaimGranted))
	}},
	{"a refused claim does not lengthen the time to keep", func(ctx context.Context, s *subject) error {
		err := s.Done(ctx, "k", s.span())
		s.nearly()
		err = errors.Join(err, s.claims(ctx, "k", "b", webhook.ClaimDone)) // asks for long
		s.over()
		return errors.Join(err, s.claims(ctx, "k", "c", webhook.ClaimGranted))
	}},
	{"a late Release does not free what another owner has claimed meanwhile", func(ctx context.Context, s *subject) error {
		err := s.claimsFor(ctx, "k", "a", webhook.ClaimGranted)
		s.nearly()
		s.over()
		return errors.Join(err,
			s.claims(ctx, "k", "b", webhook.ClaimGranted),
			s.Release(ctx, "k", "a"),
			s.claims(ctx, "k", "c", webhook.ClaimInFlight))
	}},
	{"keys and owners are compared byte for byte", byteForByte},
	{"of concurrent claims by different owners exactly one is granted", oneOfMany},
	{"a Release at the same time as Done undoes nothing", doneBesideRelease},
	{"a call whose context is over changes nothing and says so", contextOver},
}

// claims reports an error unless a claim for long is answered with want.
func (s *subject) claims(ctx context.Context, key, owner string, want webhook.ClaimState) error {
	return wantState(want, key, owner)(s.Claim(ctx, key, owner, long))
}

// claimsFor is claims with a lease that ends within the test.
func (s *subject) claimsFor(ctx context.Context, key, owner string, want webhook.ClaimState) error {
	return wantState(want, key, owner)(s.Claim(ctx, key, owner, s.span()))
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

func byteForByte(ctx context.Context, s *subject) error {
	base := strings.Repeat("k", 511)
	var errs []error
	for i, key := range []string{
		"key", "Key", "KEY", "key.", "ke", "k", ".key", "a.key", "%", "_", "*", "key*", "k_y", "'", `"`, `\`, "{key}", ":", "a:b", "/", base, base + "k", base + "l", "0", "00", "1e1",
	} {
		errs = append(errs, s.claims(ctx, key, fmt.Sprintf("owner%d", i), webhook.ClaimGranted))
	}
	errs = append(errs, s.claims(ctx, "key", "Owner0", webhook.ClaimInFlight), s.Release(ctx, "key", "Owner0"), s.claims(ctx, "key", "b", webhook.ClaimInFlight))
	owner := strings.Repeat("o", 63)
	errs = append(errs,
		s.claims(ctx, "owners", owner+"1", webhook.ClaimGranted),
		s.claims(ctx, "owners", owner+"2", webhook.ClaimInFlight),
		s.claims(ctx, "owners", owner+"1", webhook.ClaimGranted))
	return errors.Join(errs...)
}

func oneOfMany(ctx context.Context, s *subject) error {
	const rounds, owners = 20, 16
	for round := range rounds {
		var (
			wg      sync.WaitGroup
			start   = make(chan struct{})
			results [owners]webhook.ClaimState
			errs    [owners]error
		)
		for i := range owners {
			wg.Go(func() {
				<-start
				results[i], errs[i] = s.Claim(ctx, fmt.Sprintf("k%d", round), fmt.Sprintf("owner%d", i), long)
			})
		}
		close(start)
		wg.Wait()
		if err := errors.Join(errs[:]...); err != nil {
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
	}
	return nil
}

func doneBesideRelease(ctx context.Context, s *subject) error {
	for round := range 50 {
		key := fmt.Sprintf("k%d", round)
		if err := s.claims(ctx, key, "a", webhook.ClaimGranted); err != nil {
			return err
		}
		var (
			wg            sync.WaitGroup
			start         = make(chan struct{})
			done, release error
		)
		wg.Go(func() { <-start; done = s.Done(ctx, key, long) })
		wg.Go(func() { <-start; release = s.Release(ctx, key, "a") })
		close(start)
		wg.Wait()
		// Whichever came first, the key is done.
		if err := errors.Join(done, release, s.claims(ctx, key, "b", webhook.ClaimDone)); err != nil {
			return err
		}
	}
	return nil
}

func contextOver(ctx context.Context, s *subject) error {
	over, cancel := context.WithCancel(ctx)
	cancel()
	errs := []error{s.claims(ctx, "mine", "a", webhook.ClaimGranted)}
	state, err := s.Claim(over, "free", "a", long)
	errs = append(errs, wantCanceled("Claim", err))
	if state == webhook.ClaimGranted {
		errs = append(errs, errors.New("Claim with a context that is over was granted"))
	}
	errs = append(errs,
		wantCanceled("Done", s.Done(over, "free", long)),
		wantCanceled("Release", s.Release(over, "mine", "a")),
		s.claims(ctx, "free", "b", webhook.ClaimGranted),
		s.claims(ctx, "mine", "b", webhook.ClaimInFlight))
	return errors.Join(errs...)
}

func wantCanceled(method string, err error) error {
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s with a context that is over: error %w, want one that matches context.Canceled", method, orNone(err))
	}
	return nil
}

// orNone gives a nil error a text.
func orNone(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}
