package middleware

import (
	"context"
	"maps"
	"net/http"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// Handler returns the middleware that puts the gate in front of a handler, for
// one operation. A wrong operation is a wiring mistake: like http.ServeMux.Handle
// it panics, with the error of [Gate.Check], and so does a nil handler.
//
// Mount it per route, outside of any http.TimeoutHandler. One request is one
// operation: a second gate of the same operation further in does nothing, and
// one of another operation refuses with 500.
//
// The handler gets a copy of the request without the credential and with the
// [Pass] in its context. Panics are not recovered.
func (g *Gate) Handler(op Operation) func(http.Handler) http.Handler {
	rt := g.mustRoute(op)
	return func(next http.Handler) http.Handler { return rt.guard(next) }
}

func (g *Gate) mustRoute(op Operation) *Route {
	rt, err := g.Route(op)
	if err == nil {
		err = rt.checkRequests()
	}
	if err != nil {
		panic(err) //nolint:forbidigo // start-up, as http.ServeMux.Handle does
	}
	return rt
}

func (rt *Route) guard(next http.Handler) *guarded {
	if next == nil {
		panic("middleware: the handler of operation " + rt.op.Name + " is nil; give one") //nolint:forbidigo // start-up, as http.ServeMux.Handle does
	}
	return &guarded{gate: rt.gate, route: rt, next: next}
}

type guarded struct {
	gate  *Gate
	route *Route
	next  http.Handler
}

// ServeHTTP implements http.Handler.
func (h *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g, ctx := h.gate, r.Context()
	switch again, d := h.route.within(ctx); {
	case d != nil:
		g.refuse(w, r, d.pass, d)
		return
	case again:
		h.next.ServeHTTP(w, r)
		return
	}
	p := &Pass{gate: g, route: h.route}
	if g.opt.PassPreflights && preflight(r) {
		h.passPreflight(w, r, p)
		return
	}
	lines := func(l *Location) []string { return l.lines(r) }
	credential, at, found := extract(lines, g.opt.Profile.Credentials)
	p.http.at = at
	a := Attempt{
		Route: h.route, Credential: credential, Malformed: found == VerdictMalformed,
		IP:       g.ips.Resolve(r),
		tooLarge: g.opt.MaxBody > 0 && r.ContentLength > g.opt.MaxBody,
	}
	if g.opt.TrustRequestID && g.fields.requestID != "" {
		if ids := r.Header[g.fields.requestID]; len(ids) == 1 {
			a.RequestID = ids[0]
		}
	}
	p.http.node = passContext{Context: ctx, pass: p}
	if quote := h.route.op.Price.quote; quote != nil {
		a.Quote = func(context.Context) (credits.Amount, error) {
			p.prepare(w, r)
			return quote(&p.http.request)
		}
	}
	if units := h.route.op.Units; units != nil {
		a.Units = func(context.Context) (int64, error) {
			p.prepare(w, r)
			return units(&p.http.request)
		}
	}
	if h.route.op.Idempotency != IdempotencyOff {
		a.request = func() *http.Request {
			p.prepare(w, r)
			return &p.http.request
		}
	}
	if d := g.begin(ctx, p, &a); d != nil {
		g.refuse(w, r, p, d)
		return
	}
	p.prepare(w, r)
	p.announce(w.Header())
	if c := p.claim(); c != nil {
		c.open(w.Header())
	}
	defer p.finish(ctx)
	h.next.ServeHTTP(p.http.rec.wrap(w, &p.http.node), &p.http.request)
	p.http.rec.completed = true
}

// preflight reports whether r is what browsers send before a request of another
// origin (Fetch standard, section 3.2.2): it never carries a credential.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// passPreflight lets r through when its address may send more.
func (h *guarded) passPreflight(w http.ResponseWriter, r *http.Request, p *Pass) {
	g, ctx := h.gate, r.Context()
	p.identify("")
	p.ip = g.ips.Resolve(r)
	if g.ipLimits.Len() > 0 {
		p.decides(ctx)
		d := g.limitIP(ctx, p)
		p.deciding.stop()
		if d != nil {
			p.name()
			g.tell(p, d)
			g.decided(ctx, p, d)
			g.refuse(w, r, p, d)
			return
		}
	}
	p.http.node = passContext{Context: ctx}
	p.prepare(w, r)
	for i := range g.opt.Profile.Credentials { // it needs none, so whatever stands there goes
		if l := &g.opt.Profile.Credentials[i]; !l.absent(r) {
			l.strip(&p.http.request)
		}
	}
	h.next.ServeHTTP(w, &p.http.request)
}

// prepare makes the request that the handler gets, once: without the credential,
// and without fields that are the gate's to set.
func (p *Pass) prepare(w http.ResponseWriter, r *http.Request) {
	x := &p.http
	if x.request.Header != nil {
		return
	}
	x.request = *r.WithContext(&x.node)
	x.request.Header = maps.Clone(r.Header)
	if x.at != nil {
		x.at.strip(&x.request)
	}
	p.gate.fields.strip(x.request.Header)
	if most := p.gate.opt.MaxBody; most > 0 && r.Body != nil && r.Body != http.NoBody {
		// The original writer lets MaxBytesReader close the connection.
		x.request.Body = http.MaxBytesReader(w, r.Body, most)
	}
	if r.Trailer != nil {
		p.gate.fields.stripTrailer(&x.request)
	}
}

// announce sets the headers of an answer that the handler gives.
func (p *Pass) announce(h http.Header) {
	x := &p.http
	for i, f := range p.gate.fields.fields {
		if x.values[i][0] != "" {
			h[f.Name] = x.values[i][:]
		}
	}
	p.confine(h)
}

// announceAgain sets those of the headers that are not there any more.
func (p *Pass) announceAgain(h http.Header) {
	x := &p.http
	for i, f := range p.gate.fields.fields {
		if x.values[i][0] != "" && len(h[f.Name]) == 0 {
			h[f.Name] = x.values[i][:]
		}
	}
	if len(h[headerCacheControl]) == 0 {
		p.confine(h)
	}
}

// confine keeps the answer out of caches that others see.
func (p *Pass) confine(h http.Header) {
	x := &p.http
	switch {
	case x.at != nil && x.at.query != "":
		x.cache[0] = "private, no-store" // RFC 6750 section 2.3
		if len(h[headerReferrers]) == 0 {
			h.Set(headerReferrers, "no-referrer")
		}
	case len(h[headerCacheControl]) == 0:
		x.cache[0] = "private"
	default:
		return
	}
	h[headerCacheControl] = x.cache[:]
}

// finish settles by what the wire was told. It is deferred and does not
// recover, so that panics and Goexit go on as they were.
func (p *Pass) finish(ctx context.Context) {
	p.http.rec.restore()
	o := p.http.rec.outcome(ctx.Err())
	method := p.http.request.Method
	o.Probe = method == http.MethodHead || method == http.MethodOptions
	_ = p.End(ctx, o) // the answer is out; End has told the observer
}

// tooLarge reports whether err is of http.MaxBytesReader.
func tooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}
