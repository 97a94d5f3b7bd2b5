package apikey_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func TestCacheOptionsRefuse(t *testing.T) {
	lossless, lossy := apikey.NewMemoryStore(), new(apikey.MemoryFeed)
	for want, o := range map[string]apikey.CacheOptions{
		"Cache.Bound is 0s; give the greatest time":     {},
		"Cache.Bound is -1s":                            {Bound: -time.Second},
		"Cache.MaxAge is -1s; give 0 for Bound":         {Bound: time.Second, MaxAge: -time.Second},
		"Cache.MaxAge is 2s and Bound 1s: without a":    {Bound: time.Second, MaxAge: 2 * time.Second},
		"Cache.MaxAge is 3s and Bound 1s: without a":    {Bound: time.Second, MaxAge: 3 * time.Second, Feed: lossy},
		"Cache.MaxKeys is -1; give 1 or more":           {Bound: time.Second, MaxKeys: -1},
		"Cache.NegativeTTL is 2s and Bound 1s; give at": {Bound: time.Second, MaxAge: time.Minute, NegativeTTL: 2 * time.Second, Feed: lossless},
	} {
		_, err := apikey.NewService(apikey.NewMemoryStore(), newFormat(t, "gx", nil), &apikey.Options{Cache: &o})
		if errors.CodeOf(err) != errors.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("NewService = %v, want invalid with %q", err, want)
		}
	}
}

func TestWithoutCacheEveryVerifyAsksTheStore(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s := newService(t, store, nil, nil)
	token := create(t, s, apikey.Spec{}).Secret.Reveal()
	if n := store.asked(func() { accepted(t, s, token, token, token) }); n != 3 {
		t.Errorf("three verifications asked the store %d times, want 3", n)
	}
}

// A cache that is keyed by what is public must prove what is secret each time.
func TestEveryHitProvesTheSecret(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s, _ := cached(t, store, apikey.CacheOptions{})
	token := create(t, s, apikey.Spec{}).Secret.Reveal()
	asked := store.asked(func() {
		accepted(t, s, token)
		for range 3 {
			refused(t, s, apikey.ErrUnknown, guess(token))
			accepted(t, s, token)
		}
	})
	if asked != 1 {
		t.Errorf("the store was asked %d times, want once", asked)
	}
}

func TestHitIsTheKeyInTheStore(t *testing.T) {
	s, _ := cached(t, &staged{Store: apikey.NewMemoryStore()}, apikey.CacheOptions{})
	issued := create(t, s, apikey.Spec{Name: "CI", Settings: full(t).Settings, Metadata: full(t).Metadata, TTL: time.Hour})
	for range 2 {
		if k := must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t); !k.Equal(issued.Key) {
			t.Errorf("Verify = %+v, want %+v", k, issued.Key)
		}
	}
}

// What depends on the time and on the request is judged at each request, also
// when a rotation's deadline or an expiry comes while the key is kept.
func TestHitIsJudgedAnew(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s, c := cached(t, store, apikey.CacheOptions{Bound: time.Hour})
	ends := create(t, s, apikey.Spec{TTL: 5 * time.Minute}).Secret.Reveal()
	bound := create(t, s, apikey.Spec{Networks: networks(t, "10.0.0.0/8")}).Secret.Reveal()
	rotated := create(t, s, apikey.Spec{})
	must(s.Rotate(t.Context(), rotated.Key.ID, 5*time.Minute))(t)
	inside, outside := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")
	asked := store.asked(func() {
		accepted(t, s, ends, rotated.Secret.Reveal())
		for range 2 {
			if _, err := s.Verify(t.Context(), bound, &apikey.VerifyOptions{IP: inside}); err != nil {
				t.Error(err)
			}
			if _, err := s.Verify(t.Context(), bound, &apikey.VerifyOptions{IP: outside}); !errors.Is(err, apikey.ErrNetwork) {
				t.Errorf("from outside: %v, want ErrNetwork", err)
			}
			if _, err := s.Verify(t.Context(), bound, &apikey.VerifyOptions{IP: inside, Environment: "live"}); !errors.Is(err, apikey.ErrEnvironment) {
				t.Errorf("of another environment: %v, want ErrEnvironment", err)
			}
		}
		c.advance(5*time.Minute - time.Nanosecond)
		accepted(t, s, ends, rotated.Secret.Reveal())
		c.advance(time.Nanosecond)
		refused(t, s, apikey.ErrExpired, ends, rotated.Secret.Reveal())
	})
	if asked != 3 {
		t.Errorf("the store was asked %d times, want once for each of three keys", asked)
	}
}

// The age of an entry counts from before its read began: a slow read takes its
// time off what is left.
func TestEntryEndsAtTheBound(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s, c := cached(t, store, apikey.CacheOptions{})
	token := create(t, s, apikey.Spec{}).Secret.Reveal()
	store.after = func(context.Context) { c.advance(6 * time.Second) }
	for _, tt := range []struct {
		after time.Duration
		asked int64
	}{{0, 1}, {0, 0}, {4*time.Second - time.Nanosecond, 0}, {time.Nanosecond, 1}, {time.Second, 0}, {-2 * time.Minute, 1}, {0, 0}} {
		c.advance(tt.after)
		if n := store.asked(func() { accepted(t, s, token) }); n != tt.asked {
			t.Errorf("at %v the store was asked %d times, want %d", c.at, n, tt.asked)
		}
	}
}

func TestReadSlowerThanTheBoundIsNotKept(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s, c := cached(t, store, apikey.CacheOptions{})
	token := create(t, s, apikey.Spec{}).Secret.Reveal()
	store.after = func(context.Context) { c.advance(10 * time.Second) }
	if n := store.asked(func() { accepted(t, s, token, token) }); n != 2 {
		t.Errorf("the store was asked %d times, want 2", n)
	}
}

func TestFreshAsksTheStore(t *testing.T) {
	records := apikey.NewMemoryStore()
	store := &staged{Store: records}
	s, _ := cached(t, store, apikey.CacheOptions{})
	elsewhere := newService(t, records, s.Format(), nil)
	issued := create(t, s, apikey.Spec{})
	token, fresh := issued.Secret.Reveal(), &apikey.VerifyOptions{Fresh: true}
	accepted(t, s, token)
	must(s.Verify(t.Context(), token, fresh))(t)
	must(elsewhere.Disable(t.Context(), issued.Key.ID))(t)
	accepted(t, s, token) // within the bound
	if _, err := s.Verify(t.Context(), token, fresh); !errors.Is(err, apikey.ErrDisabled) {
		t.Errorf("Fresh: %v, want ErrDisabled", err)
	}
	refused(t, s, apikey.ErrDisabled, token) // what was learned is not unlearned
	if n := store.asked(func() { _, _ = s.Verify(t.Context(), token, fresh) }); n != 1 {
		t.Errorf("Fresh asked the store %d times", n)
	}
}

// Without a word from elsewhere a change is felt at the bound at the latest, and
// what is refused in the store is not accepted for longer.
func TestChangeElsewhereIsFeltAtTheBound(t *testing.T) {
	records := apikey.NewMemoryStore()
	s, c := cached(t, &staged{Store: records}, apikey.CacheOptions{})
	elsewhere := newService(t, records, s.Format(), nil)
	issued := create(t, s, apikey.Spec{})
	accepted(t, s, issued.Secret.Reveal())
	must(elsewhere.Revoke(t.Context(), issued.Key.ID, "lost"))(t)
	c.advance(10*time.Second - time.Nanosecond)
	accepted(t, s, issued.Secret.Reveal())
	c.advance(time.Nanosecond)
	refused(t, s, apikey.ErrRevoked, issued.Secret.Reveal())
}

func TestChangeHereIsFeltAtOnce(t *testing.T) {
	s, _ := cached(t, &staged{Store: apikey.NewMemoryStore()}, apikey.CacheOptions{})
	issued := create(t, s, apikey.Spec{})
	token, id := issued.Secret.Reveal(), issued.Key.ID
	accepted(t, s, token)
	must(s.Disable(t.Context(), id))(t)
	refused(t, s, apikey.ErrDisabled, token)
	must(s.Enable(t.Context(), id))(t)
	accepted(t, s, token)
	must(s.Update(t.Context(), id, apikey.Changes{Networks: new(networks(t, "10.0.0.0/8"))}))(t)
	refused(t, s, apikey.ErrNetwork, token)
	must(s.Update(t.Context(), id, apikey.Changes{Networks: new(apikey.Networks{})}))(t)
	accepted(t, s, token)
	heir := must(s.Rotate(t.Context(), id, 0))(t)
	refused(t, s, apikey.ErrExpired, token)
	accepted(t, s, heir.Secret.Reveal())
	must(s.Revoke(t.Context(), heir.Key.ID, ""))(t)
	refused(t, s, apikey.ErrRevoked, heir.Secret.Reveal())
	if err := s.Delete(t.Context(), heir.Key.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		refused(t, s, apikey.ErrUnknown, heir.Secret.Reveal())
	}
}

// Who revokes a key that somebody else has just revoked is told that it is, and
// must not see it let in any more. So for all that may find nothing to do.
func TestChangeThatFindsNothingToDoIsFeltAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(s *apikey.Service, issued apikey.Issued) error
		want error
	}{
		"Disable": {func(s *apikey.Service, i apikey.Issued) error { _, err := s.Disable(t.Context(), i.Key.ID); return err }, apikey.ErrDisabled},
		"Revoke": {func(s *apikey.Service, i apikey.Issued) error {
			_, err := s.Revoke(t.Context(), i.Key.ID, "")
			return err
		}, apikey.ErrRevoked},
		"Delete": {func(s *apikey.Service, i apikey.Issued) error { return s.Delete(t.Context(), i.Key.ID) }, apikey.ErrUnknown},
		"RevokeSelf": {func(s *apikey.Service, i apikey.Issued) error {
			_, err := s.RevokeSelf(t.Context(), i.Secret.Reveal(), "")
			return err
		}, apikey.ErrRevoked},
		"ReportLeak": {func(s *apikey.Service, i apikey.Issued) error {
			_, err := s.ReportLeak(t.Context(), i.Secret.Reveal(), apikey.Leak{Source: "a"}, func(apikey.Key) apikey.LeakDecision {
				return apikey.LeakDecision{Action: apikey.LeakDisable}
			})
			return err
		}, apikey.ErrDisabled},
		"SuspendOwner": {func(s *apikey.Service, i apikey.Issued) error {
			_, err := s.SuspendOwner(t.Context(), i.Key.Owner, "")
			return err
		}, apikey.ErrSuspended},
	} {
		t.Run(name, func(t *testing.T) {
			store := apikey.NewMemoryStore()
			s, _ := cached(t, store, apikey.CacheOptions{})
			issued := create(t, s, apikey.Spec{})
			accepted(t, s, issued.Secret.Reveal())
			if err := tt.do(newService(t, store, s.Format(), nil), issued); err != nil {
				t.Fatal(err)
			}
			accepted(t, s, issued.Secret.Reveal()) // as kept
			if err := tt.do(s, issued); err != nil {
				t.Fatal(err)
			}
			refused(t, s, tt.want, issued.Secret.Reveal())
		})
	}
}

// Talos, Kong and others differ in what a cache does when the store is down.
// Here hits go on to the bound, and then nobody is called an impostor.
func TestStoreDown(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s, c := cached(t, store, apikey.CacheOptions{})
	tokens := issueTo(t, s, 2)
	accepted(t, s, tokens[0])
	down := errors.New("down")
	store.before = func(context.Context) error { return down }
	c.advance(10*time.Second - 1)
	accepted(t, s, tokens[0])
	refused(t, s, down, tokens[1])
	c.advance(1)
	for _, token := range append(tokens, guess(tokens[0])) {
		if _, err := s.Verify(t.Context(), token, nil); errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("Verify = %v (%v), want unavailable", err, errors.CodeOf(err))
		}
	}
	store.before = nil
	accepted(t, s, tokens...) // an error is not kept
}

func TestHitHonoursItsContext(t *testing.T) {
	s, _ := cached(t, &staged{Store: apikey.NewMemoryStore()}, apikey.CacheOptions{})
	token := issueTo(t, s, 1)[0]
	accepted(t, s, token)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Verify(ctx, token, nil); errors.CodeOf(err) != errors.Canceled {
		t.Errorf("Verify = %v (%v), want canceled", err, errors.CodeOf(err))
	}
}

func TestHitAllocatesNothing(t *testing.T) {
	for name, peppers := range map[string][]apikey.Pepper{"plain": nil, "pepper": {pepper}} {
		s := newService(t, &staged{Store: apikey.NewMemoryStore()}, newFormat(t, "gx", &apikey.FormatOptions{NoChecksum: true}),
			&apikey.Options{Peppers: peppers, Cache: &apikey.CacheOptions{Bound: time.Hour}})
		token := create(t, s, apikey.Spec{}).Secret.Reveal()
		for what, token := range map[string]string{"key": token, "wrong secret": guess(token), "unknown": generate(t, s.Format(), "")} {
			allocs := testing.AllocsPerRun(1000, func() { _, _ = s.Verify(context.Background(), token, nil) })
			if allocs > 0 && !raceEnabled {
				t.Errorf("%s, %s: %v allocations", name, what, allocs)
			}
		}
	}
}
