package webhook

import (
	"crypto/ed25519"
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
	list      string             // the signature header
	first     [maxSum]byte       // the first MAC
	macs      [maxEntries]uint16 // where in list the text of a MAC begins
	n         int                // of macs
	pairs     [maxPublic]uint16  // where in list the text of an Ed25519 signature begins
	p         int                // of pairs
	whole     wholeClaim         // nil unless the form has a whole
}

// addMAC notes a MAC, of which text is from start on in c.list; addPair notes an
// Ed25519 signature.
func (c *claim) addMAC(text string, start int) bool {
	var room [maxSum]byte
	dst := &room
	if c.n == 0 {
		dst = &c.first // most often the only one
	}
	c.macs[c.n] = uint16(start)
	c.n++
	return decodeText(dst, text, c.form.Encoding, c.form.sumSize)
}

func (c *claim) addPair(text string, start int) bool {
	var room [maxSum]byte
	c.pairs[c.p] = uint16(start)
	c.p++
	return decodeText(&room, text, c.form.Encoding, ed25519.SignatureSize)
}

// mac returns a MAC; pair returns an Ed25519 signature.
func (c *claim) mac(i int) [maxSum]byte {
	sum := c.first
	if i > 0 {
		decodeText(&sum, c.list[c.macs[i]:][:c.form.textSize], c.form.Encoding, c.form.sumSize)
	}
	return sum
}

func (c *claim) pair(i int) (signature [ed25519.SignatureSize]byte) {
	decodeText(&signature, c.list[c.pairs[i]:][:c.form.pairSize], c.form.Encoding, len(signature))
	return signature
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
			return refuse(ErrSignature, f.SignatureHeader+": scheme "+f.Name+" signs more than headers and body; call VerifyRequest")
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
	c.list = signature
	var fault string
	if f.Separator == "" {
		fault = c.readOne()
	} else {
		fault = c.readList()
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

// setTimestamp notes the timestamp.
func (c *claim) setTimestamp(text string) bool {
	seconds, ok := parseTimestamp(text)
	if !ok {
		return false
	}
	c.timestamp, c.at = text, time.Unix(seconds, 0).UTC()
	return true
}

// readOne reads a signature that stands alone.
func (c *claim) readOne() (fault string) {
	start := c.example()
	text, ok := strings.CutPrefix(c.list, start)
	switch {
	case c.shared && ok && c.addMAC(text, len(start)):
	case !c.shared && ok && c.addPair(text, len(start)):
	default:
		return c.textFault(start, c.shared)
	}
	return ""
}

// readList reads entries with one separator between them. Entries that it does
// not know, or has no key for, are passed over, so that a sender may add some.
// It returns what is wrong, or "".
func (c *claim) readList() (fault string) {
	f := &c.form
	for start, count := 0, 1; start <= len(c.list); count++ {
		if count > maxEntries {
			return "more than 16 entries"
		}
		entry := c.list[start:]
		if end := strings.IndexByte(entry, f.Separator[0]); end >= 0 {
			entry = entry[:end]
		}
		switch {
		case c.shared && strings.HasPrefix(entry, f.Entry):
			if !c.addMAC(entry[len(f.Entry):], start+len(f.Entry)) {
				return c.textFault(f.Entry, true)
			}
		case c.paired && strings.HasPrefix(entry, f.PublicEntry):
			if c.p == maxPublic {
				return fmt.Sprintf("more than %d entries that begin with %q", maxPublic, f.PublicEntry)
			}
			if !c.addPair(entry[len(f.PublicEntry):], start+len(f.PublicEntry)) {
				return c.textFault(f.PublicEntry, false)
			}
		case f.TimestampEntry != "" && strings.HasPrefix(entry, f.TimestampEntry):
			if c.timestamp != "" {
				return fmt.Sprintf("two entries that begin with %q; send one", f.TimestampEntry)
			}
			if !c.setTimestamp(entry[len(f.TimestampEntry):]) {
				return fmt.Sprintf("%q%s", f.TimestampEntry, timestampFault)
			}
		case !f.passesOver(entry):
			return fmt.Sprintf("an entry is not like %q, with one %q between entries", c.example()+"{signature}", f.Separator)
		}
		start += len(entry) + 1
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
	if c.shared && c.paired {
		return fmt.Sprintf("%q or %q", c.form.Entry, c.form.PublicEntry)
	}
	return strconv.Quote(c.example())
}

// textFault says how signatures that begin like this go on.
func (c *claim) textFault(start string, shared bool) string {
	size, what := c.form.textSize, "the signature"
	if start != "" {
		what = fmt.Sprintf("what follows %q", start)
	}
	if !shared {
		size = c.form.pairSize
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

// passesOver reports whether an entry that no key is for looks like one: 1 to
// 16 of a-z and 0-9, the delimiter, and visible ASCII without a comma. An entry
// that the scheme does not know holds the delimiter once; one that it does may
// hold it again, as base64 ends with '='.
func (f *form) passesOver(entry string) bool {
	at := strings.IndexByte(entry, f.delimiter)
	if at < 0 || !validVersion(entry[:at]) || at+1 == len(entry) {
		return false
	}
	known := entry[:at+1] == f.Entry || entry[:at+1] == f.PublicEntry
	for i := at + 1; i < len(entry); i++ {
		if c := entry[i]; c <= ' ' || c >= 0x7f || c == ',' || c == f.delimiter && !known {
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

// refuse is a denial of Verify.
func refuse(sentinel error, msg string) error {
	return &errors.Error{Op: "webhook.Verify", Msg: msg, Err: sentinel}
}
