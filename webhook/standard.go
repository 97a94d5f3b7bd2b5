package webhook

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of what Standard Webhooks puts into headers.
const (
	maxID        = 256     // bytes of a message id
	maxTimestamp = 11      // digits of a timestamp
	maxSignature = 4 << 10 // bytes of the signature header
	maxEntries   = 16      // signatures in it

	version      = "v1"
	encodedSum   = (sha256.Size + 2) / 3 * 4 // characters of a base64 MAC
	lastInstant  = 99_999_999_999            // seconds: the largest of maxTimestamp digits
	entrySize    = len(version) + 1 + encodedSum
	defaultNames = "webhook-"
)

// headers are the three header names of the scheme, in canonical form so that
// looking them up allocates nothing.
type headers struct{ id, timestamp, signature string }

// newHeaders completes a prefix such as "webhook-"; "" means that one.
func newHeaders(faults *errors.Faults, prefix string) headers {
	if prefix == "" {
		prefix = defaultNames
	}
	if !strings.HasSuffix(prefix, "-") || len(prefix) < 2 || len(prefix) > 64 || strings.ContainsFunc(prefix, func(r rune) bool { return r > 'z' || r == '_' || !wordByte(byte(r)) }) {
		faults.Add(`prefix: not 2 to 64 letters, digits and '-' that end in '-', like "webhook-"`)
	}
	return headers{
		id:        http.CanonicalHeaderKey(prefix + "id"),
		timestamp: http.CanonicalHeaderKey(prefix + "timestamp"),
		signature: http.CanonicalHeaderKey(prefix + "signature"),
	}
}

// A claim is what the headers of a message say before anything is proven.
type claim struct {
	id        string
	timestamp string // as received: it is hashed as it came
	at        time.Time
	sums      [maxEntries][sha256.Size]byte
	n         int // of sums
}

// parse reads the headers into c. It allocates nothing unless it refuses.
func (h *headers) parse(c *claim, header http.Header) error {
	id, err := line(header, h.id)
	if err != nil {
		return err
	}
	timestamp, err := line(header, h.timestamp)
	if err != nil {
		return err
	}
	signature, err := line(header, h.signature)
	if err != nil {
		return err
	}
	if !validID(id) {
		return refuse(ErrMalformed, h.id+": not 1 to 256 characters of A-Z, a-z, 0-9, '_', '-'")
	}
	seconds, ok := parseTimestamp(timestamp)
	if !ok {
		return refuse(ErrMalformed, h.timestamp+": not a count of seconds, 1 to 11 digits without a sign or leading zeros")
	}
	c.id, c.timestamp, c.at = id, timestamp, time.Unix(seconds, 0).UTC()
	if fault := c.parseSignatures(signature); fault != "" {
		return refuse(ErrMalformed, h.signature+": "+fault)
	}
	if c.n == 0 {
		return refuse(ErrSignature, h.signature+`: no entry of version "v1"; ask the sender for symmetric signatures`)
	}
	return nil
}

// parseSignatures reads "v1,{base64} v1,{base64} ...". Entries of versions it
// does not know are passed over, so that a sender may add some. It returns what
// is wrong, or "".
func (c *claim) parseSignatures(list string) (fault string) {
	if len(list) > maxSignature {
		return "longer than 4096 bytes"
	}
	for entries, more := 1, true; more; entries++ {
		var entry string
		entry, list, more = strings.Cut(list, " ")
		if entries > maxEntries {
			return "more than 16 entries"
		}
		v, text, ok := strings.Cut(entry, ",")
		if v != version {
			if !ok || !validVersion(v) || !validText(text) {
				return `an entry is not like "v1,{base64}", with one space between entries`
			}
			continue
		}
		if len(text) != encodedSum {
			return `a "v1" entry is not 44 characters of base64`
		}
		var src [encodedSum]byte
		copy(src[:], text)
		if !decodeSum(&c.sums[c.n], &src) {
			return `a "v1" entry is not standard base64 of 32 bytes`
		}
		c.n++
	}
	return ""
}

// decodeSum is strict: one text for each sum. Line breaks, which Decode skips,
// leave too few bytes; the last character before the padding must have no bits
// beyond them.
func decodeSum(dst *[sha256.Size]byte, src *[encodedSum]byte) bool {
	var buf [encodedSum]byte // Decode wants room for what a full last group would hold
	n, err := base64.StdEncoding.Decode(buf[:], src[:])
	copy(dst[:], buf[:sha256.Size])
	return err == nil && n == sha256.Size && strings.IndexByte("AEIMQUYcgkosw048", src[encodedSum-2]) >= 0
}

// appendEntry appends one entry of the signature header.
func appendEntry(dst []byte, sum [sha256.Size]byte) []byte {
	dst = append(dst, version...)
	dst = append(dst, ',')
	return base64.StdEncoding.AppendEncode(dst, sum[:])
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

// validVersion reports whether v is 1 to 16 of a-z and 0-9.
func validVersion(v string) bool {
	if v == "" || len(v) > 16 {
		return false
	}
	for i := range len(v) {
		if c := v[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// validText reports whether s is visible ASCII without a comma.
func validText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == ',' {
			return false
		}
	}
	return s != ""
}

// refuse is a denial of Verify.
func refuse(sentinel error, msg string) error {
	return &errors.Error{Op: "webhook.Verify", Msg: msg, Err: sentinel}
}
