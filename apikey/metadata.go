package apikey

import (
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/keytoll/keytoll/errors"
)

// MaxMetadataValue is the number of bytes a value of [Metadata] may have.
const MaxMetadataValue = 1024

// Metadata is what the host notes on a key for itself: an immutable map of
// text to text. Copying and sharing it is free and safe for concurrent use.
// The zero value is empty.
//
// Its canonical text is one JSON object with sorted names, "{}" when empty.
type Metadata struct{ t table[string] }

// NewMetadata copies m. Names are 1 to [MaxEntryName] bytes of UTF-8 without
// control characters; values are up to [MaxMetadataValue] bytes of UTF-8
// without NUL; there are at most [MaxEntries]. The error names every fault.
func NewMetadata(m map[string]string) (Metadata, error) {
	faults := errors.Faults{Op: "apikey.NewMetadata"}
	t := newTable(m)
	checkNames(&faults, "metadata", t)
	for _, e := range t {
		if len(e.value) > MaxMetadataValue || !utf8.ValidString(e.value) || strings.Contains(e.value, "\x00") {
			faults.Add("metadata %q: its value is not UTF-8 without NUL of at most %d bytes", clip(e.name), MaxMetadataValue)
		}
	}
	if err := faults.Err(); err != nil {
		return Metadata{}, err
	}
	return Metadata{t}, nil
}

// Lookup returns the value under name and whether there is one.
func (m Metadata) Lookup(name string) (string, bool) { return m.t.lookup(name) }

// All yields every name and value, sorted by name.
func (m Metadata) All() iter.Seq2[string, string] { return m.t.all() }

// Len returns the number of names.
func (m Metadata) Len() int { return len(m.t) }

// Equal reports whether m and o hold the same.
func (m Metadata) Equal(o Metadata) bool { return slices.Equal(m.t, o.t) }

// String returns the canonical text.
func (m Metadata) String() string {
	text, _ := m.t.toJSON() // a map of strings always encodes
	return string(text)
}

// MarshalText returns the canonical text.
func (m Metadata) MarshalText() ([]byte, error) { return m.t.toJSON() }

// MarshalJSON returns the canonical text, a JSON object.
func (m Metadata) MarshalJSON() ([]byte, error) { return m.t.toJSON() }

// UnmarshalText replaces m with what [Metadata.MarshalText] wrote; empty text
// is empty metadata. The bounds of [NewMetadata] hold, and null is no value.
func (m *Metadata) UnmarshalText(text []byte) error {
	if t, ok := readCanonical(text, readValue); ok {
		m.t = t
		return nil
	}
	raw, err := readObject[string](text, "metadata", "text")
	if err != nil {
		return err
	}
	read, err := NewMetadata(raw)
	if err == nil {
		*m = read
	}
	return err
}

// UnmarshalJSON is UnmarshalText.
func (m *Metadata) UnmarshalJSON(text []byte) error { return m.UnmarshalText(text) }
