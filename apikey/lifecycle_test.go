package apikey_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

func TestUpdateIsThreeState(t *testing.T) {
	c := newClock()
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live"}})
	s := newService(t, apikey.NewMemoryStore(), f, &apikey.Options{Now: c.now})
	issued := create(t, s, full(t))
	later := c.at.Add(999 * time.Hour)
	for _, tt := range []struct {
		name    string
		changes apikey.Changes
		alter   func(k *apikey.Key)
	}{
		{"nothing", apikey.Changes{}, func(k *apikey.Key) { k.Version-- }},
		{"the name it has", apikey.Changes{Name: new("Production")}, func(k *apikey.Key) { k.Version-- }},
		{"name", apikey.Changes{Name: new("CI")}, func(k *apikey.Key) { k.Name = "CI" }},
		{"expiry", apikey.Changes{ExpiresAt: &later}, func(k *apikey.Key) { k.ExpiresAt = later }},
		{"scopes", apikey.Changes{Scopes: new(must(scopes.Parse("usage:read"))(t))}, func(k *apikey.Key) { k.Scopes = must(scopes.Parse("usage:read"))(t) }},
		{"networks", apikey.Changes{Networks: new(networks(t, "192.0.2.0/24"))}, func(k *apikey.Key) { k.Networks = networks(t, "192.0.2.0/24") }},
		{"clear it all", apikey.Changes{
			Name: new(""), ExpiresAt: new(time.Time{}), Scopes: new(scopes.Set{}),
			Metadata: new(apikey.Metadata{}), Settings: new(apikey.Settings{}), Networks: new(apikey.Networks{}),
		}, func(k *apikey.Key) {
			k.Name, k.ExpiresAt, k.Scopes = "", time.Time{}, scopes.Set{}
			k.Metadata, k.Settings, k.Networks = apikey.Metadata{}, apikey.Settings{}, apikey.Networks{}
		}},
	} {
		want := must(s.Get(t.Context(), issued.Key.ID))(t)
		want.Version++
		tt.alter(&want)
		got, err := s.Update(t.Context(), issued.Key.ID, tt.changes)
		stored := must(s.Get(t.Context(), issued.Key.ID))(t)
		if err != nil || !got.Equal(want) || !stored.Equal(want) {
			t.Errorf("%s: Update = %+v, %v; stored %+v; want %+v", tt.name, got, err, stored, want)
		}
	}
	for name, changes := range map[string]apikey.Changes{
		"past expiry": {ExpiresAt: &c.at}, "bad name": {Name: new("\x1b[31m")}, "version": {Version: -1},
	} {
		if _, err := s.Update(t.Context(), issued.Key.ID, changes); errors.CodeOf(err) != errors.Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func TestUpdateOfAVersionThatMovedOn(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{})
	must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("a"), Version: 1}))(t)
	if _, err := s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("b"), Version: 1}); !errors.Is(err, apikey.ErrConflict) {
		t.Errorf("Update of version 1 at version 2 = %v, want ErrConflict", err)
	}
}

// An update that read the key before it was disabled must not write the old
// state back.
func TestUpdateRacingDisableDoesNotReenable(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	other := newService(t, store.MemoryStore, nil, nil) // another process
	raced := false
	store.before = func(verb string) error {
		if verb == "Apply" && !raced {
			raced = true
			must(other.Disable(t.Context(), issued.Key.ID))(t)
		}
		return nil
	}
	k := must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("renamed")}))(t)
	if !raced || k.State != apikey.StateDisabled || k.Name != "renamed" || k.Version != 3 {
		t.Errorf("after the race: %+v", k)
	}
	if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrDisabled) {
		t.Errorf("Verify = %v, want ErrDisabled", err)
	}
}

// An enable that read the key before it was revoked must not bring it back.
func TestEnableRacingRevokeDoesNotResurrect(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	must(s.Disable(t.Context(), issued.Key.ID))(t)
	other := newService(t, store.MemoryStore, nil, nil)
	store.before = func(verb string) error {
		if verb == "Apply" {
			must(other.Revoke(t.Context(), issued.Key.ID, "leaked"))(t)
		}
		return nil
	}
	if _, err := s.Enable(t.Context(), issued.Key.ID); !errors.Is(err, apikey.ErrRevoked) || errors.CodeOf(err) != errors.Conflict {
		t.Errorf("Enable = %v, want ErrRevoked as a conflict", err)
	}
}

func TestEndlessConflictGivesUp(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	applied := 0
	store.before = func(verb string) error {
		if verb == "Apply" {
			applied++
			return apikey.ErrConflict
		}
		return nil
	}
	_, update := s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("x")})
	_, rotate := s.Rotate(t.Context(), issued.Key.ID, time.Hour)
	if !errors.Is(update, apikey.ErrConflict) || !errors.Is(rotate, apikey.ErrConflict) || applied > 100 {
		t.Errorf("Update = %v, Rotate = %v after %d calls", update, rotate, applied)
	}
	if _, err := s.Revoke(t.Context(), issued.Key.ID, ""); !errors.Is(err, apikey.ErrConflict) || applied > 2000 {
		t.Errorf("Revoke = %v after %d calls", err, applied)
	}
}

// Whoever holds a key and changes it as fast as the store goes must not keep it
// from being switched off.
func TestSwitchingOffOutlastsOtherChanges(t *testing.T) {
	for name, off := range map[string]func(s *apikey.Service, id string) error{
		"disable": func(s *apikey.Service, id string) error { _, err := s.Disable(t.Context(), id); return err },
		"revoke":  func(s *apikey.Service, id string) error { _, err := s.Revoke(t.Context(), id, "leaked"); return err },
		"delete":  func(s *apikey.Service, id string) error { return s.Delete(t.Context(), id) },
		"networks": func(s *apikey.Service, id string) error {
			_, err := s.Update(t.Context(), id, apikey.Changes{Networks: new(networks(t, "192.0.2.0/24"))})
			return err
		},
	} {
		store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
		s := newService(t, store, nil, nil)
		issued := create(t, s, apikey.Spec{})
		holder := newService(t, store.MemoryStore, nil, nil)
		renames := 0
		store.before = func(verb string) error {
			if verb == "Apply" && renames < 500 {
				renames++
				must(holder.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new(fmt.Sprint(renames))}))(t)
			}
			return nil
		}
		err := off(s, issued.Key.ID)
		if _, verify := s.Verify(t.Context(), issued.Secret.Reveal(), nil); err != nil || verify == nil || renames != 500 {
			t.Errorf("%s after %d renames: %v; then Verify = %v", name, renames, err, verify)
		}
	}
}

// What a store refuses by name is no failure of the store.
func TestRefusalsOfAStoreKeepTheirNames(t *testing.T) {
	for want, code := range map[error]errors.Code{apikey.ErrNameTaken: errors.Exists, apikey.ErrKeyLimit: errors.Exhausted} {
		store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
		s := newService(t, store, nil, nil)
		issued := create(t, s, apikey.Spec{})
		store.before = func(verb string) error {
			if verb == "Apply" {
				return want
			}
			return nil
		}
		_, rotate := s.Rotate(t.Context(), issued.Key.ID, 0)
		_, update := s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("x")})
		for _, err := range []error{rotate, update} {
			if !errors.Is(err, want) || errors.CodeOf(err) != code {
				t.Errorf("%v (%v), want %v", err, errors.CodeOf(err), want)
			}
		}
	}
}

// A store that fails is not a key that was deleted, nor one that never was.
func TestDeleteAgainAsksOnce(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	if err := s.Delete(t.Context(), issued.Key.ID); err != nil {
		t.Fatal(err)
	}
	calls := 0
	store.before = func(string) error {
		if calls++; calls > 1 {
			return errors.New("down")
		}
		return nil
	}
	if err := s.Delete(t.Context(), issued.Key.ID); err != nil || calls != 1 {
		t.Errorf("Delete of a tombstone = %v after %d calls; want nil after 1", err, calls)
	}
}

func TestDisableAndEnable(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{})
	bystander := create(t, s, apikey.Spec{})
	for i, step := range []struct {
		turn    func() (apikey.Key, error)
		version int64
		want    error
	}{
		{func() (apikey.Key, error) { return s.Enable(t.Context(), issued.Key.ID) }, 1, nil},
		{func() (apikey.Key, error) { return s.Disable(t.Context(), issued.Key.ID) }, 2, apikey.ErrDisabled},
		{func() (apikey.Key, error) { return s.Disable(t.Context(), issued.Key.ID) }, 2, apikey.ErrDisabled},
		{func() (apikey.Key, error) { return s.Enable(t.Context(), issued.Key.ID) }, 3, nil},
	} {
		k, err := step.turn()
		_, verify := s.Verify(t.Context(), issued.Secret.Reveal(), nil)
		if err != nil || k.Version != step.version || !errors.Is(verify, step.want) {
			t.Errorf("step %d: %+v, %v; Verify = %v", i, k, err, verify)
		}
		must(s.Verify(t.Context(), bystander.Secret.Reveal(), nil))(t)
	}
}

func TestRevokeIsTerminal(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{TTL: time.Hour})
	c.advance(2 * time.Hour) // an expired key can be revoked, to clear the list
	k := must(s.Revoke(t.Context(), issued.Key.ID, "compromised"))(t)
	if k.State != apikey.StateRevoked || k.RevokedReason != "compromised" || k.Status(c.at) != apikey.StatusRevoked {
		t.Errorf("revoked key %+v", k)
	}
	if again := must(s.Revoke(t.Context(), issued.Key.ID, "another reason"))(t); !again.Equal(k) {
		t.Errorf("revoked again: %+v, want %+v", again, k)
	}
	_, enable := s.Enable(t.Context(), issued.Key.ID)
	_, disable := s.Disable(t.Context(), issued.Key.ID)
	_, update := s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("x")})
	_, rotate := s.Rotate(t.Context(), issued.Key.ID, time.Hour)
	for name, err := range map[string]error{"Enable": enable, "Disable": disable, "Update": update, "Rotate": rotate} {
		if !errors.Is(err, apikey.ErrRevoked) || errors.CodeOf(err) != errors.Conflict || errors.MessageOf(err) == "" {
			t.Errorf("%s = %v (%v), want ErrRevoked as a conflict", name, err, errors.CodeOf(err))
		}
	}
	for _, reason := range []string{"two\nlines", strings.Repeat("a", apikey.MaxReason+1), "\xff"} {
		if _, err := s.Revoke(t.Context(), issued.Key.ID, reason); errors.CodeOf(err) != errors.Invalid {
			t.Errorf("reason %.20q: %v, want invalid", reason, err)
		}
	}
}

func TestDeleteLeavesATombstone(t *testing.T) {
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{Name: "kept for the ledger"})
	for range 2 { // the second changes nothing
		if err := s.Delete(t.Context(), issued.Key.ID); err != nil {
			t.Fatal(err)
		}
	}
	rec := must(store.ByID(t.Context(), issued.Key.ID))(t)
	k := must(s.Get(t.Context(), issued.Key.ID))(t)
	if rec.Digest != (apikey.Digest{}) || k.State != apikey.StateDeleted || k.Name != "kept for the ledger" || k.Version != 2 {
		t.Errorf("tombstone %+v", rec)
	}
	_, update := s.Update(t.Context(), k.ID, apikey.Changes{})
	_, enable := s.Enable(t.Context(), k.ID)
	_, revoke := s.Revoke(t.Context(), k.ID, "")
	_, rotate := s.Rotate(t.Context(), k.ID, 0)
	_, get := s.Get(t.Context(), "key_none")
	for name, err := range map[string]error{
		"Update": update, "Enable": enable, "Revoke": revoke, "Rotate": rotate, "Get of no key": get, "Delete of no key": s.Delete(t.Context(), "key_none"),
	} {
		if !errors.Is(err, apikey.ErrNotFound) || errors.CodeOf(err) != errors.NotFound {
			t.Errorf("%s = %v, want ErrNotFound", name, err)
		}
	}
}

func TestStatusOfEveryState(t *testing.T) {
	now := newClock().at
	for _, tt := range []struct {
		key  apikey.Key
		want apikey.Status
	}{
		{apikey.Key{}, apikey.StatusUnknown},
		{apikey.Key{State: 99}, apikey.StatusUnknown},
		{apikey.Key{State: apikey.StateActive}, apikey.StatusActive},
		{apikey.Key{State: apikey.StateActive, Successor: "key_x"}, apikey.StatusActive},
		{apikey.Key{State: apikey.StateActive, ExpiresAt: now}, apikey.StatusExpired},
		{apikey.Key{State: apikey.StateActive, ExpiresAt: now, Successor: "key_x"}, apikey.StatusRotated},
		{apikey.Key{State: apikey.StateDisabled}, apikey.StatusDisabled},
		{apikey.Key{State: apikey.StateDisabled, ExpiresAt: now}, apikey.StatusExpired},
		{apikey.Key{State: apikey.StateRevoked, ExpiresAt: now}, apikey.StatusRevoked},
		{apikey.Key{State: apikey.StateDeleted, ExpiresAt: now}, apikey.StatusDeleted},
	} {
		if got := tt.key.Status(now); got != tt.want {
			t.Errorf("Status of %s = %v, want %v", fmt.Sprint(tt.key.State), got, tt.want)
		}
	}
}
