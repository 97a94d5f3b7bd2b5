package middleware

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// A capture copies what a handler answers.
type capture struct {
	most   int         // bytes of body
	before http.Header // what was set before the handler ran
	header http.Header // what was set when the answer began
	body   []byte
	opaque bool // the answer cannot be kept
}

// open begins to copy the answer. What others have set before the handler runs they
// will set again.
func (c *claim) open(h http.Header) {
	c.capture.before, c.capture.most = maps.Clone(h), c.once.opt.MaxAnswer
}

// head notes the header with which the final answer begins.
func (c *capture) head(h http.Header) {
	if c.header != nil {
		return
	}
	c.header = maps.Clone(h)
	if len(h["Trailer"]) > 0 {
		c.lose()
	}
}

// lose gives up what was copied.
func (c *capture) lose() { c.opaque, c.body = true, nil }

// captured copies what a handler wrote, and returns what the handler is told. When
// the client has gone it is told that all is well, so that it goes on to the end:
// the answer is for the client that asks again. HTTP/1 has it so by itself.
func captured[T string | []byte](c *capture, b T, n int, err error) (int, error) {
	switch {
	case c.opaque, errors.Is(err, http.ErrBodyNotAllowed): // which is no part of the answer
		return n, err
	case errors.Is(err, http.ErrContentLength), errors.Is(err, http.ErrHandlerTimeout), errors.Is(err, http.ErrHijacked), len(c.body)+len(b) > c.most:
		c.lose()
		return n, err
	}
	c.body = append(c.body, b...)
	return len(b), nil
}

// answer returns what is kept of a finished answer.
func (c *capture) answer(p *Pass, o Outcome, inner http.Header) idempotency.Answer {
	a := idempotency.Answer{Status: o.Status}
	if p.held > 0 {
		a.Hold = string(p.holdID)
	}
	c.head(inner)
	for name := range inner {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			c.lose()
		}
	}
	if announced := c.header.Get("Content-Length"); announced != "" && !mayAnnounce(o) && announced != strconv.Itoa(len(c.body)) {
		c.lose() // the client was told of an answer that is not this one
	}
	if c.opaque {
		return opaque(a)
	}
	a.Header, a.Body = make(http.Header), c.body
	for name, values := range c.header {
		if before, ok := c.before[name]; ok && slices.Equal(before, values) {
			continue
		}
		if p.mayRepeat(http.CanonicalHeaderKey(name), o) {
			a.Header[name] = values
		}
	}
	return a
}

// mayAnnounce reports whether the answer may tell the length of a body that it does
// not have (RFC 9110 section 8.6).
func mayAnnounce(o Outcome) bool { return o.Probe || o.Status == http.StatusNotModified }

// opaque returns what is kept of an answer that cannot be given again.
func opaque(a idempotency.Answer) idempotency.Answer {
	status := a.Status
	if status < 200 || status > 599 {
		status = http.StatusOK // of a connection that was taken over, or a panic
	}
	return idempotency.Answer{Status: status, Opaque: true, Hold: a.Hold}
}

// hopByHop are fields of one connection or one moment (RFC 9110 section 7.6.1), and
// what the gate says itself.
var hopByHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Date",
	idempotency.HeaderReplayed,
}

// secretive are parts of the names of fields that hand out a credential or ask for
// one.
var secretive = [...]string{"Cookie", "Authoriz", "Authentic", "Api-Key", "Apikey", "Secret", "Password", "Credential"}

// mayRepeat reports whether a field of that name is given again. Those of one
// connection, of the gate and of credentials are not.
func (p *Pass) mayRepeat(name string, o Outcome) bool {
	if name == "Content-Length" {
		return mayAnnounce(o) // else the body tells
	}
	if slices.Contains(hopByHop[:], name) || strings.HasSuffix(name, "-Token") || p.gate.owns(name) {
		return false
	}
	for _, line := range p.claim().capture.header["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(option), name) {
				return false
			}
		}
	}
	return !slices.ContainsFunc(secretive[:], func(part string) bool { return strings.Contains(name, part) })
}

// owns reports whether a field of that name is the gate's to set, or a credential's.
func (g *Gate) owns(name string) bool {
	return slices.Contains(g.fields.canonical, name) ||
		slices.ContainsFunc(g.opt.Profile.Credentials, func(l Location) bool { return l.header == name })
}
