package middleware_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// Each request fails at one step and at all that come later, and is answered by
// the first. After it what that step counts against, and nothing else, has moved.
func TestOrderOfChecksOnTheWire(t *testing.T) {
	onTheWire(t, blueprint{options: func(o *middleware.Options) {
		o.MaxBody = 8
		o.IPLimits = []ratelimit.Limit{perMinute("address", 12).Limit}
		o.FailedAuth = ratelimit.Limit{Count: 4, Period: time.Hour, Burst: 4}
		o.PassPreflights = true
	}}, func(t *testing.T, x *wire, mux *middleware.Mux) {
		var quoted, ran int
		planned := errors.New("not asked")
		op := priced()
		op.Limits = []middleware.Limit{perMinute("minute", 1)}
		op.Allow = func(context.Context, apikey.Key) error { return planned }
		op.Price = middleware.Quoted(func(*http.Request) (credits.Amount, error) { quoted++; return 5 * credits.Credit, nil })
		mux.Handle("/image", op, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
		poor := x.key("image:generate") // of an account without credits, all along
		narrow, revoked := x.key(""), x.key("")
		_, err := x.keys.Revoke(t.Context(), revoked.Key.ID, "")
		must(t, err)
		long := func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("123456789")), 9 }
		two := func(r *http.Request) {
			r.Header["Authorization"] = []string{"Bearer " + poor.Secret.Reveal(), "Bearer " + poor.Secret.Reveal()}
		}
		preflights := func(r *http.Request) {
			r.Method = "OPTIONS"
			r.Header.Set("Origin", "https://app.example")
			r.Header.Set("Access-Control-Request-Method", "POST")
		}
		none := func(*http.Request) {}
		forbidden := &errors.Error{Code: errors.Forbidden, Msg: "not in the plan"}
		for _, step := range []struct {
			name       string
			plan       error
			credential string
			edit       func(*http.Request)
			status     int
			code       string
		}{
			{"2 size, before anything is counted", forbidden, "garbage", long, 413, "body_too_large"},
			{"1 preflight, counted by address", forbidden, "garbage", preflights, 200, ""},
			{"4 missing, no guess", forbidden, "", none, 401, "missing_key"},
			{"4 two credentials, a guess", forbidden, "", two, 401, "invalid_key"},
			{"5 format, a guess", forbidden, "garbage", none, 401, "invalid_key"},
			{"6 look-up, a guess", forbidden, foreign(t).Reveal(), none, 401, "invalid_key"},
			{"7 state, no guess", forbidden, revoked.Secret.Reveal(), none, 401, "revoked_key"},
			{"8 scope, before the plan", forbidden, narrow.Secret.Reveal(), none, 403, "insufficient_scope"},
			{"8 plan, before the limits", forbidden, poor.Secret.Reveal(), none, 403, "not_in_plan"},
			{"11 credits, after the limits, which they give back", nil, poor.Secret.Reveal(), none, 402, "insufficient_credits"},
			{"11 credits again: the window is as it was", nil, poor.Secret.Reveal(), none, 402, "insufficient_credits"},
			{"6 look-up, the last guess", forbidden, foreign(t).Reveal(), none, 401, "invalid_key"},
			{"3 the lock, before the format", forbidden, "garbage", none, 429, "too_many_failures"},
			{"3 the address, before the lock", forbidden, "garbage", none, 429, "ip_limited"},
			{"3 the address, before missing", forbidden, "", none, 429, "ip_limited"},
			{"3 the address, a preflight too", forbidden, "", preflights, 429, "ip_limited"},
			{"2 size, before the address", forbidden, "garbage", long, 413, "body_too_large"},
		} {
			planned = step.plan
			quoted, ran = 0, 0
			a := x.ask(t, "POST", "/image", step.credential, step.edit)
			if a.status != step.status || !strings.Contains(a.body, step.code) {
				t.Errorf("%s: status %d: %s", step.name, a.status, a.body)
			}
			if (quoted == 1) != (step.status == 402) || (ran == 1) != (step.status == 200) {
				t.Errorf("%s: quoted %d times, ran %d times", step.name, quoted, ran)
			}
		}
		// A window that is used up decides before the credits do.
		x.clock.add(time.Minute)
		planned = nil
		x.grant(5)
		for i, want := range []int{200, 429, 429} {
			quoted = 0
			if a := x.ask(t, "POST", "/image", poor.Secret.Reveal()); a.status != want || quoted != 1-min(i, 1) {
				t.Errorf("call %d: status %d, quoted %d times: %s", i, a.status, quoted, a.body)
			}
		}
		x.spent(5, 0)
	})
}

// Note (a): while an address is locked, a key that was proven lately passes; note
// (b): its success does not unlock the address. Time does.
func TestTheLockOnTheWire(t *testing.T) {
	onTheWire(t, blueprint{options: guessing}, func(t *testing.T, x *wire, mux *middleware.Mux) {
		mux.Handle("/", open(), says(200))
		good, late, wrong := x.key("").Secret.Reveal(), x.key("").Secret.Reveal(), foreign(t).Reveal()
		status := func(credential string, want int) {
			t.Helper()
			if a := x.ask(t, "GET", "/", credential); a.status != want {
				t.Errorf("status %d, want %d: %s", a.status, want, a.body)
			}
		}
		status(good, 200)
		for range 3 {
			status(wrong, 401)
			status(good, 200) // between two guesses
		}
		for range 3 {
			status(wrong, 429)
			status("garbage", 429)
			status(good, 200)
			status("", 401) // a probe is no guess, and is told what is missing
		}
		status(late, 429) // never proven here: the lock stands before the store
		x.clock.add(20 * time.Second)
		status(late, 200)
		status(wrong, 401) // one guess came back with time
		status(wrong, 429)
		status(late, 200)
	})
}

// Note (e): what is refused for want of a scope is counted by address, and never
// against the limits of the key.
func TestDeniedCallsAreCountedByAddressOnly(t *testing.T) {
	onTheWire(t, blueprint{options: func(o *middleware.Options) {
		o.IPLimits = []ratelimit.Limit{perMinute("address", 4).Limit}
	}}, func(t *testing.T, x *wire, mux *middleware.Mux) {
		one, two := open(), priced()
		one.Limits = []middleware.Limit{perMinute("minute", 1)}
		two.Limits = one.Limits
		mux.Handle("/one", one, says(200))
		mux.Handle("/two", two, never(t))
		key := x.key("").Secret.Reveal()
		for i, want := range []int{403, 403, 403, 200, 429} {
			path := "/two"
			if want == 200 {
				path = "/one"
			}
			if a := x.ask(t, "GET", path, key); a.status != want {
				t.Errorf("call %d: status %d, want %d: %s", i, a.status, want, a.body)
			}
		}
	})
}

// What a stranger can see tells nothing apart: not in the status, not in the
// header, not in the body.
func TestMalformedAndUnknownAreOneOnTheWire(t *testing.T) {
	onTheWire(t, blueprint{}, func(t *testing.T, x *wire, mux *middleware.Mux) {
		op := priced()
		op.Limits = []middleware.Limit{perMinute("minute", 3)}
		mux.Handle("/", op, never(t))
		good := x.key("image:generate")
		deleted := x.key("image:generate")
		must(t, x.keys.Delete(t.Context(), deleted.Key.ID))
		first := x.ask(t, "GET", "/", "x")
		for name, credential := range map[string]string{
			"a key that never was": foreign(t).Reveal(), "a wrong secret of a key that is there": wrongSecret(t, good.Secret.Reveal()),
			"a deleted key": deleted.Secret.Reveal(), "a wrong checksum": flip(good.Secret.Reveal(), 20), "too long": strings.Repeat("k", 4000),
			"another prefix": "sk_live_" + strings.Repeat("a", 40),
		} {
			if a := x.ask(t, "GET", "/", credential); a.status != first.status || a.text() != first.text() {
				t.Errorf("%s: status %d\n%s\nand not %d\n%s", name, a.status, a.text(), first.status, first.text())
			}
		}
	})
}

// A panic's text, and a store's, reach no client: the connection ends, or the
// answer says that it was the server.
func TestNoFaultOfTheServerIsTold(t *testing.T) {
	onTheWire(t, blueprint{}, func(t *testing.T, x *wire, mux *middleware.Mux) {
		x.grant(100)
		const text = "dial db-7.internal: password is hunter2"
		key := x.key("image:generate").Secret.Reveal()
		panics := priced()
		panics.Name = "panics"
		mux.Handle("/panics", panics, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(text) }))
		quote := priced()
		quote.Name, quote.Price = "quote", middleware.Quoted(func(*http.Request) (credits.Amount, error) { return 0, errors.New(text) })
		mux.Handle("/quote", quote, never(t))
		allow := open()
		allow.Name, allow.Allow = "allow", func(context.Context, apikey.Key) error { return errors.New(text) }
		mux.Handle("/allow", allow, never(t))
		for path, status := range map[string]int{"/quote": 500, "/allow": 503} {
			if a := x.ask(t, "GET", path, key); a.status != status || strings.Contains(a.text(), "db-7") || strings.Contains(a.text(), "hunter") {
				t.Errorf("%s: status %d\n%s", path, a.status, a.text())
			}
		}
		r, err := http.NewRequestWithContext(t.Context(), "GET", x.url+"/panics", nil)
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+key)
		resp, err := x.client.Do(r)
		if err == nil {
			_ = resp.Body.Close()
			t.Fatalf("status %d after a panic", resp.StatusCode)
		}
		if strings.Contains(err.Error(), "db-7") {
			t.Errorf("the client was told %v", err)
		}
		x.spent(0, 0)
	})
}

// HEAD and OPTIONS ask about the work and do none.
func TestProbesAreNotChargedOnTheWire(t *testing.T) {
	onTheWire(t, blueprint{}, func(t *testing.T, x *wire, mux *middleware.Mux) {
		x.grant(10)
		mux.Handle("/image", priced(), says(200))
		key := x.key("image:generate").Secret.Reveal()
		for _, method := range []string{"HEAD", "OPTIONS"} {
			if a := x.ask(t, method, "/image", key); a.status != 200 {
				t.Errorf("%s: status %d", method, a.status)
			}
			if a := x.ask(t, method, "/image", ""); a.status != 401 || a.header.Get("Www-Authenticate") == "" || method == "HEAD" && a.body != "" {
				t.Errorf("%s without a key: status %d, %v, body %q", method, a.status, a.header, a.body)
			}
		}
		x.spent(0, 0)
		x.ask(t, "GET", "/image", key)
		x.spent(5, 0)
	})
}

// A handler's own Cache-Control stands; without one no shared cache may keep what
// one key was told.
func TestCachesOnTheWire(t *testing.T) {
	onTheWire(t, blueprint{options: byQuery}, func(t *testing.T, x *wire, mux *middleware.Mux) {
		mux.Handle("/plain", open(), says(200))
		own := open()
		mux.Handle("/own", own, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "public, max-age=60") }))
		key := x.key("").Secret.Reveal()
		for _, tt := range []struct{ path, credential, want string }{
			{"/plain", key, "private"}, {"/own", key, "public, max-age=60"}, {"/plain", "", "no-store"}, {"/own", "", "no-store"},
			{"/plain?api_key=" + key, "", "private, no-store"}, {"/plain?api_key=" + key + "x", "", "no-store"},
		} {
			if a := x.ask(t, "GET", tt.path, tt.credential); a.header.Get("Cache-Control") != tt.want || len(a.header["Cache-Control"]) != 1 {
				t.Errorf("%.8s: status %d, Cache-Control %q, want %s", tt.path, a.status, a.header["Cache-Control"], tt.want)
			}
		}
	})
}
