package webhook

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of what schemes put into headers.
const (
	maxID        = 256            // bytes of a message id
	maxTimestamp = 11             // digits of a timestamp
	maxSignature = 4 << 10        // bytes of the signature header
	maxEntries   = 16             // entries in it
	maxPublic    = 4              // entries of Ed25519 in it, and key pairs of one scheme: each costs as much as 50 KB of HMAC
	lastInstant  = 99_999_999_999 // seconds: the largest of maxTimestamp digits
)

// A claim is what the headers of a message say, under one form, before
// anything is proven.
type claim struct {
	*group

	id        string
	timestamp string // as received: it is hashed as it came
	at        time.Time
	entries   [maxEntries]string // of keys that both sides share; the text of a MAC
	n         int
	public    [maxPublic]string // the text of an Ed25519 signature
	p         int
	whole     wholeClaim // nil unless the form has a whole
}

// read reads the headers into c, which is empty. It allocates nothing unless
// it refuses.
func (c *claim) read(in *incoming) error {
	f := &c.form
	signature, err := line(in.header, f.SignatureHeader)
	if err != nil {
		return err
	}
	if f.whole != nil {
		if in.request == nil {
			return refuse(ErrMissing, f.SignatureHeader+": scheme "+f.Name+" signs more than headers and body; call VerifyRequest")
		}
		held := *in // so that in itself need not live on the heap
		c.whole, err = f.whole.read(&f.Scheme, c.keys, &held)
		return err
	}
	timestamp := ""
	if f.signsID {
		if c.id, err = line(in.header, f.IDHeader); err != nil {
			return err
		}
	}
	if f.TimestampHeader != "" {
		if timestamp, err = line(in.header, f.TimestampHeader); err != nil {
			return err
		}
	}
	if f.signsID && !validID(c.id) {
		return refuse(ErrMalformed, f.IDHeader+": not 1 to 256 characters of A-Z, a-z, 0-9, '_', '-'")
	}
	if f.TimestampHeader != "" && !c.setTimestamp(timestamp) {
		return refuse(ErrMalformed, f.TimestampHeader+timestampFault)
	}
	if len(signature) > maxSignature {
		return refuse(ErrMalformed, f.SignatureHeader+": longer than 4096 bytes")
	}
	fault := ""
	if f.Separator == "" {
		fault = c.readOne(signature)
	} else {
		fault = c.readList(signature)
	}
	if fault != "" {
		return refuse(ErrMalformed, f.SignatureHeader+": "+fault)
	}
	if f.TimestampEntry != "" && c.timestamp == "" {
		return refuse(ErrMissing, fmt.Sprintf("%s: no %q entry; the timestamp is signed", f.SignatureHeader, f.TimestampEntry))
	}
	if c.n+c.p == 0 {
		return refuse(ErrSignature, fmt.Sprintf("%s: no entry that begins with %s; ask the sender for one, or add a key of the kind that it signs with", f.SignatureHeader, c.wanted()))
	}
	return nil
}

const timestampFault = ": not a count of seconds, 1 to 11 digits without a sign or leading zeros"

// setTimestamp notes the timestamp, once.
func (c *claim) setTimestamp(text string) bool {
	seconds, ok := parseTimestamp(text)
	if !ok || c.timestamp != "" {
		return false
	}
	c.timestamp, c.at = text, time.Unix(seconds, 0).UTC()
	return true
}

// readOne reads a signature that stands alone.
func (c *claim) readOne(text string) (fault string) {
	if c.shared {
		if rest, ok := strings.CutPrefix(text, c.form.Entry); ok && validText(rest, c.form.Encoding, c.form.textSize) {
			c.entries[0], c.n = rest, 1
			return ""
		}
		return c.textFault(c.form.Entry, c.form.textSize)
	}
	if rest, ok := strings.CutPrefix(text, c.form.PublicEntry); ok && validText(rest, c.form.Encoding, c.form.publicText()) {
		c.public[0], c.p = rest, 1
		return ""
	}
	return c.textFault(c.form.PublicEntry, c.form.publicText())
}

// readList reads entries with one separator between them. Entries that it does
// not know, or has no key for, are passed over, so that a sender may add some.
// It returns what is wrong, or "".
func (c *claim) readList(list string) (fault string) {
	f := &c.form
	for count, more := 1, true; more; count++ {
		var entry string
		entry, list, more = strings.Cut(list, f.Separator)
		if count > maxEntries {
			return "more than 16 entries"
		}
		if c.shared && strings.HasPrefix(entry, f.Entry) {
			text := entry[len(f.Entry):]
			if !validText(text, f.Encoding, f.textSize) {
				return c.textFault(f.Entry, f.textSize)
			}
			c.entries[c.n] = text
			c.n++
			continue
		}
		switch {
		case c.pairs && strings.HasPrefix(entry, f.PublicEntry):
			text := entry[len(f.PublicEntry):]
			if !validText(text, f.Encoding, f.publicText()) {
				return c.textFault(f.PublicEntry, f.publicText())
			}
			if c.p == maxPublic {
				return fmt.Sprintf("more than %d entries that begin with %q", maxPublic, f.PublicEntry)
			}
			c.public[c.p] = text
			c.p++
		case f.TimestampEntry != "" && strings.HasPrefix(entry, f.TimestampEntry):
			if c.timestamp != "" {
				return fmt.Sprintf("two entries that begin with %q; send one", f.TimestampEntry)
			}
			if !c.setTimestamp(entry[len(f.TimestampEntry):]) {
				return fmt.Sprintf("%q%s", f.TimestampEntry, timestampFault)
			}
		case !validEntry(entry, f.delimiter):
			return fmt.Sprintf("an entry is not like %q, with one %q between entries", string(c.example())+"{signature}", f.Separator)
		}
	}
	return ""
}

// example returns how a signature that c has a key for begins.
func (c *claim) example() string {
	if c.shared {
		return c.form.Entry
	}
	return c.form.PublicEntry
}

// wanted names all beginnings of signatures that c has a key for.
func (c *claim) wanted() string {
	if c.shared && c.pairs {
		return fmt.Sprintf("%q or %q", c.form.Entry, c.form.PublicEntry)
	}
	return strconv.Quote(c.example())
}

func (c *claim) textFault(entry string, size int) string {
	what := "the signature"
	if entry != "" {
		what = fmt.Sprintf("what follows %q", entry)
	}
	if c.form.Encoding == encodingHex {
		return fmt.Sprintf("%s is not %d hexadecimal digits in lower case", what, size)
	}
	return fmt.Sprintf("%s is not %d characters of padded standard base64", what, size)
}

// line returns the value of a header that has to be there exactly once: of two
// lines, two parties might each believe another.
func line(header http.Header, name string) (string, error) {
	switch values := header[name]; len(values) {
	case 1:
		return values[0], nil
	case 0:
		return "", refuse(ErrMissing, name+": missing; the sender did not sign, or something between dropped it")
	default:
		return "", refuse(ErrMalformed, name+": "+strconv.Itoa(len(values))+" lines; send one")
	}
}

// validID reports whether id may be part of what is signed. It holds no '.',
// which would let a part of the timestamp or the body be passed off as a part
// of the id.
func validID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i := range len(id) {
		if !wordByte(id[i]) {
			return false
		}
	}
	return true
}

// parseTimestamp reads ^[1-9][0-9]{0,10}$: one text for each number.
func parseTimestamp(s string) (seconds int64, ok bool) {
	if s == "" || len(s) > maxTimestamp || s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		seconds = seconds*10 + int64(c-'0')
	}
	return seconds, true
}

// validEntry reports whether an entry that is passed over looks like one:
// 1 to 16 of a-z and 0-9, the delimiter, and visible ASCII without a comma.
func validEntry(entry string, delimiter byte) bool {
	at := strings.IndexByte(entry, delimiter)
	if at < 0 || !validVersion(entry[:at]) || at+1 == len(entry) {
		return false
	}
	for i := at + 1; i < len(entry); i++ {
		if c := entry[i]; c <= ' ' || c >= 0x7f || c == ',' {
			return false
		}
	}
	return true
}

// validVersion reports whether v is 1 to 16 of a-z and 0-9.
func validVersion(v string) bool {
	if v == "" || len(v) > maxVersion {
		return false
	}
	for i := range len(v) {
		if c := v[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// validText reports whether text is a signature of size characters, spelled in
// the one way there is: signatures are compared as text.
func validText(text, encoding string, size int) bool {
	if len(text) != size {
		return false
	}
	if encoding == encodingHex {
		bad := byte(0)
		for i := range len(text) {
			bad |= textBytes[text[i]] & notHex
		}
		return bad == 0
	}
	// The last group of 32 bytes is "xxx=", that of 64 "xx==", with no bits set
	// beyond the last byte.
	end := size - 1
	last := "AEIMQUYcgkosw048"
	if size%3 != 2 {
		end, last = size-2, "AQgw"
	}
	bad := byte(0)
	for i := range end {
		bad |= textBytes[text[i]] & notBase64
	}
	return bad == 0 && text[end:] == "=="[:size-end] && strings.IndexByte(last, text[end-1]) >= 0
}

// What a byte is not.
const (
	notHex = 1 << iota
	notBase64
)

// textBytes says what each byte is not, and is never written to. A table takes
// the same time for each.
var textBytes = makeTextBytes()

func makeTextBytes() (table [256]byte) {
	for i := range table {
		c := byte(i)
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			table[i] |= notHex
		}
		if !wordByte(c) && c != '+' && c != '/' || c == '-' || c == '_' {
			table[i] |= notBase64
		}
	}
	return table
}

// refuse is a denial of Verify.
func refuse(sentinel error, msg string) error {
	return &errors.Error{Op: "webhook.Verify", Msg: msg, Err: sentinel}
}
