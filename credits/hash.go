package credits

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/keytoll/keytoll/errors"
)

// A Hash is a SHA-256. The zero value stands before the first entry of every
// account.
type Hash [sha256.Size]byte

// String returns h in lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns what String returns.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText writes. Anything else is an error of code
// Invalid.
func (h *Hash) UnmarshalText(text []byte) error {
	if n, err := hex.Decode(h[:], text[:min(len(text), 2*len(h))]); err != nil || n != len(h) || len(text) != 2*len(h) {
		return &errors.Error{Code: errors.Invalid, Op: "credits.Hash", Msg: "a hash is 64 hexadecimal digits"}
	}
	return nil
}

// Chain returns the Hash that e must have when the one of the entry before it is
// the given one: SHA-256 over a version, that hash, and every field but Hash,
// numbers in eight bytes and texts with their length before them, so that no two
// entries have one encoding. The ledger sets it; a store needs it only to bring
// a journal that was written without.
func (e *Entry) Chain(before Hash) Hash {
	var scratch [512]byte
	b := append(scratch[:0], 1) // the version of this encoding
	b = append(b, before[:]...)
	for _, n := range [...]int64{e.Seq, e.At.UnixMicro(), int64(e.Kind), int64(e.From), int64(e.To), int64(e.Lot), int64(e.Amount)} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	for _, s := range [...]string{string(e.Account), string(e.Op), e.Key, e.Operation, e.Price} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}
