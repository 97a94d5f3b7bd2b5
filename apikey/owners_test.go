package apikey_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// However many keys the owner has, revoking them is one change; and it is not to be
// had back by anything done to one of them.
func TestRevokeOwnerIsOneChangeForAllKeys(t *testing.T) {
	c := newClock()
	store := &witness{Store: apikey.NewMemoryStore()}
	s := newService(t, store, nil, &apikey.Options{Now: c.now})
	var keys []apikey.Issued
	for range 100 {
		keys = append(keys, create(t, s, apikey.Spec{Owner: "a"}))
	}
	must(s.Disable(t.Context(), keys[1].Key.ID))(t)
	bystander := create(t, s, apikey.Spec{Owner: "b"})
	n := len(store.changes)
	o := must(s.RevokeOwner(t.Context(), "a", "left the company"))(t)
	if changes := store.since(n); len(changes) != 1 || len(changes[0].Update) != 0 {
		t.Errorf("%d changes, the first of %d keys", len(changes), len(changes[0].Update))
	}
	if o.Epoch != 2 || o.RevokedReason != "left the company" || !o.ChangedAt.Equal(c.at) {
		t.Errorf("owner %+v", o)
	}
	for i, k := range keys {
		if _, err := s.Verify(t.Context(), k.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrRevoked) {
			t.Errorf("key %d: Verify = %v, want ErrRevoked", i, err)
		}
	}
	_, enable := s.Enable(t.Context(), keys[1].Key.ID)
	_, rotate := s.Rotate(t.Context(), keys[0].Key.ID, time.Hour)
	_, regenerate := s.Regenerate(t.Context(), keys[0].Key.ID)
	_, clone := s.Clone(t.Context(), keys[0].Key.ID, apikey.Changes{})
	_, update := s.Update(t.Context(), keys[0].Key.ID, apikey.Changes{ExpiresAt: new(time.Time{})})
	_, restore := s.RestoreOwner(t.Context(), "a", "")
	for name, err := range map[string]error{"Enable": enable, "Rotate": rotate, "Regenerate": regenerate, "Clone": clone, "Update": update} {
		if !errors.Is(err, apikey.ErrRevoked) || errors.CodeOf(err) != errors.Conflict {
			t.Errorf("%s = %v, want ErrRevoked as a conflict", name, err)
		}
	}
	if _, err := s.Verify(t.Context(), keys[0].Secret.Reveal(), nil); restore != nil || !errors.Is(err, apikey.ErrRevoked) {
		t.Errorf("after %v Verify = %v", restore, err)
	}
	if k := must(s.Get(t.Context(), keys[0].Key.ID))(t); k.State != apikey.StateRevoked || k.RevokedReason != "left the company" {
		t.Errorf("key %+v", k)
	}
	young := create(t, s, apikey.Spec{Owner: "a"})
	must(s.Verify(t.Context(), young.Secret.Reveal(), nil))(t)
	must(s.Verify(t.Context(), bystander.Secret.Reveal(), nil))(t)
	if o := must(s.RevokeOwner(t.Context(), "a", "again"))(t); o.Epoch != 3 {
		t.Errorf("owner %+v", o)
	}
	if _, err := s.Verify(t.Context(), young.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrRevoked) {
		t.Errorf("Verify = %v, want ErrRevoked", err)
	}
}

func TestSuspendOwnerStopsAllKeysUntilRestored(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	early := create(t, s, apikey.Spec{Owner: "a"})
	off := create(t, s, apikey.Spec{Owner: "a"})
	must(s.Disable(t.Context(), off.Key.ID))(t)
	for range 2 { // the second changes nothing
		if o := must(s.SuspendOwner(t.Context(), "a", "unpaid"))(t); !o.Suspended || o.SuspendedReason != "unpaid" || o.Version != 1 {
			t.Errorf("owner %+v", o)
		}
	}
	late := create(t, s, apikey.Spec{Owner: "a"})
	for _, k := range []apikey.Issued{early, late} {
		if _, err := s.Verify(t.Context(), k.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrSuspended) {
			t.Errorf("Verify = %v, want ErrSuspended", err)
		}
		if status := must(s.Get(t.Context(), k.Key.ID))(t).Status(time.Now()); status != apikey.StatusSuspended {
			t.Errorf("status %v", status)
		}
	}
	o := must(s.RestoreOwner(t.Context(), "a", "paid"))(t)
	if o.Suspended || o.SuspendedReason != "" || o.Epoch != 1 {
		t.Errorf("owner %+v", o)
	}
	must(s.Verify(t.Context(), early.Secret.Reveal(), nil))(t)
	must(s.Verify(t.Context(), late.Secret.Reveal(), nil))(t)
	if _, err := s.Verify(t.Context(), off.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrDisabled) {
		t.Errorf("Verify of the disabled key = %v, want ErrDisabled", err)
	}
}

func TestConcurrentDecisionsAboutAnOwnerAllCount(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	const n = 24
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := s.RevokeOwner(t.Context(), "a", fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if o := must(s.Owner(t.Context(), "a"))(t); o.Epoch != n+1 || o.Version != n || o.Events != n {
		t.Errorf("owner %+v", o)
	}
}

// Whoever provokes decisions about an owner as fast as the store goes does not
// keep the owner from being stopped.
func TestStoppingAnOwnerOutlastsOtherDecisions(t *testing.T) {
	for name, stop := range map[string]func(*apikey.Service) error{
		"revoke":  func(s *apikey.Service) error { _, err := s.RevokeOwner(t.Context(), "a", ""); return err },
		"suspend": func(s *apikey.Service) error { _, err := s.SuspendOwner(t.Context(), "a", ""); return err },
	} {
		store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
		left := 500
		store.before = func(verb string) error {
			if verb == "Apply" && left > 0 {
				left--
				return apikey.ErrConflict
			}
			return nil
		}
		if err := stop(newService(t, store, nil, nil)); err != nil || left != 0 {
			t.Errorf("%s: %v with %d left", name, err, left)
		}
	}
}

func TestOwnerVerbsRefuse(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	for _, tt := range []struct{ owner, reason string }{{"", ""}, {"a\n", ""}, {strings.Repeat("a", 256), ""}, {"a", "two\nlines"}} {
		_, revoke := s.RevokeOwner(t.Context(), tt.owner, tt.reason)
		_, suspend := s.SuspendOwner(t.Context(), tt.owner, tt.reason)
		_, restore := s.RestoreOwner(t.Context(), tt.owner, tt.reason)
		for _, err := range []error{revoke, suspend, restore} {
			if errors.CodeOf(err) != errors.Invalid {
				t.Errorf("owner %.10q, reason %q: %v, want invalid", tt.owner, tt.reason, err)
			}
		}
	}
	if o := must(s.Owner(t.Context(), "nobody"))(t); o.Epoch != 1 || o.Version != 0 {
		t.Errorf("owner %+v", o)
	}
}

// To hold a key suffices to end it, whatever state it is in, twice too.
func TestRevokeSelfInEveryState(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	for name, prepare := range map[string]func(id string) error{
		"active": func(string) error { return nil },
		"bound": func(id string) error {
			_, err := s.Update(t.Context(), id, apikey.Changes{Networks: new(networks(t, "10.0.0.0/8"))})
			return err
		},
		"disabled":  func(id string) error { _, err := s.Disable(t.Context(), id); return err },
		"rotated":   func(id string) error { _, err := s.Rotate(t.Context(), id, 0); return err },
		"expired":   func(string) error { c.advance(time.Hour); return nil },
		"revoked":   func(id string) error { _, err := s.Revoke(t.Context(), id, "first"); return err },
		"suspended": func(string) error { _, err := s.SuspendOwner(t.Context(), "acct_1", ""); return err },
	} {
		issued := create(t, s, apikey.Spec{TTL: time.Hour})
		if err := prepare(issued.Key.ID); err != nil {
			t.Fatal(name, err)
		}
		for range 2 {
			k, err := s.RevokeSelf(t.Context(), issued.Secret.Reveal(), "mine")
			if err != nil || k.State != apikey.StateRevoked || k.ID != issued.Key.ID || name != "revoked" && k.RevokedReason != "mine" {
				t.Errorf("%s: %+v, %v", name, k, err)
			}
		}
	}
	deleted := create(t, s, apikey.Spec{})
	if err := s.Delete(t.Context(), deleted.Key.ID); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]error{"garbage": apikey.ErrMalformed, generate(t, s.Format(), ""): apikey.ErrUnknown, deleted.Secret.Reveal(): apikey.ErrUnknown} {
		if _, err := s.RevokeSelf(t.Context(), token, ""); !errors.Is(err, want) || strings.Contains(err.Error(), token) {
			t.Errorf("RevokeSelf = %v, want %v", err, want)
		}
	}
}

// The holder of a text that is not the key's any more cannot end the key.
func TestRevokeSelfWithATextReplacedMeanwhile(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	other := newService(t, store.MemoryStore, nil, nil)
	raced := false
	store.before = func(verb string) error {
		if verb == "Apply" && !raced {
			raced = true
			must(other.Regenerate(t.Context(), issued.Key.ID))(t)
		}
		return nil
	}
	if _, err := s.RevokeSelf(t.Context(), issued.Secret.Reveal(), ""); !errors.Is(err, apikey.ErrUnknown) || !raced {
		t.Errorf("RevokeSelf = %v, want ErrUnknown", err)
	}
	if k := must(s.Get(t.Context(), issued.Key.ID))(t); k.State != apikey.StateActive {
		t.Errorf("key %+v", k)
	}
}

// A create that is overtaken makes its key after the decision: one that lives
// after a revocation, and is stopped by a suspension.
func TestCreateOvertakenByADecisionAboutItsOwner(t *testing.T) {
	for name, tt := range map[string]struct {
		decide func(s *apikey.Service) (apikey.Owner, error)
		want   error
	}{
		"revoked":   {func(s *apikey.Service) (apikey.Owner, error) { return s.RevokeOwner(t.Context(), "acct_1", "") }, nil},
		"suspended": {func(s *apikey.Service) (apikey.Owner, error) { return s.SuspendOwner(t.Context(), "acct_1", "") }, apikey.ErrSuspended},
	} {
		store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
		s, other := newService(t, store, nil, nil), newService(t, store.MemoryStore, nil, nil)
		raced := false
		store.before = func(verb string) error {
			if verb == "Apply" && !raced {
				raced = true
				must(tt.decide(other))(t)
			}
			return nil
		}
		issued := create(t, s, apikey.Spec{})
		if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); !raced || !errors.Is(err, tt.want) {
			t.Errorf("%s: Verify = %v, want %v", name, err, tt.want)
		}
	}
}
