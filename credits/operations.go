package credits

import (
	"slices"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// Operations is a set of operation names: what a restricted lot can be spent
// on. The zero value restricts nothing. Make one with [Only]; stores keep it as
// text.
type Operations string

// MaxOperations bounds how many names one set may have.
const MaxOperations = 64

// operationSeparator stands between names, which hold no control characters.
const operationSeparator = "\n"

// Only returns the set of the given names, each once.
func Only(names ...string) Operations {
	names = slices.Clone(names)
	slices.Sort(names)
	return Operations(strings.Join(slices.Compact(names), operationSeparator))
}

// Has reports whether credit that is restricted to o can be spent on operation.
// The zero value has everything.
func (o Operations) Has(operation string) bool {
	if o == "" {
		return true
	}
	for rest := string(o); ; {
		name, after, more := strings.Cut(rest, operationSeparator)
		if name == operation && name != "" {
			return true
		}
		if !more {
			return false
		}
		rest = after
	}
}

// Names returns the names in order, none for the zero value.
func (o Operations) Names() []string {
	if o == "" {
		return nil
	}
	return strings.Split(string(o), operationSeparator)
}

// check reports names that no command could carry.
func (o Operations) check(f *errors.Faults, field string) {
	names := o.Names()
	if len(names) > MaxOperations {
		f.Add("%s has %d names; give at most %d", field, len(names), MaxOperations)
		return
	}
	if o != Only(names...) {
		f.Add("%s is not in the order that Only makes; build it with credits.Only", field)
	}
	for _, name := range names {
		checkID(f, field+": "+quote(name), name)
	}
}
