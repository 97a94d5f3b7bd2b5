package apikey

import (
	"iter"
	"slices"

	"github.com/keytoll/keytoll/errors"
)

// Settings are named whole numbers that travel with a key, such as limits and
// credit caps of its own: an immutable map. This package stores them and gives
// them no meaning. Copying and sharing them is free and safe for concurrent
// use. The zero value is empty.
//
// Their canonical text is one JSON object with sorted names, "{}" when empty.
type Settings struct{ t table[int64] }

// NewSettings copies m. Names are 1 to [MaxEntryName] bytes of UTF-8 without
// control characters, at most [MaxEntries] of them; every int64 is a value.
// The error names every fault.
func NewSettings(m map[string]int64) (Settings, error) {
	faults := errors.Faults{Op: "apikey.NewSettings"}
	t := newTable(m)
	checkNames(&faults, "settings", t)
	if err := faults.Err(); err != nil {
		return Settings{}, err
	}
	return Settings{t}, nil
}

// Lookup returns the number under name and whether there is one. It allocates
// nothing.
func (s Settings) Lookup(name string) (int64, bool) { return s.t.lookup(name) }

// All yields every name and number, sorted by name.
func (s Settings) All() iter.Seq2[string, int64] { return s.t.all() }

// Len returns the number of names.
func (s Settings) Len() int { return len(s.t) }

// within returns s with each number that is beyond the bounds of its declaration
// brought to the nearest one. It allocates only where there is one.
func (s Settings) within(declared []Setting) Settings {
	var t table[int64]
	for _, d := range declared {
		i, ok := s.t.index(d.Name)
		if !ok || d.Min <= s.t[i].value && s.t[i].value <= d.Max {
			continue
		}
		if t == nil {
			t = slices.Clone(s.t)
		}
		t[i].value = min(max(s.t[i].value, d.Min), d.Max)
	}
	if t == nil {
		return s
	}
	return Settings{t}
}

// Equal reports whether s and o hold the same.
func (s Settings) Equal(o Settings) bool { return slices.Equal(s.t, o.t) }

// String returns the canonical text.
func (s Settings) String() string {
	text, _ := s.t.toJSON() // a map of integers always encodes
	return string(text)
}

// MarshalText returns the canonical text.
func (s Settings) MarshalText() ([]byte, error) { return s.t.toJSON() }

// MarshalJSON returns the canonical text, a JSON object.
func (s Settings) MarshalJSON() ([]byte, error) { return s.t.toJSON() }

// UnmarshalText replaces s with what [Settings.MarshalText] wrote; empty text
// is no settings. The bounds of [NewSettings] hold, and numbers that are not
// whole or do not fit int64, and null, are refused.
func (s *Settings) UnmarshalText(text []byte) error {
	if t, ok := readCanonical(text, readNumber); ok {
		s.t = t
		return nil
	}
	raw, err := readObject[int64](text, "settings", "whole numbers")
	if err != nil {
		return err
	}
	read, err := NewSettings(raw)
	if err == nil {
		*s = read
	}
	return err
}

// UnmarshalJSON is UnmarshalText.
func (s *Settings) UnmarshalJSON(text []byte) error { return s.UnmarshalText(text) }
