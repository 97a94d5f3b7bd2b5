package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// Messages are the profile's, with what they stand for filled in; status and code
// are overridden apart.
func TestAnswersOfAProfile(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.Upgrade = func(key apikey.Key, v middleware.Verdict) string {
			return "/plans?from=" + key.Owner + "&for=" + v.String()
		}
		o.Profile.Answers = map[middleware.Verdict]middleware.Answer{
			middleware.VerdictMissing:      {Message: "no {scope}{limit}{upgrade}key, {retry_after} s"},
			middleware.VerdictScopeDenied:  {Code: "no_scope", Message: "needs {scope}; {upgrade}"},
			middleware.VerdictRateLimited:  {Status: 503, Message: "{limit} is full for {retry_after} s: {limit}"},
			middleware.VerdictCreditDenied: {Status: 429},
		}
	}})
	op := priced()
	op.Scopes = scopes.All("image:generate", "image:read")
	op.Limits = []middleware.Limit{perMinute("minute", 1), perMinute("other", 1)}
	handler := h.gate.Handler(op)(says(200))
	good, narrow := h.key("image:generate image:read"), h.key("")
	poor := h.issue(apikey.Spec{Owner: "poor"}, "image:generate image:read")
	h.grant(5)
	if w := h.call(handler, bearer(good)); w.Code != 200 {
		t.Fatalf("status %d", w.Code)
	}
	for _, tt := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		code   string
		detail string
		body   string // a part of it
	}{
		{"missing", func(*http.Request) {}, 401, "missing_key", "no key, 0 s", ""},
		{"scopes", bearer(narrow), 403, "no_scope", "needs image:generate image:read; /plans?from=acme&for=scope_denied", `"upgrade":"/plans?from=acme&for=scope_denied"`},
		{"limits", bearer(good), 503, "rate_limited", "minute, other is full for 60 s: minute, other", `"upgrade":"/plans?from=acme&for=rate_limited"`},
		{"credits", bearer(poor), 429, "insufficient_credits", "not enough credits for this operation", `"upgrade":"/plans?from=poor&for=credit_denied"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := h.call(handler, tt.edit)
			body := w.Body.String()
			p := refused(t, w, tt.status, tt.code)
			if p.Detail != tt.detail || !strings.Contains(body, tt.body) {
				t.Errorf("detail %q of %s; want %q and %s", p.Detail, body, tt.detail, tt.body)
			}
			if strings.Contains(body, "upgrade") != (tt.body != "") {
				t.Errorf("an upgrade before proof: %s", body)
			}
		})
	}
}

// What stands in for nothing in a message is found at start-up, wherever it is.
func TestMessagesAreChecked(t *testing.T) {
	h := build(t, blueprint{})
	for message, ok := range map[string]bool{
		"": true, "plain": true, "{scope} {limit} {retry_after} {upgrade}": true, "{unclosed": true, "} {scope}": true,
		"{}": false, "{ scope }": false, "{Scope}": false, "{scope}{key}": false,
	} {
		_, err := middleware.NewGate(h.keys, &middleware.Options{Profile: middleware.Profile{
			Answers: map[middleware.Verdict]middleware.Answer{middleware.VerdictMissing: {Message: message}},
		}})
		if (err == nil) != ok {
			t.Errorf("%q: %v", message, err)
		}
	}
}

// Who made the key decides whether a refusal tells what the key may do.
func TestGrantedScopesAreToldWhereTheProfileSaysSo(t *testing.T) {
	for _, tell := range []bool{true, false} {
		h := build(t, blueprint{options: func(o *middleware.Options) { o.Profile.TellScopes = tell }})
		handler := h.gate.Handler(priced())(never(t))
		body := h.call(handler, bearer(h.key("video:read image:read"))).Body.String()
		if !strings.Contains(body, `"missing_scopes":["image:generate"]`) || tell != strings.Contains(body, `"granted_scopes":["image:read","video:read"]`) ||
			tell != strings.Contains(body, "video") {
			t.Errorf("TellScopes %t: %s", tell, body)
		}
		if body := h.call(handler).Body.String(); strings.Contains(body, "scopes") {
			t.Errorf("before proof: %s", body)
		}
	}
}

// JSON writes what a service's own documents say, and something well-formed always.
func TestJSONBody(t *testing.T) {
	type shape struct {
		OK    bool   `json:"ok"`
		Code  string `json:"code"`
		Error string `json:"error"`
	}
	for _, tt := range []struct {
		body func(*middleware.Denial) any
		want string
	}{
		{func(d *middleware.Denial) any { return shape{Code: d.Code, Error: d.Detail()} }, `{"ok":false,"code":"missing_key","error":"<b> & no key"}` + "\n"},
		{func(d *middleware.Denial) any { return map[string]any{"detail": d.Detail()} }, `{"detail":"<b> & no key"}` + "\n"},
		{func(*middleware.Denial) any { return make(chan int) }, "{}\n"},
	} {
		h := build(t, blueprint{options: func(o *middleware.Options) {
			o.Profile.Render = middleware.JSON(tt.body)
			o.Profile.Answers = map[middleware.Verdict]middleware.Answer{middleware.VerdictMissing: {Message: "<b> & no key"}}
		}})
		w := h.call(h.gate.Handler(open())(never(t)))
		if w.Code != 401 || w.Body.String() != tt.want || w.Header().Get("Content-Type") != "application/json" ||
			w.Header().Get("Content-Length") != fmt.Sprint(len(tt.want)) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("status %d, header %v, body %s", w.Code, w.Header(), w.Body)
		}
	}
}

// The host's own rules come after scopes and before limits and credits.
func TestAllow(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	var answer error
	asked := 0
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 2)}
	op.Allow = func(ctx context.Context, key apikey.Key) error {
		asked++
		if key.Owner != account || ctx == nil {
			t.Errorf("asked about the key of %q", key.Owner)
		}
		return answer
	}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("image:generate")
	refused(t, h.call(handler), 401, "missing_key")
	refused(t, h.call(handler, bearer(h.key(""))), 403, "insufficient_scope")
	if asked != 0 {
		t.Errorf("asked %d times for strangers", asked)
	}
	answer = &errors.Error{Code: errors.Forbidden, Op: "plans", Msg: "images are part of the plan Pro", Err: errDown}
	for range 3 {
		w := h.call(handler, bearer(issued))
		if strings.Contains(w.Body.String(), "db-7") {
			t.Errorf("the cause is told: %s", w.Body)
		}
		if p := refused(t, w, 403, "not_in_plan"); p.Detail != "images are part of the plan Pro" {
			t.Errorf("detail %q", p.Detail)
		}
		if d := h.journal.last(); d.Verdict != middleware.VerdictPlanDenied || !errors.Is(d.Err, errDown) || d.KeyID != issued.Key.ID {
			t.Errorf("told %+v", d)
		}
	}
	answer = errDown
	w := h.call(handler, bearer(issued))
	if strings.Contains(w.Body.String(), "db-7") || w.Header().Get("Retry-After") == "" {
		t.Errorf("header %v, body %s", w.Header(), w.Body)
	}
	refused(t, w, 503, "unavailable")
	answer = &errors.Error{Code: errors.Forbidden}
	if p := refused(t, h.call(handler, bearer(issued)), 403, "not_in_plan"); p.Detail == "" {
		t.Error("no detail for a rule without a message")
	}
	answer = nil
	h.spent(0, 0)
	for _, status := range []int{200, 200, 429} {
		if w := h.call(handler, bearer(issued)); w.Code != status {
			t.Errorf("status %d, want %d: what was refused used up nothing", w.Code, status)
		}
	}
}

// Budgets, plans and calls at once are told as what they are, and a body tells no
// amount.
func TestBodiesOfPaidRefusals(t *testing.T) {
	h := build(t, blueprint{})
	issued := h.key("image:generate")
	handler := h.gate.Handler(priced())(says(200))
	w := h.call(handler, bearer(issued))
	if got, want := members(w.Body.String()), `title status detail code request_id limit_source`; got != want {
		t.Errorf("members %s, want %s", got, want)
	}
	if !strings.Contains(w.Body.String(), `"limit_source":"balance"`) {
		t.Errorf("an empty account: %s", w.Body)
	}
	h.grant(77)
	_, err := h.ledger.SetBudget(t.Context(), credits.Budget{Account: account, ID: "daily-secret", Key: issued.Key.Meter, Amount: 6_250_000, Every: credits.Day})
	must(t, err)
	if w := h.call(handler, bearer(issued)); w.Code != 200 {
		t.Fatalf("status %d", w.Code)
	}
	w = h.call(handler, bearer(issued))
	body := w.Body.String()
	if got, want := members(body), `title status detail code request_id limit_source clears_at`; got != want {
		t.Errorf("members %s, want %s", got, want)
	}
	if !strings.Contains(body, `"limit_source":"key_budget"`) || !strings.Contains(body, `"clears_at":"2026-03-02T00:00:00Z"`) || w.Header().Get("Retry-After") != "43200" {
		t.Errorf("a budget of the key: Retry-After %q, body %s", w.Header().Get("Retry-After"), body)
	}
	for _, amount := range []string{"6.25", "1.25", "72", "77", "6250000", "daily-secret"} {
		if strings.Contains(strings.ReplaceAll(body, w.Header().Get("X-Request-Id"), ""), amount) {
			t.Errorf("the body tells %s: %s", amount, body)
		}
	}
	refused(t, w, 402, "budget_exceeded")
	if v := h.journal.last().Verdict; v != middleware.VerdictBudgetDenied {
		t.Errorf("verdict %v", v)
	}
}

// members returns the names of a flat object's members in their order.
func members(body string) string {
	var names []string
	for part := range strings.SplitSeq(strings.Trim(body, "{}\n"), `,"`) {
		name, _, _ := strings.Cut(strings.TrimPrefix(part, `"`), `"`)
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// Who was refused before the limits were asked, or after they gave back what they
// took, is told what they have left where the profile says so, and takes nothing.
func TestRefusalsMayTellLimits(t *testing.T) {
	for _, tell := range []bool{false, true} {
		profile := func(o *middleware.Options) { o.Profile.TellLimits = tell }
		h := build(t, blueprint{options: profile})
		op := priced()
		op.Limits = []middleware.Limit{perMinute("minute", 10)}
		handler := h.gate.Handler(op)(never(t))
		want := ""
		if tell {
			want = `"minute";r=10`
		}
		for range 2 {
			for name, w := range map[string]*httptest.ResponseRecorder{
				"scope": h.call(handler, bearer(h.key(""))), "credits": h.call(handler, bearer(h.key("image:generate"))),
			} {
				if got := w.Header().Get("RateLimit"); got != want || (w.Header().Get("RateLimit-Policy") != "") != tell {
					t.Errorf("TellLimits %t: %d for %s says %q, want %q", tell, w.Code, name, got, want)
				}
			}
		}
		if w := h.call(handler); w.Code != 401 || w.Header().Get("RateLimit") != "" {
			t.Errorf("without a key: %d, RateLimit %q", w.Code, w.Header().Get("RateLimit"))
		}
		dead := build(t, blueprint{options: profile, limits: func(s ratelimit.Store) ratelimit.Store {
			return failing{s, ratelimit.ModePeek, context.DeadlineExceeded}
		}})
		if w := dead.call(dead.gate.Handler(op)(never(t)), bearer(dead.key(""))); w.Code != 403 || w.Header().Get("RateLimit") != "" {
			t.Errorf("with a dead store: %d, RateLimit %q", w.Code, w.Header().Get("RateLimit"))
		}
	}
}
