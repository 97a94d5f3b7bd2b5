package apikey

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of [Metadata] and [Settings].
const (
	MaxEntries   = 64 // names in one Metadata or Settings
	MaxEntryName = 64 // bytes of a name
)

// A table is a map that nobody can change: entries sorted by name.
type table[V comparable] []entry[V]

type entry[V comparable] struct {
	name  string
	value V
}

func newTable[V comparable](m map[string]V) table[V] {
	if len(m) == 0 {
		return nil
	}
	t := make(table[V], 0, len(m))
	for name, value := range m {
		t = append(t, entry[V]{name, value})
	}
	slices.SortFunc(t, func(a, b entry[V]) int { return cmp.Compare(a.name, b.name) })
	return t
}

func (t table[V]) index(name string) (int, bool) {
	return slices.BinarySearchFunc(t, name, func(e entry[V], name string) int { return cmp.Compare(e.name, name) })
}

func (t table[V]) lookup(name string) (V, bool) {
	i, ok := t.index(name)
	if !ok {
		var zero V
		return zero, false
	}
	return t[i].value, true
}

func (t table[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, e := range t {
			if !yield(e.name, e.value) {
				return
			}
		}
	}
}

// toJSON writes one object with sorted names.
func (t table[V]) toJSON() ([]byte, error) {
	m := make(map[string]V, len(t))
	for _, e := range t {
		m[e.name] = e.value
	}
	return json.Marshal(m)
}

func checkNames[V comparable](faults *errors.Faults, what string, t table[V]) {
	if len(t) > MaxEntries {
		faults.Add("%s has %d names; give %d or less", what, len(t), MaxEntries)
	}
	for _, e := range t {
		if e.name == "" || !plain(e.name, MaxEntryName) {
			faults.Add("%s name %q: give 1 to %d bytes of UTF-8 without control characters", what, clip(e.name), MaxEntryName)
		}
	}
}

// readObject decodes one JSON object, of "text" or "whole numbers" as values
// says; empty text is an empty one. A null in it is no value, and not its zero.
func readObject[V any](text []byte, what, values string) (map[string]V, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var read map[string]*V
	err := json.Unmarshal(text, &read)
	m := make(map[string]V, len(read))
	for name, value := range read {
		if value == nil {
			err = cmp.Or(err, errors.New("a value is null"))
			break
		}
		m[name] = *value
	}
	if err != nil {
		return nil, &errors.Error{Code: errors.Invalid, Op: "apikey", Msg: what + ": give a JSON object of names and " + values, Err: err}
	}
	return m, nil
}

// plain reports whether s is valid UTF-8 of at most so many bytes that every store
// can keep and every log can print: no control characters.
func plain(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// clip shortens s for a message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

func quote(s string) string { return strconv.Quote(s) }
func itoa(n int) string     { return strconv.Itoa(n) }
