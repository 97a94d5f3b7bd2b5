package middleware_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// A wire is a house behind a real server.
type wire struct {
	*house
	url    string
	client *http.Client
	major  int // of the protocol
}

// onTheWire runs a test on HTTP/1.1 and on HTTP/2.
func onTheWire(t *testing.T, b blueprint, test func(t *testing.T, x *wire, mux *middleware.Mux)) {
	for major, protocol := range []string{1: "h1", 2: "h2"} {
		if protocol == "" {
			continue
		}
		t.Run(protocol, func(t *testing.T) {
			h := build(t, b)
			mux := h.gate.Mux()
			s, client := serve(t, protocol, mux)
			test(t, &wire{h, s.URL, client, major}, mux)
		})
	}
}

// An answer is one as it came.
type answer struct {
	status int
	header http.Header
	body   string
}

// text is the whole of it, but for what differs each time.
func (a *answer) text() string {
	h := a.header.Clone()
	id := h.Get("X-Request-Id")
	h.Del("Date")
	var b bytes.Buffer
	_ = h.Write(&b) // to memory
	return strings.ReplaceAll(b.String()+a.body, id, "ID")
}

// ask sends a request with the credential, unless it is "".
func (x *wire) ask(t *testing.T, method, path, credential string, edit ...func(*http.Request)) *answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, x.url+path, nil)
	must(t, err)
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	for _, e := range edit {
		e(r)
	}
	resp, err := x.client.Do(r)
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.ProtoMajor != x.major {
		t.Errorf("served by %s", resp.Proto)
	}
	return &answer{resp.StatusCode, resp.Header, string(body)}
}

// Each row of what the gate answers: status, challenge, time to wait, fields, code,
// and the members of the body, which are all that it tells.
func TestEveryAnswerOnTheWire(t *testing.T) {
	var keys, limits, ledger breaker
	onTheWire(t, blueprint{
		keys:    func(s apikey.Store) apikey.Store { return brokenKeys{s, &keys} },
		limits:  func(s ratelimit.Store) ratelimit.Store { return brokenLimits{s, &limits} },
		credits: func(s credits.Store) credits.Store { return brokenCredits{s, &ledger} },
		options: func(o *middleware.Options) { o.MaxBody = 8 },
	}, func(t *testing.T, x *wire, mux *middleware.Mux) {
		x.grant(20)
		secret := func(issued apikey.Issued) string { return issued.Secret.Reveal() }
		good, narrow, poor := x.key("image:generate"), x.key("image:read"), x.issue(apikey.Spec{Owner: "poor"}, "image:generate")
		expired := x.issue(apikey.Spec{Owner: account, TTL: time.Minute}, "image:generate")
		revoked, inactive, capped := x.key("image:generate"), x.key("image:generate"), x.key("image:generate")
		suspended := x.issue(apikey.Spec{Owner: "suspended"}, "image:generate")
		networks, err := apikey.NewNetworks(netip.MustParsePrefix("203.0.113.0/24"))
		must(t, err)
		elsewhere := x.issue(apikey.Spec{Owner: account, Networks: networks}, "image:generate")
		_, err = x.keys.Revoke(t.Context(), revoked.Key.ID, "")
		must(t, err)
		_, err = x.keys.Disable(t.Context(), inactive.Key.ID)
		must(t, err)
		_, err = x.keys.SuspendOwner(t.Context(), "suspended", "")
		must(t, err)
		_, err = x.ledger.SetBudget(t.Context(), credits.Budget{Account: account, ID: "cap", Key: capped.Key.Meter, Amount: credits.Credit, Every: credits.Day})
		must(t, err)
		x.clock.add(time.Minute)

		mux.Handle("POST /image", priced(), says(200))
		plan := open()
		plan.Name = "plan"
		plan.Allow = func(context.Context, apikey.Key) error {
			return &errors.Error{Code: errors.Forbidden, Msg: "not in the plan Free"}
		}
		mux.Handle("POST /plan", plan, never(t))
		limited := open()
		limited.Name, limited.Limits = "limited", []middleware.Limit{perMinute("minute", 1), perMinute("hour", 5)}
		mux.Handle("POST /limited", limited, says(200))
		running := open()
		running.Name = "running"
		running.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Hour}}}
		mux.Handle("POST /running", running, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			a := x.ask(t, "POST", "/running", secret(good)) // while this one runs
			check(t, a, row{status: 429, code: "too_many_at_once", retry: "1", members: "type violated-policies", limit: `"running";r=0`})
			if r.Context().Err() != nil {
				t.Error(r.Context().Err())
			}
		}))
		held := priced()
		held.Name, held.Price = "held", middleware.Fixed(20*credits.Credit)
		mux.Handle("POST /held", held, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			a := x.ask(t, "POST", "/image", secret(good)) // what it needs is held by this call
			check(t, a, row{status: 402, code: "insufficient_credits", retry: "1", members: "limit_source clears_at"})
			w.WriteHeader(404)
		}))
		const challenge = `Bearer realm="api"`
		invalid := func(text string) string {
			return challenge + `, error="invalid_token", error_description="` + text + `"`
		}
		mux.Handle("POST /limits-down", limited, says(200))
		for _, tt := range []row{
			{name: "missing", status: 401, code: "missing_key", challenge: challenge},
			{name: "malformed", credential: "garbage", status: 401, code: "invalid_key", challenge: invalid("the API key is not valid")},
			{name: "unknown", credential: foreign(t).Reveal(), status: 401, code: "invalid_key", challenge: invalid("the API key is not valid")},
			{name: "wrong secret", credential: wrongSecret(t, secret(good)), status: 401, code: "invalid_key", challenge: invalid("the API key is not valid")},
			{name: "expired", credential: secret(expired), status: 401, code: "expired_key", challenge: invalid("the API key has expired")},
			{name: "revoked", credential: secret(revoked), status: 401, code: "revoked_key", challenge: invalid("the API key has been revoked")},
			{name: "inactive", credential: secret(inactive), status: 401, code: "disabled_key", challenge: invalid("the API key is disabled")},
			{name: "scope", credential: secret(narrow), status: 403, code: "insufficient_scope", challenge: challenge + `, error="insufficient_scope", scope="image:generate"`, members: "missing_scopes"},
			{name: "account suspended", credential: secret(suspended), status: 403, code: "suspended_account"},
			{name: "address not allowed", credential: secret(elsewhere), status: 403, code: "ip_not_allowed"},
			{name: "plan", path: "/plan", credential: secret(good), status: 403, code: "not_in_plan"},
			{name: "the first of a window", path: "/limited", credential: secret(good), status: 200, limit: `"minute";r=0;t=60, "hour";r=4;t=60`},
			{name: "rate", path: "/limited", credential: secret(good), status: 429, code: "rate_limited", retry: "60", members: "type violated-policies", limit: `"minute";r=0;t=60, "hour";r=4;t=60`},
			{name: "concurrency", path: "/running", credential: secret(good), status: 200, limit: `"running";r=0`},
			{name: "credits: balance", credential: secret(poor), status: 402, code: "insufficient_credits", members: "limit_source"},
			{name: "credits: held by running calls", path: "/held", credential: secret(good), status: 404},
			{name: "a cap of the key", credential: secret(capped), status: 402, code: "budget_exceeded", members: "limit_source"},
			{name: "a body that is too large", credential: secret(good), body: "123456789", status: 413, code: "body_too_large"},
			{name: "the store of keys is down", credential: secret(good), down: &keys, status: 503, code: "unavailable", retry: "1"},
			{name: "the store of limits is down", path: "/limits-down", credential: secret(good), down: &limits, status: 503, code: "unavailable", retry: "1"},
			{name: "the ledger is down", credential: secret(good), down: &ledger, status: 503, code: "unavailable", retry: "1"},
			{name: "success", credential: secret(good), status: 200},
		} {
			t.Run(tt.name, func(t *testing.T) {
				before := x.totals()
				if tt.down != nil {
					tt.down.before.Store(true)
					defer tt.down.before.Store(false)
				}
				if tt.path == "" {
					tt.path = "/image"
				}
				a := x.ask(t, "POST", tt.path, tt.credential, func(r *http.Request) {
					if tt.body != "" {
						r.Body, r.ContentLength = io.NopCloser(strings.NewReader(tt.body)), int64(len(tt.body))
					}
				})
				check(t, a, tt)
				if tt.down != nil {
					tt.down.before.Store(false)
				}
				if tt.name != "success" && (x.totals().Consumed != before.Consumed || x.totals().Held != before.Held) {
					t.Errorf("the account went from %+v to %+v", before, x.totals())
				}
				for _, issued := range []apikey.Issued{good, narrow, poor, expired, revoked, inactive, capped, suspended, elsewhere} {
					if text := a.text(); strings.Contains(text, secret(issued)[8:]) || strings.Contains(text, issued.Key.ID) {
						t.Errorf("the answer tells of a key:\n%s", text)
					}
				}
				if strings.Contains(a.text(), "db-7") {
					t.Errorf("the answer tells of a store:\n%s", a.text())
				}
			})
		}
	})
}

// A row is one kind of answer.
type row struct {
	name, path, credential, body string
	down                         *breaker
	status                       int
	code, challenge, retry       string
	limit                        string // RateLimit
	members                      string // beyond those that every refusal has
}

// check holds an answer to a row.
func check(t *testing.T, a *answer, want row) {
	t.Helper()
	if a.status != want.status {
		t.Errorf("status %d, want %d: %s", a.status, want.status, a.body)
		return
	}
	fields := map[string]string{"Www-Authenticate": want.challenge, "Retry-After": want.retry, "Ratelimit": want.limit}
	if want.code != "" {
		fields["Cache-Control"], fields["X-Content-Type-Options"], fields["Content-Type"] = "no-store", "nosniff", "application/problem+json"
	} else if want.status == 200 {
		fields["Cache-Control"] = "private"
	}
	for name, value := range fields {
		if got := strings.Join(a.header[name], " | "); got != value {
			t.Errorf("%s: %s, want %s", name, got, value)
		}
	}
	if a.header.Get("X-Request-Id") == "" || (a.header.Get("Ratelimit-Policy") != "") != (want.limit != "") {
		t.Errorf("request id %q, policy %q", a.header.Get("X-Request-Id"), a.header.Get("Ratelimit-Policy"))
	}
	allowed := []string{
		"X-Request-Id", "Ratelimit-Policy", "Ratelimit", "Cache-Control", "X-Content-Type-Options", "Content-Type",
		"Content-Length", "Date", "Www-Authenticate", "Retry-After", "Connection",
	}
	for name := range maps.Keys(a.header) {
		if !slices.Contains(allowed, name) {
			t.Errorf("field %s: %q", name, a.header[name])
		}
	}
	if want.code == "" {
		return
	}
	if !strings.Contains(a.body, `"code":"`+want.code+`"`) {
		t.Errorf("body %s, want code %s", a.body, want.code)
	}
	wanted := strings.Fields("title status detail code request_id " + want.members)
	if got := strings.Fields(members(a.body)); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(wanted))) {
		t.Errorf("members %v, want %v", got, wanted)
	}
}
