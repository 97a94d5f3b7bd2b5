package middleware_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

func TestRateLimited(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	op := priced()
	op.Limits = []middleware.Limit{
		{Limit: ratelimit.Limit{Name: "burst", Count: 2, Period: 3 * time.Second}},
		perMinute("minute", 3),
	}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("image:generate")
	for range 2 {
		if w := h.call(handler, bearer(issued)); w.Code != 200 {
			t.Fatalf("status %d", w.Code)
		}
	}
	w := h.call(handler, bearer(issued))
	for name, want := range map[string]string{
		"Retry-After":      "2", // 1.5 s, rounded up
		"RateLimit-Policy": `"burst";q=2;w=3, "minute";q=3;w=60`,
		"RateLimit":        `"burst";r=0;t=2, "minute";r=1;t=60`,
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	p := refused(t, w, 429, "rate_limited")
	if p.Type != "https://iana.org/assignments/http-problem-types#quota-exceeded" || fmt.Sprint(p.Violated) != "[burst]" || p.Detail != `rate limit "burst" is used up` {
		t.Errorf("problem %+v", p)
	}
	h.spent(10, 0)
	h.clock.add(2 * time.Second) // exactly Retry-After
	if w := h.call(handler, bearer(issued)); w.Code != 200 {
		t.Errorf("after Retry-After: status %d", w.Code)
	}
	h.clock.add(3 * time.Second)
	w = h.call(handler, bearer(issued))
	if p := refused(t, w, 429, "rate_limited"); fmt.Sprint(p.Violated) != "[minute]" {
		t.Errorf("violated %v, want the minute", p.Violated)
	}
	h.clock.add(atoi(t, w.Header().Get("Retry-After")))
	if w := h.call(handler, bearer(issued)); w.Code != 200 {
		t.Errorf("after Retry-After: status %d", w.Code)
	}
}

func atoi(t *testing.T, seconds string) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(seconds)
	must(t, err)
	if n < 1 {
		t.Errorf("Retry-After %q, want 1 or more", seconds)
	}
	return time.Duration(n) * time.Second
}

func TestSubjects(t *testing.T) {
	for _, tt := range []struct {
		subject middleware.Subject
		shared  map[string]bool // who shares the first caller's window
		told    bool
	}{
		{middleware.PerKey, map[string]bool{"same": true, "rotated": true}, true},
		{middleware.PerOwner, map[string]bool{"same": true, "rotated": true, "sibling": true}, true},
		{middleware.PerIP, map[string]bool{"same": true, "sibling": true, "stranger, same /64": true}, true},
		{middleware.PerOperation, map[string]bool{"same": true, "rotated": true, "sibling": true, "stranger": true, "stranger, same /64": true}, false},
	} {
		t.Run(tt.subject.String(), func(t *testing.T) {
			for _, who := range []string{"same", "rotated", "sibling", "stranger", "stranger, same /64"} {
				h := build(t, blueprint{})
				limit := perMinute("one", 1)
				limit.Subject = tt.subject
				op := open()
				op.Limits = []middleware.Limit{limit}
				handler := h.gate.Handler(op)(says(200))
				first := h.key("")
				w := h.call(handler, bearer(first), from("[2001:db8:1:2::1]:1"))
				if w.Code != 200 || (w.Header().Get("RateLimit") != "") != tt.told {
					t.Fatalf("first call: status %d, RateLimit %q", w.Code, w.Header().Get("RateLimit"))
				}
				second, at := first, "[2001:db8:1:2::1]:1"
				switch who {
				case "rotated":
					rotated, err := h.keys.Rotate(t.Context(), first.Key.ID, time.Hour)
					must(t, err)
					second, at = rotated, "192.0.2.1:1"
				case "sibling":
					second = h.key("")
				case "stranger":
					second, at = h.issue(apikey.Spec{Owner: "other"}, ""), "192.0.2.1:1"
				case "stranger, same /64":
					second, at = h.issue(apikey.Spec{Owner: "other"}, ""), "[2001:db8:1:2:ffff::9]:1"
				}
				w = h.call(handler, bearer(second), from(at))
				if got := w.Code == 429; got != tt.shared[who] {
					t.Errorf("%s: status %d, want shared %t", who, w.Code, tt.shared[who])
				}
				if w.Code == 429 && !tt.told && (w.Header().Get("RateLimit") != "" || w.Header().Get("Retry-After") == "") {
					t.Errorf("%s: RateLimit %q and Retry-After %q", who, w.Header().Get("RateLimit"), w.Header().Get("Retry-After"))
				}
			}
		})
	}
}

// One denial consumes nothing of any window, and what a later step refuses gives
// earlier ones back.
func TestADenialConsumesNothing(t *testing.T) {
	h := build(t, blueprint{})
	owner := perMinute("owner", 2)
	owner.Subject = middleware.PerOwner
	op := priced()
	op.Limits = []middleware.Limit{perMinute("key", 1), owner}
	handler := h.gate.Handler(op)(says(200))
	issued := h.key("image:generate")
	for range 5 { // no credits: the windows stay full
		refused(t, h.call(handler, bearer(issued)), 402, "insufficient_credits")
	}
	h.grant(15)
	if w := h.call(handler, bearer(issued)); w.Code != 200 {
		t.Fatalf("status %d after credits came", w.Code)
	}
	for range 5 { // the key's window refuses: the owner's stays as it is
		refused(t, h.call(handler, bearer(issued)), 429, "rate_limited")
	}
	if w := h.call(handler, bearer(h.key("image:generate"))); w.Code != 200 {
		t.Errorf("status %d for the owner's second call", w.Code)
	}
	for range 5 { // a lacking scope comes before the limits
		refused(t, h.call(handler, bearer(h.key(""))), 403, "insufficient_scope")
	}
	h.spent(10, 0)
}

func TestIPLimits(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.IPLimits = []ratelimit.Limit{{Name: "address", Algorithm: ratelimit.FixedWindow, Count: 3, Period: time.Minute}}
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}})
	handler, issued := h.gate.Handler(open())(says(200)), h.key("")
	behind := func(client string) []func(*http.Request) {
		return []func(*http.Request){bearer(issued), from("10.0.0.1:1"), raw("X-Forwarded-For", "6.6.6.6, "+client)}
	}
	for range 3 {
		h.call(handler, from("10.0.0.1:1"), raw("X-Forwarded-For", "2001:db8:1:2::1")) // 401s count too
	}
	w := h.call(handler, behind("2001:db8:1:2::2")...)
	if got := w.Header().Get("Retry-After"); got != "60" {
		t.Errorf("Retry-After %q, want 60", got)
	}
	refused(t, w, 429, "ip_limited")
	if w := h.call(handler, behind("2001:db8:1:3::1")...); w.Code != 200 {
		t.Errorf("another /64: status %d", w.Code)
	}
	// An address that is not known has a bucket of its own: limited, not unlimited.
	for i := range 4 {
		w := h.call(handler, bearer(issued), from("@"))
		if got := w.Code == 429; got != (i == 3) {
			t.Errorf("call %d without an address: status %d", i+1, w.Code)
		}
	}
}

func guessing(o *middleware.Options) {
	o.FailedAuth = ratelimit.Limit{Count: 3, Period: time.Minute}
}

func TestGuessesLockTheAddress(t *testing.T) {
	h := build(t, blueprint{options: guessing})
	handler := h.gate.Handler(open())(says(200))
	proven, fresh, wrong := h.key(""), h.key(""), raw("Authorization", "Bearer "+foreign(t).Reveal())
	if w := h.call(handler, bearer(proven)); w.Code != 200 {
		t.Fatalf("status %d", w.Code)
	}
	for range 10 {
		refused(t, h.call(handler), 401, "missing_key") // a probe is no guess
	}
	refused(t, h.call(handler, raw("Authorization", "Bearer garbage")), 401, "invalid_key")
	refused(t, h.call(handler, raw("Authorization", "Bearer a b")), 401, "invalid_key")
	refused(t, h.call(handler, wrong), 401, "invalid_key")
	if w := h.call(handler, bearer(proven)); w.Code != 200 { // success gives nothing back
		t.Fatalf("status %d", w.Code)
	}
	w := h.call(handler, wrong)
	wait := atoi(t, w.Header().Get("Retry-After"))
	refused(t, w, 429, "too_many_failures")
	refused(t, h.call(handler, raw("Authorization", "Bearer garbage")), 429, "too_many_failures")
	refused(t, h.call(handler), 401, "missing_key")
	if w := h.call(handler, bearer(proven)); w.Code != 200 {
		t.Errorf("a proven key from the locked address: status %d", w.Code)
	}
	refused(t, h.call(handler, bearer(fresh)), 429, "too_many_failures")
	if w := h.call(handler, bearer(fresh), from("198.51.100.1:1")); w.Code != 200 {
		t.Errorf("another address: status %d", w.Code)
	}
	if w := h.call(handler, bearer(fresh)); w.Code != 200 {
		t.Errorf("the key that was proven elsewhere: status %d", w.Code)
	}
	h.clock.add(wait)
	refused(t, h.call(handler, wrong), 401, "invalid_key")
}

// A key that is proven and refused is no guess, and a deleted one loses its
// place among the proven.
func TestWhatCountsAsAGuess(t *testing.T) {
	h := build(t, blueprint{options: guessing})
	handler := h.gate.Handler(open())(says(200))
	revoked, deleted := h.key(""), h.key("")
	for _, issued := range []apikey.Issued{revoked, deleted} {
		if w := h.call(handler, bearer(issued)); w.Code != 200 {
			t.Fatalf("status %d", w.Code)
		}
	}
	_, err := h.keys.Revoke(t.Context(), revoked.Key.ID, "test")
	must(t, err)
	for range 10 {
		refused(t, h.call(handler, bearer(revoked)), 401, "revoked_key")
	}
	must(t, h.keys.Delete(t.Context(), deleted.Key.ID))
	for range 3 {
		refused(t, h.call(handler, bearer(deleted)), 401, "invalid_key")
	}
	refused(t, h.call(handler, bearer(deleted)), 429, "too_many_failures")
}

// A thousand addresses of one /64 are one guesser.
func TestOnePrefixIsOneGuesser(t *testing.T) {
	h := build(t, blueprint{options: guessing})
	handler := h.gate.Handler(open())(says(200))
	wrong := raw("Authorization", "Bearer "+foreign(t).Reveal())
	refusals := 0
	for i := range 1000 {
		if w := h.call(handler, wrong, from(fmt.Sprintf("[2001:db8:1:2::%x]:1", i+1))); w.Code == 401 {
			refusals++
		}
	}
	if refusals != 3 {
		t.Errorf("%d guesses were looked at, want 3", refusals)
	}
}

func TestQuotedPrice(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	asked := 0
	op := middleware.Operation{
		Name: "batch", Scopes: scopes.None(), Limits: []middleware.Limit{perMinute("minute", 4)},
		Price: middleware.Quoted(func(r *http.Request) (credits.Amount, error) {
			asked++
			if r.Header.Get("Authorization") != "" {
				t.Error("the quote sees the credential")
			}
			return credits.ParseAmount(r.Header.Get("Price"))
		}),
	}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("")
	priced := func(amount string) []func(*http.Request) {
		return []func(*http.Request){bearer(issued), raw("Price", amount)}
	}
	refused(t, h.call(handler, raw("Price", "1")), 401, "missing_key")
	if asked != 0 {
		t.Error("a stranger was quoted a price")
	}
	p := refused(t, h.call(handler, priced("a lot")...), 400, "price_refused")
	if p.Detail == "" || p.Detail == "the request has no price" {
		t.Errorf("detail %q", p.Detail)
	}
	for _, amount := range []string{"3", "0", "2.5"} {
		if w := h.call(handler, priced(amount)...); w.Code != 200 {
			t.Errorf("price %s: status %d", amount, w.Code)
		}
	}
	if w := h.call(handler, priced("5")...); w.Code != 402 {
		t.Errorf("price 5 of 4.5: status %d", w.Code)
	}
	if w := h.call(handler, priced("-1")...); w.Code == 200 {
		t.Errorf("a negative price: status %d", w.Code)
	}
	if got := h.totals().Consumed; got != 5_500_000 {
		t.Errorf("consumed %v, want 5.5", got)
	}
	// 3 of 4 were used; every refusal gave its unit back.
	if w := h.call(handler, priced("1")...); w.Header().Get("RateLimit") != `"minute";r=0;t=60` {
		t.Errorf("RateLimit %s", w.Header().Get("RateLimit"))
	}
}

// A budget has room again with its next window, and an account with its next
// grant: who waits for Retry-After passes.
func TestCreditsThatTimeBrings(t *testing.T) {
	for name, set := range map[string]func(*house, apikey.Issued) error{
		"a budget of the key": func(h *house, issued apikey.Issued) error {
			h.grant(50)
			_, err := h.ledger.SetBudget(t.Context(), credits.Budget{
				Account: credits.AccountID(issued.Key.Owner), ID: "daily", Key: issued.Key.Meter, Amount: 5 * credits.Credit, Every: credits.Day,
			})
			return err
		},
		"a schedule": func(h *house, issued apikey.Issued) error {
			_, err := h.ledger.SetSchedule(t.Context(), credits.Schedule{
				Account: credits.AccountID(issued.Key.Owner), ID: "daily", Amount: 5 * credits.Credit, Unit: credits.Days, Every: 1, Anchor: h.clock.now(),
			})
			return err
		},
	} {
		codes := map[string]string{"a budget of the key": "budget_exceeded", "a schedule": "insufficient_credits"}
		t.Run(name, func(t *testing.T) {
			h := build(t, blueprint{})
			issued := h.key("image:generate")
			if err := set(h, issued); err != nil {
				t.Fatal(err)
			}
			handler := h.gate.Handler(priced())(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			if w := h.call(handler, bearer(issued)); w.Code != 200 {
				t.Fatalf("status %d", w.Code)
			}
			w := h.call(handler, bearer(issued))
			refused(t, w, 402, codes[name])
			wait := atoi(t, w.Header().Get("Retry-After"))
			if wait <= time.Second || wait > 24*time.Hour {
				t.Fatalf("Retry-After is %v", wait)
			}
			h.clock.add(wait - time.Second)
			refused(t, h.call(handler, bearer(issued)), 402, codes[name])
			h.clock.add(time.Second)
			if w := h.call(handler, bearer(issued)); w.Code != 200 {
				t.Errorf("status %d after Retry-After", w.Code)
			}
		})
	}
}

func TestCreditsBehindHolds(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(5)
	issued := h.key("image:generate")
	op := priced()
	var inner func()
	handler := h.gate.Handler(op)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inner() }))
	inner = func() {
		inner = func() {}
		w := h.call(handler, bearer(issued))
		if got := w.Header().Get("Retry-After"); got != "1" {
			t.Errorf("only a hold stands in the way: Retry-After %q, want 1", got)
		}
		refused(t, w, 402, "insufficient_credits")
	}
	h.call(handler, bearer(issued))
	w := h.call(handler, bearer(issued))
	if got := w.Header().Get("Retry-After"); got != "" {
		t.Errorf("waiting does not help: Retry-After %q", got)
	}
	refused(t, w, 402, "insufficient_credits")
}

// Everybody's traffic is nobody's business: a limit per operation is not told of
// beside the others, unless it is the one that refuses.
func TestPerOperationIsNotTold(t *testing.T) {
	h := build(t, blueprint{})
	everybody := perMinute("everybody", 1)
	everybody.Subject = middleware.PerOperation
	op := open()
	op.Limits = []middleware.Limit{everybody, perMinute("minute", 5)}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("")
	for _, want := range []string{`"minute";r=4;t=60`, `"minute";r=4;t=60`} {
		w := h.call(handler, bearer(issued))
		if got := w.Header().Get("RateLimit"); got != want || w.Header().Get("RateLimit-Policy") != `"minute";q=5;w=60` {
			t.Errorf("status %d, RateLimit %s, policy %s", w.Code, got, w.Header().Get("RateLimit-Policy"))
		}
	}
	p := refused(t, h.call(handler, bearer(issued)), 429, "rate_limited")
	if fmt.Sprint(p.Violated) != "[everybody]" {
		t.Errorf("violated %v", p.Violated)
	}
}
