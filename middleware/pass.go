package middleware

import (
	"context"
	"iter"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// A Pass is an attempt that was allowed, until it is ended. Its methods are safe
// for concurrent use; End acts once.
//
// One Pass is one allocation: the writer, the context and the request that the
// handler gets are parts of it.
type Pass struct {
	gate  *Gate
	route *Route
	key   apikey.Key
	ip    netip.Addr

	requestID string
	holdID    credits.OpID
	ipBucket  string // "" unless every call of the route needs it

	units   int64 // of the operation's Unit, 1 unless it measures
	limits  ratelimit.Result
	account credits.AccountID
	held    credits.Amount
	heldAt  int64                 // by the ledger's clock, in microseconds
	heldFor time.Duration         // until the hold times out; 0: never
	state   atomic.Int64          // what [Pass.Charge] stated, plus 1, or one of the states below
	meter   atomic.Pointer[Meter] // nil until it is asked for
	priced  string                // version of the price table, "" where there is none

	ownID    [idLength]byte
	leased   bool // a lease pays for the hold: only this process can settle it
	deciding detached
	settling detached
	http     exchange
}

// Key returns the key that was proven, as it was then.
func (p *Pass) Key() apikey.Key { return p.key }

// RequestID returns the request's id, which is in X-Request-Id too.
func (p *Pass) RequestID() string { return p.requestID }

// Operation returns the operation's name.
func (p *Pass) Operation() string { return p.route.op.Name }

// ClientIP returns the client's address; the zero Addr when it is not known.
func (p *Pass) ClientIP() netip.Addr { return p.ip }

// Limits yields what each limit of the operation said, grouped by subject, with
// this call counted.
func (p *Pass) Limits() iter.Seq[ratelimit.State] { return p.limits.States() }

// Balance returns the balance of the account that pays for the key. Without a
// ledger the error has code NotFound.
func (p *Pass) Balance(ctx context.Context) (credits.Balance, error) {
	const op = "middleware.Balance"
	if p.gate.ledger == nil {
		return credits.Balance{}, &errors.Error{Code: errors.NotFound, Op: op, Msg: "there are no credits here"}
	}
	balance, err := p.gate.ledger.Balance(ctx, p.gate.accountOf(p.key))
	return balance, errors.Wrap(op, err)
}

// identify makes the pass's own id, and takes the given request id if it is sane.
func (p *Pass) identify(requestID string) {
	appendID(p.ownID[:0])
	if saneRequestID(requestID) {
		p.requestID = requestID
	} else if newID := p.gate.opt.NewRequestID; newID != nil {
		if id := newID(); saneRequestID(id) {
			p.requestID = id
		}
	}
}

// name turns the ids, and of an allowed call the fields about limits, into strings,
// all of one allocation. It does so once.
func (p *Pass) name() {
	if p.holdID != "" {
		return
	}
	var room [256]byte
	var ends [maxFields]int
	b := append(room[:0], p.ownID[:]...)
	fields := p.gate.fields.fields
	if p.limits.Allowed && !p.limits.Degraded { // what remains is not known then
		view := limitView{policy: p.route.policy, result: &p.limits, visible: p.route.visible, now: p.gate.opt.Now}
		for i, f := range fields {
			if f.limits() && (f.Value != FieldPolicy || view.policy == "") {
				b = view.append(b, f.Value)
			}
			ends[i] = len(b)
		}
	}
	text := string(b)
	p.holdID = credits.OpID(text[:idLength])
	if p.requestID == "" {
		p.requestID = text[:idLength]
	}
	if !p.limits.Allowed && len(p.route.groups) > 0 {
		return
	}
	p.http.values = p.http.room[:]
	if len(fields) > len(p.http.room) {
		p.http.values = make([][1]string, len(fields))
	}
	start := idLength
	for i, f := range fields {
		switch {
		case !f.limits():
			p.http.values[i][0] = p.text(f.Value)
		case ends[i] > start:
			p.http.values[i][0] = text[start:ends[i]]
			start = ends[i]
		case f.Value == FieldPolicy && !p.limits.Degraded:
			p.http.values[i][0] = p.route.policy
		}
	}
}

// text returns the value of a field that does not speak of limits; "" when it is
// not known.
func (p *Pass) text(value FieldValue) string {
	switch value {
	case FieldRequestID:
		return p.requestID
	case FieldKeyID:
		return p.key.ID
	case FieldKeyName:
		return fieldText(p.key.Name)
	case FieldKeyScopes:
		return strings.ReplaceAll(p.key.Scopes.String(), " ", ",")
	}
	return ""
}

// An exchange is the part of a pass that belongs to net/http.
type exchange struct {
	node    passContext
	request http.Request
	rec     recorder
	at      *Location    // where the credential stood; nil: nowhere
	values  [][1]string  // of the gate's fields, in their order; "" where not known
	room    [4][1]string // for most of values
	cache   [1]string    // the value of Cache-Control
}
