package scopes

import (
	"slices"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// A Requirement is what an operation asks of a [Set]. It is built once, by
// [None], [All] and [Any], never changes, and may be copied and shared freely.
// The zero value refuses every set: an operation whose requirement was
// forgotten is closed.
type Requirement struct {
	kind kind
	name string        // of a one
	of   []Requirement // of all and any
}

type kind uint8

const (
	refuse kind = iota // the zero value
	none               // every set
	one                // a concrete scope
	faulty             // a text that is no concrete scope: refuses
	all                // every member, of which there must be one
	some               // at least one member
)

// None is met by every set, the empty one included: any key may.
func None() Requirement { return Requirement{kind: none} }

// All is met by a set that has every one of the scopes, or meets every one of
// the requirements. All of nothing refuses.
func All[T string | Requirement](of ...T) Requirement { return group(all, of) }

// Any is met by a set that has at least one of the scopes, or meets at least
// one of the requirements. Any of nothing refuses.
func Any[T string | Requirement](of ...T) Requirement { return group(some, of) }

func group[T string | Requirement](k kind, of []T) Requirement {
	members := make([]Requirement, 0, len(of))
	for _, member := range of {
		switch m := any(member).(type) {
		case string:
			leaf := Requirement{kind: faulty, name: m}
			if IsConcrete(m) {
				leaf.kind = one
			}
			members = append(members, leaf)
		case Requirement:
			members = append(members, m)
		}
	}
	if len(members) == 1 {
		return members[0]
	}
	return Requirement{kind: k, of: members}
}

// Met reports whether s meets r. It does not allocate.
func (r Requirement) Met(s Set) bool {
	switch r.kind {
	case none:
		return true
	case one:
		return s.covers(r.name)
	case all:
		for i := range r.of {
			if !r.of[i].Met(s) {
				return false
			}
		}
		return len(r.of) > 0
	case some:
		for i := range r.of {
			if r.of[i].Met(s) {
				return true
			}
		}
	}
	return false
}

// IsZero reports whether r is the zero value: no requirement was stated.
func (r Requirement) IsZero() bool { return r.kind == refuse && r.name == "" && r.of == nil }

// Validate returns what keeps r from being a sensible requirement, every fault
// at once and of code Invalid: that it is the zero value, that a group within
// is empty, that a name is malformed or a wildcard (only a set may hold one),
// or that [None] stands in a group. Met refuses the first three by itself.
func (r Requirement) Validate() error {
	f := errors.Faults{Op: "scopes.Requirement"}
	if r.kind != none {
		r.validate(&f)
	}
	return f.Err()
}

func (r Requirement) validate(f *errors.Faults) {
	switch r.kind {
	case refuse:
		f.Add("no requirement, which refuses every key; use None() to let any key pass")
	case none:
		f.Add("None() inside a group, where it asks for nothing; leave it out")
	case faulty:
		if _, fault := check(r.name); fault != "" {
			f.Add("required scope %q %s", clip(r.name), fault)
		} else {
			f.Add("required scope %q holds a wildcard; require a concrete scope", clip(r.name))
		}
	case all, some:
		if len(r.of) == 0 {
			f.Add("an empty group, which refuses every key; name a scope, or use None() to let any key pass")
		}
		for _, m := range r.of {
			m.validate(f)
		}
	}
}

// Names returns the scopes that r speaks of, sorted and distinct, faulty ones
// included. The caller owns the slice.
func (r Requirement) Names() []string {
	var names []string
	r.walk(func(name string) { names = append(names, name) })
	slices.Sort(names)
	return slices.Compact(names)
}

func (r Requirement) walk(visit func(name string)) {
	if r.kind == one || r.kind == faulty {
		visit(r.name)
	}
	for _, m := range r.of {
		m.walk(visit)
	}
}

// String returns r for people: "a", "a and b", "a and (b or c)", "none" for
// [None], and "nothing" where no set will do.
func (r Requirement) String() string {
	switch {
	case r.kind == none:
		return "none"
	case r.kind == one:
		return r.name
	case r.kind == faulty:
		return `"` + clip(r.name) + `"`
	case len(r.of) == 0:
		return "nothing"
	}
	word := " and "
	if r.kind == some {
		word = " or "
	}
	var b strings.Builder
	for i, m := range r.of {
		if i > 0 {
			b.WriteString(word)
		}
		if len(m.of) > 0 && m.kind != r.kind {
			b.WriteString("(" + m.String() + ")")
		} else {
			b.WriteString(m.String())
		}
	}
	return b.String()
}
