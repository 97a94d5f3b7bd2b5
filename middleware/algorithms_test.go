package middleware_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// A Concurrency limit counts calls while they run: the lease of a call ends with
// it, however it ended, and a call refused later holds none.
func TestConcurrencyCountsRunningCalls(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	issued := h.key("image:generate")
	op := priced()
	op.Limits = []middleware.Limit{
		{Limit: ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 2, Period: time.Minute}},
		perMinute("minute", 60),
	}
	var gate http.Handler
	status := 200
	nested := 0
	gate = h.gate.Handler(op)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if nested++; nested == 2 {
			third := h.call(gate, bearer(issued))
			p := refused(t, third, 429, "too_many_at_once")
			if !slices.Equal(p.Violated, []string{"running"}) || third.Header().Get("Retry-After") != "1" {
				t.Errorf("violated %v, Retry-After %q", p.Violated, third.Header().Get("Retry-After"))
			}
			if got := third.Header().Get("RateLimit-Policy"); got != `"running";q=2;qu="concurrent-requests", "minute";q=60;w=60` {
				t.Errorf("RateLimit-Policy: %s", got)
			}
		} else if nested == 1 {
			h.call(gate, bearer(issued))
		}
		w.WriteHeader(status)
	}))
	for _, status = range []int{200, 500, 202, 404} {
		nested = 0
		if w := h.call(gate, bearer(issued)); w.Code != status {
			t.Fatalf("status %d, want %d", w.Code, status)
		}
	}
	poor := h.key("") // refused before the limits
	refused(t, h.call(gate, bearer(poor)), 403, "insufficient_scope")
	nested = 0
	h.call(gate, bearer(issued))
	if nested != 2 {
		t.Errorf("%d calls ran at once, want 2: a lease stayed", nested)
	}
}

// A call that credits refuse gives its lease back with its windows.
func TestConcurrencyIsGivenBackByALaterRefusal(t *testing.T) {
	h := build(t, blueprint{})
	op := priced()
	op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Hour}}}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("image:generate")
	for range 3 {
		refused(t, h.call(handler, bearer(issued)), 402, "insufficient_credits")
	}
}

// failing is a store of limits that fails in one mode.
type failing struct {
	ratelimit.Store
	mode ratelimit.Mode
	err  error
}

func (f failing) Apply(ctx context.Context, req *ratelimit.Request) error {
	if req.Mode == f.mode {
		return f.err
	}
	return f.Store.Apply(ctx, req)
}

// A lease that could not be ended is told, and the answer stays as it was.
func TestALeaseThatCouldNotBeEndedIsTold(t *testing.T) {
	broken := context.DeadlineExceeded
	h := build(t, blueprint{limits: func(s ratelimit.Store) ratelimit.Store {
		return failing{s, ratelimit.ModeRelease, broken}
	}})
	op := open()
	op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Hour}}}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("")
	if w := h.call(handler, bearer(issued)); w.Code != 200 {
		t.Fatalf("status %d", w.Code)
	}
	settled := h.journal.settlements()
	if len(settled) != 1 || settled[0].Err == nil || !strings.Contains(settled[0].Err.Error(), broken.Error()) {
		t.Errorf("settled %+v, want one with the store's error", settled)
	}
	refused(t, h.call(handler, bearer(issued)), 429, "too_many_at_once")
}

// What could not be given back after a later refusal is told with the decision,
// and the answer stays as it was.
func TestARefundThatFailedIsTold(t *testing.T) {
	broken := context.DeadlineExceeded
	h := build(t, blueprint{limits: func(s ratelimit.Store) ratelimit.Store {
		return failing{s, ratelimit.ModeSettle, broken}
	}})
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 3)}
	refused(t, h.call(h.gate.Handler(op)(says(200)), bearer(h.key("image:generate"))), 402, "insufficient_credits")
	if err := h.journal.last().Err; err == nil || !strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("told %v, want the store's error in it", err)
	}
}

// A limit in Shadow denies nobody and no client hears of it.
func TestShadowLimitsAreNotTold(t *testing.T) {
	h := build(t, blueprint{})
	shadow := perMinute("shadow", 1)
	shadow.Shadow = true
	op := open()
	op.Limits = []middleware.Limit{shadow, perMinute("minute", 3)}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("")
	for i := range 3 {
		w := h.call(handler, bearer(issued))
		if d := h.journal.last(); i > 0 != slices.Equal(d.Shadowed, []string{"shadow"}) {
			t.Errorf("call %d: told as shadowed %v", i, d.Shadowed)
		}
		if w.Code != 200 || strings.Contains(w.Header().Get("RateLimit")+w.Header().Get("RateLimit-Policy"), "shadow") {
			t.Fatalf("status %d, header %v", w.Code, w.Header())
		}
	}
	w := h.call(handler, bearer(issued))
	if p := refused(t, w, 429, "rate_limited"); !slices.Equal(p.Violated, []string{"minute"}) {
		t.Errorf("violated %v, want the minute alone", p.Violated)
	}
	if got := w.Header().Get("RateLimit"); !strings.HasPrefix(got, `"minute";r=0`) {
		t.Errorf("RateLimit: %s", got)
	}
}

// What a plan says of everything and of nothing is a limit like another.
func TestUnlimitedAndDenyAll(t *testing.T) {
	h := build(t, blueprint{})
	op := open()
	op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "plan", Algorithm: ratelimit.Unlimited}}}
	w := h.call(h.gate.Handler(op)(says(200)), bearer(h.key("")))
	if w.Code != 200 || w.Header().Get("RateLimit-Policy") != "" || w.Header().Get("RateLimit") != "" {
		t.Errorf("unlimited: status %d, header %v", w.Code, w.Header())
	}
	op.Name = "closed"
	op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "none", Algorithm: ratelimit.DenyAll}}}
	w = h.call(h.gate.Handler(op)(says(200)), bearer(h.key("")))
	refused(t, w, 429, "rate_limited")
	if got := w.Header().Get("Retry-After"); got != "" {
		t.Errorf("Retry-After %q for what never passes", got)
	}
}

// A day of a calendar is told as 24 hours, and ends at the zone's midnight.
func TestCalendarLimit(t *testing.T) {
	h := build(t, blueprint{})
	zone, err := time.LoadLocation("America/New_York")
	must(t, err)
	op := open()
	op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "day", Algorithm: ratelimit.Calendar, Count: 1, Every: ratelimit.Day, Zone: zone}}}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("")
	w := h.call(handler, bearer(issued))
	if got := w.Header().Get("RateLimit-Policy"); got != `"day";q=1;w=86400` {
		t.Errorf("RateLimit-Policy: %s", got)
	}
	w = h.call(handler, bearer(issued))
	refused(t, w, 429, "rate_limited")
	h.clock.add(atoi(t, w.Header().Get("Retry-After")))
	if hour := h.clock.now().In(zone).Hour(); hour != 0 {
		t.Errorf("passes again at hour %d of the zone, want 0", hour)
	}
	if w = h.call(handler, bearer(issued)); w.Code != 200 {
		t.Errorf("status %d after midnight", w.Code)
	}
}

// Where nobody would end a lease, a limit that gives leases is refused.
func TestNoLeasesBeforeTheKeyIsKnown(t *testing.T) {
	running := ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Minute}
	h := build(t, blueprint{})
	_, err := middleware.NewGate(h.keys, &middleware.Options{Environment: "live", IPLimits: []ratelimit.Limit{running}, FailedAuth: running})
	for _, want := range []string{`IPLimits "running"`, `FailedAuth "running"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in: %v", want, err)
		}
	}
}

// degrading answers every decision as a policy for a failing store does.
type degrading struct{ ratelimit.Store }

func (d degrading) Apply(ctx context.Context, req *ratelimit.Request) error {
	err := d.Store.Apply(ctx, req)
	req.Degraded = true
	return err
}

// While a policy decides in the store's stead operators are told, and clients
// hear nothing about what remains.
func TestDegradedDecisionsAreTold(t *testing.T) {
	h := build(t, blueprint{limits: func(s ratelimit.Store) ratelimit.Store { return degrading{s} }})
	op := open()
	op.Limits = []middleware.Limit{perMinute("minute", 3)}
	w := h.call(h.gate.Handler(op)(says(200)), bearer(h.key("")))
	if w.Code != 200 || w.Header().Get("RateLimit") != "" || !h.journal.last().Degraded {
		t.Errorf("status %d, RateLimit %q, told %+v", w.Code, w.Header().Get("RateLimit"), h.journal.last())
	}
}
