package scopes_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

type req = scopes.Requirement

var requirements = []struct {
	name    string
	r       req
	granted string
	met     bool
	missing []string // checked when not met
}{
	{"zero value, nothing granted", req{}, "", false, []string{}},
	{"zero value, everything granted", req{}, "*", false, []string{}},
	{"none, nothing granted", scopes.None(), "", true, nil},
	{"all of no scopes", scopes.All[string](), "*", false, []string{}},
	{"all of no requirements", scopes.All[req](), "*", false, []string{}},
	{"any of no scopes", scopes.Any[string](), "*", false, []string{}},
	{"one scope granted", scopes.All("a"), "a b", true, nil},
	{"one scope not granted", scopes.All("a"), "b", false, []string{"a"}},
	{"one scope, nothing granted", scopes.All("a"), "", false, []string{"a"}},
	{"any of one scope", scopes.Any("a"), "a", true, nil},
	{"granted by a wildcard", scopes.All("image:edit", "usage:read"), "image:* *:read", true, nil},
	{"all, part granted", scopes.All("a", "b", "c"), "b", false, []string{"a", "c"}},
	{"all, in the order stated", scopes.All("c", "a"), "", false, []string{"c", "a"}},
	{"all, named twice", scopes.All("a", "a"), "", false, []string{"a"}},
	{"any, one granted", scopes.Any("a", "b"), "b", true, nil},
	{"any, none granted: the first", scopes.Any("a", "b"), "c", false, []string{"a"}},
	{"nested, one branch", scopes.All(scopes.All("a"), scopes.Any("b", "c")), "a c", true, nil},
	{"nested, the other half", scopes.All(scopes.All("a"), scopes.Any("b", "c")), "b", false, []string{"a"}},
	{"the shorter branch", scopes.Any(scopes.All("a", "b"), scopes.All("c")), "", false, []string{"c"}},
	{"the branch that is nearer", scopes.Any(scopes.All("a", "b", "c"), scopes.All("d", "e")), "a b", false, []string{"c"}},
	{"four groups, the last with a choice", scopes.All(scopes.All("a"), scopes.All("b"), scopes.All("c"), scopes.Any("d", "e")), "", false, []string{"a", "b", "c", "d"}},
	{"one scope serves both", scopes.All(scopes.Any("a", "b"), scopes.Any("c", "b")), "", false, []string{"b"}},
	{"a wildcard is never granted", scopes.All("*"), "*", false, []string{}},
	{"nor by its own text", scopes.All("a:*"), "a:*", false, []string{}},
	{"a malformed name", scopes.All("a b"), "a b *", false, []string{}},
	{"an empty name", scopes.All(""), "*", false, []string{}},
	{"a malformed name beside a good one", scopes.All("a", "b "), "a *", false, []string{}},
	{"any with a malformed name, good one granted", scopes.Any("a", "b "), "a", true, nil},
	{"any with a malformed name, not granted", scopes.Any("b ", "a"), "", false, []string{"a"}},
	{"any with the zero value", scopes.Any(req{}, scopes.All("a")), "*", true, nil},
	{"all with the zero value", scopes.All(req{}, scopes.All("a")), "*", false, []string{}},
	{"all with an empty group", scopes.All(scopes.Any[string](), scopes.All("a")), "*", false, []string{}},
	{"a group of none", scopes.All(scopes.None()), "", true, nil},
}

func TestRequirement(t *testing.T) {
	for _, tt := range requirements {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, tt.granted)
			if tt.r.Met(s) != tt.met {
				t.Errorf("%v met by %q: %v", tt.r, s, !tt.met)
			}
			missing := tt.r.Missing(s)
			if (missing == nil) != tt.met {
				t.Errorf("%v met by %q: %v, and Missing returns %#v", tt.r, s, tt.met, missing)
			}
			if !slices.Equal(missing, tt.missing) {
				t.Errorf("%v misses %q in %q, want %q", tt.r, missing, s, tt.missing)
			}
		})
	}
}

// Missing is compared with trying every list of the names.
func TestMissingIsTheShortest(t *testing.T) {
	const seed = 21
	rng := rand.New(rand.NewPCG(seed, 0))
	names := []string{"a", "b", "c", "d", "e"}
	var draw func(depth int) req
	draw = func(depth int) req {
		if depth == 0 || rng.IntN(3) == 0 {
			return scopes.All(names[rng.IntN(len(names))])
		}
		members := make([]req, 1+rng.IntN(3))
		for i := range members {
			members[i] = draw(depth - 1)
		}
		if rng.IntN(2) == 0 {
			return scopes.All(members...)
		}
		return scopes.Any(members...)
	}
	subset := func(mask int) (list []string) {
		for i, name := range names {
			if mask>>i&1 == 1 {
				list = append(list, name)
			}
		}
		return list
	}
	for range 1000 {
		r, granted := draw(3), subset(rng.IntN(1<<len(names)))
		s, err := scopes.Of(granted...)
		if err != nil {
			t.Fatal(err)
		}
		best := len(names) + 1
		for mask := range 1 << len(names) {
			more, err := scopes.Of(append(subset(mask), granted...)...)
			if err != nil {
				t.Fatal(err)
			}
			if r.Met(more) {
				best = min(best, len(subset(mask)))
			}
		}
		missing := r.Missing(s)
		more, err := scopes.Of(append(missing, granted...)...)
		if err != nil || !r.Met(more) {
			t.Fatalf("seed %d: %v with %q is not met by adding %q", seed, r, s, missing)
		}
		if len(missing) != best {
			t.Fatalf("seed %d: %v with %q: Missing returns %q, %d would do", seed, r, s, missing, best)
		}
	}
}

func TestMissingIsBounded(t *testing.T) {
	groups := make([]req, 12)
	for i := range groups {
		members := make([]string, 12)
		for j := range members {
			members[j] = "g" + strconv.Itoa(i) + ":" + strconv.Itoa(j)
		}
		groups[i] = scopes.Any(members...)
	}
	r := scopes.All(groups...) // 12^12 ways
	missing := r.Missing(scopes.Set{})
	s, err := scopes.Of(missing...)
	if err != nil || len(missing) != 12 || !r.Met(s) {
		t.Errorf("Missing returns %q, %v", missing, err)
	}
	if n := testing.AllocsPerRun(1, func() { r.Missing(scopes.Set{}) }); n > 12*32*32 {
		t.Errorf("%v allocations to tell what is missing", n)
	}
}

func TestMissingBelongsToTheCaller(t *testing.T) {
	r := scopes.All("a", "b")
	r.Missing(scopes.Set{})[0] = "x"
	r.Names()[0] = "x"
	if got := r.Missing(scopes.Set{}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("a caller changed the requirement to %q", got)
	}
}

func TestRequirementKeepsItsOwnMembers(t *testing.T) {
	members := []req{scopes.All("a"), scopes.All("b")}
	r := scopes.All(members...)
	members[0] = scopes.None()
	if r.Met(parse(t, "b")) {
		t.Error("changing the members given to All changed the requirement")
	}
}

func TestValidate(t *testing.T) {
	good := []req{
		scopes.None(), scopes.All("a"), scopes.Any("a", "b"), scopes.All(scopes.Any("a", "b"), scopes.All("c")),
		scopes.All(scopes.None()), // the same as None
	}
	for _, r := range good {
		if err := r.Validate(); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
	bad := []struct {
		r    req
		says []string
	}{
		{req{}, []string{"use None()"}},
		{scopes.All[string](), []string{"empty group"}},
		{scopes.Any[req](), []string{"empty group"}},
		{scopes.All(req{}, scopes.All("a")), []string{"no requirement"}},
		{scopes.All("*"), []string{"wildcard"}},
		{scopes.All("a", "b c", "d:*", ""), []string{`"b c"`, "not allowed", `"d:*"`, "wildcard", "is empty"}},
		{scopes.Any(scopes.None(), scopes.All("a")), []string{"None() inside a group"}},
		{scopes.All(scopes.Any("a", "b:"), scopes.Any[string]()), []string{`"b:"`, "empty group"}},
		{scopes.All(strings.Repeat("x", 1<<20)), []string{"longer than 128"}},
	}
	for _, tt := range bad {
		err := tt.r.Validate()
		if errors.CodeOf(err) != errors.Invalid {
			t.Errorf("%v: %v, want an invalid error", tt.r, err)
			continue
		}
		for _, say := range tt.says {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%v: error %q does not say %q", tt.r, err, say)
			}
		}
		if len(err.Error()) > 1024 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

func TestIsZero(t *testing.T) {
	if !(req{}).IsZero() {
		t.Error("the zero value is not zero")
	}
	for _, r := range []req{scopes.None(), scopes.All("a"), scopes.All(""), scopes.All[string](), scopes.Any[req]()} {
		if r.IsZero() {
			t.Errorf("%v is zero", r)
		}
	}
}

func TestStringAndNames(t *testing.T) {
	for _, tt := range []struct {
		r     req
		text  string
		names string
	}{
		{req{}, "nothing", ""},
		{scopes.None(), "none", ""},
		{scopes.Any[string](), "nothing", ""},
		{scopes.All("a:b"), "a:b", "a:b"},
		{scopes.All("b", "a"), "b and a", "a b"},
		{scopes.Any("a", "b", "a"), "a or b or a", "a b"},
		{scopes.All(scopes.All("c"), scopes.Any("b", "a")), "c and (b or a)", "a b c"},
		{scopes.Any(scopes.All("a", "b"), scopes.All("c", "d")), "(a and b) or (c and d)", "a b c d"},
		{scopes.All(scopes.All("a", "b"), scopes.All("c")), "a and b and c", "a b c"},
		{scopes.All(scopes.All("a"), scopes.Any[string]()), "a and nothing", "a"},
		{scopes.All("no good"), `"no good"`, "no good"},
	} {
		if got := tt.r.String(); got != tt.text {
			t.Errorf("String() = %q, want %q", got, tt.text)
		}
		if got := strings.Join(tt.r.Names(), " "); got != tt.names {
			t.Errorf("%v: Names() = %q, want %q", tt.r, got, tt.names)
		}
	}
}
