package middleware_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/middleware"
)

// A mux whose every route is protected is accepted, however its patterns look.
func TestGuardAcceptsWhatIsProtected(t *testing.T) {
	h := build(t, blueprint{})
	issued := h.key("")
	gated := h.gate.Handler(open())
	inner := h.gate.Mux()
	inner.Handle("/mux/a", open(), echo("inner"))
	nested := http.NewServeMux()
	nested.Handle("/nested/a", gated(echo("nested")))
	guardedNested, err := h.gate.Guard(nested, "/nested/a")
	must(t, err)
	mux := http.NewServeMux()
	patterns := []string{
		"GET /a", "POST /a", "/b/", "/b/{$}", "/b/{id}", "/b/{id}/{more}", "/b/{id}/x/{rest...}", "PUT api.example.com/a", "api.example.com/", "/{$}", "DELETE /del/{all...}",
	}
	for _, p := range patterns {
		mux.Handle(p, gated(echo("gated")))
	}
	mux.Handle("/mux/", inner)
	mux.Handle("/nested/", guardedNested)
	mux.Handle("GET /public", middleware.Public(echo("public")))
	guarded, err := h.gate.Guard(mux, append(patterns, "/mux/", "/nested/", "GET /public")...)
	must(t, err)
	for _, tt := range []struct {
		method, target string
		with, without  int
	}{
		{"GET", "/a", 200, 401}, {"HEAD", "/a", 200, 401}, {"POST", "/a", 200, 401}, {"PATCH", "/a", 405, 405}, {"DELETE", "/del/a/b", 200, 401},
		{"GET", "/b/", 200, 401}, {"GET", "/b/1", 200, 401}, {"GET", "/b/1/2/3", 200, 401}, {"GET", "/b", 307, 307}, {"GET", "/b//1", 307, 307},
		{"PUT", "http://api.example.com/a", 200, 401}, {"GET", "http://api.example.com/z", 200, 401}, {"GET", "/z", 404, 404},
		{"GET", "/mux/a", 200, 401}, {"GET", "/mux/b", 404, 404}, {"GET", "/nested/a", 200, 401}, {"GET", "/public", 200, 200},
	} {
		if w := h.call(guarded, to(tt.method, tt.target), bearer(issued)); w.Code != tt.with {
			t.Errorf("%s %s with a key: status %d, want %d", tt.method, tt.target, w.Code, tt.with)
		}
		if w := h.call(guarded, to(tt.method, tt.target)); w.Code != tt.without {
			t.Errorf("%s %s without: status %d, want %d", tt.method, tt.target, w.Code, tt.without)
		}
	}
	if w := h.call(guarded, to("GET", "/b/7"), bearer(issued)); w.Body.String() != "gated /b/{id} id=7" {
		t.Errorf("the handler sees %q", w.Body)
	}
}

func TestGuardReportsEveryFault(t *testing.T) {
	h, other := build(t, blueprint{}), build(t, blueprint{})
	mux := http.NewServeMux()
	mux.Handle("GET /free", echo("free"))
	mux.HandleFunc("/func/", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("GET /other", other.gate.Handler(open())(says(200)))
	mux.Handle("GET /logged", http.StripPrefix("/logged", h.gate.Handler(open())(says(200))))
	mux.Handle("GET /fine", h.gate.Handler(open())(says(200)))
	mux.Handle("/inner/", http.NewServeMux())
	mux.Handle("/away", http.RedirectHandler("/fine", http.StatusFound))
	mux.Handle("GET /mux", other.gate.Mux())
	_, err := h.gate.Guard(mux, "GET /free", "/func/", "GET /other", "GET /logged", "GET /fine", "POST /fine", "/absent", "fine", "", "/inner/", "/away", "GET /mux", "GET /free/")
	mentions(t, err, `pattern "GET /free": its handler, a http.HandlerFunc, is not behind the gate`, `pattern "/func/": its handler`,
		`pattern "GET /other": its handler`, `pattern "GET /logged": its handler`, `pattern "POST /fine": the mux does not have it`,
		`pattern "/absent": the mux does not have it`, `pattern "fine"`, `pattern ""`, `pattern "/inner/": its handler, a *http.ServeMux`, `pattern "/away"`, `pattern "GET /mux"`)
	if strings.Contains(err.Error(), `"GET /fine"`) {
		t.Errorf("a protected route is a fault: %v", err)
	}
	if _, err := h.gate.Guard(nil); err == nil {
		t.Error("no mux is accepted")
	}
	if _, err := h.gate.Guard(http.NewServeMux()); err == nil {
		t.Error("no patterns are accepted")
	}
	defer func() {
		if recover() == nil {
			t.Error("a nil public handler is accepted")
		}
	}()
	middleware.Public(nil)
}

// A route that was forgotten, or added later, is closed and told of.
func TestGuardClosesWhatWasForgotten(t *testing.T) {
	h := build(t, blueprint{})
	mux := http.NewServeMux()
	mux.Handle("GET /a", h.gate.Handler(open())(echo("gated")))
	mux.Handle("GET /forgotten", never(t))
	mux.Handle("/forgotten/", never(t))
	guarded, err := h.gate.Guard(mux, "GET /a")
	must(t, err)
	mux.Handle("POST /a", never(t))
	mux.Handle("PUT /a", h.gate.Handler(open())(echo("late")))
	issued := h.key("")
	for _, target := range []string{"GET /forgotten", "HEAD /forgotten", "POST /a", "GET /forgotten/x"} {
		method, path, _ := strings.Cut(target, " ")
		told := len(h.journal.verdicts())
		w := h.call(guarded, to(method, path), bearer(issued))
		refused(t, w, 500, "internal")
		if d := h.journal.last(); len(h.journal.verdicts()) != told+1 || d.Verdict != middleware.VerdictMisconfigured ||
			d.Err == nil || !strings.Contains(d.Err.Error(), "/") || d.RequestID != w.Header().Get("X-Request-Id") || d.IP.String() != "192.0.2.1" {
			t.Errorf("%s is told as %+v", target, d)
		}
		if strings.Contains(w.Body.String(), "forgotten") {
			t.Errorf("the answer tells of the wiring: %s", w.Body)
		}
	}
	for target, status := range map[string]int{"GET /a": 200, "PUT /a": 200, "DELETE /a": 405, "GET /none": 404, "GET //a": 307} {
		method, path, _ := strings.Cut(target, " ")
		if w := h.call(guarded, to(method, path), bearer(issued)); w.Code != status {
			t.Errorf("%s: status %d, want %d", target, w.Code, status)
		}
	}
}
