package credits

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"

	"github.com/keytoll/keytoll/errors"
)

// A SealAlgorithm is how seals and statements are signed.
type SealAlgorithm string

const (
	// SealEd25519 can be checked by everybody who has the public key.
	SealEd25519 SealAlgorithm = "ed25519"
	// SealHMAC, HMAC-SHA-256, can be checked only by who could also sign: for
	// audits within one house.
	SealHMAC SealAlgorithm = "hmac-sha256"
)

// minSealSecret is how many bytes a secret for HMAC has at least.
const minSealSecret = 32

// A Sealer signs seals and statements under the name of its key. It is immutable,
// safe for concurrent use, and prints without its secret.
type Sealer struct {
	check SealKey
	sign  func(message []byte) []byte
}

// A SealKey checks what a [Sealer] has signed. It is immutable and safe for
// concurrent use, and prints without its secret.
type SealKey struct {
	name      string
	algorithm SealAlgorithm
	valid     func(message, signature []byte) bool
}

// NewSealer returns a sealer with an Ed25519 key. The name, an id, is written
// into what it signs, so that keys can be rotated: give each key a name of its
// own. All faults are reported at once, with code Invalid.
func NewSealer(name string, key ed25519.PrivateKey) (*Sealer, error) {
	f := errors.Faults{Op: "credits.NewSealer"}
	checkID(&f, "name", name)
	if len(key) != ed25519.PrivateKeySize {
		f.Add("key has %d bytes; give an Ed25519 private key of %d", len(key), ed25519.PrivateKeySize)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	key = slices.Clone(key)
	public, _ := key.Public().(ed25519.PublicKey)
	return &Sealer{ed25519Key(name, public), func(message []byte) []byte { return ed25519.Sign(key, message) }}, nil
}

// NewHMACSealer returns a sealer with a secret of 32 bytes or more.
func NewHMACSealer(name string, secret []byte) (*Sealer, error) {
	key, err := NewHMACSealKey(name, secret)
	if err != nil {
		return nil, errors.Wrap("credits.NewHMACSealer", err)
	}
	secret = slices.Clone(secret)
	return &Sealer{*key, func(message []byte) []byte { return hmacSum(secret, message) }}, nil
}

// NewSealKey returns the key that checks what the [Sealer] with the private half
// has signed under that name.
func NewSealKey(name string, public ed25519.PublicKey) (*SealKey, error) {
	f := errors.Faults{Op: "credits.NewSealKey"}
	checkID(&f, "name", name)
	if len(public) != ed25519.PublicKeySize {
		f.Add("public has %d bytes; give an Ed25519 public key of %d", len(public), ed25519.PublicKeySize)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return new(ed25519Key(name, slices.Clone(public))), nil
}

// NewHMACSealKey returns the key that checks what the [Sealer] with that secret
// has signed under that name.
func NewHMACSealKey(name string, secret []byte) (*SealKey, error) {
	f := errors.Faults{Op: "credits.NewHMACSealKey"}
	checkID(&f, "name", name)
	if len(secret) < minSealSecret {
		f.Add("secret has %d bytes; give %d or more random ones", len(secret), minSealSecret)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	secret = slices.Clone(secret)
	return &SealKey{name, SealHMAC, func(message, signature []byte) bool {
		return hmac.Equal(hmacSum(secret, message), signature)
	}}, nil
}

func ed25519Key(name string, public ed25519.PublicKey) SealKey {
	return SealKey{name, SealEd25519, func(message, signature []byte) bool {
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(public, message, signature)
	}}
}

func hmacSum(secret, message []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(message)
	return h.Sum(nil)
}

// Key returns what checks the sealer's signatures.
func (s *Sealer) Key() *SealKey { return &s.check }

// Name returns the name of the key.
func (k *SealKey) Name() string { return k.name }

// Algorithm returns how the key signs.
func (k *SealKey) Algorithm() SealAlgorithm { return k.algorithm }

// String says which key it is, and no more.
func (k SealKey) String() string { return string(k.algorithm) + " key " + quote(k.name) }

// GoString says what String does.
func (k SealKey) GoString() string { return k.String() }

// Format writes what String returns, whatever the verb.
func (k SealKey) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(k.String())) }

// LogValue says what String does.
func (k SealKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// String says which key it signs with, and no more.
func (s Sealer) String() string { return "sealer with " + s.check.String() }

// GoString says what String does.
func (s Sealer) GoString() string { return s.String() }

// Format writes what String returns, whatever the verb.
func (s Sealer) Format(w fmt.State, _ rune) { _, _ = w.Write([]byte(s.String())) }

// LogValue says what String does.
func (s Sealer) LogValue() slog.Value { return slog.StringValue(s.String()) }

// A signature is one over a message, by a named key.
type signature struct {
	key       string
	algorithm SealAlgorithm
	bytes     []byte
}

// checkSignature reports why no key of keys has signed message so.
func checkSignature(sig signature, message []byte, keys []*SealKey) error {
	for _, k := range keys {
		if k == nil || k.valid == nil {
			continue // not one of a constructor: it checks nothing
		}
		if k.name == sig.key && k.algorithm == sig.algorithm {
			if k.valid(message, sig.bytes) {
				return nil
			}
			return refuse(ErrUnproven, "the signature is not one of "+k.String())
		}
	}
	return refuse(ErrUnproven, "it is signed with the "+string(sig.algorithm)+" key "+quote(sig.key)+", which is not among those given")
}
