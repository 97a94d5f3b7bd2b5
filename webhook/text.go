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
		high, low := nibble(text[0]), nibble(text[1])
		dst[i] = high<<4 | low
		bad |= high | low
		text = text[2:]
	}
	return bad < 16
}

func decodeBase64(dst []byte, text string) bool {
	bad := byte(0)
	for len(text) > 4 && len(dst) >= 3 {
		a, b, c, d := sextet(text[0]), sextet(text[1]), sextet(text[2]), sextet(text[3])
		dst[0], dst[1], dst[2] = a<<2|b>>4, b<<4|c>>2, c<<6|d
		bad |= a | b | c | d
		dst, text = dst[3:], text[4:]
	}
	if len(text) != 4 || text[3] != '=' {
		return false
	}
	a, b, c := sextet(text[0]), sextet(text[1]), sextet(text[2])
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

// nibble and sextet return what a digit stands for, 255 for what is none.
func nibble(c byte) byte { return nibbles[c] - 1 }
func sextet(c byte) byte { return sextets[c] - 1 }

// nibbles and sextets hold one more than what each digit stands for. They are
// never written to.
var nibbles = [256]byte{
	'0': 1, '1': 2, '2': 3, '3': 4, '4': 5, '5': 6, '6': 7, '7': 8, '8': 9, '9': 10, 'a': 11, 'b': 12, 'c': 13, 'd': 14, 'e': 15, 'f': 16,
}

var sextets = [256]byte{
	'A': 1, 'B': 2, 'C': 3, 'D': 4, 'E': 5, 'F': 6, 'G': 7, 'H': 8, 'I': 9, 'J': 10, 'K': 11, 'L': 12, 'M': 13,
	'N': 14, 'O': 15, 'P': 16, 'Q': 17, 'R': 18, 'S': 19, 'T': 20, 'U': 21, 'V': 22, 'W': 23, 'X': 24, 'Y': 25, 'Z': 26,
	'a': 27, 'b': 28, 'c': 29, 'd': 30, 'e': 31, 'f': 32, 'g': 33, 'h': 34, 'i': 35, 'j': 36, 'k': 37, 'l': 38, 'm': 39,
	'n': 40, 'o': 41, 'p': 42, 'q': 43, 'r': 44, 's': 45, 't': 46, 'u': 47, 'v': 48, 'w': 49, 'x': 50, 'y': 51, 'z': 52,
	'0': 53, '1': 54, '2': 55, '3': 56, '4': 57, '5': 58, '6': 59, '7': 60, '8': 61, '9': 62, '+': 63, '/': 64,
}
