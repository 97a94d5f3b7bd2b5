package middleware_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
)

func TestJSONUnitsCountWhatTheHandlerReads(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	var read string
	op := priced()
	op.Price, op.Unit, op.Units = middleware.PerUnit(credits.Credit), "images", middleware.JSONUnits("num_images", 1)
	handler := h.gate.Handler(op)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		must(t, err)
		read = string(body)
	}))
	key := h.key("image:generate")
	consumed := credits.Amount(0)
	for _, tt := range []struct {
		body string
		cost credits.Amount // -1: refused
	}{
		{`{"num_images":3}`, 3}, {`{"prompt":{"num_images":9},"num_images":2}`, 2}, {`{"NUM_IMAGES":4}`, 4},
		{`{}`, 1}, {"", 1}, {" \n", 1}, {`{"num_images":0}`, 0}, {`{"num_images":5} trailing`, 5},
		{`{"num_images":1,"Num_Images":50}`, -1}, {`{"num_images":1,"num_images":1}`, -1},
		{`{"num_images":-1}`, -1}, {`{"num_images":1.5}`, -1}, {`{"num_images":"3"}`, -1}, {`{"num_images":null}`, -1}, {`{"num_images":1e1}`, -1},
		{`{"num_images":9223372036854775808}`, -1}, {`[1]`, -1}, {`3`, -1}, {`{"num_images":3`, -1}, {`{"num_images"`, -1}, {`nonsense`, -1},
		{`{"a":"` + strings.Repeat("x", 1<<20) + `","num_images":1}`, -1},
	} {
		read = "not called"
		w := h.call(handler, bearer(key), func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(tt.body)) })
		name := tt.body[:min(len(tt.body), 40)]
		if tt.cost < 0 {
			if refused(t, w, 400, "price_refused"); read != "not called" {
				t.Errorf("%s: the handler ran", name)
			}
			continue
		}
		if consumed += tt.cost; w.Code != 200 || read != tt.body {
			t.Errorf("%s: status %d, the handler read %q", name, w.Code, read)
		}
		h.spent(consumed, 0)
	}
	if w := h.call(h.gate.Handler(op)(says(200)), bearer(key), func(r *http.Request) { r.Body = nil }); w.Code != 200 {
		t.Errorf("no body: %d", w.Code)
	}
}

func TestJSONUnitsKeepToTheBodysBound(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.MaxBody = 64 }})
	op := open()
	op.Unit, op.Units = "images", middleware.JSONUnits("num_images", 1)
	w := h.call(h.gate.Handler(op)(never(t)), bearer(h.key("")), func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{"num_images":1,"a":"`+strings.Repeat("x", 100)+`"}`)), -1
	})
	refused(t, w, 413, "body_too_large")
}
