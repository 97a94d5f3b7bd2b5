package scopes

import (
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// The bounds of the grammar. They keep every check cheap whatever a client or
// a stored record holds.
const (
	MaxBytes    = 128 // bytes in one scope
	MaxSegments = 16  // segments in one scope
	MaxScopes   = 256 // scopes in one set
)

// maxText is the length of the longest text that a set can have.
const maxText = MaxScopes*(MaxBytes+1) - 1

const allowed = `use segments of letters, digits, ".", "_", "-", or a whole "*", joined by ":"`

// IsConcrete reports whether s is a well-formed scope without a wildcard: what
// an operation may require and a [Definition] may name.
func IsConcrete(s string) bool {
	wild, fault := check(s)
	return fault == "" && !wild
}

// check reads one scope. It reports whether a segment is the wildcard, and
// what is wrong, "" when nothing is.
func check(s string) (wild bool, fault string) {
	switch {
	case s == "":
		return false, "is empty; " + allowed
	case len(s) > MaxBytes:
		return false, "is longer than 128 bytes"
	}
	segments, start := 1, 0
	for i := range len(s) + 1 {
		if i < len(s) && s[i] != ':' {
			if word(s[i]) {
				continue
			}
			if s[i] == '*' {
				wild = true
				continue
			}
			return false, "holds a character that is not allowed; " + allowed
		}
		switch segment := s[start:i]; {
		case segment == "":
			return false, `has an empty segment; put something on both sides of each ":"`
		case len(segment) > 1 && strings.IndexByte(segment, '*') >= 0:
			return false, `holds "*" inside a segment; "*" stands for a whole segment only`
		}
		if i < len(s) {
			segments++
			start = i + 1
		}
	}
	if segments > MaxSegments {
		return false, "has more than 16 segments"
	}
	return wild, ""
}

// word reports whether b may stand in a segment that is not the wildcard.
func word(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '.' || b == '_' || b == '-'
}

// checkAll notes every fault of list in f.
func checkAll(f *errors.Faults, list []string) {
	if len(list) > MaxScopes {
		f.Add("%d scopes; give at most %d", len(list), MaxScopes)
		return
	}
	for i, s := range list {
		if _, fault := check(s); fault != "" {
			f.Add("scope %d (%q) %s", i+1, clip(s), fault)
		}
	}
}

// clip keeps hostile input from filling a message.
func clip(s string) string {
	const enough = 40
	if len(s) > enough {
		return s[:enough] + "..."
	}
	return s
}
