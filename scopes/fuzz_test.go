package scopes_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

func FuzzParse(f *testing.F) {
	for _, tt := range accepted {
		f.Add(tt.text)
	}
	for _, tt := range refused {
		f.Add(clip(tt.text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts := strings.Split(text, " ")
		want := text == "" || len(parts) <= scopes.MaxScopes && !slices.ContainsFunc(parts, func(s string) bool { return !wellFormed(s) })
		s, err := scopes.Parse(text)
		if (err == nil) != want {
			t.Fatalf("Parse(%q): %v, want success %v", text, err, want)
		}
		if err != nil {
			if !s.Empty() || errors.CodeOf(err) != errors.Invalid {
				t.Fatalf("Parse(%q) = %q, %v", text, s, err)
			}
			return
		}
		if again, err := scopes.Parse(s.String()); err != nil || again != s {
			t.Fatalf("Parse(%q) = %q, %v after a round trip", s, again, err)
		}
		list := slices.Collect(s.All())
		if !slices.IsSorted(list) || len(list) != s.Len() || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Fatalf("Parse(%q) holds %q", text, list)
		}
		for _, part := range parts {
			if part != "" && !slices.Contains(list, part) {
				t.Fatalf("Parse(%q) lost %q", text, part)
			}
		}
		if !s.Covers(s) || !s.Minus(s).Empty() {
			t.Fatalf("%q does not cover itself, or leaves something minus itself", s)
		}
	})
}

func FuzzHas(f *testing.F) {
	for _, tt := range matches {
		for scope := range strings.FieldsSeq(tt.yes + " " + tt.no) {
			f.Add(tt.granted, scope)
		}
	}
	f.Fuzz(func(t *testing.T, granted, scope string) {
		s, err := scopes.Parse(granted)
		if err != nil {
			return
		}
		want := false
		for pattern := range s.All() {
			want = want || grants(pattern, scope)
		}
		if got := s.Has(scope); got != want {
			t.Fatalf("%q grants %q: %v, want %v", s, scope, got, want)
		}
		if got := scopes.All(scope).Met(s); got != want {
			t.Fatalf("%q meets All(%q): %v, want %v", s, scope, got, want)
		}
		if missing := scopes.All(scope).Missing(s); (missing == nil) != want {
			t.Fatalf("%q misses %q of %q", s, missing, scope)
		}
	})
}

// FuzzCovers tries each scope of the lower set with its wildcards replaced by a
// segment that the upper set does not hold, which is what decides.
func FuzzCovers(f *testing.F) {
	for _, tt := range coverings {
		f.Add(tt.above, tt.below)
	}
	f.Fuzz(func(t *testing.T, above, below string) {
		a, errA := scopes.Parse(above)
		b, errB := scopes.Parse(below)
		if errA != nil || errB != nil {
			return
		}
		fresh := "f"
		for strings.Contains(above, fresh) {
			fresh += "f"
		}
		all := true
		for o := range b.All() {
			short := strings.ReplaceAll(o, "*", fresh)
			if !scopes.IsConcrete(short) {
				return // no room for the new segment
			}
			long := short
			if strings.HasSuffix(o, "*") {
				long += ":" + fresh
			}
			if a.Covers(b) && !a.Has(short) || a.Covers(b) && scopes.IsConcrete(long) && !a.Has(long) {
				t.Fatalf("%q covers %q and does not grant %q or %q", a, b, short, long)
			}
			all = all && a.Has(short)
		}
		if a.Covers(b) != all {
			t.Fatalf("%q covers %q: %v, want %v", a, b, !all, all)
		}
	})
}
