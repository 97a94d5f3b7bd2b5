package middleware

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/clientip"
)

// What transports other than net/http need besides Begin and End, so that they
// read what a client sends, and tell it what it may know, as Gate.Handler does.

// Attempt returns the attempt to call rt that header fields make, read as
// [Gate.Handler] reads those of a request: the credential where Profile.Credentials
// has it, though never in a URL; the client's address behind TrustedProxies; and the
// request id, where it is trusted. values returns the lines of a field in the order
// in which they came, and is asked for names in the canonical form of http.Header.
// remote is the address of the connection's other end, with its port.
func (g *Gate) Attempt(rt *Route, remote string, values func(name string) []string) Attempt {
	lines := func(l *Location) []string {
		if l.query != "" {
			return nil
		}
		return values(l.header)
	}
	credential, at, found := extract(lines, g.opt.Profile.Credentials)
	a := Attempt{
		Route: rt, Credential: credential, Malformed: found == VerdictMalformed, gate: g, at: at,
		IP: g.ips.Walk(clientip.FromRemoteAddr(remote), values("X-Forwarded-For")),
	}
	if g.opt.TrustRequestID && g.fields.requestID != "" {
		if ids := values(g.fields.requestID); len(ids) == 1 {
			a.RequestID = ids[0]
		}
	}
	return a
}

// Hides reports whether a header field that came with the attempt, which
// [Gate.Attempt] returned, is not for the handler: because it holds the credential,
// because its name is that of a credential's with '_' for '-', or that of one of the
// gate's own Profile.Fields. Names are compared in any case, and '_' counts as '-'.
func (a *Attempt) Hides(name string) bool {
	if a.gate == nil || name == "" {
		return false
	}
	if a.at != nil && sameName(name, a.at.header) {
		return true
	}
	// Of two credentials, say, none is for the handler; and no credential is read from
	// a name with '_', though who is further in may take it for one.
	if a.Malformed || strings.IndexByte(name, '_') >= 0 {
		for i := range a.gate.opt.Profile.Credentials {
			if sameName(name, a.gate.opt.Profile.Credentials[i].header) {
				return true
			}
		}
	}
	for _, field := range a.gate.fields.canonical {
		if sameName(name, field) {
			return true
		}
	}
	return false
}

// sameName reports whether a header field of that name is taken for the canonical
// one by somebody.
func sameName(name, canonical string) bool {
	if len(name) != len(canonical) {
		return false
	}
	if strings.IndexByte(name, '_') >= 0 {
		name = strings.ReplaceAll(name, "_", "-")
	}
	return strings.EqualFold(name, canonical)
}

// Within reports whether ctx is inside of a pass for rt's operation: the gate stands
// on the way twice then, and the inner one has nothing to do. Inside of a pass for
// another operation of the same gate the error is a [*Denial], for a call is one
// operation.
func (rt *Route) Within(ctx context.Context) (bool, error) {
	again, d := rt.within(ctx)
	if d != nil {
		return false, d
	}
	return again, nil
}

func (rt *Route) within(ctx context.Context) (again bool, d *Denial) {
	outer, ok := PassFrom(ctx)
	if !ok || outer.gate != rt.gate || outer.over() {
		return false, nil
	}
	if outer.route.op.Name == rt.op.Name {
		return true, nil
	}
	cause := errors.New("operation " + rt.op.Name + " is mounted inside of " + outer.route.op.Name)
	return false, rt.misconfigured(ctx, outer.requestID, cause)
}

// Unguarded refuses a call that leads to no operation, and tells the Observer why:
// what nobody has priced is not done for free.
func (g *Gate) Unguarded(ctx context.Context, cause error) *Denial {
	rt := &Route{gate: g}
	return rt.misconfigured(ctx, "", cause)
}

// misconfigured refuses a call that was wired wrongly.
func (rt *Route) misconfigured(ctx context.Context, requestID string, cause error) *Denial {
	p := &Pass{gate: rt.gate, route: rt}
	p.identify(requestID)
	p.name()
	d := &Denial{Verdict: VerdictMisconfigured, err: cause}
	rt.gate.tell(p, d)
	rt.gate.decided(ctx, p, d)
	return d
}

// CheckMessages reports everything of the operation that a transport whose requests
// are messages cannot do: to quote and to count units from a request of net/http, and
// to give its answer again under an Idempotency-Key.
func (rt *Route) CheckMessages() error {
	f := errors.Faults{Op: "middleware.Operation(" + rt.op.Name + ")"}
	if rt.op.Price.kind == quotedPrice && rt.op.Price.of == nil {
		f.Add("the price is Quoted from a request of net/http, and calls are messages here; give QuotedOf(func)")
	}
	if rt.op.Units != nil && rt.op.UnitsOf == nil {
		f.Add("Units wants a request of net/http, and calls are messages here; set UnitsOf")
	}
	if rt.op.Idempotency != IdempotencyOff {
		f.Add("Idempotency is %v, and answers of net/http alone are given again; leave it off", rt.op.Idempotency)
	}
	return f.Err()
}

// OfMessage reports whether the operation's price or units are told of a message: a
// call that begins before it has one, as streams do, is refused.
func (rt *Route) OfMessage() bool { return rt.op.Price.of != nil || rt.op.UnitsOf != nil }

// checkRequests reports what of the operation net/http cannot do.
func (rt *Route) checkRequests() error {
	f := errors.Faults{Op: "middleware.Operation(" + rt.op.Name + ")"}
	if rt.op.Price.kind == quotedPrice && rt.op.Price.quote == nil {
		f.Add("the price is QuotedOf a message, and net/http has none; give Quoted(func)")
	}
	if rt.op.UnitsOf != nil && rt.op.Units == nil {
		f.Add("UnitsOf wants a message, and net/http has none; set Units")
	}
	return f.Err()
}

// of returns ask, or unless that is there what tells of the attempt's message.
func of[N ~int64](ask func(context.Context) (N, error), tell func(context.Context, any) (N, error), message any) func(context.Context) (N, error) {
	if ask != nil || tell == nil || message == nil {
		return ask
	}
	return func(ctx context.Context) (N, error) { return tell(ctx, message) }
}

// Fields yields the header fields of an answer to the pass, by name, as
// Profile.Fields has them; those whose value is not known are left out.
func (p *Pass) Fields() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for i, f := range p.gate.fields.fields {
			if i < len(p.http.values) && p.http.values[i][0] != "" && !yield(f.Name, p.http.values[i][0]) {
				return
			}
		}
	}
}

// Fields yields the header fields of the refusal, by name: Profile.Fields as far as
// they may be told, the challenge of RFC 9110 section 11.6.1, and Retry-After. A
// Denial that no gate returned has none.
func (d *Denial) Fields() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		p := d.pass
		if p == nil {
			return
		}
		if text := d.challenge(p.gate); text != "" && !yield(headerChallenge, text) {
			return
		}
		if d.RetryAfter > 0 && !yield(headerRetryAfter, strconv.FormatInt(d.RetrySeconds(), 10)) {
			return
		}
		view := limitView{policy: d.policy, states: d.states, now: p.gate.opt.Now}
		for _, f := range p.gate.fields.fields {
			text := p.text(f.Value)
			if f.limits() && len(d.states) > 0 {
				text = string(view.append(nil, f.Value))
			}
			if text != "" && !yield(f.Name, text) {
				return
			}
		}
	}
}

// Denial returns the denial that an error of [Meter.Add] is, told as the gate tells
// those of calls that have not begun; false when err tells neither of a lack of
// credits nor of a store that could not decide. A denial in its tree is returned as
// it is. The Observer is not told: the call was allowed.
func (p *Pass) Denial(err error) (*Denial, bool) {
	if d, ok := errors.AsType[*Denial](err); ok {
		return d, true
	}
	var d *Denial
	denied, isDenied := errors.AsType[*credits.DeniedError](err)
	_, coded := errors.AsType[*errors.Error](err)
	switch code := errors.CodeOf(err); {
	case isDenied:
		own := *denied
		own.Transient = false // what is held is the call's own, and not going to come back
		d = unpaid(&own, err)
	case coded && code == errors.Insufficient:
		d = &Denial{Verdict: VerdictCreditDenied, detail: errors.MessageOf(err), err: err}
	case coded && code == errors.Unavailable:
		d = &Denial{Verdict: VerdictStoreError, RetryAfter: storeRetry, err: err}
	default:
		return nil, false
	}
	p.gate.tell(p, d)
	return d, true
}

// Realm returns Profile.Realm, which challenges name.
func (g *Gate) Realm() string { return g.opt.Profile.Realm }
