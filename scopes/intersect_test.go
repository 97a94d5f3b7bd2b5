package scopes_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/scopes"
)

func TestIntersect(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"", "", ""},
		{"", "*", ""},
		{"a b", "b c", "b"},
		{"*", "image:generate", "image:generate"},
		{"image:*", "image:generate models:read", "image:generate"},
		{"image:*", "*:read", "image:read"},
		{"*:read", "image:*", "image:read"},
		{"a:*", "*:b:*", "a:b:*"},
		{"a:*:c", "a:b:*", "a:b:c"},
		{"a:*", "a", ""},
		{"a:b", "a:b:c", ""},
		{"*:*", "a", ""},
		{"*:*", "*:*:*", "*:*:*"},
		{"chat:write", "chat:read", ""},
	} {
		if got := parse(t, tt.a).Intersect(parse(t, tt.b)); got.String() != tt.want {
			t.Errorf("%q and %q: %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}

// An intersection grants what both grant: asked for every scope of up to four
// segments over an alphabet that holds one word neither set knows.
func TestIntersectGrantsWhatBothGrant(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	patterns, asked := words([]string{"a", "b", "*"}, 3), words([]string{"a", "b", "z"}, 4)
	set := func() scopes.Set {
		list := make([]string, r.IntN(4))
		for i := range list {
			list[i] = patterns[r.IntN(len(patterns))]
		}
		s, err := scopes.Of(list...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for range 300 {
		a, b := set(), set()
		both := a.Intersect(b)
		for _, scope := range asked {
			if want := a.Has(scope) && b.Has(scope); both.Has(scope) != want {
				t.Fatalf("seed %d: %q and %q give %q; Has(%q) = %t, want %t", seed, a, b, both, scope, !want, want)
			}
		}
		if !a.Covers(both) || parse(t, both.String()) != both {
			t.Fatalf("seed %d: %q and %q give %q, which is beyond the first or no set", seed, a, b, both)
		}
	}
}

func TestIntersectIsBounded(t *testing.T) {
	wide := strings.Repeat("x", 60)
	if got := parse(t, "*:"+wide+":*").Intersect(parse(t, wide+":*:"+wide)); !got.Empty() {
		t.Errorf("a scope of %d bytes came about", len(got.String()))
	}
	if got := parse(t, "*").Intersect(parse(t, strings.Join(long(256), " "))); got.Len() != 256 {
		t.Errorf("%d scopes, want 256", got.Len())
	}
	s, ceiling := parse(t, "image:generate models:read"), parse(t, "image:* models:*")
	if n := testing.AllocsPerRun(100, func() { s.Intersect(ceiling) }); n != 0 {
		t.Errorf("%v allocations where the ceiling covers the set", n)
	}
}
