package ratelimit

import (
	"encoding/hex"
)

// An ID names one decision that spent something. The zero ID names none.
type ID [16]byte

// String returns the ID as 32 hexadecimal digits in lower case.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what [ID.String] wrote.
func ParseID(s string) (ID, error) {
	var id ID
	if n, err := hex.Decode(id[:], []byte(s[:min(len(s), 2*len(id))])); err != nil || n != len(id) || id.String() != s {
		return ID{}, invalid("the id is not 32 hexadecimal digits in lower case; give what ID.String returned")
	}
	return id, nil
}
