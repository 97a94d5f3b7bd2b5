package middleware_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/middleware"
)

// holding is a handler that finds something of that owner.
func holding(owner string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass, _ := middleware.PassFrom(r.Context())
		if pass.RequireOwner(w, r, owner) {
			_, _ = w.Write([]byte("mine"))
		}
	})
}

func TestWhatIsAnothersIsNotThere(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 10)}
	key := h.key("image:generate")
	if w := h.call(h.gate.Handler(op)(holding(account)), bearer(key)); w.Code != 200 || w.Body.String() != "mine" {
		t.Fatalf("its own: %d %s", w.Code, w.Body)
	}
	for _, owner := range []string{"globex", ""} {
		w := h.call(h.gate.Handler(op)(holding(owner)), bearer(key))
		refused(t, w, 404, "not_found")
		if w.Header().Get("RateLimit") == "" {
			t.Error("an answer of the handler's has lost its limits")
		}
	}
	h.spent(5, 0)
}

func TestProfileSaysHowAnothersIsTold(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.Profile.Answers = map[middleware.Verdict]middleware.Answer{
			middleware.VerdictForeign: {Status: 401, Code: "other_workspace", Message: `not "your" workspace`},
		}
	}})
	w := h.call(h.gate.Handler(open())(holding("globex")), bearer(h.key("")))
	if p := refused(t, w, 401, "other_workspace"); p.Detail != `not "your" workspace` {
		t.Errorf("detail %s", p.Detail)
	}
	if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="api", error="invalid_token", error_description="not your workspace"` {
		t.Errorf("challenge %s", got)
	}
}

// A profile that tells all causes alike does so in the challenge too.
func TestChallengeTellsNoMoreThanTheMessage(t *testing.T) {
	const merged = "API key is invalid, expired, or revoked"
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.Profile.Answers = map[middleware.Verdict]middleware.Answer{
			middleware.VerdictRevoked: {Code: "bad", Message: merged}, middleware.VerdictDisabled: {Code: "bad", Message: merged},
		}
	}})
	revoked, disabled := h.key(""), h.key("")
	_, err := h.keys.Revoke(t.Context(), revoked.Key.ID, "")
	must(t, err)
	_, err = h.keys.Disable(t.Context(), disabled.Key.ID)
	must(t, err)
	var seen []string
	for _, key := range []func(*http.Request){bearer(revoked), bearer(disabled)} {
		w := h.call(h.gate.Handler(open())(never(t)), key)
		w.Header().Del("X-Request-Id")
		body, _, _ := strings.Cut(w.Body.String(), `"request_id"`)
		seen = append(seen, body+w.Header().Get("WWW-Authenticate"))
	}
	if seen[0] != seen[1] || !strings.Contains(seen[0], `error_description="`+merged+`"`) {
		t.Errorf("told apart:\n%s\n%s", seen[0], seen[1])
	}
}
