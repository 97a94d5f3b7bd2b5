package apikey

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what stands for a secret wherever one is printed.
const redacted = "[redacted]"

// A Secret is the full text of a key, which exists only in the answer to what
// made it, such as [Service.Create] and [Service.Rotate], or the text of a
// [BoundSecret]. It redacts itself in fmt with every verb, JSON, text and slog,
// also inside other structs; reading it is an explicit [Secret.Reveal].
//
// A Secret cannot be compared with == and is safe for concurrent use. The zero
// value holds "".
type Secret struct {
	// A closure: printers that walk values by reflection, even through fields
	// whose methods they may not call, find an address here and no text.
	reveal func() string
}

// NewSecret returns a Secret that holds text, for [ImportRow].
func NewSecret(text string) Secret { return newSecret(text) }

func newSecret(text string) Secret { return Secret{reveal: func() string { return text }} }

// Reveal returns the text, to be shown to its owner once.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero reports whether s is the zero value.
func (s Secret) IsZero() bool { return s.reveal == nil }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb and its flags.
func (s Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, redacted) }

// MarshalText returns "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
