package credits

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// An AccountID names the holder of credits: a customer, a workspace, a key. It
// is opaque here. An account needs no opening: it is there from its first
// grant, and before that its balance is zero.
//
// IDs of every type are 1 to [MaxIDBytes] bytes of valid UTF-8 without the
// control characters of ASCII, compared byte by byte.
type AccountID string

// An OpID is the caller's name for one command, unique within its account
// across all verbs: the idempotency key. Make it from what causes the command
// (a request id, an invoice number), so that a retry carries the same one.
type OpID string

// A LotID numbers the lots of one account, from 1, in the order they were made.
type LotID int64

// Bounds of the texts that commands carry, in bytes.
const (
	MaxIDBytes   = 255 // as many as the owner of an API key may have
	MaxNoteBytes = 1024
)

// badID returns what is wrong with an id, or "".
func badID(s string) string {
	if s == "" {
		return "is empty; give 1 to " + strconv.Itoa(MaxIDBytes) + " bytes"
	}
	return badText(s, MaxIDBytes)
}

// badText returns what is wrong with a text that may be empty, or "".
func badText(s string, most int) string {
	if len(s) > most {
		return "is " + strconv.Itoa(len(s)) + " bytes long; give at most " + strconv.Itoa(most)
	}
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			return "holds a control character; leave it out"
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii && !utf8.ValidString(s) {
		return "is not valid UTF-8; encode it"
	}
	return ""
}

// quote shows a caller's text in a message, cut to a readable length.
func quote(s string) string {
	const most = 48
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(s)
}

// reservedPrefix begins the ids that the ledger makes itself: "@monthly#3" is the
// grant of period 3 of the schedule "monthly".
const reservedPrefix = "@"

// madeAt returns the time that id carries when it is a version 7 UUID in its
// usual text form (RFC 9562, sections 4 and 5.7), and otherwise the zero time.
func (id OpID) madeAt() time.Time {
	const form = "xxxxxxxx-xxxx-7xxx-Vxxx-xxxxxxxxxxxx"
	if len(id) != len(form) {
		return time.Time{}
	}
	millis := int64(0)
	for i := range len(id) {
		c := id[i]
		switch form[i] {
		case '-', '7':
			if c != form[i] {
				return time.Time{}
			}
			continue
		case 'V':
			if !strings.Contains("89abAB", string(c)) {
				return time.Time{}
			}
		}
		digit := hexDigit(c)
		if digit < 0 {
			return time.Time{}
		}
		if i < len("xxxxxxxx-xxxx") {
			millis = millis<<4 | int64(digit)
		}
	}
	return time.UnixMilli(millis).UTC()
}

// hexDigit returns the value of a hexadecimal digit, or -1.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// compareIDs orders ids byte by byte.
func compareIDs[ID ~string](a, b ID) int { return strings.Compare(string(a), string(b)) }
