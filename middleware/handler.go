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
	rt, err := g.Route(op)
	if err != nil {
		panic(err) //nolint:forbidigo // start-up, as http.ServeMux.Handle does
	}
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("middleware: the handler of operation " + op.Name + " is nil; give one") //nolint:forbidigo // start-up, as http.ServeMux.Handle does
		}
		return &guarded{gate: g, route: rt, next: next}
	}
}

type guarded struct {
	gate  *Gate
	route *Route
	next  http.Handler
}

// ServeHTTP implements http.Handler.
func (h *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g, ctx := h.gate, r.Context()
	p := &Pass{gate: g, route: h.route}
	if outer, ok := PassFrom(ctx); ok && outer.gate == g && !outer.ended.Load() {
		if outer.route.op.Name == h.route.op.Name {
			h.next.ServeHTTP(w, r)
			return
		}
		p.identify(outer.requestID)
		p.name("")
		d := &Denial{Verdict: VerdictMisconfigured, RequestID: p.requestID, Operation: h.route.op.Name,
			err: errors.New("operation " + h.route.op.Name + " is mounted inside of " + outer.route.op.Name)}
		g.decided(ctx, p, d)
		g.refuse(w, r, h.route, d)
		return
	}
	credential, header, found := extract(r.Header, g.opt.Profile.Credentials)
	a := Attempt{
		Route: h.route, Credential: credential, Malformed: found == VerdictMalformed,
		IP:       g.ips.Resolve(r),
		tooLarge: g.opt.MaxBody > 0 && r.ContentLength > g.opt.MaxBody,
	}
	if g.opt.TrustRequestID {
		if ids := r.Header[headerRequestID]; len(ids) == 1 {
			a.RequestID = ids[0]
		}
	}
	p.http.node = passContext{Context: ctx, pass: p}
	if price := h.route.op.Price; price.kind == quotedPrice {
		a.Quote = func(context.Context) (credits.Amount, error) {
			p.prepare(w, r, header)
			return price.quote(&p.http.request)
		}
	}
	if d := g.begin(ctx, p, &a); d != nil {
		g.refuse(w, r, h.route, d)
		return
	}
	p.prepare(w, r, header)
	p.announce(w.Header())
	defer p.finish(ctx)
	h.next.ServeHTTP(p.http.rec.wrap(w), &p.http.request)
	p.http.completed = true
}

// prepare makes the request that the handler gets, once.
func (p *Pass) prepare(w http.ResponseWriter, r *http.Request, header string) {
	if p.http.request.Header != nil {
		return
	}
	p.http.request = *r.WithContext(&p.http.node)
	p.http.request.Header = maps.Clone(r.Header)
	delete(p.http.request.Header, header)
	if most := p.gate.opt.MaxBody; most > 0 && r.Body != nil && r.Body != http.NoBody {
		// The original writer lets MaxBytesReader close the connection.
		p.http.request.Body = http.MaxBytesReader(w, r.Body, most)
	}
}

// announce sets the headers of an answer that the handler gives.
func (p *Pass) announce(h http.Header) {
	v := &p.http.values
	v[0][0] = p.requestID
	h[headerRequestID] = v[0][:]
	if p.field != "" {
		v[1][0], v[2][0] = p.route.policy, p.field
		h[headerPolicy], h[headerLimit] = v[1][:], v[2][:]
	}
	if len(h[headerCacheControl]) == 0 {
		v[3][0] = "private"
		h[headerCacheControl] = v[3][:]
	}
}

// finish settles by what the wire was told. It is deferred and does not
// recover, so that panics and Goexit go on as they were.
func (p *Pass) finish(ctx context.Context) {
	x := &p.http
	gone := ctx.Err()
	o := Outcome{
		Status: x.rec.status, Completed: x.completed, Wrote: x.rec.wrote, Hijacked: x.rec.hijacked,
		ClientGone: gone != nil,
		TimedOut:   x.rec.timedOut || !x.rec.wrote && errors.Is(gone, context.DeadlineExceeded),
	}
	if x.completed && !x.rec.wrote && !x.rec.hijacked {
		o.Status = http.StatusOK
	}
	_ = p.End(ctx, o) // the answer is out; End has told the observer
}

// tooLarge reports whether err is of http.MaxBytesReader.
func tooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}
