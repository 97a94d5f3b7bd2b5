package middleware

import (
	"context"
	"net/http"
	"strconv"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
)

// answered says what the client of a request gets that was done before.
func (g *Gate) answered(ctx context.Context, p *Pass, kept []byte) *Denial {
	var a idempotency.Answer
	if err := a.UnmarshalBinary(kept); err != nil {
		return undecided(ctx, err)
	}
	if a.Opaque {
		return &Denial{Verdict: VerdictIdempotencyOpaque, original: credits.OpID(a.Hold)}
	}
	d := &Denial{Verdict: VerdictReplayed, original: credits.OpID(a.Hold), replay: &a, policy: p.route.policy}
	// The limits as they are: a store that cannot tell says nothing of them.
	if result, err := p.Peek(p.asking(), p.route); err == nil && !result.Degraded {
		d.look(&result)
	}
	return d
}

// look notes what clients may know of limits that refused nothing.
func (d *Denial) look(result *ratelimit.Result) {
	for s := range result.States() {
		if told(s.Limit) {
			d.states = append(d.states, s)
		}
	}
}

// replay gives the answer again.
func (g *Gate) replay(w http.ResponseWriter, p *Pass, d *Denial) {
	h, a := w.Header(), d.replay
	p.confine(h)
	for name, value := range d.Fields() {
		h[name] = []string{value}
	}
	for name, values := range a.Header {
		if !g.owns(http.CanonicalHeaderKey(name)) { // which it may not have done then, under another profile
			h[name] = values
		}
	}
	h.Set(idempotency.HeaderReplayed, "true")
	if len(a.Body) > 0 {
		h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // the client may be gone; nothing to do about it
}
