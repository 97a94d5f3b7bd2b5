package middleware_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

func TestMountedTwiceChargesOnce(t *testing.T) {
	onTheWire(t, blueprint{}, func(t *testing.T, x *wire, mux *middleware.Mux) {
		x.grant(10)
		op := priced()
		op.Limits = []middleware.Limit{perMinute("minute", 10)}
		mux.Handle("/", op, x.gate.Handler(op)(says(200)))
		a := x.ask(t, "GET", "/", x.key("image:generate").Secret.Reveal())
		if a.status != 200 || a.header.Get("RateLimit") != `"minute";r=9;t=60` || len(a.header["Ratelimit"]) != 1 {
			t.Errorf("status %d, RateLimit %q", a.status, a.header["Ratelimit"])
		}
		x.spent(5, 0)
		if n := len(x.journal.settlements()); n != 1 || len(x.journal.verdicts()) != 1 {
			t.Errorf("told %v, and of %d settlements", x.journal.verdicts(), n)
		}
	})
}

// Passing an inner gate of another operation unasked would skip its scopes and
// its price, so it refuses.
func TestAnotherOperationInsideRefuses(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	inner := h.gate.Handler(priced())(never(t))
	w := h.call(h.gate.Handler(open())(inner), bearer(h.key("image:generate")))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if vs := h.journal.verdicts(); vs[len(vs)-1] != middleware.VerdictMisconfigured {
		t.Errorf("verdicts %v", vs)
	}
	h.spent(0, 0)
}

func TestEndActsOnce(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	route, err := h.gate.Route(priced())
	must(t, err)
	p, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: h.key("image:generate").Secret.Reveal()})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, p.End(ctx, middleware.Outcome{Status: 200, Completed: true}))
	must(t, p.End(ctx, middleware.Outcome{Status: 500, Completed: true}))
	h.spent(5, 0)
	if err := p.Charge(0); errors.CodeOf(err) != errors.Conflict {
		t.Errorf("a charge after the end: %v", err)
	}
	h.spent(5, 0)
}

// A deadline outside that passed before anything was written means that the
// handler's silence was not the answer.
func TestDeadlineBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, blueprint{})
		h.grant(10)
		handler := h.gate.Handler(priced())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		h.call(handler, bearer(h.key("image:generate")), func(r *http.Request) { *r = *r.WithContext(ctx) })
		h.spent(0, 0)
		if got := h.journal.settlements()[0].Ending; got != middleware.EndTimeout {
			t.Errorf("ending %v, want timeout", got)
		}
	})
}

// What other transports report is classified by the same rules.
func TestOutcomes(t *testing.T) {
	for _, tt := range []struct {
		outcome middleware.Outcome
		want    middleware.Ending
	}{
		{middleware.Outcome{Completed: true}, middleware.EndSuccess},
		{middleware.Outcome{Completed: true, Status: 101}, middleware.EndHijack},
		{middleware.Outcome{Completed: true, Status: 150}, middleware.EndUnknown},
		{middleware.Outcome{Completed: true, Status: -1}, middleware.EndUnknown},
		{middleware.Outcome{Status: 500, Wrote: true}, middleware.EndPartialPanic},
		{middleware.Outcome{Status: 200, Wrote: true, TimedOut: true}, middleware.EndTimeout},
		{middleware.Outcome{Completed: true, Hijacked: true, ClientGone: true}, middleware.EndHijack},
		{middleware.Outcome{Completed: true, Status: 404, ClientGone: true}, middleware.EndClientError},
		{middleware.Outcome{Completed: true, Status: 202, ClientGone: true}, middleware.EndAccepted},
		{middleware.Outcome{Completed: true, Status: 200, ClientGone: true}, middleware.EndClientGone},
		{middleware.Outcome{}, middleware.EndPanic},
	} {
		if got := tt.outcome.Ending(); got != tt.want {
			t.Errorf("%+v is %v, want %v", tt.outcome, got, tt.want)
		}
	}
	if got := middleware.DefaultSettlement()[middleware.EndUnknown]; got != middleware.Release {
		t.Errorf("what is not told is settled by %v, want release", got)
	}
}

// The ledger says which key spent on what; a rotated key goes on under the name
// of its first.
func TestLedgerNamesKeyAndOperation(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	first := h.key("image:generate")
	rotated, err := h.keys.Rotate(t.Context(), first.Key.ID, time.Hour)
	must(t, err)
	h.call(h.gate.Handler(priced())(says(200)), bearer(rotated))
	page, err := h.ledger.Entries(t.Context(), credits.Query{Account: account})
	must(t, err)
	named := 0
	for _, e := range page.Entries {
		if e.To == credits.BucketHeld || e.To == credits.BucketConsumed {
			named++
			if e.Key != first.Key.ID || e.Operation != "image" {
				t.Errorf("entry %+v, want key %s and operation image", e, first.Key.ID)
			}
		}
	}
	if named != 2 {
		t.Errorf("%d entries, want a hold and a capture", named)
	}
}
