package scopes_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/scopes"
)

// The rows with foo, bar and baz follow the test table of a widely used OAuth 2.0
// server, with the answers of this grammar.
var matches = []struct{ granted, yes, no string }{
	{"", "", "a foo foo:bar foo:bar:baz *"},
	{"foo", "foo", "foo:bar Foo FOO fo fooo foo. * foo:* fo*"},
	{"*", "asdf asdf:asdf a:b:c:d", "* a:* a:: : a: :a"},
	{"foo:*", "foo:bar foo:baz foo:bar:baz", "foo foo: foo:* fooo:bar bar:foo"},
	{"foo:*:baz", "foo:bar:baz", "foo:*:baz foo::baz foo:baz foo foo:bar:bar foo:a:b:baz"},
	{"foo:*:bar:*", "foo:baz:bar:baz foo:baz:bar:bar:bar foo:1:bar:1:2:3:4:5", "foo:baz:baz:bar:baz foo:baz:bar foo:*:bar:*:*:*"},
	{"foo:*:bar", "foo:bar:bar", "foo:bar:bar:bar foo::bar foo:bar::bar"},
	{"foo:*:bar:*:baz:*", "foo:bar:bar:baz:baz:baz foo:bar:bar:baz:baz:baz:baz",
		"foo:*:* foo:*:bar foo:baz:* foo:baz:bar foo:b*:bar foo:bar:bar:baz:baz foo:bar:baz:baz:baz:bar"},
	{"foo.bar bar.baz", "foo.bar bar.baz", "foo bar foo.bar.baz foo:bar"},
	{"*:read", "usage:read x:read", "read usage:day:read usage:write"},
	{"*:*", "a:b a:b:c", "a"},
	{"image:generate usage:read", "image:generate usage:read", "image:edit usage image generate imageXgenerate"},
	{"chat:completions models:read tools:read usage:read account:read credits:read credits:purchase image:generate logo:generate",
		"chat:completions credits:purchase logo:generate", "chat:write credits credits:refund completions"},
	{"user:delete", "user:delete", "user:deleteAll user:delet user superuser:delete"},
}

func TestHas(t *testing.T) {
	for _, tt := range matches {
		s := parse(t, tt.granted)
		for scope := range strings.FieldsSeq(tt.yes) {
			if !s.Has(scope) {
				t.Errorf("%q does not grant %q", tt.granted, scope)
			}
		}
		for _, scope := range append(strings.Fields(tt.no), "", " ", "a b", "foo bar", "foo:\x00", "foo:é") {
			if s.Has(scope) {
				t.Errorf("%q grants %q", tt.granted, scope)
			}
		}
	}
}

func TestHasRefusesWhatIsOutOfBounds(t *testing.T) {
	s := parse(t, "* x:*")
	for name, scope := range map[string]string{
		"129 bytes":   strings.Repeat("x", 129),
		"17 segments": "x" + strings.Repeat(":a", 16),
		"a megabyte":  strings.Repeat("x:", 1<<19) + "x",
	} {
		if s.Has(scope) {
			t.Errorf("%q grants a scope of %s", s, name)
		}
	}
	if !s.Has(strings.Repeat("x", 128)) || !s.Has("x"+strings.Repeat(":a", 15)) {
		t.Errorf("%q does not grant a scope at the bounds", s)
	}
}

func TestMatchingAgreesWithTheReference(t *testing.T) {
	scopeList := words([]string{"a", "ab", "*"}, 4)
	for _, pattern := range words([]string{"a", "b", "*"}, 3) {
		s := parse(t, pattern)
		for _, scope := range scopeList {
			if got, want := s.Has(scope), grants(pattern, scope); got != want {
				t.Errorf("%q grants %q: %v, want %v", pattern, scope, got, want)
			}
		}
	}
}

var coverings = []struct {
	above, below string
	want         bool
}{
	{"", "", true},
	{"a", "", true},
	{"", "a", false},
	{"a b", "b", true},
	{"a", "a b", false},
	{"*", "a b:c *:d:* *", true},
	{"a:*", "a:b a:b:c a:*:c a:*", true},
	{"a:*", "a", false},
	{"a:*", "*", false},
	{"a:b", "a:*", false},
	{"*:*", "*", false},
	{"* a", "*", true},
	{"a:*:c", "a:*:c", true},
	{"a:*:c", "a:*", false},
	{"a:*:*", "a:*", false},
	{"a:b a:*:*", "a:*", false},
	{"*:b", "a:*", false},
	{"*:b", "a:b c:b", true},
	{"a:* b:*", "*:x", false},
	{"*:read", "image:read", true},
	{"A:*", "a:b", false},
}

func TestCovers(t *testing.T) {
	for _, tt := range coverings {
		if got := parse(t, tt.above).Covers(parse(t, tt.below)); got != tt.want {
			t.Errorf("%q covers %q: %v, want %v", tt.above, tt.below, got, tt.want)
		}
	}
}

// Covers is compared with its definition: every concrete scope that one grants,
// the other grants. The segment f stands in no pattern, and one segment more than
// the longest pattern is enough to tell a last "*" from a longer list.
func TestCoversAgreesWithEnumeration(t *testing.T) {
	universe := words([]string{"a", "b", "f"}, 4)
	patterns := words([]string{"a", "b", "*"}, 3)
	type extent [2]uint64 // which of universe a pattern grants
	extents := make([]extent, len(patterns))
	for i, pattern := range patterns {
		for j, scope := range universe {
			if grants(pattern, scope) {
				extents[i][j/64] |= 1 << (j % 64)
			}
		}
	}
	if len(universe) > 128 {
		t.Fatalf("%d scopes do not fit an extent", len(universe))
	}
	compare := func(members ...int) {
		names := make([]string, len(members))
		var sum extent
		for i, m := range members {
			names[i] = patterns[m]
			sum[0], sum[1] = sum[0]|extents[m][0], sum[1]|extents[m][1]
		}
		s, err := scopes.Of(names...)
		if err != nil {
			t.Fatal(err)
		}
		for i, pattern := range patterns {
			want := extents[i][0]&^sum[0] == 0 && extents[i][1]&^sum[1] == 0
			if got := s.Covers(parse(t, pattern)); got != want {
				t.Fatalf("%q covers %q: %v, want %v", s, pattern, got, want)
			}
		}
	}
	for i := range patterns {
		for j := range i + 1 {
			compare(i, j)
		}
	}
	const seed = 11
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		members := rng.Perm(len(patterns))[:3+rng.IntN(4)]
		compare(members...)
		if t.Failed() {
			t.Logf("seed %d, members %v", seed, members)
		}
	}
}

func TestCoversIsAnOrder(t *testing.T) {
	const seed = 12
	rng := rand.New(rand.NewPCG(seed, 0))
	patterns := words([]string{"a", "b", "*"}, 3)
	draw := func() scopes.Set {
		list := make([]string, rng.IntN(4))
		for i := range list {
			list[i] = patterns[rng.IntN(len(patterns))]
		}
		s, err := scopes.Of(list...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for range 2000 {
		a, b, c := draw(), draw(), draw()
		union, err := a.Union(b)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case !a.Covers(a):
			t.Fatalf("seed %d: %q does not cover itself", seed, a)
		case a.Covers(b) && b.Covers(c) && !a.Covers(c):
			t.Fatalf("seed %d: %q, %q, %q: not transitive", seed, a, b, c)
		case !union.Covers(a) || !union.Covers(b):
			t.Fatalf("seed %d: %q does not cover %q and %q", seed, union, a, b)
		case !a.Covers(a.Minus(b)):
			t.Fatalf("seed %d: %q does not cover itself minus %q", seed, a, b)
		}
		for _, scope := range slices.Collect(b.All()) {
			if a.Covers(b) && scopes.IsConcrete(scope) && !a.Has(scope) {
				t.Fatalf("seed %d: %q covers %q and does not grant %q", seed, a, b, scope)
			}
		}
	}
}
