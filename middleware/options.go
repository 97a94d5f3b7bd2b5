package middleware

import (
	"net/netip"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// Options of a [Gate]. The zero value, and nil, are the defaults.
type Options struct {
	// Limits keeps the windows of all limits. Nil is a memory store of the gate's
	// own, with its defaults.
	Limits ratelimit.Store
	// Credits pays for operations. Nil means that every operation must be free.
	Credits *credits.Ledger
	// Leases, unless nil, sets aside and settles what operations cost at the speed of
	// memory; it must be a lessee of Credits. The caller closes it, after the last
	// request: see docs/leases.md for what a crash costs. What is kept for a job, by
	// [Pass.Detach] or a 202, is moved to Credits itself.
	Leases *credits.Lessee
	// Account names the account that pays for a key; nil is the key's owner. A
	// call whose account has no valid id is refused with 500.
	Account func(apikey.Key) credits.AccountID

	// Profile says where credentials stand and how answers look; the zero value
	// is the default profile.
	Profile Profile
	// Upgrade, unless nil, is asked after a proven key was refused, and what it
	// returns is told: a text or a link that leads to a plan with more. It must be
	// safe for concurrent use.
	Upgrade func(key apikey.Key, v Verdict) string
	// PassPreflights lets CORS preflights through to the handler without a
	// credential: OPTIONS with Origin and Access-Control-Request-Method. They count
	// against IPLimits, have no [Pass], are not told to the Observer unless those
	// refuse, and are for a handler that answers CORS. A pattern of a mux that names
	// another method lets none through.
	PassPreflights bool
	// Environment, unless empty, is the one that keys must belong to.
	Environment string

	// TrustedProxies are the addresses whose X-Forwarded-For is believed; none
	// means that the peer of the connection is the client. See package clientip.
	TrustedProxies []netip.Prefix
	// IPLimits bound what one client address may send, by /64 for IPv6, before
	// anything else is looked at. They count refused requests too: that is what
	// they are for. They are kept in Limits, and where that is in memory in a memory
	// store apart, lest strangers use up the room of keys; an address for which
	// there is no room passes. None means no such limit.
	IPLimits []ratelimit.Limit
	// FailedAuth is how many wrong keys one client address may present. It is
	// counted in this process only. The zero value is 20 at once and 20 a minute.
	// While it is used up, keys that were proven lately still pass; the address's
	// own successes give nothing back.
	FailedAuth ratelimit.Limit

	// Idempotency is for operations that heed the field Idempotency-Key. Nil means
	// that none may.
	Idempotency *IdempotencyOptions

	// MaxBody is the longest request body in bytes, enforced while it is read,
	// and at once where Content-Length tells; 0 means no bound.
	MaxBody int64
	// HoldTTL is how long a hold lives that nobody settles; 0 is the ledger's own
	// default, and its MaxHoldTTL the most. Operations may say otherwise.
	HoldTTL time.Duration
	// StoreTimeout bounds each question to a store before the handler runs. One that
	// takes longer closes the operation: 503, after up to SettleTimeout more where what
	// was asked may have to be undone. It does not bound functions of the host's, nor
	// the wait of Operation.MaxWait. 5 seconds when 0.
	StoreTimeout time.Duration
	// SettleTimeout bounds what is done after the request may be over: settling a
	// hold, giving limits back. 5 seconds when 0.
	SettleTimeout time.Duration

	// RetryJitter is up to how much longer than needed a refused client is told to
	// wait, each time anew, so that those who were refused together do not come back
	// together. It lengthens Retry-After and nothing else. 0 means none.
	RetryJitter time.Duration
	// Random is where RetryJitter comes from; nil is crypto/rand. It must be safe for
	// concurrent use.
	Random func() uint64

	// NewRequestID makes request ids; nil makes "req_" and 128 random bits.
	// It must be safe for concurrent use and return 1 to 128 letters, digits and
	// the characters - _ . : = + / ; anything else is replaced by a made one.
	NewRequestID func() string
	// TrustRequestID takes the X-Request-Id that the client sent, where it is of
	// that form. Holds are named by ids of the gate's own either way.
	TrustRequestID bool

	// Observer is told of every decision and settlement. Nil tells nobody of what
	// goes well, and reports failures of stores through slog.Default, as net/http
	// does with panics.
	Observer Observer
	// Now stamps what the Observer is told, and runs the failed-auth limiter and
	// the default limit store; nil is the clock of the machine.
	Now func() time.Time
}

// defaultFailedAuth is generous to people and useless for guessing.
func defaultFailedAuth() ratelimit.Limit {
	return ratelimit.Limit{Name: "failed_auth", Count: 20, Period: time.Minute}
}

// payer returns who sets credits aside and settles them; nil when nobody does.
func (o *Options) payer() payer {
	switch {
	case o.Leases != nil:
		return o.Leases
	case o.Credits != nil:
		return o.Credits
	}
	return nil
}

// check adds what is wrong with the plain fields of o.
func (o *Options) check(f *errors.Faults) {
	if o.Leases != nil && !o.Leases.Of(o.Credits) {
		f.Add("Leases is not a lessee of Credits; give one that was made with it, or none")
	}
	if o.MaxBody < 0 {
		f.Add("MaxBody is %d; give 0 (no bound) or more bytes", o.MaxBody)
	}
	if o.HoldTTL < 0 {
		f.Add("HoldTTL is %v; give 0 (the ledger's default) or more", o.HoldTTL)
	}
	if o.RetryJitter < 0 {
		f.Add("RetryJitter is %v; give 0 (none) or more", o.RetryJitter)
	}
	if o.StoreTimeout < 0 {
		f.Add("StoreTimeout is %v; give 0 (5 s) or more", o.StoreTimeout)
	}
	if o.SettleTimeout < 0 {
		f.Add("SettleTimeout is %v; give 0 (5 s) or more", o.SettleTimeout)
	}
}
