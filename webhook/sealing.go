package webhook

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/seal"
)

// A SealingKey is a secret of the host under which a [Sender] keeps what it must
// read again to sign: the secrets of endpoints, and the private keys with which
// they are called. It redacts its Secret in fmt, JSON, text and slog.
//
// It has no end: an end would take nothing from whoever stole it, and would lose
// what is sealed. To replace one, put the new one in front of it, call
// [Sender.Reseal], and then leave it out.
type SealingKey struct {
	// Version names the key in everything sealed under it: 1 or more, and never
	// used for another secret.
	Version uint32
	// Secret is 32 random bytes.
	Secret []byte
}

const sealingPrefix = "ktseal_"

// GenerateSealingKey returns a new key of this version, 1 or more. Do so once, and
// keep what its Reveal returns where the host keeps its secrets: without it nothing
// that was sealed can be read again.
func GenerateSealingKey(version uint32) SealingKey {
	k := SealingKey{Version: version, Secret: make([]byte, seal.Size)}
	_, _ = rand.Read(k.Secret) // documented never to fail
	return k
}

// SealingKeyFromString parses what [SealingKey.Reveal] returns, as a host keeps
// it in a variable of its environment: "ktseal_", the version in digits, "_", and
// the unpadded URL-safe base64 of the 32 bytes. Anything else is an error that
// matches [ErrSecret] and says what to change, without repeating the text.
func SealingKeyFromString(text string) (SealingKey, error) {
	rest, ok := strings.CutPrefix(text, sealingPrefix)
	number, encoded, cut := strings.Cut(rest, "_")
	version, err := strconv.ParseUint(number, 10, 32)
	switch {
	case strings.TrimSpace(text) != text:
		return SealingKey{}, secretFault("SealingKeyFromString", "the sealing key begins or ends with white space (a line break from a file?); trim it")
	case !ok || !cut:
		return SealingKey{}, secretFault("SealingKeyFromString", `the sealing key is not like "ktseal_1_" and 43 characters of base64; make one with GenerateSealingKey`)
	case err != nil || version == 0 || strconv.FormatUint(version, 10) != number:
		return SealingKey{}, secretFault("SealingKeyFromString", `what follows "ktseal_" is not a version, which is 1 to 4294967295 in digits without leading zeros, and '_'; copy the key again, whole`)
	}
	// Strict refuses stray trailing bits, and skips line breaks all the same.
	secret, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(secret) != seal.Size || len(encoded) != base64.RawURLEncoding.EncodedLen(seal.Size) {
		return SealingKey{}, secretFault("SealingKeyFromString", fmt.Sprintf("what follows the version is not the unpadded URL-safe base64 of %d bytes, which has 43 characters; copy the key again, whole", seal.Size))
	}
	return SealingKey{Version: uint32(version), Secret: secret}, nil
}

// Reveal returns the text from which [SealingKeyFromString] makes the key again.
// Whoever calls it keeps the result out of logs.
func (k SealingKey) Reveal() string {
	return sealingPrefix + strconv.FormatUint(uint64(k.Version), 10) + "_" + base64.RawURLEncoding.EncodeToString(k.Secret)
}

// Format writes the key without its secret, whatever the verb and its flags
// (but %p, which asks no method): options end up in logs.
func (k SealingKey) Format(w fmt.State, verb rune) { seal.Key(k).Format(w, verb) }

// LogValue returns the key without its secret.
func (k SealingKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// MarshalText returns the key without its secret, for JSON among others.
func (k SealingKey) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(k)), nil }

// endpointSecrets is what an [Endpoint] holds sealed.
type endpointSecrets struct {
	Keys      Keys
	ClientKey string // PEM of the private key of [TLSSettings.Certificate], or ""
}

// sealLabel is part of the form at rest, which package seal describes.
const sealLabel = "keytoll/webhook/sealed/v1\x00"

// sealedForm is the first byte of the text that is sealed. JSON follows.
const sealedForm = 1

// A sealer seals for endpoints. It is immutable and safe for concurrent use.
type sealer struct{ box *seal.Box }

func newSealer(faults *errors.Faults, keys []SealingKey) *sealer {
	if len(keys) == 0 {
		faults.Add("sealing: no key; give one made by GenerateSealingKey once and kept")
	}
	list := make([]seal.Key, len(keys))
	for i, k := range keys {
		list[i] = seal.Key(k)
	}
	return &sealer{seal.New(faults, sealLabel, "sealing", list)}
}

// seal seals x for the endpoint of this ID under the current key.
func (s *sealer) seal(id string, x endpointSecrets) ([]byte, error) {
	text, err := x.encode()
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return s.box.Seal(id, text)
}

// open returns what was sealed for the endpoint of this ID.
func (s *sealer) open(id string, sealed []byte) (endpointSecrets, error) {
	text, err := s.box.Open(id, sealed)
	if err != nil {
		return endpointSecrets{}, unsealable(err.Error())
	}
	defer clear(text)
	return decodeSecrets(text)
}

// stale reports whether what is sealed would be sealed under another key now.
func (s *sealer) stale(sealed []byte) bool { return s.box.Stale(sealed) }

// A sealedKey is a [Key] at rest. Texts of secrets are any bytes.
type sealedKey struct {
	ID       string     `json:"id"`
	Text     []byte     `json:"text"`
	Kind     SecretKind `json:"kind"`
	Scheme   Scheme     `json:"scheme,omitzero"`
	NotAfter time.Time  `json:"not_after,omitzero"`
}

// A sealedText is [endpointSecrets] at rest.
type sealedText struct {
	Keys      []sealedKey `json:"keys"`
	ClientKey []byte      `json:"client_key,omitzero"`
}

func (x *endpointSecrets) encode() ([]byte, error) {
	if x.Keys.Len() == 0 {
		return nil, &errors.Error{Code: errors.Invalid, Msg: "the endpoint has no key to sign with; give at least one", Err: ErrNoKeys}
	}
	var t sealedText
	for k := range x.Keys.All() {
		if k.Secret.Kind() == SecretSigner {
			return nil, &errors.Error{Code: errors.Invalid, Msg: "key " + strconv.Quote(k.ID) + " is held elsewhere and cannot be stored; give it in SenderOptions.Keys"}
		}
		t.Keys = append(t.Keys, sealedKey{ID: k.ID, Text: []byte(k.Secret.Reveal()), Kind: k.Secret.Kind(), Scheme: k.Scheme, NotAfter: k.NotAfter.UTC()})
	}
	if x.ClientKey != "" {
		t.ClientKey = []byte(x.ClientKey)
	}
	text, err := json.Marshal(t) //nolint:gosec // to be sealed
	if err != nil {              // an end beyond the year 9999
		return nil, &errors.Error{Code: errors.Invalid, Msg: "a key of the endpoint has an end that cannot be stored; give one before the year 10000", Err: err}
	}
	return append([]byte{sealedForm}, text...), nil
}

// decodeSecrets reads what encode wrote, and refuses all else.
func decodeSecrets(text []byte) (endpointSecrets, error) {
	if len(text) == 0 || text[0] != sealedForm {
		return endpointSecrets{}, unsealable("what it holds has a form that this version does not know")
	}
	d := json.NewDecoder(bytes.NewReader(text[1:]))
	d.DisallowUnknownFields()
	var t sealedText
	if err := d.Decode(&t); err != nil {
		return endpointSecrets{}, unsealable("what it holds is not in order")
	}
	if _, err := d.Token(); err != io.EOF {
		return endpointSecrets{}, unsealable("what it holds goes on after its end")
	}
	list := make([]Key, len(t.Keys))
	for i, k := range t.Keys {
		secret, err := ParseSecret(k.Kind, string(k.Text))
		if err != nil {
			return endpointSecrets{}, unsealable(fmt.Sprintf("key %d that it holds: %v", i+1, err))
		}
		if k.ID == "" {
			return endpointSecrets{}, unsealable(fmt.Sprintf("key %d that it holds has no ID", i+1))
		}
		list[i] = Key{ID: k.ID, Secret: secret, Scheme: k.Scheme, NotAfter: k.NotAfter}
	}
	keys, err := NewKeys(list...)
	if err != nil {
		return endpointSecrets{}, unsealable(fmt.Sprintf("the keys that it holds: %v", err))
	}
	return endpointSecrets{Keys: keys, ClientKey: string(t.ClientKey)}, nil
}

// unsealable says, to operators, why what an endpoint seals cannot be read.
func unsealable(why string) error {
	return &errors.Error{Code: errors.Corrupt, Msg: "the secrets of the webhook endpoint cannot be read; give NewSender the sealing key under which they were sealed", Err: errors.New("the endpoint's seal: " + why)}
}
