// Package seal keeps at rest what must be read again: secrets of records, sealed
// under keys of the host, each for one record and one purpose.
//
// What it makes is the format (1 byte), the version of the sealing key (4 bytes,
// most significant first), a random nonce of 12 bytes, and AES-256-GCM of the
// text, with the first five bytes and the record's ID as additional data. The key
// of AES is HKDF-SHA-256(sealing key, no salt, label + ID): one for each record,
// so that random nonces stay far from the 2^32 uses that GCM allows a key
// (NIST SP 800-38D, section 8.3), however many records a fleet seals. That is why
// the longer nonce of XChaCha20-Poly1305 is not needed, nor a dependency for it.
// The form is fixed: what was sealed once opens for ever.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// Size is how many bytes the secret of a [Key] has.
const Size = 32

const (
	format = 1 // the first byte of what is sealed
	header = 5 // bytes: the format, and the version of the sealing key
)

// A Key seals under its version.
type Key struct {
	Version uint32 // 1 or more
	Secret  []byte // Size random bytes
}

// Format writes the key without its secret: what [fmt.Formatter], slog and JSON
// show of the sealing keys of all packages.
func (k Key) Format(w fmt.State, _ rune) {
	_, _ = io.WriteString(w, "sealing key "+strconv.FormatUint(uint64(k.Version), 10)+" [redacted]")
}

// ErrNoKey says that a [Box] without a key was asked to seal or to open.
var ErrNoKey = errors.New("there is no sealing key")

// A Box seals for records of one kind. It is immutable and safe for concurrent
// use.
type Box struct {
	label, name string
	keys        []Key // the current one first
}

// New makes a box of keys, the current one first; the others open what they
// sealed. Label tells purposes apart, and must not be the beginning of another
// label followed by what an ID may hold. Name is what callers know the keys by, for
// faults and errors. The box of keys with a fault must not be used.
func New(faults *errors.Faults, label, name string, keys []Key) *Box {
	b := &Box{label: label, name: name}
	for i, k := range keys {
		if k.Version == 0 {
			faults.Add("%s[%d]: version is 0; give 1 or more", name, i)
		}
		if len(k.Secret) != Size {
			faults.Add("%s[%d]: the secret has %d bytes; give %d random ones", name, i, len(k.Secret), Size)
		}
		if b.find(k.Version) != nil {
			faults.Add("%s[%d]: version %d is given twice; give each key its own", name, i, k.Version)
		}
		b.keys = append(b.keys, Key{Version: k.Version, Secret: slices.Clone(k.Secret)})
	}
	return b
}

// Empty reports whether the box has no key.
func (b *Box) Empty() bool { return len(b.keys) == 0 }

// Seal seals text for the record with this ID under the current key. Its error
// is [ErrNoKey].
func (b *Box) Seal(id string, text []byte) ([]byte, error) {
	if b.Empty() {
		return nil, ErrNoKey
	}
	aead, err := b.keys[0].aead(b.label, id)
	if err != nil {
		return nil, err
	}
	head := binary.BigEndian.AppendUint32([]byte{format}, b.keys[0].Version)
	body := aead.Seal(nil, nil, text, slices.Concat(head, []byte(id))) //nolint:gosec // it draws a nonce itself
	return append(head, body...), nil
}

// Open returns what was sealed for the record with this ID. An error that is not
// [ErrNoKey] says to operators why it cannot be read; it holds no secret.
func (b *Box) Open(id string, sealed []byte) ([]byte, error) {
	if len(sealed) < header || sealed[0] != format {
		return nil, errors.New("it is not sealed in a way this version knows")
	}
	if b.Empty() {
		return nil, ErrNoKey
	}
	head := sealed[:header:header]
	version := binary.BigEndian.Uint32(head[1:])
	key := b.find(version)
	if key == nil {
		return nil, fmt.Errorf("it is sealed under version %d, which is not one of %s (%s)", version, b.name, b.versions())
	}
	aead, err := key.aead(b.label, id)
	if err != nil {
		return nil, err
	}
	text, err := aead.Open(nil, nil, sealed[header:], slices.Concat(head, []byte(id)))
	if err != nil {
		return nil, errors.New("it was changed, belongs to another record, or is of another key with this version")
	}
	return text, nil
}

// Stale reports whether what is sealed would be sealed under another key now.
func (b *Box) Stale(sealed []byte) bool {
	return len(sealed) >= header && !b.Empty() && binary.BigEndian.Uint32(sealed[1:]) != b.keys[0].Version
}

func (b *Box) find(version uint32) *Key {
	for i := range b.keys {
		if b.keys[i].Version == version {
			return &b.keys[i]
		}
	}
	return nil
}

func (b *Box) versions() string {
	texts := make([]string, len(b.keys))
	for i, k := range b.keys {
		texts[i] = strconv.FormatUint(uint64(k.Version), 10)
	}
	return strings.Join(texts, ", ")
}

// aead returns the cipher for one record. It makes its nonces itself, and puts
// them in front.
func (k *Key) aead(label, id string) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, k.Secret, nil, label+id, Size)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
