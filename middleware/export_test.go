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
)

// Extract is extract, of a request with these headers.
func Extract(h http.Header, locations ...Location) (credential, header string, v Verdict) {
	credential, at, v := extract(&http.Request{Header: h, URL: &url.URL{}}, locations)
	if at != nil {
		header = at.header
	}
	return credential, header, v
}
