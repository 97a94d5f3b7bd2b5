package apikey

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// A SealingKey is a secret of the host under which stores keep what must be read
// again: the bound secrets of keys ([Spec.Secrets]). It redacts its Secret in
// fmt, JSON, text and slog.
//
// It has no end of its own, as a [Pepper] has: an end would take nothing from
// whoever stole it, and would lose what is sealed.
type SealingKey struct {
	// Version names the key in every record sealed under it: 1 or more, and never
	// used for another secret.
	Version uint32
	// Secret is 32 random bytes.
	Secret []byte
}

// Format writes the key without its secret, whatever the verb and its flags
// (but %p, which asks no method): options end up in logs.
func (k SealingKey) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "sealing key %d %s", k.Version, redacted)
}

// LogValue returns the key without its secret.
func (k SealingKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// MarshalText returns the key without its secret, for JSON among others. Reading
// a SealingKey from JSON is not affected.
func (k SealingKey) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(k)), nil }

const (
	sealLabel  = "keytoll/sealed/v1\x00"
	sealFormat = 1 // the first byte of what is sealed
	sealHeader = 5 // bytes: the format, and the version of the sealing key
	sealSize   = 32
)

// A sealer seals for records. It is immutable and safe for concurrent use.
//
// What it makes is the format, the version of the sealing key (4 bytes, most
// significant first), a random nonce of 12 bytes, and AES-256-GCM of the text,
// with the first five bytes and the record's ID as additional data. The key of
// AES is HKDF-SHA-256(sealing key, no salt, "keytoll/sealed/v1\x00" + ID): one for
// each record, so that random nonces stay far from the 2^32 uses that GCM allows
// a key, however many records a fleet seals. That is why the longer nonce of
// XChaCha20-Poly1305 is not needed, nor a dependency for it.
type sealer struct{ keys []SealingKey } // the current one first

func newSealer(faults *errors.Faults, keys []SealingKey) *sealer {
	s := new(sealer)
	for i, k := range keys {
		if k.Version == 0 {
			faults.Add("SealingKeys[%d]: version is 0; give 1 or more", i)
		}
		if len(k.Secret) != sealSize {
			faults.Add("SealingKeys[%d]: the secret has %d bytes; give %d random ones", i, len(k.Secret), sealSize)
		}
		if s.find(k.Version) != nil {
			faults.Add("SealingKeys[%d]: version %d is given twice; give each key its own", i, k.Version)
		}
		s.keys = append(s.keys, SealingKey{Version: k.Version, Secret: slices.Clone(k.Secret)})
	}
	return s
}

func (s *sealer) find(version uint32) *SealingKey {
	for i := range s.keys {
		if s.keys[i].Version == version {
			return &s.keys[i]
		}
	}
	return nil
}

// errNoSealingKey says what is missing before anything can be sealed.
var errNoSealingKey error = &errors.Error{
	Code: errors.Invalid, Msg: "there is no sealing key for secrets of keys; give Options.SealingKeys one of 32 random bytes",
}

// seal seals text for the record with this ID under the current key.
func (s *sealer) seal(id string, text []byte) ([]byte, error) {
	if len(s.keys) == 0 {
		return nil, errNoSealingKey
	}
	aead, err := s.keys[0].aead(id)
	if err != nil {
		return nil, err
	}
	head := binary.BigEndian.AppendUint32([]byte{sealFormat}, s.keys[0].Version)
	body := aead.Seal(nil, nil, text, slices.Concat(head, []byte(id))) //nolint:gosec // it draws a nonce itself
	return append(head, body...), nil
}

// open returns what was sealed for the record with this ID.
func (s *sealer) open(id string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealHeader || sealed[0] != sealFormat {
		return nil, unsealable("it is not sealed in a way this version knows")
	}
	if len(s.keys) == 0 {
		return nil, errNoSealingKey
	}
	head := sealed[:sealHeader:sealHeader]
	key := s.find(binary.BigEndian.Uint32(head[1:]))
	if key == nil {
		return nil, unsealable("it is sealed under version " + strconv.FormatUint(uint64(binary.BigEndian.Uint32(head[1:])), 10) +
			", which is not one of Options.SealingKeys (" + s.versions() + ")")
	}
	aead, err := key.aead(id)
	if err != nil {
		return nil, err
	}
	text, err := aead.Open(nil, nil, sealed[sealHeader:], slices.Concat(head, []byte(id)))
	if err != nil {
		return nil, unsealable("it was changed, belongs to another record, or is of another key with this version")
	}
	return text, nil
}

// stale reports whether what is sealed would be sealed otherwise now.
func (s *sealer) stale(sealed []byte) bool {
	return len(sealed) >= sealHeader && len(s.keys) > 0 && binary.BigEndian.Uint32(sealed[1:]) != s.keys[0].Version
}

func (s *sealer) versions() string {
	texts := make([]string, len(s.keys))
	for i, k := range s.keys {
		texts[i] = strconv.FormatUint(uint64(k.Version), 10)
	}
	return strings.Join(texts, ", ")
}

// aead returns the cipher for one record. It makes its nonces itself, and puts
// them in front.
func (k *SealingKey) aead(id string) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, k.Secret, nil, sealLabel+id, sealSize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// unsealable says, to operators, why what a record seals cannot be read.
func unsealable(why string) error {
	return &errors.Error{Code: errors.Corrupt, Msg: "the secrets of the API key cannot be read", Err: errors.New("the record's seal: " + why)}
}
