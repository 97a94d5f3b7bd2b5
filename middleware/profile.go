package middleware

import (
	"net/http"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// A Profile says where credentials stand and how refusals look. The zero value
// is the default: "Authorization: Bearer", and problem details of RFC 9457.
type Profile struct {
	// Credentials are the places where a key may stand; none means [Bearer] alone.
	// A request that has something in more than one of them is refused.
	Credentials []Location
	// Realm is named in challenges; "api" when empty. It is visible ASCII and
	// spaces, without '"' and '\'.
	Realm string
	// Status overrides the HTTP status of verdicts: 400 to 599.
	Status map[Verdict]int
	// Render writes the refusal. The gate has set X-Request-Id, Cache-Control,
	// WWW-Authenticate, Retry-After and the limit fields already; Render may
	// change them, must write the status, and must not tell more than the denial
	// does. Nil is [WriteProblem].
	Render func(w http.ResponseWriter, r *http.Request, d *Denial)
}

// fill sets the defaults and adds what is wrong. p owns its slice and map.
func (p *Profile) fill(f *errors.Faults) {
	if len(p.Credentials) == 0 {
		p.Credentials = []Location{Bearer()}
	}
	seen := make(map[string]bool)
	for _, l := range p.Credentials {
		l.check(f)
		if seen[l.header] && l.header != "" {
			f.Add("credential header %q is given twice; give each header once", l.header)
		}
		seen[l.header] = true
	}
	if p.Render == nil {
		p.Render = WriteProblem
	}
	if p.Realm == "" {
		p.Realm = "api"
	}
	for i := range len(p.Realm) {
		if c := p.Realm[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			f.Add("realm %q: give visible ASCII and spaces, without quotes and backslashes", p.Realm)
			break
		}
	}
	for v, status := range p.Status {
		if v <= VerdictAllowed || int(v) >= len(answers) {
			f.Add("status of %v: give one of the refusing verdicts", v)
		}
		if status < 400 || status > 599 {
			f.Add("status %d of %v: give 400 to 599", status, v)
		}
	}
}

func (p *Profile) status(v Verdict) int {
	if s, ok := p.Status[v]; ok {
		return s
	}
	return v.Status()
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
	places := make([]string, 0, len(p.Credentials))
	for _, l := range p.Credentials {
		if l.scheme != "" {
			places = append(places, l.header+": Bearer KEY")
		} else {
			places = append(places, l.header+": KEY")
		}
	}
	return VerdictMissing.answer().detail + "; send the header " + strings.Join(places, " or ")
}
