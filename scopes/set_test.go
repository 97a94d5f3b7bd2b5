package scopes_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// long returns n distinct scopes.
func long(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("s:%03d", i)
	}
	return list
}

var accepted = []struct{ name, text, want string }{
	{"nothing", "", ""},
	{"one scope", "image:generate", "image:generate"},
	{"every kind of character", "AZaz09._-:x", "AZaz09._-:x"},
	{"dots do not separate", "foo.bar", "foo.bar"},
	{"sorted by bytes", "b a:b B * a:*", "* B a:* a:b b"},
	{"repeated once", "a b a a", "a b"},
	{"repeated in order", strings.Repeat("a ", 2) + "b", "a b"},
	{"case differs", "Image:Read image:read", "Image:Read image:read"},
	{"covered ones stay", "image:* image:edit", "image:* image:edit"},
	{"star in every place", "*:* *:a:* *", "* *:* *:a:*"},
	{"a scope of 128 bytes", strings.Repeat("x", 128), strings.Repeat("x", 128)},
	{"16 segments", "a" + strings.Repeat(":a", 15), "a" + strings.Repeat(":a", 15)},
	{"256 scopes", strings.Join(long(256), " "), strings.Join(long(256), " ")},
}

func TestParseAccepts(t *testing.T) {
	for _, tt := range accepted {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, tt.text)
			if s.String() != tt.want {
				t.Errorf("Parse(%q) = %q, want %q", tt.text, s, tt.want)
			}
			of, err := scopes.Of(slices.Collect(s.All())...)
			if err != nil || of != s {
				t.Errorf("Of(All()...) = %q, %v, want the same set", of, err)
			}
		})
	}
}

var refused = []struct{ name, text, says string }{
	{"a space alone", " ", "is empty"},
	{"a space before", " a", `scope 1 ("") is empty`},
	{"a space after", "a ", `scope 2 ("") is empty`},
	{"two spaces", "a  b", `scope 2 ("") is empty`},
	{"a tab", "a\tb", "not allowed"},
	{"a new line", "a\n", "not allowed"},
	{"a comma", "a,b", "not allowed"},
	{"a NUL", "a\x00", "not allowed"},
	{"an escape", "\x1b[31m", "not allowed"},
	{"a DEL", "a\x7f", "not allowed"},
	{"accents", "imagé:read", "not allowed"},
	{"a look-alike letter", "im\u0430ge", "not allowed"},
	{"a wide colon", "image\uff1aread", "not allowed"},
	{"a wide star", "image:\uff0a", "not allowed"},
	{"broken UTF-8", "a\xff", "not allowed"},
	{"a no-break space", "a\u00a0b", "not allowed"},
	{"a quotation mark", `a"b`, "not allowed"},
	{"a backslash", `a\b`, "not allowed"},
	{"a slash", "a/b", "not allowed"},
	{"a percent escape", "a%20b", "not allowed"},
	{"a question mark", "a?", "not allowed"},
	{"a colon alone", ":", "empty segment"},
	{"a colon before", ":a", "empty segment"},
	{"a colon after", "a:", "empty segment"},
	{"two colons", "a::b", "empty segment"},
	{"a star as a suffix", "image*", "inside a segment"},
	{"a star as a prefix", "*image", "inside a segment"},
	{"a star in the middle", "a:i*e:b", "inside a segment"},
	{"two stars", "**", "inside a segment"},
	{"two stars as a segment", "a:**", "inside a segment"},
	{"129 bytes", strings.Repeat("x", 129), "longer than 128 bytes"},
	{"17 segments", "a" + strings.Repeat(":a", 16), "more than 16 segments"},
	{"257 scopes", strings.Join(long(257), " "), "at most 256"},
	{"a megabyte", strings.Repeat("a ", 1<<19), "bytes long"},
	{"one fault among good ones", "a b* c", `scope 2 ("b*")`},
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			s, err := scopes.Parse(tt.text)
			if err == nil {
				t.Fatalf("Parse(%q) = %q, want an error", clip(tt.text), s)
			}
			if !s.Empty() {
				t.Errorf("the set beside the error holds %q", s)
			}
			if errors.CodeOf(err) != errors.Invalid {
				t.Errorf("code = %v, want invalid", errors.CodeOf(err))
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
			if len(errors.MessageOf(err)) > 256 {
				t.Errorf("the message has %d bytes; hostile input must not fill it", len(errors.MessageOf(err)))
			}
		})
	}
}

func clip(s string) string { return s[:min(len(s), 60)] }

func TestParseNamesEveryFault(t *testing.T) {
	_, err := scopes.Parse("a b* c: é")
	for _, want := range []string{`scope 2 ("b*")`, `scope 3 ("c:")`, `scope 4 ("é")`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
}

func TestOf(t *testing.T) {
	list := []string{"b", "a", "b"}
	s, err := scopes.Of(list...)
	if err != nil || s.String() != "a b" {
		t.Errorf("Of(b, a, b) = %q, %v", s, err)
	}
	if !slices.Equal(list, []string{"b", "a", "b"}) {
		t.Errorf("Of changed its arguments to %q", list)
	}
	if s, err := scopes.Of(); err != nil || s != (scopes.Set{}) {
		t.Errorf("Of() = %q, %v, want the zero set", s, err)
	}
	for _, bad := range [][]string{{"a b"}, {""}, {"a", "b "}, long(257)} {
		if s, err := scopes.Of(bad...); errors.CodeOf(err) != errors.Invalid || !s.Empty() {
			t.Errorf("Of(%q) = %q, %v, want an invalid error", bad[0], s, err)
		}
	}
}

func TestEqualIsIndependentOfOrder(t *testing.T) {
	a, b := parse(t, "x y:z"), parse(t, "y:z x x")
	if a != b || !a.Equal(b) {
		t.Errorf("%q and %q are not equal", a, b)
	}
	if c := parse(t, "x y:*"); a == c || a.Equal(c) {
		t.Errorf("%q and %q are equal", a, c)
	}
	if m := map[scopes.Set]bool{a: true}; !m[b] {
		t.Error("an equal set is another map key")
	}
}

func TestMinusAndUnion(t *testing.T) {
	for _, tt := range []struct{ a, b, minus, union string }{
		{"", "", "", ""},
		{"a b", "", "a b", "a b"},
		{"", "a b", "", "a b"},
		{"a b c", "b", "a c", "a b c"},
		{"a c", "b d", "a c", "a b c d"},
		{"a b", "a b", "", "a b"},
		{"image:* image:edit", "image:*", "image:edit", "image:* image:edit"},
		{"image:edit", "image:*", "image:edit", "image:* image:edit"},
	} {
		a, b := parse(t, tt.a), parse(t, tt.b)
		if got := a.Minus(b); got != parse(t, tt.minus) {
			t.Errorf("%q minus %q = %q, want %q", a, b, got, tt.minus)
		}
		if got, err := a.Union(b); err != nil || got != parse(t, tt.union) {
			t.Errorf("%q union %q = %q, %v, want %q", a, b, got, err, tt.union)
		}
	}
	full := parse(t, strings.Join(long(256), " "))
	if s, err := full.Union(full); err != nil || s != full {
		t.Errorf("a full set with itself: %v", err)
	}
	if s, err := full.Union(parse(t, "other")); errors.CodeOf(err) != errors.Invalid || !s.Empty() {
		t.Errorf("a full set with one more = %d scopes, %v, want an invalid error", s.Len(), err)
	}
}

func TestLenEmptyAll(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, "a b:c": 2, "* a:* b": 3} {
		s := parse(t, text)
		if s.Len() != want || s.Empty() != (want == 0) {
			t.Errorf("%q: Len %d, Empty %v", text, s.Len(), s.Empty())
		}
		if got := slices.Collect(s.All()); len(got) != want || strings.Join(got, " ") != text {
			t.Errorf("%q: All yields %q", text, got)
		}
	}
	for range parse(t, "a b c").All() {
		break // All stops when asked to
	}
}

func TestTextAndJSON(t *testing.T) {
	type record struct {
		Scopes scopes.Set `json:"scopes"`
		Rest   scopes.Set `json:"rest,omitzero"`
	}
	in := record{Scopes: parse(t, "usage:read image:*")}
	data, err := json.Marshal(in)
	if err != nil || string(data) != `{"scopes":"image:* usage:read"}` {
		t.Fatalf("Marshal = %s, %v", data, err)
	}
	var out record
	if err := json.Unmarshal(data, &out); err != nil || out != in {
		t.Errorf("Unmarshal = %v, %v", out, err)
	}

	kept := in.Scopes
	if err := kept.UnmarshalText([]byte("b*")); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("UnmarshalText(b*): %v, want an invalid error", err)
	}
	if kept != in.Scopes {
		t.Errorf("a failed UnmarshalText left %q", kept)
	}
	if err := kept.UnmarshalText(nil); err != nil || !kept.Empty() {
		t.Errorf("UnmarshalText of nothing = %q, %v, want the empty set", kept, err)
	}
	text := []byte("a b")
	if err := kept.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	copy(text, "X X")
	if kept.String() != "a b" {
		t.Error("the set shares memory with the text that it was read from")
	}
}

func TestIsConcrete(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "a:b.c": true, "*": false, "a:*": false, "a b": false, "": false, "a:": false} {
		if scopes.IsConcrete(s) != want {
			t.Errorf("IsConcrete(%q) = %v", s, !want)
		}
	}
}
