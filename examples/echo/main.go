// Echo protects the routes of an echo instance. The adapter, guard.go, is meant to
// be copied.
//
//	go run ./examples/echo
package main

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v5"
	echomiddleware "github.com/labstack/echo/v5/middleware" // its name is that of the gate's package

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/internal/recipe"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

func main() { recipe.Run(newAPI) }

// newAPI shows three ways to guard: a route, a free route, and a group.
func newAPI(gate *middleware.Gate) http.Handler {
	e := echo.New()
	e.Use(echomiddleware.Recover()) // outside of the gate: a panic is released, then answered 500

	e.POST("/v1/images/:style", create, guard(gate, middleware.Operation{
		Name:   "images.create",
		Scopes: scopes.All("image:generate"),
		Price:  middleware.Fixed(5 * credits.Credit),
	}))

	models := middleware.Operation{Name: "models.list", Scopes: scopes.None(), Price: middleware.Free()}
	e.GET("/v1/models", func(c *echo.Context) error { return c.JSON(http.StatusOK, []string{"cat"}) }, guard(gate, models))

	videos := e.Group("/v1/videos", guard(gate, middleware.Operation{
		Name: "videos.create", Scopes: scopes.All("video:generate"), Price: middleware.Quoted(byStyle),
		Idempotency: middleware.IdempotencyOptional, // what is sent again under one Idempotency-Key is done once
	}))
	videos.Use(echomiddleware.Recover()) // inside: the gate sees the 500
	videos.POST("/:style", create)

	e.GET("/healthz", func(c *echo.Context) error { return c.NoContent(http.StatusNoContent) })
	return e
}

// byStyle reads a parameter of the route, which guard hands on.
func byStyle(r *http.Request) (credits.Amount, error) {
	if r.PathValue("style") == "long" {
		return 10 * credits.Credit, nil
	}
	return 5 * credits.Credit, nil
}

// create is a handler like any other.
func create(c *echo.Context) error {
	switch style := c.Param("style"); style {
	case "job":
		return c.NoContent(http.StatusAccepted)
	case "unknown":
		return echo.NewHTTPError(http.StatusUnprocessableEntity, "there is no such style")
	case "broken":
		return errors.New("out of paint")
	case "bug":
		panic("a bug")
	case "late":
		if err := c.String(http.StatusOK, "half"); err != nil {
			return err
		}
		_ = http.NewResponseController(c.Response()).Flush()
		panic("a bug, later")
	default:
		pass, _ := middleware.PassFrom(c.Request().Context())
		return c.String(http.StatusOK, "a "+style+" for "+pass.Key().Owner+"\n")
	}
}
