package middleware

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
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
}

const quotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

// WriteProblem writes d as application/problem+json: the default Profile.Render.
// Besides the members of RFC 9457 the body has "code" ([Verdict.Code]) and
// "request_id" (as in X-Request-Id), for limits "violated-policies", and for
// scopes "missing_scopes".
func WriteProblem(w http.ResponseWriter, _ *http.Request, d *Denial) {
	body := problem{
		Title: http.StatusText(d.Status), Status: d.Status, Detail: d.Detail(),
		Code: d.Verdict.Code(), RequestID: d.RequestID, Missing: d.Missing,
	}
	if d.Verdict == VerdictRateLimited {
		body.Type, body.Violated = quotaExceeded, d.Limits
	}
	text, err := json.Marshal(body)
	if err != nil { // strings and numbers always marshal
		text = []byte("{}")
	}
	h := w.Header()
	h.Set(headerContentType, "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(d.Status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone; nothing to do about it
}

// refuse answers with d.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, rt *Route, d *Denial) {
	h := w.Header()
	h.Set(headerRequestID, d.RequestID)
	h.Set(headerCacheControl, "no-store")
	h.Set(headerNoSniff, "nosniff")
	if d.Verdict == VerdictTooLarge && r.ProtoMajor == 1 {
		// net/http reads what is left of a body before it answers, unless the
		// connection closes: this client would be told after it has sent it all.
		h.Set("Connection", "close")
	}
	switch d.Verdict.answer().challenge {
	case bareChallenge:
		h.Set(headerChallenge, g.realm)
	case tokenChallenge:
		h.Set(headerChallenge, g.realm+`, error="invalid_token", error_description="`+d.Detail()+`"`)
	case scopeChallenge:
		h.Set(headerChallenge, g.realm+`, error="insufficient_scope", scope="`+strings.Join(d.Missing, " ")+`"`)
	}
	if s := d.RetrySeconds(); s > 0 {
		h.Set(headerRetryAfter, strconv.FormatInt(s, 10))
	}
	if len(d.states) > 0 {
		if d.Verdict == VerdictRateLimited && rt.policy != "" {
			h.Set(headerPolicy, rt.policy)
		}
		var b []byte
		for i := range d.states {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendState(b, &d.states[i])
		}
		h.Set(headerLimit, string(b))
	}
	d.Status = g.opt.Profile.status(d.Verdict)
	g.opt.Profile.Render(w, r, d)
}
