package middleware_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// to asks for a path by a method.
func to(method, target string) func(*http.Request) {
	return func(r *http.Request) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			panic(err)
		}
		if u.Host != "" {
			r.Host = u.Host
		}
		r.Method, r.URL, r.RequestURI = method, u, target
	}
}

// echo answers with its name and what the mux matched.
func echo(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s id=%s", name, r.Pattern, r.PathValue("id"))
	})
}

func TestMux(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	issued := h.key("image:generate")
	mux := h.gate.Mux()
	named := func(name string) middleware.Operation {
		op := priced()
		op.Name = name
		return op
	}
	mux.Handle("POST /v1/images", named("image:create"), echo("create"))
	mux.HandleFunc("GET /v1/images/{id}", named("image:get"), echo("get").ServeHTTP)
	mux.Handle("/v1/files/", named("files"), echo("files"))
	mux.Handle("api.example.com/v1/images", named("image:host"), echo("host"))
	mux.Public("GET /healthz", echo("health"))
	for _, tt := range []struct {
		method, target string
		key            bool
		status         int
		body           string
		charged        credits.Amount
	}{
		{"POST", "/v1/images", true, 200, "create POST /v1/images id=", 5},
		{"POST", "/v1/images", false, 401, "", 0},
		{"GET", "/v1/images/7", true, 200, "get GET /v1/images/{id} id=7", 5},
		{"GET", "/v1/images/a%2Fb", true, 200, "get GET /v1/images/{id} id=a/b", 5},
		{"HEAD", "/v1/images/7", true, 200, "get GET /v1/images/{id} id=7", 0},
		{"HEAD", "/v1/images/7", false, 401, "", 0},
		{"PATCH", "/v1/files/a/b", true, 200, "files /v1/files/ id=", 5},
		{"GET", "http://api.example.com/v1/images", true, 200, "host api.example.com/v1/images id=", 5},
		{"GET", "http://api.example.com:8443/v1/images", false, 401, "", 0},
		{"GET", "/healthz", false, 200, "health GET /healthz id=", 0},
		{"GET", "/healthz", true, 200, "health GET /healthz id=", 0},
		// What the mux says by itself is never about keys.
		{"GET", "/", false, 404, "", 0},
		{"GET", "/v2/images", true, 404, "", 0},
		{"DELETE", "/v1/images", false, 405, "", 0},
		{"DELETE", "/v1/images", true, 405, "", 0},
		{"POST", "/healthz", true, 405, "", 0},
		{"GET", "/v1/files", true, 307, "", 0},
		{"GET", "/v1//images/7", true, 307, "", 0},
		{"POST", "/v1/x/../images", true, 307, "", 0},
		{"POST", "//v1/images", false, 307, "", 0},
		{"GET", "/v1/%2e%2e/healthz", true, 404, "", 0},
		{"GET", "/v1/images%2F7", true, 404, "", 0},
	} {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			before, told := h.totals().Consumed, len(h.journal.verdicts())
			edit := []func(*http.Request){to(tt.method, tt.target)}
			if tt.key {
				edit = append(edit, bearer(issued))
			}
			w := h.call(mux, edit...)
			if w.Code != tt.status || tt.status == 200 && w.Body.String() != tt.body {
				t.Errorf("status %d, body %s", w.Code, w.Body)
			}
			if got := (h.totals().Consumed - before) / credits.Credit; got != tt.charged {
				t.Errorf("charged %d, want %d", got, tt.charged)
			}
			decided := len(h.journal.verdicts()) - told
			if own := tt.status == 404 || tt.status == 405 || tt.status == 307; own && decided != 0 {
				t.Errorf("the gate decided about what the mux answers")
			}
			if (tt.status == 405) != (w.Header().Get("Allow") != "") {
				t.Errorf("Allow %q", w.Header().Get("Allow"))
			}
		})
	}
	var patterns []string
	for _, m := range mux.Routes() {
		name := "public"
		if m.Route != nil {
			name = m.Route.Operation()
		}
		patterns = append(patterns, m.Pattern+" = "+name)
	}
	want := "POST /v1/images = image:create, GET /v1/images/{id} = image:get, /v1/files/ = files, " +
		"api.example.com/v1/images = image:host, GET /healthz = public"
	if got := strings.Join(patterns, ", "); got != want {
		t.Errorf("routes %s, want %s", got, want)
	}
}

// Every mistake shows at start-up.
func TestMuxPanicsAtStartUp(t *testing.T) {
	h := build(t, blueprint{})
	mux := h.gate.Mux()
	mux.Handle("GET /taken", open(), says(200))
	priceless := open()
	priceless.Name, priceless.Price = "priceless", middleware.Price{}
	for name, f := range map[string]func(){
		"a route without a price":   func() { mux.Handle("/x", priceless, says(200)) },
		"a nil handler":             func() { mux.Handle("/x", open(), nil) },
		"a nil function":            func() { mux.HandleFunc("/x", open(), nil) },
		"a nil public handler":      func() { mux.Public("/x", nil) },
		"a pattern that is none":    func() { mux.Handle("GET x", open(), says(200)) },
		"a pattern that is taken":   func() { mux.Handle("GET /taken", open(), says(200)) },
		"a public one that is, too": func() { mux.Public("GET /taken", says(200)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is accepted", name)
				}
			}()
			f()
		}()
	}
	if got := len(mux.Routes()); got != 1 {
		t.Errorf("%d routes after the mistakes, want 1", got)
	}
}

// What a route asks for can be told: for docs, and for views of one's own key.
func TestRoutesTellWhatTheyAskFor(t *testing.T) {
	h := build(t, blueprint{})
	everybody, own := perMinute("everybody", 9), perMinute("minute", 3)
	everybody.Subject, own.Setting = middleware.PerOperation, "per_minute"
	op := priced()
	op.Limits = []middleware.Limit{everybody, own, {Limit: ratelimit.Limit{Name: "burst", Count: 2, Period: 1e9}}}
	h.gate.Handler(op)
	h.gate.Handler(open())
	var told []string
	for _, rt := range h.gate.Routes() {
		line := fmt.Sprintf("%s: %s, %s", rt.Operation(), rt.Scopes(), rt.Price())
		for l := range rt.Limits() {
			line += fmt.Sprintf(", %s %d per %s setting=%q burst=%d", l.Name, l.Count, l.Subject, l.Setting, l.Burst)
		}
		told = append(told, line)
	}
	want := `image: image:generate, 5, minute 3 per key setting="per_minute" burst=0, burst 2 per key setting="" burst=2, everybody 9 per operation setting="" burst=0
open: ` + scopes.None().String() + `, free`
	if got := strings.Join(told, "\n"); got != want {
		t.Errorf("routes:\n%s\nwant\n%s", got, want)
	}
	for range h.gate.Routes()[0].Limits() {
		break // an iteration may stop
	}
}
