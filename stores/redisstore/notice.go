package redisstore

import (
	"strings"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A message holds notices: the mark, then for each notice its kind, the length
// of its text as two bytes, most significant first, and the text. Whoever reads
// takes nothing else.
const (
	mark        = "keytoll/1:" // the number is the version
	anyMark     = "keytoll/"   // of this and later versions
	kindHandle  = 'h'
	kindOwner   = 'o'
	maxText     = 1024     // bytes of a handle or owner
	maxMessage  = 64 << 10 // bytes of a message
	noticeFrame = 3        // bytes of a notice beside its text
)

// errUnreadable says that a message is one of this package's and cannot be
// read: damaged, forged, or of a later version. What it asked to forget is not
// known.
var errUnreadable error = &errors.Error{Code: errors.Unavailable, Msg: "a notice on the channel cannot be read by this version"}

// encode returns the messages that hold these notices, in their order.
func encode(notices []apikey.Notice) ([]string, error) {
	var messages []string
	var b strings.Builder
	for i, n := range notices {
		for _, part := range [...]struct {
			kind byte
			text string
		}{{kindHandle, n.Handle}, {kindOwner, n.Owner}} {
			if len(part.text) > maxText {
				return nil, &errors.Error{Code: errors.Invalid, Msg: "a notice's text is too long; give at most 1024 bytes"}
			}
			if part.text == "" {
				continue
			}
			if b.Len()+noticeFrame+len(part.text) > maxMessage {
				messages = append(messages, b.String())
				b.Reset()
			}
			if b.Len() == 0 {
				b.Grow(min(maxMessage, len(mark)+(len(notices)-i)*(noticeFrame+len(part.text))))
				b.WriteString(mark)
			}
			b.Write([]byte{part.kind, byte(len(part.text) >> 8), byte(len(part.text))})
			b.WriteString(part.text)
		}
	}
	if b.Len() > 0 {
		messages = append(messages, b.String())
	}
	return messages, nil
}

// decode returns the notices of a message, none for a message that is not this
// package's, or errUnreadable.
func decode(message string) ([]apikey.Notice, error) {
	if !strings.HasPrefix(message, anyMark) {
		return nil, nil
	}
	rest, ok := strings.CutPrefix(message, mark)
	if !ok || rest == "" || len(message) > maxMessage {
		return nil, errUnreadable
	}
	var notices []apikey.Notice
	for len(rest) > 0 {
		if len(rest) < noticeFrame {
			return nil, errUnreadable
		}
		kind, size := rest[0], int(rest[1])<<8|int(rest[2])
		if rest = rest[noticeFrame:]; size == 0 || size > maxText || size > len(rest) {
			return nil, errUnreadable
		}
		switch text := rest[:size]; kind {
		case kindHandle:
			notices = append(notices, apikey.Notice{Handle: text})
		case kindOwner:
			notices = append(notices, apikey.Notice{Owner: text})
		default:
			return nil, errUnreadable
		}
		rest = rest[size:]
	}
	return notices, nil
}
