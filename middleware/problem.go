package middleware

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// problem is the body of RFC 9457. Without a type it is "about:blank", whose
// title is the status phrase.
type problem struct {
	Type      string   `json:"type,omitempty"`
	Title     string   `json:"title"`
	Status    int      `json:"status"`
	Detail    string   `json:"detail"`
	Code      string   `json:"code"`
	RequestID string   `json:"request_id"`
	Violated  []string `json:"violated-policies,omitempty"`
	Missing   []string `json:"missing_scopes,omitempty"`
	Granted   []string `json:"granted_scopes,omitempty"`
	Source    string   `json:"limit_source,omitempty"`
	ClearsAt  string   `json:"clears_at,omitempty"`
	Upgrade   string   `json:"upgrade,omitempty"`
}

const quotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

// WriteProblem writes d as application/problem+json: the default Profile.Render.
// Besides the members of RFC 9457 the body has "code" ([Denial.Code]) and
// "request_id"; for limits "violated-policies"; for scopes "missing_scopes", and
// "granted_scopes" where the profile tells them; for credits "limit_source", what
// had no room ([credits.Source]), and "clears_at" where time alone makes some; and
// "upgrade" where Options.Upgrade says something.
func WriteProblem(w http.ResponseWriter, _ *http.Request, d *Denial) {
	body := problem{
		Title: http.StatusText(d.Status), Status: d.Status, Detail: d.Detail(),
		Code: d.Code, RequestID: d.RequestID, Missing: d.Missing, Granted: d.Granted, Upgrade: d.Upgrade,
	}
	if d.Verdict == VerdictRateLimited || d.Verdict == VerdictBusy {
		body.Type, body.Violated = quotaExceeded, d.Limits
	}
	if d.Source != credits.SourceNone {
		body.Source = d.Source.String()
	}
	if !d.ClearsAt.IsZero() {
		body.ClearsAt = d.ClearsAt.UTC().Format(time.RFC3339)
	}
	writeJSON(w, d.Status, "application/problem+json", body)
}

// JSON returns a [Profile.Render] that writes what body makes of the denial as
// application/json. Members come in the order of the fields of a struct; body must
// return something that encoding/json can write.
func JSON(body func(d *Denial) any) func(http.ResponseWriter, *http.Request, *Denial) {
	return func(w http.ResponseWriter, _ *http.Request, d *Denial) {
		writeJSON(w, d.Status, "application/json", body(d))
	}
}

// writeJSON writes v in one line, and {} for what JSON cannot say.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	if err := out.Encode(v); err != nil {
		b.Reset()
		b.WriteString("{}\n")
	}
	h := w.Header()
	h.Set(headerContentType, contentType)
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may be gone; nothing to do about it
}

// description returns what a challenge says of d: the profile's message where it
// has one, so that causes that it tells alike are told alike here too. What RFC
// 6750 section 3 does not allow in error_description is left out.
func (d *Denial) description() string {
	if d.said == "" {
		return d.Verdict.rule().detail
	}
	return strings.Map(func(c rune) rune {
		if !quotable(c) {
			return -1
		}
		return c
	}, d.said)
}

// challenge returns what WWW-Authenticate tells of d; "" when it is not told.
func (d *Denial) challenge(g *Gate) string {
	kind := d.Verdict.rule().challenge
	if kind == noChallenge && d.Status == http.StatusUnauthorized {
		kind = tokenChallenge // the profile says 401, which has one (RFC 9110 section 15.5.2)
	}
	switch kind {
	case bareChallenge:
		return g.realm
	case tokenChallenge:
		return g.realm + `, error="invalid_token", error_description="` + d.description() + `"`
	case scopeChallenge:
		return g.realm + `, error="insufficient_scope", scope="` + strings.Join(d.Missing, " ") + `"`
	}
	return ""
}

// quotable reports whether c may stand between quotes as it is.
func quotable(c rune) bool { return ' ' <= c && c < 0x7f && c != '"' && c != '\\' }

// refuse answers with d.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, p *Pass, d *Denial) {
	if d.replay != nil {
		g.replay(w, p, d)
		return
	}
	h := w.Header()
	h.Set(headerCacheControl, "no-store")
	h.Set(headerNoSniff, "nosniff")
	if d.Verdict == VerdictTooLarge && r.ProtoMajor == 1 {
		// net/http reads what is left of a body before it answers, unless the
		// connection closes: this client would be told after it has sent it all.
		h.Set("Connection", "close")
	}
	for name, value := range d.Fields() {
		h[name] = []string{value}
	}
	g.opt.Profile.Render(w, r, d)
}
