package middleware

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// A Field is a header field of answers. Where its value is not known, as what a
// limit has left is not before a key was proven, the field is left out.
type Field struct {
	Name  string
	Value FieldValue
}

// A FieldValue is what a [Field] tells. Of several limits the fields that speak
// of one tell of that which matters most to the client: one that refused, else
// one that counts over time and not what runs at once, of those the one with the
// least left, and of those the one that is whole again last.
type FieldValue uint8

const (
	FieldRequestID      FieldValue = iota + 1 // the request's id
	FieldKeyID                                // Key.ID, after proof
	FieldKeyName                              // Key.Name, after proof; other than visible ASCII is percent-encoded
	FieldKeyScopes                            // the key's scopes, after proof: sorted, with commas and no spaces
	FieldPolicy                               // all limits, as RateLimit-Policy of the IETF draft
	FieldLimits                               // what all limits have left, as RateLimit of the IETF draft
	FieldQuota                                // the most that one limit can have free
	FieldRemaining                            // what one limit has left
	FieldReset                                // the seconds until one limit is whole again; of one that refused, until it does not; left out where that is not known
	FieldResetUnix                            // the same as seconds since 1970
	FieldResetUnixMilli                       // the same as milliseconds since 1970
	FieldLimitName                            // the name of that limit

	fieldValues = iota + 1
)

// DefaultFields returns X-Request-Id, and RateLimit-Policy and RateLimit of the
// IETF draft draft-ietf-httpapi-ratelimit-headers.
func DefaultFields() []Field {
	return []Field{{headerRequestID, FieldRequestID}, {"RateLimit-Policy", FieldPolicy}, {"RateLimit", FieldLimits}}
}

// LegacyFields returns X-Request-Id, and X-RateLimit-Limit, -Remaining and -Reset,
// the last told as reset says: [FieldReset], [FieldResetUnix] or
// [FieldResetUnixMilli], for no two services agree.
func LegacyFields(reset FieldValue) []Field {
	return []Field{
		{headerRequestID, FieldRequestID}, {"X-RateLimit-Limit", FieldQuota},
		{"X-RateLimit-Remaining", FieldRemaining}, {"X-RateLimit-Reset", reset},
	}
}

// Names in the canonical form that http.Header uses.
const (
	headerAuthorization = "Authorization"
	headerRequestID     = "X-Request-Id"
	headerCacheControl  = "Cache-Control"
	headerRetryAfter    = "Retry-After"
	headerChallenge     = "Www-Authenticate"
	headerContentType   = "Content-Type"
	headerNoSniff       = "X-Content-Type-Options"
	headerReferer       = "Referer"
	headerReferrers     = "Referrer-Policy"
)

// maxFields is what one profile may tell.
const maxFields = 16

// reserved are names that neither answers nor requests can spare.
var reserved = [...]string{
	headerAuthorization, headerCacheControl, headerRetryAfter, headerChallenge, headerContentType, headerNoSniff,
	"Connection", "Content-Length", "Content-Encoding", "Cookie", "Date", "Expect", "Host", "Location", "Proxy-Authorization",
	"Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Vary",
}

func checkFields(f *errors.Faults, fields []Field) {
	if len(fields) > maxFields {
		f.Add("%d fields; give at most %d", len(fields), maxFields)
	}
	seen := make(map[string]bool)
	for _, field := range fields {
		name := http.CanonicalHeaderKey(field.Name)
		switch {
		case !headerName(field.Name):
			f.Add("field %q: give a name of letters, digits and '-'", field.Name)
		case seen[name]:
			f.Add("field %q: the name is given twice; give each field its own", field.Name)
		case slices.Contains(reserved[:], name):
			f.Add("field %q: HTTP or the gate uses it for something else; give another name", field.Name)
		}
		if field.Value == 0 || field.Value >= fieldValues {
			f.Add("field %q: value %d is none; give one of the Field constants", field.Name, field.Value)
		}
		seen[name] = true
	}
}

// A fieldTable are the fields of a gate, prepared.
type fieldTable struct {
	fields    []Field  // with names as they are set
	canonical []string // the names in canonical form, which are taken from requests
	alike     []string // those, and the headers of credentials: taken with '_' for '-' too
	requestID string   // of the names the request id's, "" when there is none
	queries   []string // parameters that hold credentials
}

func (p *Profile) fieldTable() fieldTable {
	var t fieldTable
	for _, field := range p.Fields {
		name := http.CanonicalHeaderKey(field.Name)
		t.canonical = append(t.canonical, name)
		if field.Value == FieldRequestID && t.requestID == "" {
			t.requestID = name
		}
		if !p.ExactCase {
			field.Name = name
		}
		t.fields = append(t.fields, field)
	}
	t.alike = slices.Clone(t.canonical)
	for i := range p.Credentials {
		l := &p.Credentials[i]
		t.alike = append(t.alike, l.header)
		if l.query != "" {
			t.queries = append(t.queries, l.query)
		}
	}
	return t
}

// strip takes from a request's header what looks like the gate's own fields or a
// credential to whoever reads it, also behind servers that take '_' for '-'.
func (t *fieldTable) strip(h http.Header) {
	for _, name := range t.canonical {
		delete(h, name)
	}
	for name := range h {
		if strings.IndexByte(name, '_') >= 0 && t.takes(name) {
			delete(h, name)
		}
	}
	for _, parameter := range t.queries {
		stripReferer(h, parameter)
	}
}

// takes reports whether the name is that of a field of the gate's or of a credential,
// to whoever takes '_' for '-'.
func (t *fieldTable) takes(name string) bool {
	return slices.Contains(t.alike, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")))
}

// limits reports whether the field speaks of limits.
func (f Field) limits() bool { return f.Value >= FieldPolicy }

// A limitView is what fields tell of limits: of a result the first states, those
// that clients are told of, or the states of a denial.
type limitView struct {
	policy  string // prepared; "" = from the states
	result  *ratelimit.Result
	visible int
	states  []ratelimit.State
	now     func() time.Time
}

// all yields the states that clients are told of.
func (v *limitView) all(yield func(ratelimit.State) bool) {
	if v.result == nil {
		for _, s := range v.states {
			if !yield(s) {
				return
			}
		}
		return
	}
	index := 0
	for s := range v.result.States() {
		if index++; index > v.visible || told(s.Limit) && !yield(s) {
			return
		}
	}
}

// headline returns the state that single-valued fields speak of.
func (v *limitView) headline() (top ratelimit.State, ok bool) {
	for s := range v.all {
		if !ok || before(&s, &top) {
			top, ok = s, true
		}
	}
	return top, ok
}

// before reports whether s matters more to a client than o.
func before(s, o *ratelimit.State) bool {
	switch {
	case s.Allowed != o.Allowed:
		return !s.Allowed
	case !s.Allowed && s.RetryAfter != o.RetryAfter:
		return later(s.RetryAfter, o.RetryAfter)
	case atOnceOnly(s) != atOnceOnly(o):
		return atOnceOnly(o)
	case s.Remaining != o.Remaining:
		return s.Remaining < o.Remaining
	}
	return s.ResetAfter > o.ResetAfter
}

// later reports whether a is the longer wait; never is the longest.
func later(a, b time.Duration) bool {
	return a == ratelimit.Never && b != ratelimit.Never || b != ratelimit.Never && a > b
}

// atOnceOnly reports whether s counts what runs at once.
func atOnceOnly(s *ratelimit.State) bool { return s.Limit.Algorithm == ratelimit.Concurrency }

// append appends what value says of the limits, or nothing.
func (v *limitView) append(b []byte, value FieldValue) []byte {
	start := len(b)
	switch value {
	case FieldPolicy:
		if v.policy != "" {
			return append(b, v.policy...)
		}
		for s := range v.all {
			b = appendPolicy(appendSeparator(b, start), s.Limit, s.Quota, s.Window)
		}
		return b
	case FieldLimits:
		for s := range v.all {
			b = appendState(appendSeparator(b, start), &s)
		}
		return b
	}
	s, ok := v.headline()
	if !ok {
		return b
	}
	wait := resetOf(&s)
	if wait == ratelimit.Never && value >= FieldReset && value <= FieldResetUnixMilli {
		return b
	}
	switch value {
	case FieldQuota:
		return strconv.AppendInt(b, s.Quota, 10)
	case FieldRemaining:
		return strconv.AppendInt(b, s.Remaining, 10)
	case FieldReset:
		return strconv.AppendInt(b, seconds(wait), 10)
	case FieldResetUnix:
		return strconv.AppendInt(b, ceil(v.now().Add(wait), time.Second).Unix(), 10)
	case FieldResetUnixMilli:
		return strconv.AppendInt(b, ceil(v.now().Add(wait), time.Millisecond).UnixMilli(), 10)
	case FieldLimitName:
		return append(b, s.Limit.Name...)
	}
	return b
}

// ceil rounds t up to a whole unit, so that who waits until then has waited long
// enough.
func ceil(t time.Time, unit time.Duration) time.Time {
	if cut := t.Truncate(unit); cut.Before(t) {
		return cut.Add(unit)
	}
	return t
}

// resetOf returns the time after which s is whole again; of a limit that refused,
// after which it does not. When running calls end is not known: ratelimit.Never.
func resetOf(s *ratelimit.State) time.Duration {
	switch {
	case atOnceOnly(s):
		return ratelimit.Never
	case !s.Allowed:
		return s.RetryAfter
	}
	return s.ResetAfter
}

func appendSeparator(b []byte, start int) []byte {
	if len(b) > start {
		return append(b, ", "...)
	}
	return b
}

// appendPolicy appends one item of RateLimit-Policy: the quota, the unit unless
// it is requests, and the window in whole seconds where it is one. What runs at
// once has no window.
func appendPolicy(b []byte, l ratelimit.Limit, quota int64, window time.Duration) []byte {
	unit := l.Unit
	if l.Algorithm == ratelimit.Concurrency {
		unit, window = atOnce(unit), 0
	}
	b = appendString(b, l.Name)
	b = append(b, ";q="...)
	b = appendInteger(b, quota)
	if unit != "" && unit != "requests" {
		b = append(b, ";qu="...)
		b = appendString(b, unit)
	}
	if window > 0 && window%time.Second == 0 {
		b = append(b, ";w="...)
		b = appendInteger(b, int64(window/time.Second))
	}
	return b
}

// appendState appends one item of RateLimit: what is left, and the seconds
// within which no more than that may be used: of a limit that refused the time
// until this cost passes, where it ever does; else the time until all is back.
// Of what runs at once it is not known.
func appendState(b []byte, s *ratelimit.State) []byte {
	b = appendString(b, s.Limit.Name)
	b = append(b, ";r="...)
	b = appendInteger(b, s.Remaining)
	wait := resetOf(s)
	if wait == ratelimit.Never && !atOnceOnly(s) {
		wait = s.ResetAfter
	}
	if wait > 0 {
		b = append(b, ";t="...)
		b = appendInteger(b, seconds(wait))
	}
	return b
}

// maxInteger is the largest integer of a structured field (RFC 9651).
const maxInteger = 999_999_999_999_999

func appendInteger(b []byte, n int64) []byte {
	return strconv.AppendInt(b, min(max(n, -maxInteger), maxInteger), 10)
}

// appendString appends s as a String of a structured field. What such a string
// cannot hold becomes '?'; names and units never do, because they are checked
// at start-up.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// fieldText returns s as the value of a header field: visible ASCII and inner
// spaces as they are, everything else and '%' percent-encoded, because HTTP/1.1
// passes control characters on and HTTP/2 drops the whole field.
func fieldText(s string) string {
	plain := func(i int) bool {
		c := s[i]
		return c > ' ' && c < 0x7f && c != '%' || c == ' ' && i > 0 && i < len(s)-1
	}
	for i := range len(s) {
		if !plain(i) {
			var b strings.Builder
			for i := range len(s) {
				if plain(i) {
					b.WriteByte(s[i])
				} else {
					b.WriteString("%" + strings.ToUpper(strconv.FormatInt(int64(s[i])|0x100, 16)[1:]))
				}
			}
			return b.String()
		}
	}
	return s
}
