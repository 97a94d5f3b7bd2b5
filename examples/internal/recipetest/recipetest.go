// Package recipetest holds every recipe for a router to the same promises: what
// the client is answered is what is charged, however the framework came to it.
//
// An API under test has these routes:
//
//	POST /v1/images/{style}  5 credits, scope image:generate; a recoverer stands outside of the gate
//	POST /v1/videos/{style}  10 credits for the style "long" and 5 for others, scope video:generate;
//	                         the gate guards the group and heeds Idempotency-Key, and a recoverer stands inside of it
//	GET /v1/models           free
//	GET /healthz             without a key
//
// Both of the first answer by style: "job" 202, "unknown" the framework's error of
// status 422, "broken" an error that is no HTTP error, "bug" panics, "late" panics
// after the answer began, and others 200 with "a STYLE for OWNER".
package recipetest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
)

// Check runs all of it against the API that build returns.
func Check(t *testing.T, build func(*middleware.Gate) http.Handler) {
	t.Run("what is answered is what is charged", func(t *testing.T) { answers(t, build) })
	t.Run("a key in every state", func(t *testing.T) { states(t, build) })
	t.Run("calls at the same time", func(t *testing.T) { atOnce(t, build) })
	t.Run("what is sent again is done once", func(t *testing.T) { again(t, build) })
	t.Run("what is not there asks for nothing", func(t *testing.T) { nowhere(t, build) })
}

type outcome struct {
	path    string
	status  int
	ending  middleware.Ending
	charged credits.Amount // whole credits
	body    string         // the beginning; "{" is valid JSON
}

func answers(t *testing.T, build func(*middleware.Gate) http.Handler) {
	settled := make(chan middleware.Settled, 1)
	f := middlewaretest.New(t, &middlewaretest.Options{Gate: middleware.Options{Observer: listener{settled}}})
	server := httptest.NewServer(build(f.Gate))
	t.Cleanup(server.Close)
	for _, want := range []outcome{
		{"/v1/images/cat", 200, middleware.EndSuccess, 5, "a cat for acme"},
		{"/v1/images/job", 202, middleware.EndAccepted, 0, ""},
		{"/v1/images/unknown", 422, middleware.EndClientError, 0, "{"},
		{"/v1/images/broken", 500, middleware.EndServerError, 0, ""},
		{"/v1/images/bug", 500, middleware.EndPanic, 0, ""},
		{"/v1/images/late", 200, middleware.EndPartialPanic, 5, "half"},
		{"/v1/videos/cat", 200, middleware.EndSuccess, 5, "a cat for acme"},
		{"/v1/videos/long", 200, middleware.EndSuccess, 10, "a long for acme"},
		{"/v1/videos/job", 202, middleware.EndAccepted, 0, ""},
		{"/v1/videos/unknown", 422, middleware.EndClientError, 0, "{"},
		{"/v1/videos/broken", 500, middleware.EndServerError, 0, ""},
		{"/v1/videos/bug", 500, middleware.EndServerError, 0, ""},
		{"/v1/videos/late", 200, middleware.EndSuccess, 5, "half"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+want.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.Authorize(r, middlewaretest.Active)
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatalf("%s: %v", want.path, err)
		}
		body, _ := io.ReadAll(resp.Body) // a recoverer may cut it short
		resp.Body.Close()
		s := <-settled
		if resp.StatusCode != want.status || s.Ending != want.ending || s.Charged != want.charged*credits.Credit || s.Err != nil {
			t.Errorf("%s: status %d, settled as %v with %v charged (%v); want %d, %v, %v", want.path, resp.StatusCode, s.Ending, s.Charged, s.Err, want.status, want.ending, want.charged)
		}
		if s.Status != resp.StatusCode && s.Ending != middleware.EndPanic {
			t.Errorf("%s: the client got %d, and the gate believed %d", want.path, resp.StatusCode, s.Status)
		}
		if !strings.HasPrefix(string(body), want.body) || want.body == "{" && !json.Valid(body) {
			t.Errorf("%s: body %q, want %q", want.path, body, want.body)
		}
		if cached := resp.Header.Get("Cache-Control"); !strings.HasPrefix(cached, "private") || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: Cache-Control %q, X-Request-Id %q", want.path, cached, resp.Header.Get("X-Request-Id"))
		}
	}
}

// A listener hands on what was settled, which may be after the answer.
type listener struct{ settled chan<- middleware.Settled }

func (listener) Decided(context.Context, middleware.Decision)      {}
func (l listener) Settled(_ context.Context, s middleware.Settled) { l.settled <- s }

func states(t *testing.T, build func(*middleware.Gate) http.Handler) {
	f := middlewaretest.New(t, nil)
	api := build(f.Gate)
	f.WantPriced(api, "POST /v1/images/{style}", "POST /v1/videos/{style}", "GET /v1/models")
	for _, path := range []string{"/v1/images/cat", "/v1/videos/cat"} {
		f.Reset()
		var want []middleware.Verdict
		for _, s := range middlewaretest.States() {
			w := f.Do(api, s, http.MethodPost, path)
			want = append(want, s.Verdict())
			problem := w.Header().Get("Content-Type") == "application/problem+json" && json.Valid(w.Body.Bytes())
			if w.Code != s.Verdict().Status() || problem == (s == middlewaretest.Active) {
				t.Errorf("%s, %v: status %d, %s", path, s, w.Code, w.Body)
			}
		}
		f.WantVerdicts(want...)
		f.WantCharged(5 * credits.Credit)
	}
}

// atOnce shows that nothing of one request is left in what a framework keeps for
// the next.
func atOnce(t *testing.T, build func(*middleware.Gate) http.Handler) {
	f := middlewaretest.New(t, nil)
	api := build(f.Gate)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			path, status := "/v1/images/cat", http.StatusOK
			s := middlewaretest.Active
			switch i % 3 {
			case 1:
				s, status = middlewaretest.Revoked, http.StatusUnauthorized
			case 2:
				path, status = "/v1/images/unknown", http.StatusUnprocessableEntity
			}
			if w := f.Do(api, s, http.MethodPost, path); w.Code != status {
				t.Errorf("%s, %v: status %d, want %d", path, s, w.Code, status)
			}
		})
	}
	wg.Wait()
	f.WantCharged(20 * 5 * credits.Credit)
	f.WantBalance(900*credits.Credit, 0)
}

func again(t *testing.T, build func(*middleware.Gate) http.Handler) {
	f := middlewaretest.New(t, nil)
	api := build(f.Gate)
	for path, status := range map[string]int{"/v1/videos/cat": 200, "/v1/videos/unknown": 422} {
		call := func() *httptest.ResponseRecorder {
			r := f.Request(middlewaretest.Active, http.MethodPost, path, nil)
			r.Header.Set("Idempotency-Key", path)
			return f.Serve(api, r)
		}
		first, second := call(), call()
		if second.Code != status || second.Body.String() != first.Body.String() || second.Body.Len() == 0 ||
			second.Header().Get("Content-Type") != first.Header().Get("Content-Type") || second.Header().Get("Idempotent-Replayed") != "true" {
			t.Errorf("%s: first %d %q, then %d %q with %v", path, first.Code, first.Body, second.Code, second.Body, second.Header())
		}
	}
	f.WantCharged(5 * credits.Credit)
}

func nowhere(t *testing.T, build func(*middleware.Gate) http.Handler) {
	f := middlewaretest.New(t, nil)
	api := build(f.Gate)
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/healthz", 204}, {"GET", "/nowhere", 404}, {"DELETE", "/v1/models", 405}, {"DELETE", "/v1/images/cat", 405},
	} {
		if w := f.Do(api, middlewaretest.None, tt.method, tt.path); w.Code != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.path, w.Code, tt.status)
		}
	}
	f.WantVerdicts()
	// In a group that is guarded as a whole the gate may be asked first, and then
	// charges nothing for what is not there.
	if w := f.Do(api, middlewaretest.Active, http.MethodPost, "/v1/videos"); w.Code != http.StatusNotFound {
		t.Errorf("POST /v1/videos: status %d, want 404", w.Code)
	}
	f.WantCharged(0)
	f.WantBalance(1000*credits.Credit, 0)
}
