package webhook

import (
	"encoding/base64"
	"strings"
)

// Bounds of what RFC 9421 and RFC 9530 put into headers.
const (
	maxField      = 4 << 10 // bytes of Signature-Input, of Signature and of Content-Digest
	maxMembers    = 16      // members of each
	maxComponents = 16      // components that one signature covers
	maxParameters = 16      // of one signature
	maxLabel      = 64      // bytes of a member's key
	maxParameter  = 256     // bytes of a parameter's string
	maxInteger    = 15      // digits, RFC 9651 section 3.3.1
)

// A scanner reads a dictionary of RFC 9651, of which it knows what signatures
// need. It is strict where the RFC is generous: a key that is there twice, an
// escape that need not be one and a second spelling of the same value are
// faults, since what is signed is the text as it came.
type scanner struct {
	rest string
}

// member reads the key of the next member, up to and with its "=".
func (s *scanner) member() (key string, ok bool) {
	key, ok = s.key()
	return key, ok && s.skip('=')
}

// more reads what separates two members. It reports whether one follows; a
// comma at the end, and anything else that is left, is not ok.
func (s *scanner) more() (more, ok bool) {
	if s.rest == "" {
		return false, true
	}
	s.blanks()
	if !s.skip(',') {
		return false, false
	}
	s.blanks()
	return true, s.rest != ""
}

func (s *scanner) blanks() { s.rest = strings.TrimLeft(s.rest, " \t") }

func (s *scanner) skip(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// take returns the first n bytes of what is left.
func (s *scanner) take(n int) string {
	head := s.rest[:n]
	s.rest = s.rest[n:]
	return head
}

// key reads a key: a-z or '*', then also digits, '_', '-' and '.'.
func (s *scanner) key() (string, bool) {
	n := 0
	for n < len(s.rest) && (lower(s.rest[n]) || s.rest[n] == '*' || n > 0 && (digit(s.rest[n]) || s.rest[n] == '_' || s.rest[n] == '-' || s.rest[n] == '.')) {
		n++
	}
	return s.take(n), n > 0 && n <= maxLabel
}

// text reads a string and returns what is between its quotes, as it came.
func (s *scanner) text() (string, bool) {
	if !s.skip('"') {
		return "", false
	}
	for n := 0; n < len(s.rest); n++ {
		switch c := s.rest[n]; {
		case c == '"':
			inner := s.take(n)
			return inner, s.skip('"') && n <= maxParameter
		case c == '\\':
			n++
			if n == len(s.rest) || s.rest[n] != '"' && s.rest[n] != '\\' {
				return "", false
			}
		case c < ' ' || c > '~':
			return "", false
		}
	}
	return "", false
}

// bytes reads a byte sequence and returns the base64 between its colons.
func (s *scanner) bytes() (string, bool) {
	if !s.skip(':') {
		return "", false
	}
	n := strings.IndexByte(s.rest, ':')
	if n < 0 {
		return "", false
	}
	inner := s.take(n)
	for i := range len(inner) {
		if c := inner[i]; !lower(c) && !digit(c) && (c < 'A' || c > 'Z') && c != '+' && c != '/' && c != '=' {
			return "", false
		}
	}
	return inner, s.skip(':')
}

// integer reads an integer that is not negative, without leading zeros.
func (s *scanner) integer() (value int64, ok bool) {
	n := 0
	for n < len(s.rest) && digit(s.rest[n]) && n <= maxInteger {
		value = value*10 + int64(s.rest[n]-'0')
		n++
	}
	head := s.take(n)
	return value, n > 0 && n <= maxInteger && (head[0] != '0' || n == 1)
}

// item passes over a value whose meaning nobody here knows.
func (s *scanner) item() bool {
	if s.rest == "" {
		return false
	}
	switch c := s.rest[0]; {
	case c == '"':
		_, ok := s.text()
		return ok
	case c == ':':
		_, ok := s.bytes()
		return ok
	case c == '?':
		s.rest = s.rest[1:]
		return s.skip('0') // true is written without a value
	}
	// A number, a date or a token: what they are made of, and nothing that ends them.
	n := 0
	for n < len(s.rest) && (tokenByte(s.rest[n]) || s.rest[n] == ':' || s.rest[n] == '/' || s.rest[n] == '@') {
		n++
	}
	s.take(n)
	return n > 0
}

// decodeBytes decodes the base64 of a byte sequence to exactly len(dst) bytes.
// It is strict: one text for each value.
func decodeBytes(dst []byte, text string) bool {
	if len(text) != base64.StdEncoding.EncodedLen(len(dst)) {
		return false
	}
	var buf [90]byte // of up to 64 bytes, and what a full last group would hold
	n, err := base64.StdEncoding.Strict().Decode(buf[:], []byte(text))
	copy(dst, buf[:])
	return err == nil && n == len(dst)
}

// appendBytes appends a byte sequence.
func appendBytes(dst, value []byte) []byte {
	dst = append(dst, ':')
	dst = base64.StdEncoding.AppendEncode(dst, value)
	return append(dst, ':')
}

func lower(c byte) bool { return 'a' <= c && c <= 'z' }
func digit(c byte) bool { return '0' <= c && c <= '9' }

// tokenByte reports whether c may be part of a token of RFC 9110 section 5.6.2.
func tokenByte(c byte) bool {
	return wordByte(c) || strings.IndexByte("!#$%&'*+.^`|~", c) >= 0
}
