package middleware

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// MaxCredential is the length in bytes of the longest credential that is looked
// at.
const MaxCredential = 512

// A Location is a place in a request where a credential may stand. Make one
// with [Bearer], [BearerOnly], [BearerOrBare], [Header] or [InsecureQuery]; the
// zero value is refused at start-up.
type Location struct {
	header string // in canonical form; "" with query
	spelt  string // the header's name as it was given
	query  string // a parameter of the URL
	scheme string // lower case; "" = the whole value
	other  otherScheme
}

// otherScheme says what a header is whose scheme is not the location's.
type otherScheme uint8

const (
	otherMissing   otherScheme = iota // somebody else's
	otherMalformed                    // a wrong credential
	otherBare                         // a key without its scheme
)

const bearerScheme = "bearer"

// Bearer is "Authorization: Bearer KEY", the scheme in any case (RFC 6750).
// An Authorization header of another scheme is not a credential for the gate:
// it is left alone, as if there were none.
func Bearer() Location {
	return Location{header: headerAuthorization, spelt: headerAuthorization, scheme: bearerScheme}
}

// BearerOnly is [Bearer] where Authorization is the gate's alone: another scheme
// is a malformed credential, not a missing one.
func BearerOnly() Location {
	return Location{header: headerAuthorization, spelt: headerAuthorization, scheme: bearerScheme, other: otherMalformed}
}

// BearerOrBare is "Authorization: Bearer KEY" or "Authorization: KEY".
func BearerOrBare() Location {
	return Location{header: headerAuthorization, spelt: headerAuthorization, scheme: bearerScheme, other: otherBare}
}

// Header is a header whose whole value is the key, such as X-API-Key. Its name
// is matched in any case, as all names of header fields are (RFC 9110 section
// 5.1).
func Header(name string) Location {
	return Location{header: http.CanonicalHeaderKey(name), spelt: name}
}

// InsecureQuery is a parameter of the URL whose whole value is the key. URLs are
// kept in logs, histories and Referer headers by everybody who sees them, so use
// it only for clients that can send no header. The handler gets the request
// without the parameter, also in Referer; the answer is never cached, and asks
// browsers to send no Referer; and [Gate.Redact] is for what logs requests outside of
// the gate.
func InsecureQuery(name string) Location { return Location{query: name} }

// String returns the location for people.
func (l Location) String() string {
	switch {
	case l.query != "":
		return "?" + l.query + "="
	case l.scheme != "":
		return l.header + ": Bearer"
	}
	return l.header
}

// Put makes credential what stands at l in r, and nothing else, as a client would:
// for tests and for requests that are passed on.
func (l Location) Put(r *http.Request, credential string) {
	switch {
	case l.query != "":
		u := *r.URL
		u.RawQuery = rewrite(u.RawQuery, l.query, func(string) string { return "" })
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += l.query + "=" + url.QueryEscape(credential)
		if r.URL = &u; r.RequestURI != "" {
			r.RequestURI = u.RequestURI()
		}
	case l.scheme != "":
		r.Header.Set(l.header, "Bearer "+credential)
	default:
		r.Header.Set(l.header, credential)
	}
}

// Where returns the name of the header, in canonical form, or of the parameter of
// the URL that l is; the other is "".
func (l Location) Where() (header, parameter string) { return l.header, l.query }

// Credentials returns the places where the gate looks for a key: for lists of what
// logs and traces must not hold, and for clients.
func (g *Gate) Credentials() []Location { return slices.Clone(g.opt.Profile.Credentials) }

// example shows a client what to send.
func (l Location) example() string {
	switch {
	case l.query != "":
		return "the parameter " + l.query + "=KEY"
	case l.scheme != "":
		return "the header " + l.header + ": Bearer KEY"
	}
	return "the header " + l.spelt + ": KEY"
}

func (l Location) check(f *errors.Faults) {
	if l.query != "" {
		if url.QueryEscape(l.query) != l.query {
			f.Add("credential parameter %q is not a plain name; give letters, digits and - . _", l.query)
		}
		return
	}
	if l.header == "" {
		f.Add("credential location is not set; give Bearer(), Header(name) or another that has a name")
		return
	}
	if !headerName(l.header) {
		f.Add("credential header %q is not a header name; give letters, digits and '-'", l.header)
	}
}

// headerName reports whether s may be the name of a header: letters, digits and
// '-'.
func headerName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return s != ""
}

// lines returns what stands at l.
func (l *Location) lines(r *http.Request) []string {
	if l.query != "" {
		return parameters(r.URL.RawQuery, l.query)
	}
	return r.Header[l.header]
}

// read returns the credential in the lines that stand at l. Two lines of one
// header are no credential but a contradiction, even when they agree.
func (l *Location) read(lines []string) (credential string, v Verdict) {
	switch {
	case len(lines) == 0:
		return "", VerdictMissing
	case len(lines) > 1:
		return "", VerdictMalformed
	}
	value := lines[0]
	if l.scheme != "" {
		scheme, rest, _ := strings.Cut(value, " ")
		switch {
		case strings.EqualFold(scheme, l.scheme):
			value = strings.TrimLeft(rest, " ")
		case l.other == otherMalformed:
			return "", VerdictMalformed
		case l.other == otherMissing:
			return "", VerdictMissing
		}
	}
	if value == "" {
		return "", VerdictMalformed
	}
	return value, VerdictAllowed // whether it can be a key is for Begin to say
}

// absent reports whether nothing stands at l.
func (l *Location) absent(r *http.Request) bool {
	_, v := l.read(l.lines(r))
	return v == VerdictMissing
}

// parameters returns the values of name in a raw query. A value that cannot be
// decoded stands as it is: it is no key.
func parameters(raw, name string) []string {
	var values []string
	for part := range strings.SplitSeq(raw, "&") {
		if key, value, _ := strings.Cut(part, "="); isParameter(key, name) {
			if text, err := url.QueryUnescape(value); err == nil {
				value = text
			}
			values = append(values, value)
		}
	}
	return values
}

func isParameter(key, name string) bool {
	text, err := url.QueryUnescape(key)
	return err == nil && text == name
}

// rewrite returns a raw query in which each parameter of that name is put
// through edit; "" leaves it out.
func rewrite(raw, name string, edit func(part string) string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(raw, "&") {
		if key, _, _ := strings.Cut(part, "="); isParameter(key, name) {
			part = edit(part)
		}
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(part)
	}
	return b.String()
}

// strip takes the credential out of r, whose header is r's own.
func (l *Location) strip(r *http.Request) {
	if l.query == "" {
		delete(r.Header, l.header)
		return
	}
	u := *r.URL
	u.RawQuery = rewrite(u.RawQuery, l.query, func(string) string { return "" })
	r.URL, r.RequestURI = &u, u.RequestURI()
	if r.Form != nil { // somebody outside has parsed it already
		r.Form = maps.Clone(r.Form)
		delete(r.Form, l.query)
	}
}

// stripReferer takes the parameter out of what a page whose URL holds a credential
// has browsers send along. h is the request's own, its values are not.
func stripReferer(h http.Header, parameter string) {
	lines := h[headerReferer]
	for i, line := range lines {
		page, query, _ := strings.Cut(line, "?")
		if len(parameters(query, parameter)) == 0 {
			continue
		}
		if query = rewrite(query, parameter, func(string) string { return "" }); query != "" {
			page += "?" + query
		}
		lines = slices.Clone(lines)
		lines[i] = page
		h[headerReferer] = lines
	}
}

// Redact returns u as a text in which the values of credentials that stand in
// the URL ([InsecureQuery]) are replaced: for logs and traces outside of the gate.
func (g *Gate) Redact(u *url.URL) string {
	c := *u
	for _, l := range g.opt.Profile.Credentials {
		if l.query != "" {
			c.RawQuery = rewrite(c.RawQuery, l.query, func(string) string { return l.query + "=REDACTED" })
		}
	}
	return c.Redacted()
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

// extract returns the one credential in what lines finds at the locations, and
// the location it stood in, nil without one. It is VerdictMissing when no location
// holds one, and VerdictMalformed when one holds two or an empty one, or more than
// one holds anything: the client must say which it means (RFC 6750 section 2).
func extract(lines func(*Location) []string, locations []Location) (credential string, at *Location, v Verdict) {
	v = VerdictMissing
	for i := range locations {
		l := &locations[i]
		c, found := l.read(lines(l))
		switch {
		case found == VerdictMissing:
		case found == VerdictMalformed, v != VerdictMissing:
			return "", nil, VerdictMalformed
		default:
			credential, at, v = c, l, found
		}
	}
	return credential, at, v
}
