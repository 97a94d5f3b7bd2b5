package webhook

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of a header of an endpoint's own, in bytes.
const (
	maxHeaderName  = 128
	maxHeaderValue = 4 << 10
)

// reservedHeaders are set by this package, by HTTP itself, or sign a message for
// some scheme; so are those that begin with one of reservedPrefixes. In canonical
// form, and never written to.
var (
	reservedHeaders = [...]string{
		// HTTP.
		"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Date", "Expect", "Host", "Http2-Settings",
		"Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "Via",
		// Signatures.
		"Content-Digest", "I-Twilio-Idempotency-Token", "Paddle-Signature", "Repr-Digest", "Signature", "Signature-Input", "Stripe-Signature", "X-Github-Delivery",
		"X-Hub-Signature", "X-Hub-Signature-256", "X-Shopify-Hmac-Sha256", "X-Shopify-Webhook-Id", "X-Slack-Request-Timestamp",
		"X-Slack-Signature", "X-Twilio-Signature",
	}
	reservedPrefixes = [...]string{"Proxy-", "Svix-", "Webhook-"}
)

// checkHeaders adds to faults what is wrong with the headers of an endpoint. It
// quotes no value, as one may be a secret.
func checkHeaders(faults *errors.Faults, headers map[string]string) {
	if len(headers) > MaxHeaders {
		faults.Add("headers: %d; give up to %d", len(headers), MaxHeaders)
		return
	}
	seen := make(map[string]bool, len(headers))
	for name, value := range headers {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !headerName(name) || len(name) > maxHeaderName:
			faults.Add("header %.140q: not a name of 1 to %d letters, digits and '-'", name, maxHeaderName)
		case reserved(canonical):
			faults.Add("header %q: set by the sender itself; take it out", name)
		case seen[canonical]:
			faults.Add("header %q: there twice, in upper and lower case; give it once", name)
		case len(value) > maxHeaderValue || !headerValue(value) || strings.TrimSpace(value) != value:
			faults.Add("header %q: the value is not up to %d characters of ASCII without line breaks and without spaces at its ends", name, maxHeaderValue)
		}
		seen[canonical] = true
	}
}

// reserved reports whether a header in canonical form is not an endpoint's to
// set.
func reserved(canonical string) bool {
	return slices.Contains(reservedHeaders[:], canonical) ||
		slices.ContainsFunc(reservedPrefixes[:], func(prefix string) bool { return strings.HasPrefix(canonical, prefix) })
}

// headerName reports whether name is a token, RFC 9110 section 5.6.2.
func headerName(name string) bool {
	for i := range len(name) {
		if !tokenByte(name[i]) {
			return false
		}
	}
	return name != ""
}

// headerValue reports whether value holds nothing but visible ASCII, spaces and
// tabs.
func headerValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; (c < ' ' && c != '\t') || c >= 0x7f {
			return false
		}
	}
	return true
}
