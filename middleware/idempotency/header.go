package idempotency

import (
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// Names of header fields.
const (
	HeaderKey      = "Idempotency-Key"     // of requests
	HeaderReplayed = "Idempotent-Replayed" // of answers that are given again: true
)

// MaxHeader is the length in bytes of the longest key that a client may choose.
const MaxHeader = 255

var (
	// ErrMissing says that there is no Idempotency-Key.
	ErrMissing error = &errors.Error{Code: errors.NotFound, Msg: "there is no Idempotency-Key"}
	// ErrMalformed says that there is something in the place of an Idempotency-Key.
	ErrMalformed error = &errors.Error{Code: errors.Invalid, Msg: "Idempotency-Key is not one value of 1 to 255 visible ASCII characters"}
)

// ParseHeader returns the key that the lines of the field [HeaderKey] hold. It is a
// String of structured fields (RFC 9651 section 3.3.3), as the draft says, or the
// same without quotes, as most clients send it: abc and "abc" are one key. It is
// 1 to [MaxHeader] visible ASCII characters; without quotes none of " \ , ; which
// would make it another thing to somebody else. [ErrMissing] when there is no line;
// [ErrMalformed] for everything else, two lines among it, even when they agree.
func ParseHeader(lines []string) (string, error) {
	switch len(lines) {
	case 0:
		return "", ErrMissing
	case 1:
	default:
		return "", ErrMalformed
	}
	key := strings.Trim(lines[0], " ")
	if inner, ok := strings.CutPrefix(key, `"`); ok {
		if key, ok = unquote(inner); !ok {
			return "", ErrMalformed
		}
	} else if strings.ContainsAny(key, `"\,;`) {
		return "", ErrMalformed
	}
	if key == "" || len(key) > MaxHeader {
		return "", ErrMalformed
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] >= 0x7f {
			return "", ErrMalformed
		}
	}
	return key, nil
}

// unquote returns the text of a String whose first quote was cut off.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i == len(s)-1
		case '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false
}
