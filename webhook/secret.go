package webhook

import (
	"crypto"
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

// Bounds of a secret that both sides share, in bytes of key material. Those of
// [SecretFromString] are those of the Standard Webhooks specification; some
// providers that hash with the text of a secret have longer ones.
const (
	MinSecret    = 24
	MaxSecret    = 64
	MaxRawSecret = 256
)

const (
	symmetricPrefix = "whsec_"
	privatePrefix   = "whsk_"
	publicPrefix    = "whpk_"
	redacted        = "[redacted]"
	generated       = 32 // bytes of a generated secret
)

// A SecretKind says what a [Secret] is. Numbers never change meaning.
type SecretKind uint8

const (
	SecretEncoded SecretKind = 1 // shared; its text is "whsec_" and base64
	SecretRaw     SecretKind = 2 // shared; its text is the key
	SecretPrivate SecretKind = 3 // half of an Ed25519 key pair that signs, and verifies: "whsk_"
	SecretPublic  SecretKind = 4 // the half that only verifies: "whpk_"
	SecretSigner  SecretKind = 5 // an Ed25519 key that is held elsewhere, and has no text
)

// secretKinds is indexed by SecretKind, and is never written to.
var secretKinds = [...]string{"none", "encoded", "raw", "private", "public", "signer"}

// String returns the kind's stable name.
func (k SecretKind) String() string { return nameOf(secretKinds[:], int(k)) }

// shared reports whether both sides hold the same key.
func (k SecretKind) shared() bool { return k == SecretEncoded || k == SecretRaw }

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
	kind   SecretKind
	key    *[]byte        // of SecretSigner, the public key
	signer *crypto.Signer // nil for every other kind
}

// bytes returns the key material of a Secret that is not zero.
func (s Secret) bytes() []byte { return *s.m.key }

// GenerateSecret returns a new secret of 32 random bytes, whose text begins
// with "whsec_".
func GenerateSecret() Secret {
	key := make([]byte, generated)
	_, _ = rand.Read(key) // documented never to fail
	return newSecret(SecretEncoded, key)
}

func newSecret(kind SecretKind, key []byte) Secret {
	return Secret{m: &material{kind: kind, key: &key}}
}

// SecretFromString parses the form of Standard Webhooks: "whsec_" followed by
// the padded standard base64 of 24 to 64 bytes. It is strict, because a secret
// that is nearly right makes every signature wrong: anything else is an error
// that matches [ErrSecret] and says what to change, without repeating the text.
// So is a key that nobody drew at random: one of few different bytes, of a
// block that repeats or of steps that are all alike.
func SecretFromString(text string) (Secret, error) {
	const op = "SecretFromString"
	if strings.HasPrefix(text, symmetricPrefix) && len(text) > len(symmetricPrefix)+base64.StdEncoding.EncodedLen(MaxSecret)+2 {
		return Secret{}, secretFault(op, fmt.Sprintf("the secret has more than %d bytes; give %d to %d", MaxSecret, MinSecret, MaxSecret))
	}
	key, fault := decode(text, symmetricPrefix)
	if fault == "" {
		fault = sizeFault(len(key), MaxSecret)
	}
	if fault == "" {
		fault = patternFault(key)
	}
	if fault != "" {
		return Secret{}, secretFault(op, fault)
	}
	return newSecret(SecretEncoded, key), nil
}

// SecretFromRaw takes the bytes of text as the key, as they are: for senders
// that hash with the text of a secret and not with what it encodes. It refuses
// fewer than 24 and more than 256 bytes, white space at either end, and what
// [SecretFromString] calls not random, with an error that matches [ErrSecret].
//
// A text that begins with "whsec_" belongs to [SecretFromString] for Standard
// Webhooks and to this function for Stripe; this function does not guess, and
// uses all of it.
func SecretFromRaw(text string) (Secret, error) {
	fault := ""
	if strings.TrimSpace(text) != text {
		fault = "the secret begins or ends with white space; trim it"
	}
	if fault == "" {
		fault = sizeFault(len(text), MaxRawSecret)
	}
	if fault == "" {
		fault = patternFault([]byte(text))
	}
	if fault != "" {
		return Secret{}, secretFault("SecretFromRaw", fault)
	}
	return newSecret(SecretRaw, []byte(text)), nil
}

// ParseSecret makes again the secret of that kind that [Secret.Reveal] gave as
// text: with the kind beside it, a text is never read as what it is not.
func ParseSecret(kind SecretKind, text string) (Secret, error) {
	switch kind {
	case SecretEncoded:
		return SecretFromString(text)
	case SecretRaw:
		return SecretFromRaw(text)
	case SecretPrivate:
		return PrivateKeyFromString(text)
	case SecretPublic:
		return PublicKeyFromString(text)
	}
	return Secret{}, secretFault("ParseSecret", fmt.Sprintf("a secret of kind %q has no text; give one of kind encoded, raw, private or public", kind))
}

// Reveal returns the text from which [ParseSecret] makes s again: "whsec_",
// "whsk_" or "whpk_" and base64, or the raw text. It returns "" for the zero
// value, and for a key that is held elsewhere. It is the only way to read a
// secret: whoever calls it keeps the result out of logs.
func (s Secret) Reveal() string {
	var prefix string
	switch s.Kind() {
	case SecretRaw:
		return string(s.bytes())
	case SecretEncoded:
		prefix = symmetricPrefix
	case SecretPrivate:
		prefix = privatePrefix
	case SecretPublic:
		prefix = publicPrefix
	default:
		return ""
	}
	return prefix + base64.StdEncoding.EncodeToString(s.bytes())
}

// Kind says what s is; 0 for the zero value.
func (s Secret) Kind() SecretKind {
	if s.m == nil {
		return 0
	}
	return s.m.kind
}

// IsZero reports whether s holds nothing.
func (s Secret) IsZero() bool { return s.m == nil }

// Equal reports, in constant time for secrets of one length, whether both hold
// the same key bytes and are shared, private, public or held elsewhere alike.
// Two zero values are equal.
func (s Secret) Equal(other Secret) bool {
	if s.m == nil || other.m == nil {
		return s.m == other.m
	}
	alike := s.Kind() == other.Kind() || s.Kind().shared() && other.Kind().shared()
	return subtle.ConstantTimeCompare(s.bytes(), other.bytes()) == 1 && alike
}

// verifiesAlike reports whether both accept the same signatures.
func (s Secret) verifiesAlike(other Secret) bool {
	if s.Kind().shared() || other.Kind().shared() {
		return s.Equal(other)
	}
	return subtle.ConstantTimeCompare(s.public(), other.public()) == 1
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
	label, key := "keytoll/webhook/key\x00", s.bytes()
	if !s.Kind().shared() {
		label, key = "keytoll/webhook/public\x00", s.public()
	}
	sum := sha256.Sum256(append([]byte(label), key...))
	return "key_" + hex.EncodeToString(sum[:4])
}

func secretFault(op, msg string) error {
	return &errors.Error{Op: "webhook." + op, Msg: msg, Err: ErrSecret}
}

func sizeFault(n, most int) string {
	switch {
	case n == 0:
		return fmt.Sprintf("the secret is empty; give %d to %d bytes", MinSecret, most)
	case n < MinSecret || n > most:
		return fmt.Sprintf("the secret has %d bytes; give %d to %d", n, MinSecret, most)
	}
	return ""
}

// leastDistinct is how many different bytes a key has to have. Of 24 random
// hexadecimal digits, fewer are different once in 10^8 times; of random bytes,
// never.
const leastDistinct = 6

// patternFault says what is wrong with a key that nobody drew at random.
func patternFault(key []byte) string {
	const remedy = "; use one from GenerateSecret, or from your provider"
	var seen [256]bool
	distinct := 0
	for _, b := range key {
		if !seen[b] {
			seen[b] = true
			distinct++
		}
	}
	if distinct < leastDistinct {
		return fmt.Sprintf("the secret is made of %d different bytes, which can be guessed", distinct) + remedy
	}
	for period := 1; period <= len(key)/2; period++ {
		if string(key[period:]) == string(key[:len(key)-period]) {
			return fmt.Sprintf("the secret repeats its first %d bytes, which can be guessed", period) + remedy
		}
	}
	steps := 0
	for i := 2; i < len(key); i++ {
		if key[i]-key[i-1] == key[1]-key[0] {
			steps++
		}
	}
	if steps == len(key)-2 {
		return "the secret counts up or down, which can be guessed" + remedy
	}
	return ""
}

// decode returns what follows the prefix of text, or what is wrong with it.
func decode(text, prefix string) (key []byte, fault string) {
	encoded, ok := strings.CutPrefix(text, prefix)
	if !ok || strings.TrimSpace(text) != text {
		return nil, misread(text, prefix)
	}
	// Strict refuses stray trailing bits, and skips line breaks all the same.
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return nil, misencoded(encoded, prefix)
	}
	return key, ""
}

// misread says why text is not even the right form.
func misread(text, prefix string) string {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return fmt.Sprintf("the secret is empty; give %q followed by base64", prefix)
	case trimmed != text:
		return "the secret begins or ends with white space (a line break from a file?); trim it"
	case strings.HasPrefix(text, "v1,"+symmetricPrefix):
		return `the secret begins with "v1,", which some consoles show before it; start at "whsec_"`
	case strings.HasPrefix(text, symmetricPrefix):
		return `the secret is one that both sides share; call SecretFromString`
	case strings.HasPrefix(text, privatePrefix):
		return `the secret is the private half of an Ed25519 key pair; call PrivateKeyFromString where messages are signed, and give receivers the public half, "whpk_"`
	case strings.HasPrefix(text, publicPrefix):
		return `the secret is the public half of an Ed25519 key pair, which verifies; call PublicKeyFromString`
	case prefix == symmetricPrefix:
		return `the secret does not begin with "whsec_"; for a key that is used as it is, call SecretFromRaw`
	}
	return fmt.Sprintf("the key does not begin with %q", prefix)
}

// misencoded says why what follows the prefix is not strict base64.
func misencoded(encoded, prefix string) string {
	switch {
	case strings.ContainsAny(encoded, "-_"):
		return `the secret uses the URL-safe alphabet; give standard base64, with "+" and "/"`
	case len(encoded)%4 != 0:
		return fmt.Sprintf("the secret is cut short or unpadded; give padded base64, a multiple of 4 characters after %q", prefix)
	}
	return fmt.Sprintf("what follows %q is not standard base64; copy the secret again, whole", prefix)
}
