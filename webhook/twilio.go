package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Twilio signs the address, and the parameters of a form: HMAC-SHA-1 of the URL
// and, sorted by name, each name and value. A body that is no form is signed by
// its SHA-256, which is a parameter of the URL. See
// https://www.twilio.com/docs/usage/security#validating-requests.
const (
	twilioBodyParam = "bodySHA256"
	maxForm         = 1000 // parameters of a form
)

// twilioBase appends what Twilio signs of a request to dst, and checks the body
// against the address. It returns what is wrong with the request, or "".
func twilioBase(dst []byte, target string, contentType string, body []byte) (base []byte, fault string) {
	dst = append(dst, target...)
	_, query, _ := strings.Cut(target, "?")
	digest, n := queryParam(query, twilioBodyParam)
	switch {
	case n > 1:
		return nil, "the URL has " + strconv.Itoa(n) + " parameters bodySHA256; send one"
	case n == 1:
		if !bodyHexMatches(digest, body) {
			return nil, "bodySHA256 is not the SHA-256 of the body in lower-case hex; the body was changed on its way, or decoded"
		}
		return dst, ""
	case len(body) == 0:
		return dst, ""
	case !isForm(contentType):
		return nil, "the body is neither a form nor named by a parameter bodySHA256 of the URL, so nothing signs it"
	}
	return appendForm(dst, body)
}

// appendForm appends the parameters of a form. A value that is there twice under
// one name counts once.
func appendForm(dst, body []byte) (_ []byte, fault string) {
	if strings.Count(string(body), "&") >= maxForm {
		return nil, "the form has more than 1000 parameters"
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, "the body is not a form in application/x-www-form-urlencoded"
	}
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := form[name]
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			dst = append(dst, name...)
			dst = append(dst, value...)
		}
	}
	return dst, ""
}

// twilioTargets are the addresses that Twilio may have signed: with the port that
// the address names, or the one that goes without saying, and with none.
func twilioTargets(a address) [2]string {
	host, port := a.authority, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:i], host[i:]
	}
	if port == "" {
		port = map[bool]string{true: ":443", false: ":80"}[a.scheme == "https"]
	}
	start := a.scheme + "://" + host
	return [2]string{start + a.request, start + port + a.request}
}

// queryParam returns the first value of a parameter whose name needs no escapes,
// and how often it is there.
func queryParam(query, name string) (value string, n int) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if key, v, _ := strings.Cut(pair, "="); key == name {
			if n == 0 {
				value = v
			}
			n++
		}
	}
	return value, n
}

// bodyHexMatches reports in constant time whether text is the SHA-256 of body.
func bodyHexMatches(text string, body []byte) bool {
	sum := sha256.Sum256(body)
	var want [2 * sha256.Size]byte
	hex.Encode(want[:], sum[:])
	return subtle.ConstantTimeCompare(want[:], []byte(text)) == 1
}

// isForm reports whether a Content-Type is that of a form.
func isForm(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded")
}

// nameBody adds the parameter that signs the body of r to its URL, if nothing
// else would.
func nameBody(r *http.Request, contentType string, body []byte) {
	if _, n := queryParam(r.URL.RawQuery, twilioBodyParam); n > 0 || len(body) == 0 || isForm(contentType) {
		return
	}
	sum := sha256.Sum256(body)
	param := twilioBodyParam + "=" + hex.EncodeToString(sum[:])
	if r.URL.RawQuery != "" {
		param = r.URL.RawQuery + "&" + param
	}
	r.URL.RawQuery = param
}
