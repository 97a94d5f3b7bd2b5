package webhook

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
)

// maxSum is the most bytes of a signature: of SHA-512 and of Ed25519.
const maxSum = sha512.Size

// decodeText reads a signature of size bytes, at most maxSum, spelled in the
// one way there is: padded standard base64 with no bits set beyond the last
// byte, or hexadecimal digits in lower case. What it looks up in tables was
// sent by somebody; no right MAC is ever looked up.
func decodeText(dst *[maxSum]byte, text, encoding string, size int) bool {
	if encoding == encodingHex {
		return len(text) == hex.EncodedLen(size) && decodeHex(dst[:size], text)
	}
	return len(text) == base64.StdEncoding.EncodedLen(size) && decodeBase64(dst[:size], text)
}

func decodeHex(dst []byte, text string) bool {
	bad := byte(0)
	for i := range dst {
		if len(text) < 2 {
			return false
		}
		high, low := nibbles[text[0]], nibbles[text[1]]
		dst[i] = high<<4 | low
		bad |= high | low
		text = text[2:]
	}
	return bad < 16
}

func decodeBase64(dst []byte, text string) bool {
	bad := byte(0)
	for len(text) > 4 && len(dst) >= 3 {
		a, b, c, d := sextets[text[0]], sextets[text[1]], sextets[text[2]], sextets[text[3]]
		dst[0], dst[1], dst[2] = a<<2|b>>4, b<<4|c>>2, c<<6|d
		bad |= a | b | c | d
		dst, text = dst[3:], text[4:]
	}
	if len(text) != 4 || text[3] != '=' {
		return false
	}
	a, b, c := sextets[text[0]], sextets[text[1]], sextets[text[2]]
	switch len(dst) {
	case 2: // of 32
		dst[0], dst[1] = a<<2|b>>4, b<<4|c>>2
		return bad|a|b|c < 64 && c&3 == 0
	case 1: // of 64
		dst[0] = a<<2 | b>>4
		return bad|a|b < 64 && b&15 == 0 && text[2] == '='
	}
	return false
}

// nibbles and sextets are what each character stands for, 255 for nothing. They
// are never written to.
var (
	nibbles = table("0123456789abcdef")
	sextets = table("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)

func table(digits string) (values [256]byte) {
	for i := range values {
		values[i] = 0xff
	}
	for i := range len(digits) {
		values[digits[i]] = byte(i)
	}
	return values
}
