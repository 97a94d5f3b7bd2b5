package webhook

import (
	"net/http"
	"strings"
)

const maxAddress = 8 << 10 // bytes of an address that is signed

// An address is where a request goes, in the one spelling that both sides can
// sign: scheme and host in lower case, without the port that goes without
// saying, and without a fragment.
type address struct {
	scheme    string // "https"
	authority string // "example.com:8443"
	request   string // "/path?query", as it is on the wire
}

// sentTo is the address of a request that is about to be sent. It returns what
// is wrong with it, or "".
func sentTo(r *http.Request) (_ address, fault string) {
	switch {
	case r.URL == nil:
		return address{}, "the request has no URL"
	case r.URL.User != nil:
		return address{}, "the URL holds user information; send it in a header"
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	return newAddress(r.URL.Scheme, host, r.URL.RequestURI())
}

// parseAddress reads the whole URL at which a request was received. It returns
// what is wrong with it, or "".
func parseAddress(text string) (_ address, fault string) {
	scheme, rest, _ := strings.Cut(text, "://")
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		slash = len(rest)
	}
	return newAddress(scheme, rest[:slash], rest[slash:])
}

func newAddress(scheme, host, request string) (_ address, fault string) {
	if len(host)+len(request) > maxAddress {
		return address{}, "the URL is longer than 8192 bytes"
	}
	scheme, host = strings.ToLower(scheme), strings.ToLower(host)
	var port string
	switch scheme {
	case "https":
		port = ":443"
	case "http":
		port = ":80"
	default:
		return address{}, "the URL is neither https nor http"
	}
	host = strings.TrimSuffix(strings.TrimSuffix(host, port), ":")
	if host == "" || !visible(host) || strings.ContainsAny(host, "/?#@*\\") {
		return address{}, "the URL has no host, or one that is not visible ASCII; write an international name as it is in DNS"
	}
	if !strings.HasPrefix(request, "/") || !visible(request) {
		return address{}, "the URL has no path of visible ASCII that begins with '/'"
	}
	return address{scheme: scheme, authority: host, request: request}, ""
}

// visible reports whether s is visible ASCII.
func visible(s string) bool { return !strings.ContainsFunc(s, invisible) }
