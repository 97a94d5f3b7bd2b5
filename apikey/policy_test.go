package apikey_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// business is a plan with a bound of every kind.
func business(t testing.TB) apikey.Policy {
	t.Helper()
	return apikey.Policy{
		Plan: "Business", MayCreate: true, RequireName: true, Scopes: must(scopes.Parse("image:* models:read"))(t),
		MaxTTL: 90 * 24 * time.Hour, DefaultTTL: 30 * 24 * time.Hour, UpgradeHint: "see https://example.com/enterprise",
		Settings: []apikey.Setting{{Name: "per_day", Default: 1000, Min: 1, Max: 100_000}, {Name: "per_minute", Default: 60, Min: 1, Max: 10_000}},
	}
}

func catalogue(t testing.TB) *scopes.Registry {
	t.Helper()
	return must(scopes.NewRegistry(
		scopes.Definition{Name: "image:generate"}, scopes.Definition{Name: "image:edit", Plans: []string{"Business", "Enterprise"}},
		scopes.Definition{Name: "image:train", Plans: []string{"Enterprise"}}, scopes.Definition{Name: "models:read"}, scopes.Definition{Name: "account:read"},
	))(t)
}

func granted(t testing.TB, text string) scopes.Set {
	t.Helper()
	return must(scopes.Parse(text))(t)
}

func settings(t testing.TB, m map[string]int64) apikey.Settings {
	t.Helper()
	return must(apikey.NewSettings(m))(t)
}

// A policy that was forgotten, in part or whole, gives nothing.
func TestTheZeroPolicyRefuses(t *testing.T) {
	policy := apikey.Policy{}
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Policy: always(&policy)})
	if _, err := s.Create(t.Context(), apikey.Spec{Owner: "a"}); !errors.Is(err, apikey.ErrMayNotCreate) || errors.CodeOf(err) != errors.Forbidden {
		t.Errorf("Create = %v, want ErrMayNotCreate", err)
	}
	policy.MayCreate = true
	if _, err := s.Create(t.Context(), apikey.Spec{Owner: "a", Scopes: granted(t, "image:generate")}); !errors.Is(err, scopes.ErrPlan) {
		t.Errorf("Create without a ceiling = %v, want ErrPlan", err)
	}
	create(t, s, apikey.Spec{Owner: "a"})
}

func TestPolicyAtCreate(t *testing.T) {
	c := newClock()
	policy := business(t)
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now, Policy: always(&policy), Registry: catalogue(t)})
	k := create(t, s, apikey.Spec{Name: "CI", Scopes: granted(t, "image:edit"), Settings: settings(t, map[string]int64{"per_minute": 10_000})}).Key
	if !k.ExpiresAt.Equal(c.at.Add(policy.DefaultTTL)) || k.Settings.String() != `{"per_day":1000,"per_minute":10000}` {
		t.Errorf("defaults: %+v", k)
	}
	if k := create(t, s, apikey.Spec{Name: "CI", TTL: policy.MaxTTL}).Key; !k.ExpiresAt.Equal(c.at.Add(policy.MaxTTL)) {
		t.Errorf("a key of the longest time ends %v", k.ExpiresAt)
	}
	for name, tt := range map[string]struct {
		spec apikey.Spec
		want error
		code errors.Code
		says string
	}{
		"no name":          {apikey.Spec{}, nil, errors.Invalid, "name is empty; give one"},
		"too long":         {apikey.Spec{Name: "x", TTL: policy.MaxTTL + time.Microsecond}, nil, errors.Invalid, "give 2026-05-30T12:00:00Z or earlier"},
		"unknown scope":    {apikey.Spec{Name: "x", Scopes: granted(t, "image:genrate")}, scopes.ErrUnknown, errors.Invalid, `"image:genrate"`},
		"another plan's":   {apikey.Spec{Name: "x", Scopes: granted(t, "image:train")}, scopes.ErrPlan, errors.Forbidden, "see https://example.com/enterprise"},
		"wildcard beyond":  {apikey.Spec{Name: "x", Scopes: granted(t, "image:*")}, scopes.ErrPlan, errors.Forbidden, `"image:*"`},
		"beyond ceiling":   {apikey.Spec{Name: "x", Scopes: granted(t, "account:read")}, scopes.ErrPlan, errors.Forbidden, `"account:read": beyond what the account may grant`},
		"undeclared":       {apikey.Spec{Name: "x", Settings: settings(t, map[string]int64{"per_year": 1})}, nil, errors.Invalid, `setting "per_year" is not one of the plan's`},
		"setting too high": {apikey.Spec{Name: "x", Settings: settings(t, map[string]int64{"per_day": 100_001})}, nil, errors.Invalid, `setting "per_day" is 100001; give 1 to 100000`},
		"setting too low":  {apikey.Spec{Name: "x", Settings: settings(t, map[string]int64{"per_day": 0})}, nil, errors.Invalid, `setting "per_day" is 0`},
	} {
		tt.spec.Owner = "a"
		_, err := s.Create(t.Context(), tt.spec)
		if tt.want != nil && !errors.Is(err, tt.want) || errors.CodeOf(err) != tt.code || err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v (%v), want %v with %q", name, err, errors.CodeOf(err), tt.want, tt.says)
		}
	}
	policy.DefaultTTL = 0
	if _, err := s.Create(t.Context(), apikey.Spec{Owner: "a", Name: "x"}); err == nil || !strings.Contains(err.Error(), "expiry is never; give 2026-05-30") {
		t.Errorf("a key that never expires, where all must: %v", err)
	}
	// Every fault at once.
	_, err := s.Create(t.Context(), apikey.Spec{Owner: "a", TTL: 1000 * time.Hour * 24, Settings: settings(t, map[string]int64{"per_day": 0, "z": 1}), Scopes: granted(t, "image:train")})
	for _, want := range []string{"name is empty", "per_day", `"z"`, "or earlier", "image:train"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}

// What a key has stays when the plan comes down; what it is given is bounded.
func TestPolicyAtUpdate(t *testing.T) {
	c := newClock()
	policy := apikey.Policy{MayCreate: true, Scopes: granted(t, "*")}
	store := apikey.NewMemoryStore()
	o := &apikey.Options{Now: c.now, Policy: always(&policy), Registry: catalogue(t)}
	old := create(t, newService(t, store, nil, &apikey.Options{Now: c.now}), apikey.Spec{ // before there was a policy
		Scopes: granted(t, "chat:write image:train"), Settings: settings(t, map[string]int64{"legacy": 5, "per_day": 1_000_000}),
	})
	policy = business(t)
	policy.RequireName = false
	s := newService(t, store, nil, o)
	for _, tt := range []struct {
		name    string
		changes apikey.Changes
		says    string // "" for one that is accepted
	}{
		{"metadata alone", apikey.Changes{Metadata: new(must(apikey.NewMetadata(map[string]string{"a": "b"}))(t))}, ""},
		{"a scope of the plan beside what it had", apikey.Changes{Scopes: new(granted(t, "chat:write image:train models:read"))}, ""},
		{"an unknown scope beside the one it had", apikey.Changes{Scopes: new(granted(t, "chat:read chat:write image:train models:read"))}, `"chat:read"`},
		{"a scope beyond the plan", apikey.Changes{Scopes: new(granted(t, "account:read chat:write"))}, `"account:read"`},
		{"fewer scopes", apikey.Changes{Scopes: new(granted(t, "chat:write"))}, ""},
		{"one it has no more", apikey.Changes{Scopes: new(granted(t, "chat:write image:train"))}, `"image:train"`},
		{"settings beyond, which it has", apikey.Changes{Settings: new(settings(t, map[string]int64{"legacy": 5, "per_day": 1_000_000, "per_minute": 7}))}, ""},
		{"a setting raised", apikey.Changes{Settings: new(settings(t, map[string]int64{"legacy": 5, "per_day": 1_000_001}))}, `"per_day" is 1000001`},
		{"another number for one undeclared", apikey.Changes{Settings: new(settings(t, map[string]int64{"legacy": 6}))}, `"legacy" is not one`},
		{"an end that is too far", apikey.Changes{ExpiresAt: new(c.at.Add(91 * 24 * time.Hour))}, ""}, // earlier than never
		{"a later one", apikey.Changes{ExpiresAt: new(c.at.Add(92 * 24 * time.Hour))}, "or earlier"},
		{"an earlier one", apikey.Changes{ExpiresAt: new(c.at.Add(90*24*time.Hour + time.Hour))}, ""},
		{"never", apikey.Changes{ExpiresAt: new(time.Time{})}, "expiry is never"},
	} {
		_, err := s.Update(t.Context(), old.Key.ID, tt.changes)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	// Taking a limit out does not lift it: the default takes its place.
	k := must(s.Update(t.Context(), old.Key.ID, apikey.Changes{Settings: new(apikey.Settings{})}))(t)
	if k.Settings.String() != `{"per_day":1000,"per_minute":60}` {
		t.Errorf("settings %v", k.Settings)
	}
	policy.RequireName = true
	must(s.Update(t.Context(), old.Key.ID, apikey.Changes{Name: new("x")}))(t)
	if _, err := s.Update(t.Context(), old.Key.ID, apikey.Changes{Name: new("")}); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("a name taken away: %v, want invalid", err)
	}
}

// After a downgrade a key is worth what the plan still includes, at its next use;
// and all of it again after an upgrade.
func TestVerifyCutsToThePlan(t *testing.T) {
	policy := apikey.Policy{Plan: "Enterprise", MayCreate: true, Scopes: granted(t, "*")}
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Policy: always(&policy), Registry: catalogue(t)})
	issued := create(t, s, apikey.Spec{
		Scopes: granted(t, "image:* models:read"), Settings: settings(t, map[string]int64{"per_minute": 10_000, "tags": 3}),
	})
	for _, tt := range []struct {
		plan, ceiling string
		declared      []apikey.Setting
		want, numbers string
	}{
		{"Enterprise", "*", nil, "image:* models:read", `{"per_minute":10000,"tags":3}`},
		{"Business", "*", []apikey.Setting{{Name: "per_minute", Max: 600}}, "image:edit image:generate models:read", `{"per_minute":600,"tags":3}`},
		{"Free", "*", []apikey.Setting{{Name: "per_minute", Max: 60}, {Name: "tags", Default: 5, Min: 5, Max: 9}}, "image:generate models:read", `{"per_minute":60,"tags":5}`},
		{"Free", "models:*", nil, "models:read", `{"per_minute":10000,"tags":3}`},
		{"Free", "", nil, "", `{"per_minute":10000,"tags":3}`}, // nothing left is nothing, not everything
		{"Enterprise", "*", nil, "image:* models:read", `{"per_minute":10000,"tags":3}`},
	} {
		policy = apikey.Policy{Plan: tt.plan, Scopes: granted(t, tt.ceiling), Settings: tt.declared}
		k := must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
		if k.Scopes.String() != tt.want || k.Settings.String() != tt.numbers {
			t.Errorf("plan %q, ceiling %q: %q, %v; want %q, %s", tt.plan, tt.ceiling, k.Scopes, k.Settings, tt.want, tt.numbers)
		}
	}
	if k := must(s.Get(t.Context(), issued.Key.ID))(t); !k.Equal(withUse(issued.Key, k)) {
		t.Errorf("a use changed what the key was granted: %+v", k)
	}
}

func withUse(k, used apikey.Key) apikey.Key {
	k.LastUsedAt = used.LastUsedAt
	return k
}

func TestVerifyUnderAPolicyAllocatesNothingUnlessItCuts(t *testing.T) {
	policy := business(t)
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Policy: always(&policy), Registry: catalogue(t)})
	token := create(t, s, apikey.Spec{Name: "CI", Scopes: granted(t, "image:edit image:generate models:read")}).Secret.Reveal()
	allocs := testing.AllocsPerRun(1000, func() { _, _ = s.Verify(context.Background(), token, nil) })
	if allocs > 0 && !raceEnabled {
		t.Errorf("%v allocations", allocs)
	}
}

// A plan that cannot be told is not a plan that allows.
func TestAPolicyThatFailsRefuses(t *testing.T) {
	var failure error
	policy := apikey.Policy{MayCreate: true, Scopes: granted(t, "*")}
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Policy: func(context.Context, string) (apikey.Policy, error) {
		return policy, failure // an allowing one, also where it fails
	}})
	issued := create(t, s, apikey.Spec{Scopes: granted(t, "image:*"), TTL: time.Hour})
	for _, failure = range []error{errors.New("billing is down"), apikey.ErrNotFound, &errors.Error{Code: errors.Forbidden}} {
		_, verify := s.Verify(t.Context(), issued.Secret.Reveal(), nil)
		_, create := s.Create(t.Context(), apikey.Spec{Owner: "a"})
		_, clone := s.Clone(t.Context(), issued.Key.ID, apikey.Changes{})
		_, longer := s.Update(t.Context(), issued.Key.ID, apikey.Changes{ExpiresAt: new(time.Time{})})
		_, wider := s.Update(t.Context(), issued.Key.ID, apikey.Changes{Scopes: new(granted(t, "*"))})
		for name, err := range map[string]error{"Verify": verify, "Create": create, "Clone": clone, "longer": longer, "wider": wider} {
			if errors.CodeOf(err) != errors.Unavailable || !errors.Is(err, failure) || strings.Contains(errors.MessageOf(err), "billing") {
				t.Errorf("%s: %v (%v), want unavailable", name, err, errors.CodeOf(err))
			}
		}
		// What takes away asks nobody.
		_, shorter := s.Update(t.Context(), issued.Key.ID, apikey.Changes{ExpiresAt: new(issued.Key.ExpiresAt.Add(-time.Minute))})
		_, narrower := s.Update(t.Context(), issued.Key.ID, apikey.Changes{Scopes: new(granted(t, "image:edit"))})
		_, disable := s.Disable(t.Context(), issued.Key.ID)
		if err := errors.Join(shorter, narrower, disable); err != nil {
			t.Errorf("taking away: %v", err)
		}
		if _, err := s.Enable(t.Context(), issued.Key.ID); errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("Enable = %v, want unavailable", err)
		}
		failure = nil
		must(s.Enable(t.Context(), issued.Key.ID))(t)
		must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{Scopes: new(granted(t, "image:*")), ExpiresAt: &issued.Key.ExpiresAt}))(t)
	}
	failure = nil
	policy.MaxKeys = -1 // makes no sense
	if _, err := s.Create(t.Context(), apikey.Spec{Owner: "a"}); errors.CodeOf(err) != errors.Unavailable || !strings.Contains(err.Error(), "MaxKeys is -1") {
		t.Errorf("Create under a senseless policy = %v, want unavailable", err)
	}
	failure = errors.New("down")
	if _, err := s.Revoke(t.Context(), issued.Key.ID, ""); err != nil {
		t.Errorf("Revoke = %v", err)
	}
	if err := s.Delete(t.Context(), issued.Key.ID); err != nil {
		t.Errorf("Delete = %v", err)
	}
}

func TestPolicyValidateReportsEveryFault(t *testing.T) {
	p := apikey.Policy{
		MaxKeys: -1, CountStates: []apikey.State{apikey.StateUnknown}, MaxTTL: time.Hour, DefaultTTL: 2 * time.Hour,
		Settings: []apikey.Setting{{Name: "a", Default: 5, Max: 4}, {Name: "a"}, {Name: "\n"}},
	}
	err := p.Validate()
	for _, want := range []string{"MaxKeys is -1", "CountStates[0]", "DefaultTTL 2h0m0s is longer", `"a": default 5 is not within 0 to 4`, `"a" is there twice`, `setting "\n"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	good := business(t)
	if err := good.Validate(); err != nil || errors.CodeOf(p.Validate()) != errors.Invalid {
		t.Error(err)
	}
}

// Rotation is no way to more, and no way to less: it asks no policy.
func TestRotationUnderAPolicyThatCameDown(t *testing.T) {
	policy := apikey.Policy{MayCreate: true, Scopes: granted(t, "*")}
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Policy: always(&policy)})
	old := create(t, s, apikey.Spec{Scopes: granted(t, "chat:write image:*")})
	policy = apikey.Policy{}
	heir := must(s.Rotate(t.Context(), old.Key.ID, time.Hour))(t)
	if heir.Key.Scopes != old.Key.Scopes {
		t.Errorf("scopes %q, want %q", heir.Key.Scopes, old.Key.Scopes)
	}
	must(s.Regenerate(t.Context(), heir.Key.ID))(t)
	if _, err := s.Clone(t.Context(), heir.Key.ID, apikey.Changes{}); !errors.Is(err, apikey.ErrMayNotCreate) {
		t.Errorf("Clone = %v, want ErrMayNotCreate", err)
	}
}

// A key without scopes may do nothing, also once its last scope is gone.
func TestNoScopesAreNoAccess(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{Scopes: granted(t, "image:generate")})
	must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{Scopes: new(scopes.Set{})}))(t)
	k := must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	if k.Scopes.Has("image:generate") || scopes.All("image:generate").Met(k.Scopes) || !k.Scopes.Empty() {
		t.Errorf("scopes %q", k.Scopes)
	}
}
