package middleware

import (
	"crypto/rand"
	"encoding/binary"
)

const (
	idPrefix = "req_"
	idDigits = 22 // two words of eleven base62 digits each: 128 random bits
	idLength = len(idPrefix) + idDigits
	base62   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// appendID appends a new id: "req_" and 128 random bits in base62.
func appendID(b []byte) []byte {
	var random [16]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails
	b = append(b, idPrefix...)
	b = appendWord(b, binary.LittleEndian.Uint64(random[:8]))
	return appendWord(b, binary.LittleEndian.Uint64(random[8:]))
}

func randomNumber() uint64 {
	var random [8]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails
	return binary.LittleEndian.Uint64(random[:])
}

// appendWord appends v as eleven base62 digits, which hold any 64 bits.
func appendWord(b []byte, v uint64) []byte {
	var digits [idDigits / 2]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = base62[v%62]
		v /= 62
	}
	return append(b, digits[:]...)
}

// maxRequestID bounds an id that came from outside.
const maxRequestID = 128

// saneRequestID reports whether s may be repeated in headers, bodies and logs:
// 1 to 128 letters, digits and - _ . : = + /
func saneRequestID(s string) bool {
	if s == "" || len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case c == '-', c == '_', c == '.', c == ':', c == '=', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}
