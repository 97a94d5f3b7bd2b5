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

// capped returns a service whose owners may have so many keys.
func capped(t testing.TB, store apikey.Store, c *clock, most int) (*apikey.Service, *apikey.Policy) {
	t.Helper()
	policy := &apikey.Policy{Plan: "Business", MayCreate: true, MaxKeys: most, UpgradeHint: "ask for Enterprise", Scopes: granted(t, "*")}
	return newService(t, store, nil, &apikey.Options{Now: c.now, Policy: always(policy)}), policy
}

func TestTheKeyBeyondTheLimitIsRefusedInNumbers(t *testing.T) {
	s, policy := capped(t, apikey.NewMemoryStore(), newClock(), 5)
	for range 5 {
		create(t, s, apikey.Spec{})
	}
	create(t, s, apikey.Spec{Owner: "another"})
	_, err := s.Create(t.Context(), apikey.Spec{Owner: "acct_1"})
	limit, ok := errors.AsType[*apikey.LimitError](err)
	if !ok || *limit != (apikey.LimitError{Limit: 5, Plan: "Business", UpgradeHint: "ask for Enterprise"}) ||
		!errors.Is(err, apikey.ErrKeyLimit) || errors.CodeOf(err) != errors.Exhausted {
		t.Errorf("the sixth key: %v", err)
	}
	if msg := errors.MessageOf(err); msg != `the account's plan "Business" allows 5 API keys; revoke one first; ask for Enterprise` {
		t.Errorf("message %q", msg)
	}
	policy.MaxKeys = 0
	for range 100 {
		create(t, s, apikey.Spec{})
	}
}

// Of many who ask at once as many get a key as there is room for: not one more, and
// not none because all made room for each other.
func TestTheLimitHoldsUnderARaceAndNobodyLosesForNothing(t *testing.T) {
	for range 20 {
		s, _ := capped(t, apikey.NewMemoryStore(), newClock(), 10)
		var wg sync.WaitGroup
		answers := make([]error, 30)
		for i := range answers {
			wg.Go(func() { _, answers[i] = s.Create(t.Context(), apikey.Spec{Owner: "a"}) })
		}
		wg.Wait()
		won := 0
		for _, err := range answers {
			if err == nil {
				won++
			} else if !errors.Is(err, apikey.ErrKeyLimit) {
				t.Error(err)
			}
		}
		if won != 10 {
			t.Fatalf("%d keys, want 10", won)
		}
	}
}

// What does not count makes room, and is counted again when it comes back: there is
// no way around the limit by switching a key off, making another, and switching the
// first on.
func TestWhatComesBackIsCountedAgain(t *testing.T) {
	c := newClock()
	s, _ := capped(t, apikey.NewMemoryStore(), c, 2)
	kept, short := create(t, s, apikey.Spec{}), create(t, s, apikey.Spec{TTL: time.Hour})
	full := func(when string) {
		t.Helper()
		if _, err := s.Create(t.Context(), apikey.Spec{Owner: "acct_1"}); !errors.Is(err, apikey.ErrKeyLimit) {
			t.Fatalf("%s: Create = %v, want ErrKeyLimit", when, err)
		}
	}
	full("two of two")

	must(s.Disable(t.Context(), kept.Key.ID))(t)
	second := create(t, s, apikey.Spec{})
	if _, err := s.Enable(t.Context(), kept.Key.ID); !errors.Is(err, apikey.ErrKeyLimit) {
		t.Errorf("Enable = %v, want ErrKeyLimit", err)
	}
	must(s.Revoke(t.Context(), second.Key.ID, ""))(t)
	must(s.Enable(t.Context(), kept.Key.ID))(t)
	full("enabled again")

	c.advance(time.Hour)
	third := create(t, s, apikey.Spec{})
	if _, err := s.Update(t.Context(), short.Key.ID, apikey.Changes{ExpiresAt: new(c.at.Add(time.Hour))}); !errors.Is(err, apikey.ErrKeyLimit) {
		t.Errorf("bringing an expired key back = %v, want ErrKeyLimit", err)
	}
	must(s.Update(t.Context(), short.Key.ID, apikey.Changes{Name: new("old")}))(t) // still expired
	if err := s.Delete(t.Context(), third.Key.ID); err != nil {
		t.Fatal(err)
	}
	must(s.Update(t.Context(), short.Key.ID, apikey.Changes{ExpiresAt: new(c.at.Add(time.Hour))}))(t)
	full("brought back")

	// At the limit everything goes on that brings no key more.
	heir := must(s.Rotate(t.Context(), kept.Key.ID, time.Hour))(t)
	must(s.Regenerate(t.Context(), heir.Key.ID))(t)
	must(s.Update(t.Context(), heir.Key.ID, apikey.Changes{Name: new("n"), ExpiresAt: new(c.at.Add(9 * time.Hour))}))(t)
	if _, err := s.Clone(t.Context(), heir.Key.ID, apikey.Changes{}); !errors.Is(err, apikey.ErrKeyLimit) {
		t.Errorf("Clone = %v, want ErrKeyLimit", err)
	}
	full("rotated")

	must(s.RevokeOwner(t.Context(), "acct_1", ""))(t)
	create(t, s, apikey.Spec{})
	create(t, s, apikey.Spec{})
	full("after all were revoked")
}

// Enabling several disabled keys at once does not pass the limit either.
func TestTheLimitHoldsWhenKeysAreEnabledAtOnce(t *testing.T) {
	s, policy := capped(t, apikey.NewMemoryStore(), newClock(), 0)
	ids := make([]string, 12)
	for i := range ids {
		ids[i] = create(t, s, apikey.Spec{}).Key.ID
		must(s.Disable(t.Context(), ids[i]))(t)
	}
	policy.MaxKeys = 3
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for _, id := range ids {
		wg.Go(func() {
			_, err := s.Enable(t.Context(), id)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, apikey.ErrKeyLimit) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 3 {
		t.Errorf("%d keys were enabled, want 3", won)
	}
}

// A plan may count what it likes: all that is not revoked, say.
func TestThePolicySaysWhatCounts(t *testing.T) {
	c := newClock()
	s, policy := capped(t, apikey.NewMemoryStore(), c, 2)
	policy.CountStates, policy.CountExpired = []apikey.State{apikey.StateActive, apikey.StateDisabled}, true
	off, short := create(t, s, apikey.Spec{}), create(t, s, apikey.Spec{TTL: time.Hour})
	must(s.Disable(t.Context(), off.Key.ID))(t)
	c.advance(2 * time.Hour)
	if _, err := s.Create(t.Context(), apikey.Spec{Owner: "acct_1"}); !errors.Is(err, apikey.ErrKeyLimit) {
		t.Errorf("Create = %v, want ErrKeyLimit", err)
	}
	must(s.Enable(t.Context(), off.Key.ID))(t) // it counted all the time
	must(s.Update(t.Context(), short.Key.ID, apikey.Changes{ExpiresAt: new(time.Time{})}))(t)
	must(s.Revoke(t.Context(), short.Key.ID, ""))(t)
	create(t, s, apikey.Spec{})
}

// A limit that came down takes no key away, and lets none be added.
func TestALimitThatCameDown(t *testing.T) {
	s, policy := capped(t, apikey.NewMemoryStore(), newClock(), 5)
	var keys []apikey.Issued
	for range 5 {
		keys = append(keys, create(t, s, apikey.Spec{}))
	}
	policy.MaxKeys = 2
	for _, k := range keys {
		must(s.Verify(t.Context(), k.Secret.Reveal(), nil))(t)
		must(s.Update(t.Context(), k.Key.ID, apikey.Changes{Name: new("kept")}))(t)
	}
	must(s.Rotate(t.Context(), keys[0].Key.ID, time.Hour))(t)
	must(s.Disable(t.Context(), keys[1].Key.ID))(t)
	if _, err := s.Enable(t.Context(), keys[1].Key.ID); !errors.Is(err, apikey.ErrKeyLimit) {
		t.Errorf("Enable = %v, want ErrKeyLimit", err)
	}
}

func unique(t testing.TB, store apikey.Store, o *apikey.Options) *apikey.Service {
	t.Helper()
	if o == nil {
		o = &apikey.Options{}
	}
	o.Policy = always(&apikey.Policy{MayCreate: true, UniqueNames: true, Scopes: granted(t, "*")})
	return newService(t, store, nil, o)
}

func TestNamesAreUniqueWhileTheirKeysAreAlive(t *testing.T) {
	c := newClock()
	s := unique(t, apikey.NewMemoryStore(), &apikey.Options{Now: c.now})
	first := create(t, s, apikey.Spec{Name: "CI"})
	create(t, s, apikey.Spec{Owner: "another", Name: "CI"})
	create(t, s, apikey.Spec{Name: "ci"}) // byte by byte
	create(t, s, apikey.Spec{})
	create(t, s, apikey.Spec{}) // no name is no name
	second := create(t, s, apikey.Spec{Name: "other"})
	taken := func(when string, want bool) {
		t.Helper()
		_, err := s.Update(t.Context(), second.Key.ID, apikey.Changes{Name: new("CI")})
		if errors.Is(err, apikey.ErrNameTaken) != want || !want && err != nil {
			t.Errorf("%s: taking the name = %v, want taken %t", when, err, want)
		}
		if want && (errors.CodeOf(err) != errors.Exists || !strings.Contains(errors.MessageOf(err), `"CI"`)) {
			t.Errorf("%s: %v does not name it", when, err)
		}
		must(s.Update(t.Context(), second.Key.ID, apikey.Changes{Name: new("other")}))(t)
	}
	taken("active", true)
	if _, err := s.Create(t.Context(), apikey.Spec{Owner: "acct_1", Name: "CI"}); !errors.Is(err, apikey.ErrNameTaken) {
		t.Errorf("Create = %v, want ErrNameTaken", err)
	}
	if _, err := s.Clone(t.Context(), first.Key.ID, apikey.Changes{}); !errors.Is(err, apikey.ErrNameTaken) {
		t.Errorf("Clone = %v, want ErrNameTaken", err)
	}
	must(s.Disable(t.Context(), first.Key.ID))(t)
	taken("disabled", true)
	must(s.Enable(t.Context(), first.Key.ID))(t)
	taken("enabled", true)
	must(s.Regenerate(t.Context(), first.Key.ID))(t)
	taken("regenerated", true)
	must(s.Update(t.Context(), first.Key.ID, apikey.Changes{Metadata: new(must(apikey.NewMetadata(map[string]string{"a": "b"}))(t))}))(t)
	taken("edited", true)

	heir := must(s.Rotate(t.Context(), first.Key.ID, time.Hour))(t)
	taken("rotated: the successor has it", true)
	must(s.Update(t.Context(), heir.Key.ID, apikey.Changes{Name: new("renamed")}))(t)
	taken("the successor renamed: the old key does not have it", false)
	must(s.Update(t.Context(), first.Key.ID, apikey.Changes{Name: new("CI 2")}))(t) // a rotated key has no claim
	must(s.Update(t.Context(), first.Key.ID, apikey.Changes{Name: new("CI")}))(t)
	taken("the old key called so again", false)
	must(s.Update(t.Context(), heir.Key.ID, apikey.Changes{Name: new("CI"), ExpiresAt: new(c.at.Add(time.Hour))}))(t)
	c.advance(2 * time.Hour)
	taken("expired: it may come back", true)
	must(s.Revoke(t.Context(), heir.Key.ID, ""))(t)
	taken("revoked", false)

	third := create(t, s, apikey.Spec{Name: "CI"})
	if err := s.Delete(t.Context(), third.Key.ID); err != nil {
		t.Fatal(err)
	}
	taken("deleted", false)
	fourth := create(t, s, apikey.Spec{Name: "CI"})
	taken("given anew", true)
	must(s.RevokeOwner(t.Context(), "acct_1", ""))(t)
	create(t, s, apikey.Spec{Name: "CI"})
	if k := must(s.Get(t.Context(), fourth.Key.ID))(t); k.State != apikey.StateRevoked || k.Name != "CI" {
		t.Errorf("key %+v", k)
	}
}

func TestOneNameUnderARaceGoesToOne(t *testing.T) {
	store := apikey.NewMemoryStore()
	s := unique(t, store, nil)
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		ids[i] = create(t, s, apikey.Spec{Name: fmt.Sprint(i)}).Key.ID
	}
	answers := make([]error, 16)
	for i := range answers {
		wg.Go(func() {
			if i < 8 {
				_, answers[i] = s.Update(t.Context(), ids[i], apikey.Changes{Name: new("CI")})
			} else {
				_, answers[i] = s.Create(t.Context(), apikey.Spec{Owner: "acct_1", Name: "CI"})
			}
		})
	}
	wg.Wait()
	won, named := 0, 0
	for _, err := range answers {
		if err == nil {
			won++
		} else if !errors.Is(err, apikey.ErrNameTaken) {
			t.Error(err)
		}
	}
	for _, rec := range state(t, store) {
		if rec.Key.Name == "CI" {
			named++
		}
	}
	if won != 1 || named != 1 {
		t.Errorf("%d succeeded and %d keys have the name, want 1", won, named)
	}
}

// Who asks for unique names late, or imports keys, has their names count by
// renaming the keys.
func TestNamesFromBeforeCountOnceTheyAreGivenAnew(t *testing.T) {
	store := apikey.NewMemoryStore()
	old := create(t, newService(t, store, nil, nil), apikey.Spec{Owner: "acct_1", Name: "CI"})
	s := unique(t, store, nil)
	other := create(t, s, apikey.Spec{Owner: "acct_1", Name: "other"})
	must(s.Update(t.Context(), old.Key.ID, apikey.Changes{Name: new("CI 2")}))(t)
	must(s.Update(t.Context(), old.Key.ID, apikey.Changes{Name: new("CI")}))(t)
	if _, err := s.Update(t.Context(), other.Key.ID, apikey.Changes{Name: new("CI")}); !errors.Is(err, apikey.ErrNameTaken) {
		t.Errorf("Update = %v, want ErrNameTaken", err)
	}
}
