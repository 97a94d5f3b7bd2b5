package middleware_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/middleware"
)

func TestHandlersRefuseInTheFormOfTheProfile(t *testing.T) {
	refuses := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pass, _ := middleware.PassFrom(r.Context())
			pass.Refuse(w, r, status, "too_wide", `"width" is more than 4096`)
		})
	}
	h := build(t, blueprint{})
	h.grant(10)
	key := h.key("image:generate")
	image := h.gate.Handler(priced())
	p := refused(t, h.call(image(refuses(http.StatusUnprocessableEntity)), bearer(key)), http.StatusUnprocessableEntity, "too_wide")
	if p.Detail != `"width" is more than 4096` {
		t.Errorf("detail %q", p.Detail)
	}
	h.spent(0, 0)
	refused(t, h.call(image(refuses(http.StatusOK)), bearer(key)), http.StatusInternalServerError, "too_wide")

	flat := build(t, blueprint{options: func(o *middleware.Options) {
		o.Profile.Render = middleware.JSON(func(d *middleware.Denial) any {
			return struct {
				Error string `json:"error"`
				Code  string `json:"code"`
				Trace string `json:"traceId"`
			}{d.Detail(), d.Code, d.RequestID}
		})
	}})
	w := flat.call(flat.gate.Handler(open())(refuses(http.StatusConflict)), bearer(flat.key("")))
	want := `{"error":"\"width\" is more than 4096","code":"too_wide","traceId":"` + w.Header().Get("X-Request-Id") + `"}`
	if w.Code != http.StatusConflict || strings.TrimSpace(w.Body.String()) != want || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s, want %s", w.Code, w.Body, want)
	}
}
