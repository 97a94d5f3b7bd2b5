package middleware

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/keytoll/keytoll/credits"
)

// An Attempt is one call that asks to pass, free of any transport.
type Attempt struct {
	// Route is what is called; required, and one of the gate's own.
	Route *Route
	// Credential is the key's text as presented; "" when there was none.
	Credential string
	// Malformed says that something was presented that cannot be one credential:
	// two of them, for example. Credential is not looked at then.
	Malformed bool
	// IP is the client's address; the zero Addr when it is not known, and then
	// all such clients share one bucket.
	IP netip.Addr
	// RequestID is taken as it is when it is 1 to 128 letters, digits and
	// - _ . : = + / ; otherwise one is made.
	RequestID string
	// Quote is asked for the price of a [Quoted] operation instead of its own
	// function, which needs a request of net/http. It is called at most once.
	Quote func(ctx context.Context) (credits.Amount, error)

	// Units is asked for the Units of the operation instead of its own function,
	// under the same rules.
	Units func(ctx context.Context) (int64, error)
	// Message is the request of transports that have one message in the place of a
	// request of net/http: [QuotedOf] and Operation.UnitsOf are asked with it, where
	// Quote and Units are nil.
	Message any

	gate     *Gate     // of an attempt that Gate.Attempt returned
	at       *Location // where its credential stood
	tooLarge bool      // Content-Length is more than MaxBody

	request func() *http.Request // what the handler will get; nil unless the operation looks for an Idempotency-Key
}
