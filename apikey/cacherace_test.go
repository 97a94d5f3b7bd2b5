package apikey_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A gate lets a test hold whoever passes.
type gate struct{ reached, open chan struct{} }

func newGate() gate { return gate{make(chan struct{}), make(chan struct{})} }

// pass waits until the gate opens, or until ctx is over.
func (g gate) pass(ctx context.Context) {
	g.reached <- struct{}{}
	select {
	case <-g.open:
	case <-ctx.Done():
	}
}

// A verdict is what a Verify in another goroutine came to.
type verdict chan error

func verifying(ctx context.Context, s *apikey.Service, token string) verdict {
	v := make(verdict, 1)
	go func() {
		_, err := s.Verify(ctx, token, nil)
		v <- err
	}()
	return v
}

// cachedNow is cached by the clock of a bubble.
func cachedNow(t testing.TB, store apikey.Store, o apikey.CacheOptions) *apikey.Service {
	t.Helper()
	if o.Bound == 0 {
		o.Bound = 10 * time.Second
	}
	return newService(t, store, newFormat(t, "gx", &apikey.FormatOptions{NoChecksum: true}), &apikey.Options{Cache: &o})
}

// A read that was under way when its key was revoked must not bring the key
// back: its own caller may go by it, nobody who came later, and it is not kept.
// So for what is done to the key and to its owner.
func TestSlowReadDoesNotResurrectTheKey(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(t *testing.T, s *apikey.Service, k apikey.Key)
		want error
	}{
		"revoked":         {func(t *testing.T, s *apikey.Service, k apikey.Key) { must(s.Revoke(t.Context(), k.ID, ""))(t) }, apikey.ErrRevoked},
		"disabled":        {func(t *testing.T, s *apikey.Service, k apikey.Key) { must(s.Disable(t.Context(), k.ID))(t) }, apikey.ErrDisabled},
		"deleted":         {func(t *testing.T, s *apikey.Service, k apikey.Key) { must(0, s.Delete(t.Context(), k.ID))(t) }, apikey.ErrUnknown},
		"regenerated":     {func(t *testing.T, s *apikey.Service, k apikey.Key) { must(s.Regenerate(t.Context(), k.ID))(t) }, apikey.ErrUnknown},
		"rotated at once": {func(t *testing.T, s *apikey.Service, k apikey.Key) { must(s.Rotate(t.Context(), k.ID, 0))(t) }, apikey.ErrExpired},
		"owner revoked":   {func(t *testing.T, s *apikey.Service, k apikey.Key) { must(s.RevokeOwner(t.Context(), k.Owner, ""))(t) }, apikey.ErrRevoked},
		"owner suspended": {func(t *testing.T, s *apikey.Service, k apikey.Key) { must(s.SuspendOwner(t.Context(), k.Owner, ""))(t) }, apikey.ErrSuspended},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				store := &staged{Store: apikey.NewMemoryStore()}
				s := cachedNow(t, store, apikey.CacheOptions{})
				issued := create(t, s, apikey.Spec{})
				token := issued.Secret.Reveal()
				store.after = g.pass
				early := verifying(t.Context(), s, token)
				<-g.reached
				tt.end(t, s, issued.Key)
				late := verifying(t.Context(), s, token)
				if name[:5] != "owner" { // whose read is under way is not known: the late one waits for it
					<-g.reached
				}
				synctest.Wait()
				go func() { // for the late one's own read, where it waited
					for range g.reached {
						continue
					}
				}()
				close(g.open)
				if err := <-early; err != nil {
					t.Errorf("whose read began before the change: %v", err)
				}
				if err := <-late; !errors.Is(err, tt.want) {
					t.Errorf("who came after the change: %v, want %v", err, tt.want)
				}
				refused(t, s, tt.want, token)
				close(g.reached)
			})
		})
	}
}

// Who reads while a change is being committed finds what was before. That must
// be gone when the change is made: what is forgotten too early comes back.
func TestForgottenAfterTheCommit(t *testing.T) {
	for name, failure := range map[string]error{"committed": nil, "committed, and the answer lost": errors.New("connection reset")} {
		t.Run(name, func(t *testing.T) {
			store := &staged{Store: apikey.NewMemoryStore()}
			s, _ := cached(t, store, apikey.CacheOptions{})
			issued := create(t, s, apikey.Spec{})
			store.apply = func(commit func() error) error {
				accepted(t, s, issued.Secret.Reveal())
				if err := commit(); err != nil {
					return err
				}
				return failure
			}
			if _, err := s.Revoke(t.Context(), issued.Key.ID, ""); !errors.Is(err, failure) {
				t.Fatalf("Revoke = %v", err)
			}
			refused(t, s, apikey.ErrRevoked, issued.Secret.Reveal())
		})
	}
}

// A store that reads from a replica may answer with what was before a change
// that this process has heard of. That lives until Bound.
func TestReplicaLagIsBounded(t *testing.T) {
	store := &lagging{Store: apikey.NewMemoryStore()}
	s, c := cached(t, store, apikey.CacheOptions{})
	issued := create(t, s, apikey.Spec{})
	store.catchUp(t, issued)
	must(s.Revoke(t.Context(), issued.Key.ID, ""))(t)
	accepted(t, s, issued.Secret.Reveal()) // the lag of the store
	store.catchUp(t, issued)
	c.advance(10*time.Second - 1)
	accepted(t, s, issued.Secret.Reveal())
	c.advance(1)
	refused(t, s, apikey.ErrRevoked, issued.Secret.Reveal())
}

// A lagging store answers look-ups with a record of an earlier time.
type lagging struct {
	apikey.Store
	old apikey.Record
}

func (s *lagging) catchUp(t *testing.T, issued apikey.Issued) {
	t.Helper()
	s.old = must(s.ByID(t.Context(), issued.Key.ID))(t)
}

func (s *lagging) ByHandle(context.Context, string) (apikey.Record, error) { return s.old, nil }

func TestOneReadForAllWhoAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &staged{Store: apikey.NewMemoryStore()}
		s := cachedNow(t, store, apikey.CacheOptions{})
		token := issueTo(t, s, 1)[0]
		store.after = g.pass
		var all []verdict
		for range 50 {
			all = append(all, verifying(t.Context(), s, token))
		}
		<-g.reached
		synctest.Wait() // nobody else reads
		close(g.open)
		for _, v := range all {
			if err := <-v; err != nil {
				t.Error(err)
			}
		}
		if n := store.calls.Load(); n != 1 {
			t.Errorf("fifty at once asked the store %d times, want once", n)
		}
	})
}

// Whoever reads for all may give up, and takes nobody along.
func TestGivingUpTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &staged{Store: apikey.NewMemoryStore()}
		s := cachedNow(t, store, apikey.CacheOptions{})
		token := issueTo(t, s, 1)[0]
		store.before = func(ctx context.Context) error {
			g.pass(ctx)
			return ctx.Err()
		}
		lead, cancelLead := context.WithCancel(t.Context())
		leader := verifying(lead, s, token)
		<-g.reached
		follow, cancelFollow := context.WithTimeout(t.Context(), time.Second)
		defer cancelFollow()
		impatient := verifying(follow, s, token)
		var patient []verdict
		for range 10 {
			patient = append(patient, verifying(t.Context(), s, token))
		}
		if err := <-impatient; errors.CodeOf(err) != errors.DeadlineExceeded {
			t.Errorf("who waited for a second: %v, want its own deadline", err)
		}
		cancelLead()
		if err := <-leader; errors.CodeOf(err) != errors.Canceled {
			t.Errorf("who gave up: %v, want canceled", err)
		}
		<-g.reached // somebody takes over
		synctest.Wait()
		close(g.open)
		for _, v := range patient {
			if err := <-v; err != nil {
				t.Errorf("who waited: %v", err)
			}
		}
		if n := store.calls.Load(); n != 2 {
			t.Errorf("the store was asked %d times, want twice", n)
		}
	})
}

// A store that ends the goroutine, as a panic and a failed test do, leaves
// nobody waiting.
func TestPanicLeavesNobodyWaiting(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("of the driver") }, "exit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				store := &staged{Store: apikey.NewMemoryStore()}
				s := cachedNow(t, store, apikey.CacheOptions{})
				token := issueTo(t, s, 1)[0]
				first := true
				store.before = func(ctx context.Context) error {
					if !first {
						return nil
					}
					first = false
					g.pass(ctx)
					end()
					return nil
				}
				go func() {
					defer func() { _ = recover() }()
					_, _ = s.Verify(t.Context(), token, nil)
				}()
				<-g.reached
				follower := verifying(t.Context(), s, token)
				synctest.Wait()
				close(g.open)
				if err := <-follower; err != nil {
					t.Errorf("who waited: %v", err)
				}
			})
		})
	}
}

// A failure of the store is the answer of those who waited for it, of nobody
// later.
func TestFailureIsSharedAndNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &staged{Store: apikey.NewMemoryStore()}
		s := cachedNow(t, store, apikey.CacheOptions{})
		token := issueTo(t, s, 1)[0]
		store.before = func(ctx context.Context) error {
			g.pass(ctx)
			return errors.New("down")
		}
		a := verifying(t.Context(), s, token)
		<-g.reached
		b := verifying(t.Context(), s, token)
		synctest.Wait()
		close(g.open)
		for _, v := range []verdict{a, b} {
			if err := <-v; errors.CodeOf(err) != errors.Unavailable {
				t.Errorf("Verify = %v, want unavailable", err)
			}
		}
		store.before = nil
		accepted(t, s, token)
		if n := store.calls.Load(); n != 2 {
			t.Errorf("the store was asked %d times, want twice", n)
		}
	})
}

// A read that takes longer than the bound is nobody's answer who comes after
// that.
func TestReadOlderThanTheBoundIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &staged{Store: apikey.NewMemoryStore()}
		s := cachedNow(t, store, apikey.CacheOptions{})
		elsewhere := newService(t, store.Store, s.Format(), nil)
		issued := create(t, s, apikey.Spec{})
		store.after = g.pass
		early := verifying(t.Context(), s, issued.Secret.Reveal())
		<-g.reached
		must(elsewhere.Revoke(t.Context(), issued.Key.ID, ""))(t)
		pass(10 * time.Second)
		late := verifying(t.Context(), s, issued.Secret.Reveal())
		<-g.reached
		close(g.open)
		if err := <-early; err != nil {
			t.Errorf("who came before: %v", err)
		}
		if err := <-late; !errors.Is(err, apikey.ErrRevoked) {
			t.Errorf("who came after the bound: %v, want ErrRevoked", err)
		}
		store.after = nil
		refused(t, s, apikey.ErrRevoked, issued.Secret.Reveal())
	})
}

// Verifying writes uses later. That must not write back what was read before a
// key was disabled, nor forget that it was.
func TestKeyDisabledDuringVerificationStaysDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &staged{Store: apikey.NewMemoryStore()}
		s := cachedNow(t, store, apikey.CacheOptions{})
		issued := create(t, s, apikey.Spec{})
		store.after = g.pass
		early := verifying(t.Context(), s, issued.Secret.Reveal())
		<-g.reached
		store.after = nil
		must(s.Disable(t.Context(), issued.Key.ID))(t)
		close(g.open)
		if err := <-early; err != nil {
			t.Error(err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		refused(t, s, apikey.ErrDisabled, issued.Secret.Reveal())
		if k := must(s.Get(t.Context(), issued.Key.ID))(t); k.State != apikey.StateDisabled || k.LastUsedAt.IsZero() {
			t.Errorf("the key is %v, last used %v", k.State, k.LastUsedAt)
		}
	})
}

// Everything at once, for the race detector: what is revoked here is refused
// here from then on, whatever else goes on.
func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s := newService(t, store, nil, &apikey.Options{Cache: &apikey.CacheOptions{Bound: time.Hour, MaxKeys: 16}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 60 {
				issued, err := s.Create(t.Context(), apikey.Spec{Owner: fmt.Sprint("acct_", i%3)})
				if err != nil {
					t.Error(err)
					return
				}
				token := issued.Secret.Reveal()
				var inner sync.WaitGroup
				for range 3 {
					inner.Go(func() {
						_, _ = s.Verify(t.Context(), token, nil)
						_, _ = s.Verify(t.Context(), token, &apikey.VerifyOptions{Fresh: true})
					})
				}
				if n%2 == 0 {
					_, err = s.Revoke(t.Context(), issued.Key.ID, "")
				} else {
					_, err = s.Disable(t.Context(), issued.Key.ID)
				}
				if err != nil {
					t.Error(err)
				}
				if _, err := s.Verify(t.Context(), token, nil); errors.CodeOf(err) != errors.Unauthenticated {
					t.Errorf("Verify of a key that was switched off = %v", err)
				}
				inner.Wait()
				if _, err := s.Verify(t.Context(), token, nil); errors.CodeOf(err) != errors.Unauthenticated {
					t.Errorf("Verify of a key that was switched off = %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// A read that takes longer than the bound has another beside it. A notice must
// fence it nonetheless: with a great MaxAge it would be kept, and come back for
// as long as that.
func TestNoticeFencesAReadThatAnotherReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, apikey.CacheOptions{Bound: 10 * time.Second, MaxAge: time.Hour})
		l := <-f.feed.lines
		l.Alive(l.Now())
		issued := create(t, f.here, apikey.Spec{})
		g := newGate()
		f.store.after = g.pass
		early := verifying(t.Context(), f.there, issued.Secret.Reveal())
		<-g.reached
		f.store.after = nil
		for range 2 {
			pass(5 * time.Second)
			l.Alive(l.Now())
		}
		accepted(t, f.there, issued.Secret.Reveal()) // by a read of its own
		must(f.here.Revoke(t.Context(), issued.Key.ID, ""))(t)
		l.Heard(apikey.Notice{Handle: must(f.store.ByID(t.Context(), issued.Key.ID))(t).Handle})
		close(g.open)
		if err := <-early; err != nil {
			t.Errorf("who came before: %v", err)
		}
		refused(t, f.there, apikey.ErrRevoked, issued.Secret.Reveal())
	})
}
