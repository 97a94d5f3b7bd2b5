package scopes_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

func registry(tb testing.TB) *scopes.Registry {
	tb.Helper()
	r, err := scopes.NewRegistry(
		scopes.Definition{Name: "usage:read", Description: "Read your usage"},
		scopes.Definition{Name: "image:generate", Description: "Create images", Plans: []string{"starter", "pro"}},
		scopes.Definition{Name: "image:upscale", Description: "Enlarge images", Plans: []string{"pro"}},
		scopes.Definition{Name: "image:batch:run", Plans: []string{"enterprise"}},
		scopes.Definition{Name: "credits:purchase", Description: "Buy credits", Plans: []string{"pro"}},
	)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestLookupAndAll(t *testing.T) {
	r := registry(t)
	d, ok := r.Lookup("image:upscale")
	if !ok || d.Description != "Enlarge images" || !slices.Equal(d.Plans, []string{"pro"}) {
		t.Errorf("Lookup(image:upscale) = %+v, %v", d, ok)
	}
	for _, name := range []string{"", "image", "image:*", "Image:upscale", "image:upscale "} {
		if d, ok := r.Lookup(name); ok {
			t.Errorf("Lookup(%q) = %+v", name, d)
		}
	}
	var names []string
	for d := range r.All() {
		names = append(names, d.Name)
	}
	if got := strings.Join(names, " "); got != "usage:read image:generate image:upscale image:batch:run credits:purchase" {
		t.Errorf("All yields %q", got)
	}
	for range r.All() {
		break
	}
}

func TestRegistryKeepsItsOwnDefinitions(t *testing.T) {
	plans := []string{"pro"}
	r, err := scopes.NewRegistry(scopes.Definition{Name: "a", Plans: plans})
	if err != nil {
		t.Fatal(err)
	}
	plans[0] = "free"
	d, _ := r.Lookup("a")
	d.Plans[0] = "free"
	for d := range r.All() {
		d.Plans[0] = "free"
	}
	if r.CheckPlan("free", parse(t, "a")) == nil {
		t.Error("a caller changed the plans of a definition")
	}
}

func TestNewRegistryNamesEveryFault(t *testing.T) {
	_, err := scopes.NewRegistry(
		scopes.Definition{Name: "a"},
		scopes.Definition{Name: "a"},
		scopes.Definition{Name: "b:*"},
		scopes.Definition{Name: ""},
		scopes.Definition{Name: "c d"},
		scopes.Definition{Name: "e", Plans: []string{"", "x", "x"}},
	)
	if errors.CodeOf(err) != errors.Invalid {
		t.Fatalf("code of %v is not invalid", err)
	}
	for _, want := range []string{
		`definition 2: name "a" is taken by definition 1`, `definition 3: name "b:*" holds a wildcard`,
		`definition 4: name "" is empty`, `definition 5: name "c d" holds a character`,
		`definition 6 ("e"): plan 1 is empty`, `definition 6 ("e"): plan "x" is there twice`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s:\n%v", want, err)
		}
	}
	if r, err := scopes.NewRegistry(); err != nil || r == nil {
		t.Errorf("NewRegistry() = %v, %v, want an empty one", r, err)
	}
}

func TestZeroRegistryGrantsNothing(t *testing.T) {
	var r scopes.Registry
	if err := r.CheckGrant(scopes.Set{}, parse(t, "*")); !errors.Is(err, scopes.ErrUnknown) {
		t.Errorf("CheckGrant: %v", err)
	}
	if err := r.CheckGrant(scopes.Set{}, scopes.Set{}); err != nil {
		t.Errorf("CheckGrant of nothing: %v", err)
	}
	if _, ok := r.Lookup("a"); ok {
		t.Error("Lookup finds something")
	}
}

func TestCheckGrant(t *testing.T) {
	r := registry(t)
	for _, tt := range []struct {
		name, had, want string
		refused         []string
	}{
		{"nothing", "", "", nil},
		{"defined scopes", "", "usage:read image:generate", nil},
		{"a wildcard over a definition", "", "image:* *:read * image:*:run", nil},
		{"an unknown scope", "", "usage:read chat:write", []string{"chat:write"}},
		{"another case", "", "Usage:read", []string{"Usage:read"}},
		{"a prefix of a definition", "", "image usage", []string{"image", "usage"}},
		{"a wildcard over nothing", "", "chat:* image:*:*:*", []string{"chat:*", "image:*:*:*"}},
		{"an unknown one that was there survives", "chat:write", "chat:write usage:read", nil},
		{"another unknown one does not come with it", "chat:write", "chat:write chat:read", []string{"chat:read"}},
		{"an unknown wildcard that was there survives as written", "chat:*", "chat:*", nil},
		{"and is no door to what it matches", "chat:*", "chat:* chat:read", []string{"chat:read"}},
		{"dropping is free", "chat:write usage:read", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check(t, r.CheckGrant(parse(t, tt.had), parse(t, tt.want)), scopes.ErrUnknown, errors.Invalid, tt.refused)
		})
	}
}

// check fails unless err names the refused scopes, or is nil without any.
func check(t *testing.T, err, sentinel error, code errors.Code, refused []string) {
	t.Helper()
	if len(refused) == 0 {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if !errors.Is(err, sentinel) || errors.CodeOf(err) != code {
		t.Fatalf("error %v, want %v with code %v", err, sentinel, code)
	}
	for _, name := range refused {
		if !strings.Contains(errors.MessageOf(err), `"`+name+`"`) {
			t.Errorf("message %q does not name %q", errors.MessageOf(err), name)
		}
	}
	if n := strings.Count(errors.MessageOf(err), `"`) / 2; n != len(refused) {
		t.Errorf("message %q names %d scopes, want %d", errors.MessageOf(err), n, len(refused))
	}
}

// The whole plan x scope matrix, and what a wildcard is worth on each plan.
func TestPlanMatrix(t *testing.T) {
	r := registry(t)
	plans := map[string][]string{
		"":           {"usage:read"},
		"free":       {"usage:read"},
		"starter":    {"usage:read", "image:generate"},
		"pro":        {"usage:read", "image:generate", "image:upscale", "credits:purchase"},
		"enterprise": {"usage:read", "image:batch:run"},
		"Pro":        {"usage:read"},
	}
	for plan, included := range plans {
		var all []string
		for d := range r.All() {
			all = append(all, d.Name)
			want := slices.Contains(included, d.Name)
			s := parse(t, d.Name)
			if got := r.CheckPlan(plan, s) == nil; got != want {
				t.Errorf("plan %q, scope %q: checked %v, want %v", plan, d.Name, got, want)
			}
			if got := r.Allowed(plan, s).Has(d.Name); got != want {
				t.Errorf("plan %q, scope %q: allowed %v, want %v", plan, d.Name, got, want)
			}
			if d.On(plan) != want {
				t.Errorf("plan %q, scope %q: on %v, want %v", plan, d.Name, !want, want)
			}
		}
		for _, text := range []string{"*", "image:*", "*:read", "image:*:run", "image:* usage:read chat:write", "*:*"} {
			granted := parse(t, text)
			allowed := r.Allowed(plan, granted)
			if !granted.Covers(allowed) {
				t.Errorf("plan %q: Allowed(%q) = %q, which is more", plan, granted, allowed)
			}
			for _, name := range all {
				if got, want := allowed.Has(name), granted.Has(name) && slices.Contains(included, name); got != want {
					t.Errorf("plan %q: Allowed(%q) = %q grants %q: %v, want %v", plan, granted, allowed, name, got, want)
				}
			}
			if strings.Contains(text, "chat:write") && !allowed.Has("chat:write") {
				t.Errorf("plan %q: Allowed(%q) lost an undefined scope", plan, granted)
			}
		}
	}
}

func TestCheckPlan(t *testing.T) {
	r := registry(t)
	for _, tt := range []struct {
		name, plan, set string
		refused         []string
	}{
		{"nothing", "free", "", nil},
		{"a scope of every plan", "free", "usage:read", nil},
		{"scopes beyond", "starter", "image:generate image:upscale credits:purchase", []string{"image:upscale", "credits:purchase"}},
		{"a wildcard within", "free", "*:read", nil},
		{"a wildcard that reaches beyond", "starter", "image:*", []string{"image:*"}},
		{"not defined", "free", "chat:write chat:*", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check(t, r.CheckPlan(tt.plan, parse(t, tt.set)), scopes.ErrPlan, errors.Forbidden, tt.refused)
		})
	}
}

func TestAllowedKeepsWhatIsNotDefined(t *testing.T) {
	r := registry(t)
	got := r.Allowed("starter", parse(t, "chat:write image:* old:* usage:read"))
	if want := parse(t, "chat:write image:generate old:* usage:read"); got != want {
		t.Errorf("Allowed = %q, want %q", got, want)
	}
}

func TestAllowedStaysWithinTheBounds(t *testing.T) {
	defs := []scopes.Definition{{Name: "x:last", Plans: []string{"pro"}}}
	for i := range 400 {
		defs = append(defs, scopes.Definition{Name: fmt.Sprintf("x:%03d", i)})
	}
	r, err := scopes.NewRegistry(defs...)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Allowed("free", parse(t, "x:*"))
	if got.Len() != scopes.MaxScopes || got.Has("x:last") {
		t.Errorf("%d scopes allowed", got.Len())
	}
	if again := parse(t, got.String()); again != got {
		t.Error("the text of an allowed set does not parse")
	}
	err = r.CheckGrant(scopes.Set{}, parse(t, strings.Join(long(256), " ")))
	if msg := errors.MessageOf(err); !strings.Contains(msg, "and 248 more") || len(msg) > 400 {
		t.Errorf("a message of %d bytes: %s", len(msg), msg)
	}
}

func TestCheckRequirement(t *testing.T) {
	r := registry(t)
	for _, ok := range []scopes.Requirement{scopes.None(), scopes.All("usage:read"), scopes.Any("image:upscale", "image:generate")} {
		if err := r.CheckRequirement(ok); err != nil {
			t.Errorf("%v: %v", ok, err)
		}
	}
	check(t, r.CheckRequirement(scopes.Any("usage:read", "chat:write")), scopes.ErrUnknown, errors.Invalid, []string{"chat:write"})
	if err := r.CheckRequirement(scopes.Requirement{}); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("the zero requirement: %v", err)
	}
}
