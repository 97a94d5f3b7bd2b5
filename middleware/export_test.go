package middleware

import (
	"net/http"
	"net/url"
)

// What the fuzz targets and tests look at beneath the exported surface.
var (
	AppendPolicy  = appendPolicy
	AppendString  = appendString
	AppendWord    = appendWord
	SaneRequestID = saneRequestID
	FieldText     = fieldText
)

// StripQuery takes the parameter name out of a raw query, and says what it held.
func StripQuery(raw, name string) (left string, held, still []string) {
	l := InsecureQuery(name)
	r := &http.Request{URL: &url.URL{Path: "/", RawQuery: raw}}
	held = l.lines(r)
	l.strip(r)
	return r.URL.RawQuery, held, l.lines(r)
}

// Extract is extract, of these headers.
func Extract(h http.Header, locations ...Location) (credential, header string, v Verdict) {
	credential, at, v := extract(func(l *Location) []string { return h[l.header] }, locations)
	if at != nil {
		header = at.header
	}
	return credential, header, v
}

// Variants returns how many sets of counts rt keeps compiled.
func Variants(rt *Route) int {
	n := 0
	for i := range rt.groups {
		if v := rt.groups[i].variants; v != nil {
			v.mu.RLock()
			n += len(v.compiled)
			v.mu.RUnlock()
		}
	}
	return n
}
