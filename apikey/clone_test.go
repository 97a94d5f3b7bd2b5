package apikey_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func TestCloneIsANewKeyWithTheSamePermissions(t *testing.T) {
	c := newClock()
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live"}})
	s := newService(t, apikey.NewMemoryStore(), f, &apikey.Options{Now: c.now})
	source := create(t, s, full(t))
	c.advance(time.Hour)
	clone := must(s.Clone(t.Context(), source.Key.ID, apikey.Changes{Name: new("copy")}))(t)

	want := source.Key
	want.ID, want.Meter, want.Name, want.CreatedAt, want.SecretAt = clone.Key.ID, clone.Key.ID, "copy", c.at, c.at
	want.Start, want.Last4 = clone.Key.Start, clone.Key.Last4
	if !clone.Key.Equal(want) || clone.Key.ID == source.Key.ID {
		t.Errorf("clone\n%+v, want\n%+v", clone.Key, want)
	}
	if k := must(s.Get(t.Context(), source.Key.ID))(t); !k.Equal(source.Key) {
		t.Errorf("the original became %+v", k)
	}
	must(s.Revoke(t.Context(), source.Key.ID, ""))(t)
	if k := must(s.Get(t.Context(), clone.Key.ID))(t); k.State != apikey.StateActive {
		t.Errorf("the clone went with the original: %+v", k)
	}
}

func TestCloneOfADisabledKeyIsDisabled(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	source := create(t, s, apikey.Spec{})
	must(s.Disable(t.Context(), source.Key.ID))(t)
	clone := must(s.Clone(t.Context(), source.Key.ID, apikey.Changes{}))(t)
	if _, err := s.Verify(t.Context(), clone.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrDisabled) {
		t.Errorf("Verify = %v, want ErrDisabled", err)
	}
}

func TestCloneOfAnExpiredKeyNeedsAnotherEnd(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	source := create(t, s, apikey.Spec{TTL: time.Hour})
	c.advance(time.Hour)
	if _, err := s.Clone(t.Context(), source.Key.ID, apikey.Changes{}); !errors.Is(err, apikey.ErrExpired) {
		t.Errorf("Clone = %v, want ErrExpired", err)
	}
	clone := must(s.Clone(t.Context(), source.Key.ID, apikey.Changes{ExpiresAt: new(c.at.Add(time.Hour))}))(t)
	must(s.Verify(t.Context(), clone.Secret.Reveal(), nil))(t)
	if _, err := s.Clone(t.Context(), source.Key.ID, apikey.Changes{Version: 7}); !errors.Is(err, apikey.ErrConflict) {
		t.Errorf("Clone of version 7 = %v, want ErrConflict", err)
	}
}

// A clone that is being made while all keys of the owner are revoked must not
// outlive them; and neither must a successor.
func TestCopiesMadeWhileTheOwnerIsRevokedAreRevoked(t *testing.T) {
	for name, copyOf := range map[string]func(s *apikey.Service, id string) (apikey.Issued, error){
		"clone": func(s *apikey.Service, id string) (apikey.Issued, error) {
			return s.Clone(t.Context(), id, apikey.Changes{})
		},
		"rotation": func(s *apikey.Service, id string) (apikey.Issued, error) { return s.Rotate(t.Context(), id, time.Hour) },
	} {
		store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
		s := newService(t, store, nil, nil)
		source := create(t, s, apikey.Spec{})
		other := newService(t, store.MemoryStore, nil, nil)
		raced := false
		store.before = func(verb string) error {
			if verb == "Apply" && !raced {
				raced = true
				must(other.RevokeOwner(t.Context(), "acct_1", "leaked"))(t)
			}
			return nil
		}
		copied, err := copyOf(s, source.Key.ID)
		if err != nil || !raced {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := s.Verify(t.Context(), copied.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrRevoked) {
			t.Errorf("%s: Verify = %v, want ErrRevoked", name, err)
		}
	}
}
