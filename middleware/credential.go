package middleware

import (
	"net/http"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// MaxCredential is the length in bytes of the longest credential that is looked
// at.
const MaxCredential = 512

// A Location is a place in a request where a credential may stand. Make one
// with [Bearer] or [Header]; the zero value is refused at start-up.
type Location struct {
	header string // in canonical form
	scheme string // lower case; "" = the whole value
}

// Bearer is "Authorization: Bearer <key>", the scheme in any case (RFC 6750).
// An Authorization header of another scheme is not a credential for the gate:
// it is left alone, as if there were none.
func Bearer() Location { return Location{header: "Authorization", scheme: "bearer"} }

// Header is a header whose whole value is the key, such as X-API-Key. Its name
// is matched in any case.
func Header(name string) Location { return Location{header: http.CanonicalHeaderKey(name)} }

// String returns the location for people.
func (l Location) String() string {
	if l.scheme != "" {
		return l.header + ": Bearer"
	}
	return l.header
}

func (l Location) check(f *errors.Faults) {
	if l.header == "" {
		f.Add("credential location is not set; give Bearer() or Header(name)")
		return
	}
	for i := range len(l.header) {
		if c := l.header[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			f.Add("credential header %q is not a header name; give letters, digits and '-'", l.header)
			return
		}
	}
}

// find returns what stands at l. Two lines of one header are no credential but
// a contradiction, even when they agree.
func (l Location) find(h http.Header) (credential string, v Verdict) {
	lines := h[l.header]
	switch {
	case len(lines) == 0:
		return "", VerdictMissing
	case len(lines) > 1:
		return "", VerdictMalformed
	}
	value := lines[0]
	if l.scheme != "" {
		scheme, rest, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, l.scheme) {
			return "", VerdictMissing
		}
		value = strings.TrimLeft(rest, " ")
	}
	if value == "" {
		return "", VerdictMalformed
	}
	return value, VerdictAllowed // whether it can be a key is for Begin to say
}

// saneCredential reports whether s is 1 to MaxCredential visible ASCII
// characters.
func saneCredential(s string) bool {
	if s == "" || len(s) > MaxCredential {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// extract returns the one credential of h, and the header it stood in. It is
// VerdictMissing when no location holds one, and VerdictMalformed when one holds
// two or an empty one, or more than one holds anything: the client must say
// which it means (RFC 6750 section 2).
func extract(h http.Header, locations []Location) (credential, header string, v Verdict) {
	v = VerdictMissing
	for _, l := range locations {
		c, found := l.find(h)
		switch {
		case found == VerdictMissing:
		case found == VerdictMalformed, v != VerdictMissing:
			return "", "", VerdictMalformed
		default:
			credential, header, v = c, l.header, found
		}
	}
	return credential, header, v
}
