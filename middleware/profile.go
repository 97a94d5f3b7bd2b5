package middleware

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// A Profile says where credentials stand and how answers look. The zero value
// is the default: "Authorization: Bearer", problem details of RFC 9457, and the
// RateLimit fields of the IETF draft.
type Profile struct {
	// Credentials are the places where a key may stand; none means [Bearer] alone.
	// A request that has something in more than one of them is refused.
	Credentials []Location
	// Realm is named in challenges; "api" when empty. It is visible ASCII and
	// spaces, without '"' and '\'.
	Realm string
	// Answers override the status, the code and the message of verdicts.
	Answers map[Verdict]Answer
	// Fields are the header fields of answers, refusals among them; nil is
	// [DefaultFields], and an empty list is none. Fields of these names that a
	// client sends are taken from the request before the handler gets it.
	Fields []Field
	// ExactCase writes the names of Fields on HTTP/1.1 as they are spelled instead
	// of in canonical form, for clients that compare them. Neither Header.Get nor
	// Header.Set finds them then: a handler that sets one of them sends it twice.
	ExactCase bool
	// TellScopes gives refusals for want of a scope Denial.Granted: what the key
	// has.
	TellScopes bool
	// TellLimits has every refusal of a proven key tell, in Fields, what its limits
	// have left, for one more question to their store. Without it only refusals by
	// limits do: who lacks a scope need not learn how much others leave.
	TellLimits bool
	// Render writes the refusal. The gate has set Fields, Cache-Control,
	// WWW-Authenticate, Retry-After and the limit fields already; Render may
	// change them, must write d.Status, and must not tell more than the denial
	// does. Nil is [WriteProblem]; [JSON] makes others.
	Render func(w http.ResponseWriter, r *http.Request, d *Denial)
}

// An Answer is how a verdict is told; what is left zero is told as usual.
type Answer struct {
	Status int    // 400 to 599
	Code   string // [Denial.Code]
	// Message is [Denial.Detail]. In it {scope} stands for the scopes that are
	// missing, {limit} for the limits that are used up, {retry_after} for the
	// seconds to wait, and {upgrade} for what Options.Upgrade says.
	Message string
}

// fill sets the defaults and adds what is wrong. p owns its slices and map.
func (p *Profile) fill(f *errors.Faults) {
	if len(p.Credentials) == 0 {
		p.Credentials = []Location{Bearer()}
	}
	seen := make(map[string]bool)
	for _, l := range p.Credentials {
		l.check(f)
		if place := l.header + "?" + l.query; place != "?" {
			if seen[place] {
				f.Add("credential location %q is given twice; give each once", l)
			}
			seen[place] = true
		}
	}
	if p.Render == nil {
		p.Render = WriteProblem
	}
	if p.Realm == "" {
		p.Realm = "api"
	}
	if strings.ContainsFunc(p.Realm, func(c rune) bool { return !quotable(c) }) {
		f.Add("realm %q: give visible ASCII and spaces, without quotes and backslashes", p.Realm)
	}
	for v, a := range p.Answers {
		if v <= VerdictAllowed || int(v) >= len(verdicts) || v == VerdictReplayed {
			f.Add("answer of %v: give one of the refusing verdicts", v)
		}
		if a.Status != 0 && (a.Status < 400 || a.Status > 599) {
			f.Add("status %d of %v: give 400 to 599", a.Status, v)
		}
		if name := unknownPlace(a.Message); name != "" {
			f.Add("message of %v: %s stands for nothing; give {scope}, {limit}, {retry_after} or {upgrade}", v, name)
		}
	}
	if p.Fields == nil {
		p.Fields = DefaultFields()
	}
	checkFields(f, p.Fields)
	for _, field := range p.Fields {
		if slices.ContainsFunc(p.Credentials, func(l Location) bool { return l.header == http.CanonicalHeaderKey(field.Name) }) {
			f.Add("field %q: keys stand there; give another name", field.Name)
		}
	}
}

// unknownPlace returns the first {name} of a message that stands for nothing.
func unknownPlace(message string) string {
	for {
		_, rest, open := strings.Cut(message, "{")
		name, after, closed := strings.Cut(rest, "}")
		if !open || !closed {
			return ""
		}
		switch name {
		case "scope", "limit", "retry_after", "upgrade":
		default:
			return "{" + name + "}"
		}
		message = after
	}
}

// answer returns how the profile tells v.
func (p *Profile) answer(v Verdict) Answer {
	a, rule := p.Answers[v], v.rule()
	if a.Status == 0 {
		a.Status = rule.status
	}
	if a.Code == "" {
		a.Code = rule.public
	}
	return a
}

// challenge returns the scheme and realm of WWW-Authenticate.
func (p *Profile) challenge() string {
	scheme := "ApiKey"
	for _, l := range p.Credentials {
		if l.scheme != "" {
			scheme = "Bearer"
		}
	}
	return scheme + ` realm="` + p.Realm + `"`
}

// required tells a client that sent no key how to send one.
func (p *Profile) required() string {
	places := make([]string, len(p.Credentials))
	for i, l := range p.Credentials {
		places[i] = l.example()
	}
	return VerdictMissing.rule().detail + "; send " + strings.Join(places, " or ")
}
