package apikey

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"strconv"
	"strings"
)

// What is hashed for a request ID begins with a label of its own.
const (
	requestLabel = "keytoll/request\x00"
	intentLabel  = "keytoll/intent/v1\x00"
)

// idLength is the number of random characters in a Key.ID.
const idLength = 20

// hashOf returns SHA-256 of a label and of texts, each behind its length, so that
// no two lists of texts are one.
func hashOf(label string, texts ...string) [sha256.Size]byte {
	b := []byte(label)
	for _, text := range texts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(text)))
		b = append(b, text...)
	}
	return sha256.Sum256(b)
}

// KeyID returns the ID of the key that a spec with a RequestID makes: that of no
// other request, and of no other owner's. So what must be there before the key,
// such as a budget under its Meter, can be. Without a RequestID it means nothing.
func (spec *Spec) KeyID() string {
	sum := hashOf(requestLabel, spec.Owner, spec.RequestID)
	text := new(big.Int).SetBytes(sum[:]).Text(len(base62))
	text = strings.Repeat("0", max(0, idLength-len(text))) + text
	return "key_" + text[len(text)-idLength:]
}

// intent returns a hash of what the spec asks for, in the words of the caller: a
// TTL that is asked for again is the same, though its end is another.
func (spec *Spec) intent() [sha256.Size]byte {
	expires := ""
	if at := toMicros(spec.ExpiresAt); !at.IsZero() {
		expires = strconv.FormatInt(at.UnixMicro(), 10)
	}
	texts := []string{
		spec.Owner, spec.RequestID, spec.Name, spec.Environment, spec.Scopes.String(),
		spec.Metadata.String(), spec.Settings.String(), spec.Networks.String(), expires, spec.TTL.String(),
	}
	return hashOf(intentLabel, append(texts, spec.Secrets...)...)
}
