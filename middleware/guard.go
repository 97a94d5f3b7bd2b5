package middleware

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// Public marks a handler that is meant to be reached without a key, for
// [Gate.Guard]. It changes nothing else.
func Public(h http.Handler) http.Handler {
	if h == nil {
		panic("middleware: the public handler is nil; give one") //nolint:forbidigo // start-up, as http.ServeMux.Handle does
	}
	return public{h}
}

type public struct{ http.Handler }

// Guard puts a watch in front of a mux whose routes are protected one by one. Each
// of the patterns, written as they were given to the mux, must lead to a handler
// of this gate, to a [Mux] of it, to another guarded mux, or to one that is marked
// [Public]; the error names every one that does not. Give all patterns of the mux:
// it cannot be asked for them. A request that reaches any other handler all the
// same is refused with 500, and the Observer is told. 404, 405 and redirects of
// the mux pass.
//
// Wrap the guarded mux in what else stands in front of all routes, such as CORS or
// logs: a handler of the gate inside of something else is not recognized. Where all
// routes are new, [Gate.Mux] needs no guard. The mux is asked twice for each
// request.
func (g *Gate) Guard(mux *http.ServeMux, patterns ...string) (http.Handler, error) {
	f := errors.Faults{Op: "middleware.Guard"}
	if mux == nil {
		f.Add("mux is nil; give an *http.ServeMux")
		return nil, f.Err()
	}
	if len(patterns) == 0 {
		f.Add("no patterns; give every pattern of the mux")
	}
	for _, pattern := range patterns {
		switch h, met := lookUp(mux, pattern); {
		case h == nil && met == "":
			f.Add("pattern %q: the mux does not have it; give it as it was registered", pattern)
		case h == nil:
			f.Add("pattern %q: the mux does not have it, and a request for it meets %q; give it as it was registered", pattern, met)
		case !g.guards(h):
			f.Add("pattern %q: its handler, a %T, is not behind the gate; wrap it by Gate.Handler, or by Public when it needs no key", pattern, h)
		}
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &watch{gate: g, mux: mux, route: &Route{gate: g}}, nil
}

// guards reports whether h lets nobody past the gate who was not told to.
func (g *Gate) guards(h http.Handler) bool {
	switch h := h.(type) {
	case *guarded:
		return h.gate == g
	case *Mux:
		return h.gate == g
	case *watch:
		return h.gate == g
	case public:
		return true
	}
	return false
}

type watch struct {
	gate  *Gate
	mux   *http.ServeMux
	route *Route // of nothing, for what is told of a refusal
}

// ServeHTTP implements http.Handler.
func (h *watch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, pattern := h.mux.Handler(r)
	if pattern == "" || h.gate.guards(handler) || redirects(handler) {
		h.mux.ServeHTTP(w, r)
		return
	}
	p := &Pass{gate: h.gate, route: h.route, ip: h.gate.ips.Resolve(r)}
	p.identify("")
	p.name()
	d := &Denial{Verdict: VerdictMisconfigured, err: errors.New("the handler of pattern " + pattern + " is not behind the gate")}
	h.gate.tell(p, d)
	h.gate.decided(r.Context(), p, d)
	h.gate.refuse(w, r, p, d)
}

// redirects reports whether h does nothing but that. A mux makes such handlers for
// paths that are not in canonical form.
func redirects(h http.Handler) bool {
	return reflect.TypeOf(h) == reflect.TypeOf(http.RedirectHandler("/", http.StatusTemporaryRedirect))
}

// probe stands for a wildcard of a pattern.
const probe = "-keytoll-probe-"

// maxProbe is how many segments deep a subtree is probed: its own pattern is met
// below what more special patterns take.
const maxProbe = 8

// lookUp returns the handler that mux has for the pattern; nil, and the pattern
// that a request meets instead, when it does not have it.
func lookUp(mux *http.ServeMux, pattern string) (h http.Handler, met string) {
	method, rest, ok := strings.Cut(pattern, " ")
	if !ok {
		method, rest = http.MethodGet, pattern
	}
	rest = strings.TrimLeft(rest, " \t")
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return nil, ""
	}
	path, subtree := probePath(rest[slash:])
	for range maxProbe {
		r := &http.Request{Method: method, Host: rest[:slash], URL: &url.URL{Path: path}}
		if h, met = mux.Handler(r); met == pattern {
			return h, met
		}
		if !subtree {
			break
		}
		path = strings.TrimSuffix(path, "/") + "/" + probe
	}
	return nil, met
}

// probePath returns a path that matches the path of a pattern, and whether it
// matches all below it too.
func probePath(pattern string) (path string, subtree bool) {
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		switch {
		case s == "{$}":
			segments[i] = ""
		case strings.HasPrefix(s, "{"):
			segments[i], subtree = probe, strings.HasSuffix(s, "...}")
		}
	}
	return strings.Join(segments, "/"), subtree || strings.HasSuffix(pattern, "/")
}
