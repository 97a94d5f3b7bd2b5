package scopes

import (
	"iter"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// A Set is what a key may do: a sorted list of distinct scopes, wildcards
// among them. It is immutable and small, and may be copied and shared freely.
// The zero value is the empty set and grants nothing.
//
// Sets can be compared with ==, which tells whether they hold the same scopes
// as written: "image:*" and "image:* image:edit" grant the same and are not equal.
type Set struct {
	text string // the scopes, sorted and distinct, one space between two
}

// Parse reads a list as OAuth 2.0 writes it: scopes with exactly one space
// between two and none at the ends, in any order, repeated or not. The empty
// text is the empty set. The error, of code Invalid, names every fault.
func Parse(text string) (Set, error) {
	if text == "" {
		return Set{}, nil
	}
	f := errors.Faults{Op: "scopes.Parse"}
	if len(text) > maxText {
		f.Add("the list is %d bytes long; give at most %d scopes of at most %d bytes", len(text), MaxScopes, MaxBytes)
		return Set{}, f.Err()
	}
	if canonical(text) {
		return Set{text}, nil
	}
	return build(&f, strings.Split(text, " "))
}

// Of returns the set of the given scopes, in any order, repeated or not. The
// error, of code Invalid, names every fault.
func Of(scopes ...string) (Set, error) {
	f := errors.Faults{Op: "scopes.Of"}
	return build(&f, slices.Clone(scopes))
}

// build checks, sorts and joins list, which it owns.
func build(f *errors.Faults, list []string) (Set, error) {
	checkAll(f, list)
	if err := f.Err(); err != nil {
		return Set{}, err
	}
	return join(list), nil
}

// join sorts list in place and makes a set of it. The list is well-formed and
// within the bounds.
func join(list []string) Set {
	slices.Sort(list)
	return Set{strings.Join(slices.Compact(list), " ")}
}

// canonical reports whether text is the text of a set.
func canonical(text string) bool {
	n, last := 0, ""
	for s := range split(text) {
		if _, fault := check(s); fault != "" || s <= last {
			return false
		}
		n, last = n+1, s
	}
	return n <= MaxScopes
}

// split yields the parts of text between single spaces; nothing for "".
func split(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest, more := text, text != ""; more; {
			var s string
			s, rest, more = strings.Cut(rest, " ")
			if !yield(s) {
				return
			}
		}
	}
}

// Has reports whether s grants scope. Only a concrete scope can be granted:
// for one that is malformed or holds a wildcard the answer is false. Upper and
// lower case differ. It does not allocate.
func (s Set) Has(scope string) bool {
	return IsConcrete(scope) && s.covers(scope)
}

// Covers reports whether s grants everything that other grants, now and with
// every scope that may be invented later: a ceiling for what somebody may hand
// out. Everything covers the empty set; the empty set covers only that. It
// does not allocate.
//
// It is enough to find for each scope of other one scope of s that covers it
// alone. Replace each "*" of a scope o by one segment that occurs nowhere in s.
// The result is granted by o, so some p in s must match it. Where o has a "*"
// that p reaches, p has one too, since a literal cannot equal the new segment;
// elsewhere p has "*" or the same literal. If p ends in "*" it so matches all
// that o does, however long. If p ends in a literal it is as long as o, whose
// last segment is that literal, and matches all the same. Where MaxBytes
// leaves no room for a new segment, the answer may be false for a list of
// literals that would do: Covers errs towards refusing.
func (s Set) Covers(other Set) bool {
	for o := range split(other.text) {
		if !s.covers(o) {
			return false
		}
	}
	return true
}

// covers reports whether one scope of s covers o, which is well-formed.
func (s Set) covers(o string) bool {
	if s.holds(o) {
		return true
	}
	for rest := s.text; ; { // from one scope with a wildcard to the next
		star := strings.IndexByte(rest, '*')
		if star < 0 {
			return false
		}
		start, end := around(rest, star)
		if covers(rest[start:end], o) {
			return true
		}
		rest = rest[end:]
	}
}

// holds reports whether scope is in s as written, by halving the text.
func (s Set) holds(scope string) bool {
	for text := s.text; text != ""; {
		start, end := around(text, len(text)/2)
		switch c := strings.Compare(text[start:end], scope); {
		case c == 0:
			return true
		case c > 0:
			text = text[:max(start-1, 0)]
		case end == len(text):
			return false
		default:
			text = text[end+1:]
		}
	}
	return false
}

// around returns where the scope begins and ends that stands in text at i, or
// that the space at i follows.
func around(text string, i int) (start, end int) {
	start = strings.LastIndexByte(text[:i], ' ') + 1
	if n := strings.IndexByte(text[i:], ' '); n >= 0 {
		return start, i + n
	}
	return start, len(text)
}

// Minus returns the scopes of s that are not, as written, in other. What a
// wildcard of other would match stays.
func (s Set) Minus(other Set) Set {
	list := make([]string, 0, s.Len())
	for scope := range s.All() {
		if !other.holds(scope) {
			list = append(list, scope)
		}
	}
	return join(list)
}

// Union returns the scopes of s and of other. The error, of code Invalid,
// tells that there are more than [MaxScopes].
func (s Set) Union(other Set) (Set, error) {
	list := slices.AppendSeq(slices.Collect(s.All()), other.Minus(s).All())
	if n := len(list); n > MaxScopes {
		f := errors.Faults{Op: "scopes.Union"}
		f.Add("%d scopes together; give at most %d", n, MaxScopes)
		return Set{}, f.Err()
	}
	return join(list), nil
}

// Len returns the number of scopes, wildcards counted as one each.
func (s Set) Len() int {
	if s.text == "" {
		return 0
	}
	return strings.Count(s.text, " ") + 1
}

// Empty reports whether s grants nothing.
func (s Set) Empty() bool { return s.text == "" }

// Equal reports whether s and other hold the same scopes as written, as == does.
func (s Set) Equal(other Set) bool { return s == other }

// All yields the scopes as written, in the order of their bytes.
func (s Set) All() iter.Seq[string] { return split(s.text) }

// String returns the scopes in order, one space between two: what [Parse]
// reads and the scope parameter of OAuth 2.0 carries. It does not allocate.
func (s Set) String() string { return s.text }

// MarshalText returns the text of String; JSON so carries one string.
func (s Set) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText sets s to what [Parse] reads from text, and leaves it alone on
// an error.
func (s *Set) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
