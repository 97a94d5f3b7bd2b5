package endpoint

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// An Endpoint is one method of one path, and what OpenAPI says of it.
type Endpoint struct {
	Method string
	Path   string // below the prefix: "", or segments such as "/{key}/rotate"
	ID     string // the operationId
	Short  string // the summary
	Long   string // the description; "" adds none

	Query  []Param
	Header []Param
	Body   any // a value of the type that is read; nil: there is no body
	Status int // of a success
	Answer any // a value of the type that is written; nil: there is no body
	// Also are successes beside Status, with the same Answer.
	Also []int
	// Refused are the statuses of refusals beside those that every endpoint has.
	Refused []int
}

// A Param is a parameter in the query or the header.
type Param struct {
	Name string
	Type any // a value of its type
	Enum []string
	Doc  string
}

// A Prefix is where a table is mounted: segments, of which some are variables.
type Prefix []string

// ParsePrefix reads a path such as "/home/{account}/api-keys"; "" is the root. What
// is wrong with it is added to f.
func ParsePrefix(f *errors.Faults, text string) Prefix {
	if text == "" {
		return nil
	}
	rest, ok := strings.CutPrefix(text, "/")
	p := strings.Split(rest, "/")
	for i, s := range p {
		name, variable := variable(s)
		switch {
		case s == "", s == ".", s == "..":
			ok = false
		case variable && (name == "" || name == keyVariable || strings.ContainsAny(name, "{}.$") || slices.Contains(p[:i], s)):
			ok = false
		case !variable && strings.ContainsAny(s, "{}?#% "):
			ok = false
		}
	}
	if !ok {
		f.Add("prefix %q: give a path such as /settings/api-keys or /home/{account}/api-keys, without a slash at its end, each variable once and none called %s", text, keyVariable)
	}
	return p
}

// keyVariable is the variable of a table's own paths.
const keyVariable = "key"

// variable returns the name in "{name}".
func variable(segment string) (string, bool) {
	name, open := strings.CutPrefix(segment, "{")
	name, closed := strings.CutSuffix(name, "}")
	return name, open && closed
}

// Match finds the endpoint of a table that r asks for, and the key that its path
// names. Variables of the prefix become path values of r. The index is negative
// when there is none: the refusal says so.
func (p Prefix) Match(r *http.Request, table []Endpoint) (index int, key string, refused *Problem) {
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if last := len(segments) - 1; segments[last] == "" {
		segments = segments[:last] // with a slash at the end, or without
	}
	for i, s := range segments {
		text, err := url.PathUnescape(s)
		if err != nil {
			return -1, "", notFound()
		}
		segments[i] = text
	}
	rest, ok := p.match(segments, func(name, value string) {
		if r.PathValue(name) == "" {
			r.SetPathValue(name, value)
		}
	})
	if !ok {
		return -1, "", notFound()
	}
	var allow []string
	for i := range table {
		e := &table[i]
		own := Prefix(strings.Split(e.Path, "/")[1:])
		key := ""
		left, ok := own.match(rest, func(_, value string) { key = value })
		if !ok || len(left) > 0 {
			continue
		}
		if e.Method == r.Method || e.Method == http.MethodGet && r.Method == http.MethodHead {
			return i, key, nil
		}
		allow = append(allow, e.Method)
	}
	if len(allow) == 0 {
		return -1, "", notFound()
	}
	slices.Sort(allow)
	allow = slices.Compact(allow)
	p405 := Refuse(http.StatusMethodNotAllowed, "method_not_allowed", "this takes "+strings.Join(allow, ", "))
	p405.allow = strings.Join(allow, ", ")
	return -1, "", p405
}

func notFound() *Problem {
	return Refuse(http.StatusNotFound, "not_found", "there is nothing here")
}

// match takes p from the beginning of segments and tells what its variables are.
func (p Prefix) match(segments []string, tell func(name, value string)) (rest []string, ok bool) {
	if len(segments) < len(p) {
		return nil, false
	}
	for i, s := range p {
		name, variable := variable(s)
		switch {
		case variable && segments[i] != "":
			tell(name, segments[i])
		case segments[i] != s:
			return nil, false
		}
	}
	return segments[len(p):], true
}
