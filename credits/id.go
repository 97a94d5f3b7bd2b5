package credits

import (
	"strconv"
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
