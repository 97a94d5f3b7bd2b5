package proof_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/middleware/selfservice"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// TestSelfServiceAnswersAsItIsDescribed holds every answer of the handlers against
// their own description, and finds an answer for everything that is described.
func TestSelfServiceAnswersAsItIsDescribed(t *testing.T) {
	f := middlewaretest.New(t, nil)
	images := middleware.Operation{
		Name: "image", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit),
		Limits: []middleware.Limit{
			{Limit: ratelimit.Limit{Name: "minute", Count: 60, Period: time.Minute}},
			{Limit: ratelimit.Limit{Name: "at-once", Algorithm: ratelimit.Concurrency, Count: 3, Period: time.Minute}, Subject: middleware.PerOwner},
		},
	}
	made := f.Gate.Handler(images)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h, err := selfservice.New(f.Keys, f.Gate, &selfservice.Options{
		Usage: scopes.All("usage:read"), Rotate: scopes.None(), Now: f.Clock.Now, Log: slog.New(slog.DiscardHandler),
		Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: "selfservice", Count: 100, Period: time.Minute}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := mount(h)
	d := describe(t, h.OpenAPI("/v1/key"), mux)
	key := f.Key(middlewaretest.Active)
	bearer := func(text string) http.Header { return http.Header{"Authorization": {"Bearer " + text}} }
	_, err = f.Ledger.SetBudget(t.Context(), credits.Budget{
		Account: "acme", ID: "cap", Key: key.Key.Meter, Amount: 10 * credits.Credit, Every: credits.Month, Zone: "Asia/Tokyo",
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Do(made, middlewaretest.Active, "POST", "/v1/images")

	text := key.Secret.Reveal()
	d.send("/v1/key", try{"GET", "/v1/key", "", bearer(text)}, http.StatusOK)
	d.send("/v1/key/usage", try{"GET", "/v1/key/usage?by=hour&group=operation", "", bearer(text)}, http.StatusOK)
	d.send("/v1/key/usage", try{"GET", "/v1/key/usage?by=year", "", bearer(text)}, http.StatusBadRequest)
	d.send("/v1/key", try{"GET", "/v1/key?nope=1", "", bearer(text)}, http.StatusBadRequest)
	d.send("/v1/key/rotate", try{"POST", "/v1/key/rotate", "[]", bearer(text)}, http.StatusBadRequest)
	d.send("/v1/key/rotate", try{"POST", "/v1/key/rotate", `{"x":"` + strings.Repeat("x", 1<<17) + `"}`, bearer(text)}, http.StatusRequestEntityTooLarge)
	// Nobody's stores are down here: a caller that has given up is not decided either.
	for path, method := range map[string]string{"/v1/key": "GET", "/v1/key/usage": "GET", "/v1/key/rotate": "POST"} {
		d.handler = cancelled(mux)
		d.send(path, try{method, path, "", bearer(text)}, http.StatusServiceUnavailable)
	}
	d.send("/v1/key", try{"DELETE", "/v1/key", "", bearer(text)}, http.StatusServiceUnavailable)
	d.handler = mux

	header := bearer(text)
	header.Set("Content-Type", "application/json")
	rotated := d.send("/v1/key/rotate", try{"POST", "/v1/key/rotate", `{"grace_seconds":60}`, header}, http.StatusOK)
	var next struct{ Key string }
	if err := json.Unmarshal(rotated, &next); err != nil {
		t.Fatal(err)
	}
	d.send("/v1/key/rotate", try{"POST", "/v1/key/rotate", "", bearer(text)}, http.StatusConflict)
	for path, methods := range map[string][]string{"/v1/key": {"GET", "DELETE"}, "/v1/key/usage": {"GET"}, "/v1/key/rotate": {"POST"}} {
		for _, method := range methods {
			d.send(path, try{method, path, "", http.Header{}}, http.StatusUnauthorized)
			d.send(path, try{method, path, "", bearer(f.Key(middlewaretest.OtherNetwork).Secret.Reveal())}, http.StatusForbidden)
		}
	}
	d.handler = selfless(t, f) // where there are no credits
	d.send("/v1/key/usage", try{"GET", "/v1/key/usage", "", bearer(next.Key)}, http.StatusNotFound)
	d.handler = mux
	for range 100 { // the limit is the key's and its successor's
		r := httptest.NewRequest("GET", "/v1/key", nil)
		r.Header = bearer(next.Key)
		f.Serve(mux, r)
	}
	for path, methods := range map[string][]string{"/v1/key": {"GET", "DELETE"}, "/v1/key/usage": {"GET"}, "/v1/key/rotate": {"POST"}} {
		for _, method := range methods {
			d.send(path, try{method, path, "", bearer(next.Key)}, http.StatusTooManyRequests)
		}
	}
	f.Advance(time.Minute)
	d.send("/v1/key", try{"DELETE", "/v1/key", "", bearer(next.Key)}, http.StatusNoContent)
	d.complete()
}

func mount(h *selfservice.Handlers) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range h.Routes("/v1/key") {
		mux.Handle(rt.Pattern, rt.Handler)
	}
	return mux
}

// selfless returns the handlers behind a gate without a ledger.
func selfless(t *testing.T, f *middlewaretest.Fixture) http.Handler {
	t.Helper()
	gate, err := middleware.NewGate(f.Keys, &middleware.Options{Now: f.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	h, err := selfservice.New(f.Keys, gate, &selfservice.Options{Usage: scopes.None(), Now: f.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return mount(h)
}

// cancelled serves requests whose caller has given up.
func cancelled(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}
