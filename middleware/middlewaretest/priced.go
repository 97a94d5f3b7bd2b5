package middlewaretest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/middleware"
)

// WantPriced fails the test for every pattern behind which the fixture's gate does
// not stand: somebody could call it for nothing. It sends h a request without a
// key for each, so h may be a router of any kind; a handler that the gate does not
// guard runs. A [middleware.Mux] knows its patterns: without any, all but the
// public ones are tried.
//
// A pattern is a method and a path, "POST /v1/images/{id}"; without a method it is
// asked by GET. Wildcards are written as net/http, chi, gin or echo do: {name},
// {name...}, :name, *name.
func (f *Fixture) WantPriced(h http.Handler, patterns ...string) {
	f.tb.Helper()
	if m, ok := h.(*middleware.Mux); ok && len(patterns) == 0 {
		patterns = mounted(m, func(r *middleware.Route) bool { return r != nil })
	}
	if len(patterns) == 0 {
		f.tb.Error("middlewaretest: WantPriced got no pattern, so it can find nothing; give those of your routes")
	}
	for _, pattern := range patterns {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = http.MethodGet, pattern
		}
		if !strings.Contains(path, "/") {
			f.tb.Errorf("middlewaretest: the pattern %q has no path; write it as \"POST /v1/images\"", pattern)
			continue
		}
		before := len(f.Decisions())
		w := f.Do(h, None, method, concrete(strings.TrimLeft(path, " \t")))
		if !refusedByGate(f.Decisions()[before:]) {
			f.tb.Errorf("middlewaretest: %s answered %d without a key, and the gate was not asked; put Gate.Handler in front of it%s", pattern, w.Code, hint(w.Code))
		}
	}
}

// WantPublic fails the test unless these patterns, in any order, and no others, are
// public in m: nobody opens a route by the way.
func (f *Fixture) WantPublic(m *middleware.Mux, patterns ...string) {
	f.tb.Helper()
	got := mounted(m, func(r *middleware.Route) bool { return r == nil })
	for _, pattern := range got {
		if !slices.Contains(patterns, pattern) {
			f.tb.Errorf("middlewaretest: %s is public; mount it with Mux.Handle, or expect it", pattern)
		}
	}
	for _, pattern := range patterns {
		if !slices.Contains(got, pattern) {
			f.tb.Errorf("middlewaretest: %s is not public; mount it with Mux.Public, or do not expect it", pattern)
		}
	}
}

// mounted returns the patterns of m whose route is one that is asked for.
func mounted(m *middleware.Mux, asked func(*middleware.Route) bool) []string {
	var patterns []string
	for _, r := range m.Routes() {
		if asked(r.Route) {
			patterns = append(patterns, r.Pattern)
		}
	}
	return patterns
}

func refusedByGate(decisions []middleware.Decision) bool {
	for _, d := range decisions {
		switch d.Verdict {
		case middleware.VerdictMissing, middleware.VerdictIPLimited, middleware.VerdictAuthLimited:
			return true
		default:
		}
	}
	return false
}

func hint(status int) string {
	if status == http.StatusNotFound || status == http.StatusMethodNotAllowed {
		return ", or correct the pattern"
	}
	return ""
}

// concrete returns a path, or a host and a path, that a pattern matches.
func concrete(pattern string) string {
	host, path, _ := strings.Cut(pattern, "/")
	var b strings.Builder
	for segment := range strings.SplitSeq(path, "/") {
		b.WriteByte('/')
		switch {
		case segment == "{$}":
		case strings.HasPrefix(segment, ":"), strings.HasPrefix(segment, "*"):
			b.WriteByte('x')
		default:
			for {
				before, rest, open := strings.Cut(segment, "{")
				b.WriteString(before)
				if !open {
					break
				}
				b.WriteByte('1') // what most expressions of a parameter match
				_, segment, _ = strings.Cut(rest, "}")
			}
		}
	}
	if host != "" {
		return "http://" + host + b.String()
	}
	return b.String()
}
