package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/internal/recipetest"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/scopes"
)

func TestChi(t *testing.T) { recipetest.Check(t, newAPI) }

// chi's Timeout answers 504 when the handler has given up: nothing is charged, on
// whichever side of the gate it stands.
func TestChiTimeout(t *testing.T) {
	f := middlewaretest.New(t, nil)
	guard := f.Gate.Handler(middleware.Operation{Name: "op", Scopes: scopes.None(), Price: middleware.Fixed(5 * credits.Credit)})
	timeout := chimiddleware.Timeout(time.Millisecond)
	waits := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	r := chi.NewRouter()
	r.With(timeout, guard).Post("/outside", waits)
	r.With(guard, timeout).Post("/inside", waits)
	for _, path := range []string{"/outside", "/inside"} {
		if w := f.Do(r, middlewaretest.Active, "POST", path); w.Code != http.StatusGatewayTimeout {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	f.WantEndings(middleware.EndTimeout, middleware.EndServerError)
	f.WantCharged(0)
}
