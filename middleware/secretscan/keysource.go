package secretscan

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"

	"github.com/keytoll/keytoll/errors"
)

// ErrNoKey says that the partner has no public key of this name.
var ErrNoKey error = &errors.Error{Code: errors.NotFound, Msg: "the partner has no public key of this name"}

// A KeySource knows the public keys that a partner signs with. It must be safe
// for concurrent use.
type KeySource interface {
	// Key returns the key of that name, on the curve P-256, or [ErrNoKey]. Any other
	// error means that it could not decide.
	Key(ctx context.Context, name string) (*ecdsa.PublicKey, error)
}

// StaticKeys are keys by name that do not change. The zero value knows none.
type StaticKeys map[string]*ecdsa.PublicKey

// Key implements [KeySource].
func (k StaticKeys) Key(_ context.Context, name string) (*ecdsa.PublicKey, error) {
	if key := k[name]; key != nil {
		return key, nil
	}
	return nil, ErrNoKey
}

const (
	maxKeyName = 128
	maxKeys    = 100
)

// ParseKeys reads keys as GitHub publishes them: a JSON object whose
// "public_keys" are objects of a "key_identifier" and a "key" in PEM. All keys
// listed are taken, current or not; those of another kind than ECDSA on P-256 are
// left out, and a document without any is [errors.Invalid].
func ParseKeys(document []byte) (StaticKeys, error) {
	const op = "secretscan.ParseKeys"
	var listed struct {
		Keys []struct {
			Name string `json:"key_identifier"`
			PEM  string `json:"key"`
		} `json:"public_keys"`
	}
	if err := json.Unmarshal(document, &listed); err != nil {
		return nil, &errors.Error{Code: errors.Invalid, Op: op, Msg: "the document is not a JSON object with public_keys", Err: err}
	}
	if len(listed.Keys) > maxKeys {
		return nil, &errors.Error{Code: errors.Invalid, Op: op, Msg: "the document lists more than 100 keys"}
	}
	keys := make(StaticKeys, len(listed.Keys))
	for _, k := range listed.Keys {
		if key := parseKey(k.PEM); key != nil && k.Name != "" && len(k.Name) <= maxKeyName {
			keys[k.Name] = key
		}
	}
	if len(keys) == 0 {
		return nil, &errors.Error{Code: errors.Invalid, Op: op, Msg: "the document lists no ECDSA key on the curve P-256"}
	}
	return keys, nil
}

// parseKey returns nil for what is no ECDSA key on P-256.
func parseKey(text string) *ecdsa.PublicKey {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil
	}
	if key, ok := parsed.(*ecdsa.PublicKey); ok && usable(key) {
		return key
	}
	return nil
}

func usable(key *ecdsa.PublicKey) bool { return key != nil && key.Curve == elliptic.P256() }
