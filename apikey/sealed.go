package apikey

import (
	"fmt"
	"log/slog"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/seal"
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
func (k SealingKey) Format(w fmt.State, verb rune) { seal.Key(k).Format(w, verb) }

// LogValue returns the key without its secret.
func (k SealingKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// MarshalText returns the key without its secret, for JSON among others. Reading
// a SealingKey from JSON is not affected.
func (k SealingKey) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(k)), nil }

// sealLabel is part of the form at rest, which package seal describes.
const sealLabel = "keytoll/sealed/v1\x00"

func newSealer(faults *errors.Faults, keys []SealingKey) *seal.Box {
	list := make([]seal.Key, len(keys))
	for i, k := range keys {
		list[i] = seal.Key(k)
	}
	return seal.New(faults, sealLabel, "SealingKeys", list)
}

// errNoSealingKey says what is missing before anything can be sealed.
var errNoSealingKey error = &errors.Error{
	Code: errors.Invalid, Msg: "there is no sealing key for secrets of keys; give Options.SealingKeys one of 32 random bytes",
}

// sealFault gives an error of the sealer the words and the code of this package.
func sealFault(op string, err error) error {
	if errors.Is(err, seal.ErrNoKey) {
		return errors.Wrap(op, errNoSealingKey)
	}
	return errors.Wrap(op, unsealable(err.Error()))
}

// unsealable says, to operators, why what a record seals cannot be read.
func unsealable(why string) error {
	return &errors.Error{Code: errors.Corrupt, Msg: "the secrets of the API key cannot be read", Err: errors.New("the record's seal: " + why)}
}
