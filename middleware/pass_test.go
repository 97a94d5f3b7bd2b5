package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// begin lets a good key pass an operation.
func (h *house) begin(op middleware.Operation, issued apikey.Issued) *middleware.Pass {
	h.Helper()
	route, err := h.gate.Route(op)
	must(h, err)
	p, err := h.gate.Begin(context.Background(), middleware.Attempt{
		Route: route, Credential: issued.Secret.Reveal(), IP: netip.MustParseAddr("2001:db8::1"), RequestID: "trace-1",
	})
	must(h, err)
	return p
}

func TestPassTellsWhatItKnows(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	ip := perMinute("address", 7)
	ip.Subject = middleware.PerIP
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 3), ip}
	issued := h.key("image:generate")
	p := h.begin(op, issued)
	if p.RequestID() != "trace-1" || p.Operation() != "image" || p.ClientIP() != netip.MustParseAddr("2001:db8::1") || p.Key().ID != issued.Key.ID {
		t.Errorf("request %q, operation %q, address %v, key %q", p.RequestID(), p.Operation(), p.ClientIP(), p.Key().ID)
	}
	var told []string
	for s := range p.Limits() {
		told = append(told, fmt.Sprintf("%s %s %d", s.Limit.Name, s.Key, s.Remaining))
	}
	if got, want := strings.Join(told, ", "), "minute "+issued.Key.Meter+" 2, address 2001:db8::/64 6"; got != want {
		t.Errorf("limits %s, want %s", got, want)
	}
	balance, err := p.Balance(t.Context())
	if err != nil || balance.Available != 5*credits.Credit || balance.Held != 5*credits.Credit {
		t.Errorf("balance %+v, %v", balance, err)
	}
	hold, ok := p.Hold()
	if !ok || hold.Amount != 5*credits.Credit || string(hold.ID) == "trace-1" {
		t.Errorf("hold %+v, %t: it must not go by an id from outside", hold, ok)
	}
	must(t, p.End(t.Context(), middleware.Outcome{Status: 200, Completed: true}))
}

func TestPassOfAFreeCall(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.Credits = nil }})
	p := h.begin(open(), h.key(""))
	if hold, ok := p.Hold(); ok || hold.Amount != 0 {
		t.Errorf("hold %+v, %t", hold, ok)
	}
	if _, err := p.Balance(t.Context()); errors.CodeOf(err) != errors.NotFound {
		t.Errorf("balance without a ledger: %v", err)
	}
	if err := p.Charge(1); errors.CodeOf(err) != errors.Insufficient {
		t.Errorf("a charge on a free call: %v", err)
	}
	must(t, p.Charge(0))
	must(t, p.End(t.Context(), middleware.Outcome{Status: 200, Completed: true}))
	s := h.journal.settlements()
	if len(s) != 1 || s[0].Charged != 0 || s[0].Hold != "" || s[0].Ending != middleware.EndSuccess {
		t.Errorf("settled %+v", s)
	}
}

// A free call works while the ledger is down and the account empty.
func TestFreeCallsSkipTheLedger(t *testing.T) {
	var down breaker
	down.before.Store(true)
	h := build(t, blueprint{credits: func(s credits.Store) credits.Store { return brokenCredits{s, &down} }})
	if w := h.call(h.gate.Handler(open())(says(200)), bearer(h.key(""))); w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
}

func TestPeek(t *testing.T) {
	h := build(t, blueprint{})
	ip, everybody := perMinute("address", 7), perMinute("everybody", 1)
	ip.Subject, everybody.Subject = middleware.PerIP, middleware.PerOperation
	op := open()
	op.Name, op.Limits = "limited", []middleware.Limit{perMinute("minute", 3), ip, everybody}
	route, err := h.gate.Route(op)
	must(t, err)
	issued := h.key("")
	p := h.begin(open(), issued)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			result, err := p.Peek(t.Context(), route)
			if err != nil || !result.Allowed || result.Len() != 2 || result.Limit != "minute" || result.Remaining != 3 {
				t.Errorf("peek: %+v, %v", result, err)
			}
		})
	}
	wg.Wait()
	free, err := h.gate.Route(open())
	must(t, err)
	if result, err := p.Peek(t.Context(), free); err != nil || !result.Allowed || result.Len() != 0 {
		t.Errorf("peek at a route without limits: %+v, %v", result, err)
	}
	if _, err := p.Peek(t.Context(), nil); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("peek at no route: %v", err)
	}
}

func TestAccountOption(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.Account = func(k apikey.Key) credits.AccountID {
			return credits.AccountID(strings.TrimPrefix(k.Owner, "team-of-"))
		}
	}})
	h.grant(10)
	handler := h.gate.Handler(priced())(says(200))
	if w := h.call(handler, bearer(h.issue(apikey.Spec{Owner: "team-of-" + account}, "image:generate"))); w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
	h.spent(5, 0)
	w := h.call(handler, bearer(h.issue(apikey.Spec{Owner: strings.Repeat("o", apikey.MaxOwner)}, "image:generate")))
	refused(t, w, 402, "insufficient_credits") // every owner is an account
	w = h.call(handler, bearer(h.issue(apikey.Spec{Owner: "team-of-"}, "image:generate")))
	refused(t, w, 500, "internal")
	if d := h.journal.decisions[2]; d.Verdict != middleware.VerdictMisconfigured || errors.CodeOf(d.Err) != errors.Invalid {
		t.Errorf("an account that is no id: %v, %v", d.Verdict, d.Err)
	}
}

func TestQuotesThatFail(t *testing.T) {
	var quote func(r *http.Request) (credits.Amount, error)
	h := build(t, blueprint{options: func(o *middleware.Options) { o.MaxBody = 4 }})
	h.grant(10)
	op := middleware.Operation{Name: "quoted", Scopes: scopes.None(), Price: middleware.Quoted(func(r *http.Request) (credits.Amount, error) { return quote(r) })}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("")
	body := func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("12345")), -1 }
	for _, tt := range []struct {
		name   string
		quote  func(r *http.Request) (credits.Amount, error)
		status int
		code   string
	}{
		{"negative", func(*http.Request) (credits.Amount, error) { return -1, nil }, 500, "internal"},
		{"its own fault", func(*http.Request) (credits.Amount, error) { return 0, errDown }, 500, "internal"},
		{"a long body", func(r *http.Request) (credits.Amount, error) {
			text, err := io.ReadAll(r.Body)
			return credits.Amount(len(text)), err
		}, 413, "body_too_large"},
		{"given up", func(*http.Request) (credits.Amount, error) { return 0, context.Canceled }, 503, "canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			quote = tt.quote
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w := h.call(handler, bearer(issued), body, func(r *http.Request) {
				if tt.code == "canceled" {
					inner := quote
					quote = func(r *http.Request) (credits.Amount, error) { cancel(); return inner(r) }
				}
				*r = *r.WithContext(ctx)
			})
			refused(t, w, tt.status, tt.code)
			h.spent(0, 0)
		})
	}
	route, err := h.gate.Route(op)
	must(t, err)
	a := middleware.Attempt{Route: route, Credential: issued.Secret.Reveal()}
	if _, err := h.gate.Begin(t.Context(), a); err == nil {
		t.Error("a quoted price without a quote")
	}
	a.Quote = func(context.Context) (credits.Amount, error) { return 2 * credits.Credit, nil }
	p, err := h.gate.Begin(t.Context(), a)
	must(t, err)
	h.spent(0, 2)
	must(t, p.End(t.Context(), middleware.Outcome{Status: 202, Completed: true, ClientGone: true}))
	h.spent(0, 2) // the job runs on although its client left
}

// The settling context has the request's values, not its end, and its own
// time-out once somebody waits.
func TestSettlingContext(t *testing.T) {
	type key struct{}
	var saw context.Context
	h := build(t, blueprint{credits: func(s credits.Store) credits.Store { return spying{s, &saw} }})
	h.grant(10)
	p := h.begin(priced(), h.key("image:generate"))
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	cancel()
	must(t, p.End(ctx, middleware.Outcome{Status: 200, Completed: true}))
	if saw.Value(key{}) != "value" {
		t.Error("the request's values are lost")
	}
	select {
	case <-saw.Done():
	default:
		t.Error("the context outlives the settlement")
	}
	if deadline, ok := saw.Deadline(); !ok || time.Until(deadline) > 5*time.Second {
		t.Errorf("deadline %v, %t", deadline, ok)
	}
	if saw.Err() == nil {
		t.Error("no error after the end")
	}
	h.spent(5, 0)
}

// spying notes the last context of an update, and that it was alive then.
type spying struct {
	credits.Store
	saw *context.Context
}

func (s spying) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	*s.saw = ctx
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	return s.Store.Update(ctx, needs, fn)
}

// A burst that is not the count shows as the quota that it is.
func TestPolicyOfABurst(t *testing.T) {
	h := build(t, blueprint{})
	op := open()
	op.Limits = []middleware.Limit{
		{Limit: ratelimit.Limit{Name: "rate", Count: 10, Period: time.Second, Burst: 50}},
		{Limit: ratelimit.Limit{Name: "odd", Count: 3, Period: time.Second, Burst: 4, Unit: "images"}}, // 1.333334 s: no whole seconds
	}
	w := h.call(h.gate.Handler(op)(says(200)), bearer(h.key("")))
	if got, want := w.Header().Get("RateLimit-Policy"), `"rate";q=50;w=5, "odd";q=4;qu="images"`; got != want {
		t.Errorf("policy %s, want %s", got, want)
	}
	if got, want := w.Header().Get("RateLimit"), `"rate";r=49;t=1, "odd";r=3;t=1`; got != want {
		t.Errorf("state %s, want %s", got, want)
	}
}

// What a caller who gives up had taken goes back although its context is over.
func TestLimitsGoBackWithoutTheCaller(t *testing.T) {
	h := build(t, blueprint{})
	op := middleware.Operation{
		Name: "quoted", Scopes: scopes.None(), Limits: []middleware.Limit{perMinute("minute", 1)},
		Price: middleware.Quoted(func(*http.Request) (credits.Amount, error) { return 0, nil }),
	}
	route, err := h.gate.Route(op)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	a := middleware.Attempt{Route: route, Credential: h.key("").Secret.Reveal()}
	a.Quote = func(context.Context) (credits.Amount, error) { cancel(); return 0, ctx.Err() }
	if _, err := h.gate.Begin(ctx, a); !errors.Is(err, context.Canceled) {
		t.Fatalf("given up: %v", err)
	}
	a.Quote = func(context.Context) (credits.Amount, error) { return 0, nil }
	_, err = h.gate.Begin(t.Context(), a)
	must(t, err)
}

// A pass that has ended lets nobody in: a context that outlives its request is
// no key.
func TestAnEndedPassIsNoKey(t *testing.T) {
	h := build(t, blueprint{})
	var kept context.Context
	handler := h.gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { kept = r.Context() }))
	h.call(handler, bearer(h.key("")))
	refused(t, h.call(handler, func(r *http.Request) { *r = *r.WithContext(kept) }), 401, "missing_key")
}
