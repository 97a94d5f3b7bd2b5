// Gin protects the routes of a gin engine. The adapter, guard.go, is meant to be
// copied.
//
//	go run ./examples/gin
package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/internal/recipe"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

func main() {
	gin.SetMode(gin.ReleaseMode)
	recipe.Run(newAPI)
}

// newAPI shows three ways to guard: a route, a free route, and a group.
func newAPI(gate *middleware.Gate) http.Handler {
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.Use(gin.Recovery(), renderErrors) // outside of the gate: a panic is released, then answered 500

	r.POST("/v1/images/:style", guard(gate, middleware.Operation{
		Name:   "images.create",
		Scopes: scopes.All("image:generate"),
		Price:  middleware.Fixed(5 * credits.Credit),
	}), create)

	models := middleware.Operation{Name: "models.list", Scopes: scopes.None(), Price: middleware.Free()}
	r.GET("/v1/models", guard(gate, models), func(c *gin.Context) { c.JSON(http.StatusOK, []string{"cat"}) })

	videos := r.Group("/v1/videos", guard(gate, middleware.Operation{
		Name: "videos.create", Scopes: scopes.All("video:generate"), Price: middleware.Quoted(byStyle),
		Idempotency: middleware.IdempotencyOptional, // what is sent again under one Idempotency-Key is done once
	}))
	videos.Use(gin.Recovery()) // inside: the gate sees the 500
	videos.POST("/:style", create)

	r.GET("/healthz", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	return r
}

// byStyle reads a parameter of the route, which guard hands on.
func byStyle(r *http.Request) (credits.Amount, error) {
	if r.PathValue("style") == "long" {
		return 10 * credits.Credit, nil
	}
	return 5 * credits.Credit, nil
}

// renderErrors answers what handlers left in c.Errors.
func renderErrors(c *gin.Context) {
	c.Next()
	if len(c.Errors) > 0 && !c.Writer.Written() {
		c.JSON(http.StatusInternalServerError, gin.H{"message": "something went wrong"})
	}
}

// create is a handler like any other.
func create(c *gin.Context) {
	switch style := c.Param("style"); style {
	case "job":
		c.Status(http.StatusAccepted)
	case "unknown":
		c.Status(http.StatusOK) // not the last word
		c.AbortWithStatusJSON(http.StatusUnprocessableEntity, gin.H{"message": "there is no such style"})
	case "broken":
		_ = c.Error(errors.New("out of paint"))
	case "bug":
		panic("a bug")
	case "late":
		c.String(http.StatusOK, "half")
		c.Writer.Flush()
		panic("a bug, later")
	default:
		pass, _ := middleware.PassFrom(c.Request.Context())
		c.String(http.StatusOK, fmt.Sprintf("a %s for %s\n", style, pass.Key().Owner))
	}
}
