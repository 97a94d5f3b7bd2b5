package apikey_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// A create that is tried again makes nothing new, and does not show the secret a
// second time.
func TestAReplayedCreateReturnsTheSameKeyWithoutTheSecret(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live"}})
	s := newService(t, store, f, &apikey.Options{Now: c.now})
	spec := full(t)
	spec.RequestID = "order 7"
	first := must(s.Create(t.Context(), spec))(t)
	if first.Replayed || first.Secret.IsZero() || len(first.Key.ID) != 24 {
		t.Fatalf("first answer %+v", first)
	}
	c.advance(72 * time.Hour) // beyond its end: a TTL asked for again is the same wish
	must(s.Update(t.Context(), first.Key.ID, apikey.Changes{Name: new("renamed since")}))(t)
	again := must(newService(t, store, f, &apikey.Options{Now: c.now}).Create(t.Context(), spec))(t)
	if !again.Replayed || !again.Secret.IsZero() || again.Key.ID != first.Key.ID || again.Key.Name != "renamed since" {
		t.Errorf("replay %+v, want the key as it is now, without its secret", again)
	}
	if n := len(state(t, store)); n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
}

func TestAnotherIntentUnderOneRequestIDIsRefused(t *testing.T) {
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), f, &apikey.Options{Now: c.now})
	spec := full(t)
	spec.RequestID = "r1"
	must(s.Create(t.Context(), spec))(t)
	for name, alter := range map[string]func(*apikey.Spec){
		"name":        func(s *apikey.Spec) { s.Name += "2" },
		"environment": func(s *apikey.Spec) { s.Environment = "test" },
		"scopes":      func(s *apikey.Spec) { s.Scopes = scopes.Set{} },
		"metadata":    func(s *apikey.Spec) { s.Metadata = apikey.Metadata{} },
		"settings":    func(s *apikey.Spec) { s.Settings = apikey.Settings{} },
		"networks":    func(s *apikey.Spec) { s.Networks = apikey.Networks{} },
		"TTL":         func(s *apikey.Spec) { s.TTL++ },
		"expiry":      func(s *apikey.Spec) { s.TTL, s.ExpiresAt = 0, c.at.Add(48*time.Hour) },
	} {
		other := spec
		alter(&other)
		issued, err := s.Create(t.Context(), other)
		if !errors.Is(err, apikey.ErrIntent) || errors.CodeOf(err) != errors.Conflict || !issued.Secret.IsZero() {
			t.Errorf("another %s: %+v, %v; want ErrIntent", name, issued, err)
		}
	}
}

// One owner's request ID says nothing of another's: neither finds the other's key.
func TestRequestIDsBelongToTheirOwner(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	ids := map[string]bool{}
	for _, spec := range []apikey.Spec{
		{Owner: "a", RequestID: "bc"}, {Owner: "ab", RequestID: "c"}, {Owner: "abc", RequestID: "x"}, {Owner: "x", RequestID: "abc"},
	} {
		issued := must(s.Create(t.Context(), spec))(t)
		if issued.Replayed || issued.Key.Owner != spec.Owner || ids[issued.Key.ID] {
			t.Errorf("%+v made %+v", spec, issued.Key)
		}
		ids[issued.Key.ID] = true
	}
}

func TestAReplayAfterTheKeyIsGone(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	spec := apikey.Spec{Owner: "a", RequestID: "r"}
	issued := must(s.Create(t.Context(), spec))(t)
	must(s.Revoke(t.Context(), issued.Key.ID, "leaked"))(t)
	if again := must(s.Create(t.Context(), spec))(t); again.Key.State != apikey.StateRevoked {
		t.Errorf("replay after revoking %+v", again.Key)
	}
	if err := s.Delete(t.Context(), issued.Key.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), spec); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("replay after deletion = %v, want ErrNotFound", err)
	}
}

func TestConcurrentReplaysMakeOneKey(t *testing.T) {
	store := apikey.NewMemoryStore()
	// Neither the cap nor the name must stand in the way of the request that has
	// itself taken both.
	policy := apikey.Policy{MayCreate: true, MaxKeys: 1, UniqueNames: true}
	s := newService(t, store, nil, &apikey.Options{Policy: always(&policy)})
	const n = 32
	answers := make([]apikey.Issued, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if answers[i], err = s.Create(t.Context(), apikey.Spec{Owner: "a", Name: "CI", RequestID: "r"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	secrets := 0
	for _, a := range answers {
		if a.Key.ID != answers[0].Key.ID || a.Replayed != a.Secret.IsZero() {
			t.Errorf("answer %+v", a)
		}
		if !a.Secret.IsZero() {
			secrets++
			must(s.Verify(t.Context(), a.Secret.Reveal(), nil))(t)
		}
	}
	if n := len(state(t, store)); n != 1 || secrets != 1 {
		t.Errorf("%d keys and %d secrets, want one of each", n, secrets)
	}
}

// The same request, made elsewhere at the same instant, may be refused for its ID,
// its name or the limit: a store answers any of those that hold.
func TestAReplayThatRacesTheFirst(t *testing.T) {
	for _, answer := range []error{apikey.ErrExists, apikey.ErrNameTaken, apikey.ErrKeyLimit} {
		store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
		s, other := newService(t, store, nil, nil), newService(t, store.MemoryStore, nil, nil)
		spec := apikey.Spec{Owner: "a", Name: "CI", RequestID: "r"}
		var first apikey.Issued
		store.before = func(verb string) error {
			if verb == "Apply" {
				first = must(other.Create(t.Context(), spec))(t)
				return answer
			}
			return nil
		}
		second, err := s.Create(t.Context(), spec)
		if err != nil || !second.Replayed || second.Key.ID != first.Key.ID || !second.Secret.IsZero() {
			t.Errorf("after %v: %+v, %v; want a replay", answer, second, err)
		}
		spec.Name = "another intent"
		store.before = func(string) error { return nil }
		if _, err := s.Create(t.Context(), spec); !errors.Is(err, apikey.ErrIntent) {
			t.Errorf("after %v: %v, want ErrIntent", answer, err)
		}
	}
}

// The answer of the store was lost: what it did is found by asking again.
func TestACreateWhoseAnswerWasLostIsFoundAgain(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	lost := &losing{Store: store}
	s := newService(t, lost, nil, nil)
	spec := apikey.Spec{Owner: "a", RequestID: "r"}
	lost.answers = 1
	if _, err := s.Create(t.Context(), spec); errors.CodeOf(err) != errors.Unavailable {
		t.Fatalf("Create = %v, want unavailable", err)
	}
	again := must(s.Create(t.Context(), spec))(t)
	if !again.Replayed {
		t.Fatalf("answer %+v", again)
	}
	// The secret is gone; the caller takes a new one.
	young := must(s.Regenerate(t.Context(), again.Key.ID))(t)
	must(s.Verify(t.Context(), young.Secret.Reveal(), nil))(t)
}

func TestRequestIDsAreBounded(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	for _, id := range []string{strings.Repeat("r", 256), "a\nb", "\xff", "a\x00"} {
		if _, err := s.Create(t.Context(), apikey.Spec{Owner: "a", RequestID: id}); errors.CodeOf(err) != errors.Invalid {
			t.Errorf("request ID %.20q: %v, want invalid", id, err)
		}
	}
	must(s.Create(t.Context(), apikey.Spec{Owner: "a", RequestID: strings.Repeat("r", 255)}))(t)
}
