package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// Each kind of Authorization header, in each of the three readings of it.
func TestKindsOfAuthorization(t *testing.T) {
	const (
		pass      = middleware.VerdictAllowed
		missing   = middleware.VerdictMissing
		malformed = middleware.VerdictMalformed
	)
	h := build(t, blueprint{options: func(o *middleware.Options) { o.FailedAuth.Count, o.FailedAuth.Period = 1<<40, 1e9 }})
	key := h.key("").Secret.Reveal()
	for _, tt := range []struct {
		name                string
		lines               []string
		plain, only, orBare middleware.Verdict
	}{
		{"nothing", nil, missing, missing, missing},
		{"Bearer", []string{"Bearer " + key}, pass, pass, pass},
		{"the scheme in another case", []string{"bEaReR " + key}, pass, pass, pass},
		{"bare", []string{key}, missing, malformed, pass},
		{"another scheme", []string{"Basic dTpw"}, missing, malformed, malformed},
		{"another scheme with the key", []string{"ApiKey " + key}, missing, malformed, malformed},
		{"the scheme alone", []string{"Bearer"}, malformed, malformed, malformed},
		{"the scheme and a space", []string{"Bearer "}, malformed, malformed, malformed},
		{"an empty line", []string{""}, missing, malformed, malformed},
		{"a wrong key, bare", []string{key[:len(key)-1]}, missing, malformed, malformed},
		{"the scheme twice", []string{"Bearer Bearer " + key}, malformed, malformed, malformed},
		{"two lines", []string{"Bearer " + key, "Basic dTpw"}, malformed, malformed, malformed},
		{"two schemes on one line", []string{"Basic dTpw, Bearer " + key}, missing, malformed, malformed},
		{"a scheme that begins alike", []string{"BearerToken " + key}, missing, malformed, malformed},
	} {
		for location, want := range map[middleware.Location]middleware.Verdict{
			middleware.Bearer(): tt.plain, middleware.BearerOnly(): tt.only, middleware.BearerOrBare(): tt.orBare,
		} {
			gate, err := middleware.NewGate(h.keys, &middleware.Options{Profile: middleware.Profile{Credentials: []middleware.Location{location}}, Observer: h.journal, Now: h.clock.now})
			must(t, err)
			var left http.Header
			w := h.call(gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { left = r.Header })), func(r *http.Request) {
				if tt.lines != nil {
					r.Header["Authorization"] = tt.lines
				}
			})
			if got := h.journal.last().Verdict; got != want || (w.Code == 200) != (want == pass) {
				t.Errorf("%s at %s: %v with status %d, want %v", tt.name, location, got, w.Code, want)
			}
			if left["Authorization"] != nil {
				t.Errorf("%s at %s: the handler sees %q", tt.name, location, left["Authorization"])
			}
		}
	}
}

func byQuery(o *middleware.Options) {
	o.Profile.Credentials = []middleware.Location{middleware.Bearer(), middleware.InsecureQuery("api_key")}
}

// A key in the URL is found however its name is written, and no trace of it is
// left.
func TestAKeyInTheURL(t *testing.T) {
	h := build(t, blueprint{options: byQuery})
	issued := h.key("")
	key := issued.Secret.Reveal()
	var saw *http.Request
	handler := h.gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		must(t, r.ParseForm())
		saw = r
	}))
	for _, tt := range []struct {
		name, query string
		status      int
		left        string
	}{
		{"alone", "api_key=" + key, 200, ""},
		{"among others", "a=1&api_key=" + key + "&b=%20x&a=2", 200, "a=1&b=%20x&a=2"},
		{"its name encoded", "a=1&%61pi%5Fkey=" + key, 200, "a=1"},
		{"its value encoded", "api_key=" + "%6B" + key[1:], 200, ""},
		{"empty parts beside it", "&&api_key=" + key + "&", 200, ""},
		{"twice", "api_key=" + key + "&api_key=" + key, 401, ""},
		{"twice, once encoded", "api_key=" + key + "&%61pi_key=" + key, 401, ""},
		{"empty", "api_key=", 401, ""},
		{"without a value", "api_key", 401, ""},
		{"a value that cannot be decoded", "api_key=%zz" + key, 401, ""},
		{"a name that differs in case is another", "API_KEY=" + key, 401, ""},
		{"behind a semicolon it is part of another", "a=1;api_key=" + key, 401, ""},
		{"in another's value", "a=api_key=" + key, 401, ""},
		{"none", "a=1", 401, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			saw = nil
			var outer *http.Request
			w := h.call(handler, func(r *http.Request) {
				outer = r
				r.Method, r.URL.RawQuery, r.RequestURI = "GET", tt.query, "http://example.com/?"+tt.query
			})
			if w.Code != tt.status {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			if outer.URL.RawQuery != tt.query {
				t.Errorf("the outer request was changed to %q", outer.URL.RawQuery)
			}
			if strings.Contains(w.Body.String(), key[4:]) {
				t.Errorf("the answer tells the key: %s", w.Body)
			}
			if tt.status != 200 {
				if got := w.Header().Get("Cache-Control"); got != "no-store" {
					t.Errorf("Cache-Control %q", got)
				}
				return
			}
			if got := w.Header().Get("Cache-Control"); got != "private, no-store" {
				t.Errorf("Cache-Control %q", got)
			}
			if got := w.Header().Get("Referrer-Policy"); got != "no-referrer" {
				t.Errorf("Referrer-Policy %q", got)
			}
			if saw.URL.RawQuery != tt.left || strings.Contains(saw.RequestURI, key[4:]) || strings.Contains(saw.URL.String(), key[4:]) || saw.Form.Has("api_key") {
				t.Errorf("the handler sees %q, %q, %v", saw.URL, saw.RequestURI, saw.Form)
			}
		})
	}
}

// A page whose URL holds a key has browsers name it with all that they ask for from
// there: the handler is told the page, and not the key.
func TestAKeyInTheReferer(t *testing.T) {
	h := build(t, blueprint{options: byQuery})
	issued := h.key("")
	var saw http.Header
	handler := h.gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { saw = r.Header }))
	for referer, want := range map[string]string{
		"https://app.example/a?api_key=s3cr3t":             "https://app.example/a",
		"https://app.example/a?b=1&%61pi_key=s3cr3t&c=%20": "https://app.example/a?b=1&c=%20",
		"https://app.example/a?b=1":                        "https://app.example/a?b=1",
		"https://app.example/a?":                           "https://app.example/a?",
		"/a?api_key=s3cr3t&api_key=":                       "/a",
	} {
		var outer *http.Request
		w := h.call(handler, bearer(issued), func(r *http.Request) {
			outer = r
			r.Header["Referer"] = []string{referer, "x"}
		})
		if got := saw["Referer"]; w.Code != 200 || len(got) != 2 || got[0] != want || got[1] != "x" {
			t.Errorf("%s: status %d, the handler sees %q", referer, w.Code, got)
		}
		if outer.Header["Referer"][0] != referer {
			t.Errorf("the outer request was changed to %q", outer.Header["Referer"])
		}
	}
}

// A form that was parsed outside of the gate keeps no key, and keeps the rest.
func TestAFormThatWasParsedOutside(t *testing.T) {
	h := build(t, blueprint{options: byQuery})
	key := h.key("").Secret.Reveal()
	var saw *http.Request
	handler := h.gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { saw = r }))
	r := httptest.NewRequest("POST", "/?a=1&api_key="+key, strings.NewReader("b=2"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	must(t, r.ParseForm())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != 200 || saw.Form.Has("api_key") || saw.Form.Get("a") != "1" || saw.Form.Get("b") != "2" || !r.Form.Has("api_key") {
		t.Errorf("status %d, the handler sees %v, the outer form is %v", w.Code, saw.Form, r.Form)
	}
}

// A query that is not asked for keys is nobody's business.
func TestQueriesAreNotReadByDefault(t *testing.T) {
	h := build(t, blueprint{})
	issued := h.key("")
	query := "api_key=" + issued.Secret.Reveal()
	set := func(r *http.Request) { r.URL.RawQuery = query }
	refused(t, h.call(h.gate.Handler(open())(never(t)), set), 401, "missing_key")
	var saw string
	handler := h.gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { saw = r.URL.RawQuery }))
	if w := h.call(handler, set, bearer(issued)); w.Code != 200 || saw != query || w.Header().Get("Cache-Control") != "private" {
		t.Errorf("status %d, query %q, Cache-Control %q", w.Code, saw, w.Header().Get("Cache-Control"))
	}
}

// A key in the URL and one in the header contradict each other.
func TestAKeyInTheURLAndInTheHeader(t *testing.T) {
	h := build(t, blueprint{options: byQuery})
	issued := h.key("")
	w := h.call(h.gate.Handler(open())(never(t)), bearer(issued), func(r *http.Request) { r.URL.RawQuery = "api_key=" + issued.Secret.Reveal() })
	refused(t, w, 401, "invalid_key")
}

func TestRedact(t *testing.T) {
	h := build(t, blueprint{options: byQuery})
	for in, want := range map[string]string{
		"/v1/images?a=1&api_key=secret&b=2":               "/v1/images?a=1&api_key=REDACTED&b=2",
		"/v1?%61pi_key=secret&api_key=other":              "/v1?api_key=REDACTED&api_key=REDACTED",
		"https://user:pass@example.com/?api_key=secret#f": "https://user:xxxxx@example.com/?api_key=REDACTED#f",
		"/v1?api_key=%zz":                                 "/v1?api_key=REDACTED",
		"/v1?a=b":                                         "/v1?a=b",
		"/v1":                                             "/v1",
		"/a%2Fb?api_key":                                  "/a%2Fb?api_key=REDACTED",
		"http://[2001:db8::1]:80/?x=%20&api_key=a%26b=c+d": "http://[2001:db8::1]:80/?x=%20&api_key=REDACTED",
	} {
		u, err := url.Parse(in)
		must(t, err)
		if got := h.gate.Redact(u); got != want {
			t.Errorf("%s is told as %s, want %s", in, got, want)
		}
		if u.String() == want && strings.Contains(in, "secret") {
			t.Errorf("the URL was changed: %s", u)
		}
	}
}

// Preflights pass without a key where the host says so: limited by address,
// distantLimits is at the other end of a wire, and waits as long as it may.
type distantLimits struct {
	ratelimit.Store
	testing.TB
}

func (s distantLimits) Apply(ctx context.Context, r *ratelimit.Request) error {
	if _, bounded := ctx.Deadline(); !bounded || ctx.Err() != nil {
		s.Errorf("asked in a context without end, or after it: %v", ctx.Err())
	}
	return s.Store.Apply(ctx, r)
}

// without a pass, and nothing else does.
func TestPreflights(t *testing.T) {
	preflight := []func(*http.Request){
		func(r *http.Request) { r.Method = "OPTIONS" }, raw("Origin", "https://app.example"), raw("Access-Control-Request-Method", "POST"),
	}
	for _, tt := range []struct {
		name   string
		pass   bool
		edit   []func(*http.Request)
		status int
	}{
		{"not asked for", false, preflight, 401},
		{"a preflight", true, preflight, 204},
		{"another method", true, append(preflight[1:3:3], func(r *http.Request) { r.Method = "POST" }), 401},
		{"without an origin", true, []func(*http.Request){preflight[0], preflight[2]}, 401},
		{"without a method", true, preflight[:2], 401},
		{"plain OPTIONS", true, preflight[:1], 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			distant := func(s ratelimit.Store) ratelimit.Store { return distantLimits{s, t} }
			h := build(t, blueprint{limits: distant, options: func(o *middleware.Options) {
				o.PassPreflights = tt.pass
				o.IPLimits = []ratelimit.Limit{perMinute("address", 2).Limit}
				o.Profile.Credentials = []middleware.Location{middleware.Bearer(), middleware.InsecureQuery("api_key")}
			}})
			h.grant(10)
			op := priced()
			op.Limits = []middleware.Limit{perMinute("minute", 5)}
			issued := h.key("image:generate")
			handler := h.gate.Handler(op)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, ok := middleware.PassFrom(r.Context()); ok {
					t.Error("a pass without a key")
				}
				if r.Header["Authorization"] != nil || strings.Contains(r.URL.RawQuery+r.RequestURI, "api_key") {
					t.Errorf("the handler sees %v and %q", r.Header, r.URL)
				}
				w.WriteHeader(204)
			}))
			if w := h.call(handler, tt.edit...); w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			if tt.status != 204 {
				return
			}
			// A credential on a preflight is not looked at, not passed on, and charged nothing.
			w := h.call(handler, append(tt.edit, bearer(issued), func(r *http.Request) {
				r.URL.RawQuery = "api_key=" + issued.Secret.Reveal()
				r.RequestURI = "/?" + r.URL.RawQuery
			})...)
			if w.Code != 204 || w.Header().Get("RateLimit") != "" {
				t.Errorf("status %d, header %v", w.Code, w.Header())
			}
			refused(t, h.call(handler, tt.edit...), 429, "ip_limited")
			refused(t, h.call(handler, bearer(issued)), 429, "ip_limited")
			if w := h.call(handler, append(tt.edit, from("198.51.100.1:1"))...); w.Code != 204 {
				t.Errorf("another address: status %d", w.Code)
			}
			h.spent(0, 0)
		})
	}
}
