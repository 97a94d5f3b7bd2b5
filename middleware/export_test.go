package middleware

import "net/http"

// What the fuzz targets and tests look at beneath the exported surface.
var (
	AppendPolicy  = appendPolicy
	AppendString  = appendString
	AppendWord    = appendWord
	SaneRequestID = saneRequestID
)

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
