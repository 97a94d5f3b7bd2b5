package main

import (
	"net/http"
	"testing"

	"github.com/labstack/echo/v5"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/internal/recipetest"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/scopes"
)

func TestEcho(t *testing.T) { recipetest.Check(t, newAPI) }

func priced() middleware.Operation {
	return middleware.Operation{Name: "op", Scopes: scopes.None(), Price: middleware.Fixed(5 * credits.Credit)}
}

func refuse(*echo.Context) error { return echo.NewHTTPError(http.StatusUnprocessableEntity, "no") }

// Why guard.go is there: echo's own adapter charges for what the client was refused.
func TestWrapMiddlewareWouldChargeForErrors(t *testing.T) {
	f := middlewaretest.New(t, nil)
	e := echo.New()
	e.POST("/wrapped", refuse, echo.WrapMiddleware(f.Gate.Handler(priced())))
	e.POST("/guarded", refuse, guard(f.Gate, priced()))
	for _, path := range []string{"/wrapped", "/guarded"} {
		if w := f.Do(e, middlewaretest.Active, "POST", path); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	f.WantEndings(middleware.EndSuccess, middleware.EndClientError)
	f.WantCharged(5 * credits.Credit)
}

// Middleware around the guard sees the error, the status that was sent, and echo's
// own response and request again.
func TestEchoIsLeftAsItWas(t *testing.T) {
	f := middlewaretest.New(t, nil)
	e := echo.New()
	var seen error
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			response, request := c.Response(), c.Request()
			seen = next(c)
			if c.Response() != response || c.Request() != request {
				t.Errorf("the response is a %T", c.Response())
			}
			if r, err := echo.UnwrapResponse(c.Response()); err != nil || r.Status != http.StatusUnprocessableEntity || !r.Committed || r.Size == 0 {
				t.Errorf("echo believes %+v, %v", r, err)
			}
			return seen
		}
	})
	e.POST("/", refuse, guard(f.Gate, priced()), guard(f.Gate, priced())) // twice is once
	w := f.Do(e, middlewaretest.Active, "POST", "/")
	if w.Code != http.StatusUnprocessableEntity || w.Body.String() != `{"message":"no"}`+"\n" || seen == nil {
		t.Errorf("status %d, %s, error %v", w.Code, w.Body, seen)
	}
	f.WantEndings(middleware.EndClientError)
}
