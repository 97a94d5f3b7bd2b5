package idempotency

import (
	"encoding/binary"
	"hash/crc32"
)

// Sealed returns data with the checksum that makes it an answer's.
func Sealed(data []byte) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), data...), crc32.Checksum(data, castagnoli))
}
