package idempotency

import "encoding/binary"

// Sealed returns data with the checksum that makes it an answer's.
func Sealed(data []byte) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), data...), checksum(data))
}
