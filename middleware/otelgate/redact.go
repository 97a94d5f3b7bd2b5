package otelgate

import (
	"net/url"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/keytoll/keytoll/middleware"
)

const redacted = "REDACTED"

// Redact returns a function that takes the credentials of g out of an attribute of
// the conventions for HTTP, and returns others as they are: the values of request
// headers that hold credentials, and of such parameters in url.full, url.query and
// the header Referer, and in http.url and http.target of old. Put it where attributes of spans pass, an
// exporter for example.
func Redact(g *middleware.Gate) func(attribute.KeyValue) attribute.KeyValue {
	headers := make(map[attribute.Key]bool)
	parameters := false
	for _, l := range g.Credentials() {
		header, parameter := l.Where()
		if header != "" {
			name := strings.ToLower(header)
			headers[attribute.Key("http.request.header."+name)] = true
			headers[attribute.Key("http.request.header."+strings.ReplaceAll(name, "-", "_"))] = true // until semantic conventions 1.21
		}
		parameters = parameters || parameter != ""
	}
	return func(kv attribute.KeyValue) attribute.KeyValue {
		switch kv.Key {
		case "url.full", "http.url", "http.target":
			if parameters {
				return kv.Key.String(redactURL(g, kv.Value.AsString()))
			}
		case "url.query":
			if parameters {
				u := g.Redact(&url.URL{RawQuery: kv.Value.AsString()})
				return kv.Key.String(strings.TrimPrefix(u, "?"))
			}
		case "http.request.header.referer":
			if parameters {
				pages := slices.Clone(kv.Value.AsStringSlice())
				for i, page := range pages {
					pages[i] = redactURL(g, page)
				}
				return kv.Key.StringSlice(pages)
			}
		default:
			if headers[kv.Key] {
				return kv.Key.StringSlice([]string{redacted})
			}
		}
		return kv
	}
}

// redactURL returns nothing of a text that is no URL: it cannot be told what is in
// it.
func redactURL(g *middleware.Gate, text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return redacted
	}
	return g.Redact(u)
}
