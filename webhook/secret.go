package webhook

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of a secret, in bytes of key material. They are those of the Standard
// Webhooks specification.
const (
	MinSecret = 24
	MaxSecret = 64
)

const (
	symmetricPrefix = "whsec_"
	redacted        = "[redacted]"
	generated       = 32 // bytes of a generated secret
)

// A Secret is the key material that signs and verifies. It prints as
// "[redacted]" through every verb of fmt, JSON, text and slog; only
// [Secret.Reveal] gives it out.
//
// The zero value holds nothing, and no key set accepts it. A Secret is
// immutable and may be shared between goroutines. It is not comparable with
// ==, which could not be done in constant time: use [Secret.Equal].
type Secret struct {
	_ [0]func() // not comparable
	m *material
}

// A material is behind two pointers, so that a Secret in somebody's unexported
// field, where fmt cannot call our methods, still prints as an address. One is
// not enough: fmt follows a pointer whose verb it does not like, as in %s.
type material struct {
	key *[]byte
	raw bool // made by SecretFromRaw
}

// bytes returns the key material of a Secret that is not zero.
func (s Secret) bytes() []byte { return *s.m.key }

// GenerateSecret returns a new secret of 32 random bytes, whose text begins
// with "whsec_".
func GenerateSecret() Secret {
	key := make([]byte, generated)
	_, _ = rand.Read(key) // documented never to fail
	return Secret{m: &material{key: &key}}
}

// SecretFromString parses the form of Standard Webhooks: "whsec_" followed by
// the padded standard base64 of 24 to 64 bytes. It is strict, because a secret
// that is nearly right makes every signature wrong: anything else is an error
// that matches [ErrSecret] and says what to change, without repeating the text.
func SecretFromString(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, symmetricPrefix)
	if !ok || strings.TrimSpace(text) != text {
		return Secret{}, secretFault("SecretFromString", misread(text))
	}
	if len(encoded) > base64.StdEncoding.EncodedLen(MaxSecret) {
		return Secret{}, secretFault("SecretFromString", fmt.Sprintf("the secret has more than %d bytes; give %d to %d", MaxSecret, MinSecret, MaxSecret))
	}
	// Strict refuses stray trailing bits, and skips line breaks all the same.
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return Secret{}, secretFault("SecretFromString", misencoded(encoded))
	}
	if msg := sizeFault(len(key)); msg != "" {
		return Secret{}, secretFault("SecretFromString", msg)
	}
	return Secret{m: &material{key: &key}}, nil
}

// SecretFromRaw takes the bytes of text as the key, as they are: for senders
// that hash with the text of a secret and not with what it encodes. It refuses
// fewer than 24 and more than 64 bytes and white space at either end, with an
// error that matches [ErrSecret].
//
// A text that begins with "whsec_" nearly always belongs to
// [SecretFromString]; this function does not guess, and uses all of it.
func SecretFromRaw(text string) (Secret, error) {
	if strings.TrimSpace(text) != text {
		return Secret{}, secretFault("SecretFromRaw", "the secret begins or ends with white space; trim it")
	}
	if msg := sizeFault(len(text)); msg != "" {
		return Secret{}, secretFault("SecretFromRaw", msg)
	}
	return Secret{m: &material{key: new([]byte(text)), raw: true}}, nil
}

// Reveal returns the text from which the constructor that made s makes it
// again: "whsec_" and base64, or the raw text. It returns "" for the zero
// value. It is the only way to read a secret: whoever calls it keeps the
// result out of logs.
func (s Secret) Reveal() string {
	switch {
	case s.m == nil:
		return ""
	case s.m.raw:
		return string(s.bytes())
	}
	return symmetricPrefix + base64.StdEncoding.EncodeToString(s.bytes())
}

// IsZero reports whether s holds nothing.
func (s Secret) IsZero() bool { return s.m == nil }

// Equal reports, in constant time for secrets of one length, whether both hold
// the same key bytes. Two zero values are equal.
func (s Secret) Equal(other Secret) bool {
	if s.m == nil || other.m == nil {
		return s.m == other.m
	}
	return subtle.ConstantTimeCompare(s.bytes(), other.bytes()) == 1
}

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb and the flags.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns "[redacted]": a secret does not survive being written to
// JSON or text by accident.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// fingerprint names a key that was given no name: 32 bits of a hash, too few
// to find the key and enough to tell two apart, equal on both sides.
func (s Secret) fingerprint() string {
	sum := sha256.Sum256(append([]byte("keytoll/webhook/key\x00"), s.bytes()...))
	return "key_" + hex.EncodeToString(sum[:4])
}

func secretFault(op, msg string) error {
	return &errors.Error{Op: "webhook." + op, Msg: msg, Err: ErrSecret}
}

func sizeFault(n int) string {
	switch {
	case n == 0:
		return fmt.Sprintf("the secret is empty; give %d to %d bytes", MinSecret, MaxSecret)
	case n < MinSecret || n > MaxSecret:
		return fmt.Sprintf("the secret has %d bytes; give %d to %d", n, MinSecret, MaxSecret)
	}
	return ""
}

// misread says why text is not even the right form.
func misread(text string) string {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return `the secret is empty; give "whsec_" followed by base64`
	case trimmed != text:
		return "the secret begins or ends with white space (a line break from a file?); trim it"
	case strings.HasPrefix(text, "v1,"+symmetricPrefix):
		return `the secret begins with "v1,", which some consoles show before it; start at "whsec_"`
	case strings.HasPrefix(text, "whsk_"), strings.HasPrefix(text, "whpk_"):
		return `the secret is half of an Ed25519 key pair; give one that begins with "whsec_"`
	}
	return `the secret does not begin with "whsec_"; for a key that is used as it is, call SecretFromRaw`
}

// misencoded says why what follows the prefix is not strict base64.
func misencoded(encoded string) string {
	switch {
	case strings.ContainsAny(encoded, "-_"):
		return `the secret uses the URL-safe alphabet; give standard base64, with "+" and "/"`
	case len(encoded)%4 != 0:
		return `the secret is cut short or unpadded; give padded base64, a multiple of 4 characters after "whsec_"`
	}
	return `what follows "whsec_" is not standard base64; copy the secret again, whole`
}
