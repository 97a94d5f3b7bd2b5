package middleware_test

import (
	"net/http"
	"testing"

	"github.com/keytoll/keytoll/middleware"
)

func TestAllowedCallIsChargedAndTold(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	issued := h.key("image:generate")
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 60)}
	handler := h.gate.Handler(op)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := middleware.PassFrom(r.Context())
		if !ok {
			t.Fatal("no pass in the context")
		}
		if p.Key().ID != issued.Key.ID || p.Operation() != "image" || p.RequestID() != w.Header().Get("X-Request-Id") {
			t.Errorf("pass of key %q, operation %q, request %q", p.Key().ID, p.Operation(), p.RequestID())
		}
		if _, told := r.Header["Authorization"]; told {
			t.Error("the handler sees the credential")
		}
		if hold, ok := p.Hold(); !ok || hold.Account != account || string(hold.ID) != p.RequestID() {
			t.Errorf("hold %+v, %v", hold, ok)
		}
		h.spent(0, 5)
	}))
	w := h.call(handler, bearer(issued))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	for name, want := range map[string]string{
		"RateLimit-Policy": `"minute";q=60;w=60`,
		"RateLimit":        `"minute";r=59;t=60`,
		"Cache-Control":    "private",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	h.spent(5, 0)
}
