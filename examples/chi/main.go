// Chi protects the routes of a chi router. Middleware of chi is that of net/http,
// so nothing lies between: With guards a route, Use in a group all of its.
//
//	go run ./examples/chi
package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware" // its name is that of the gate's package

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/internal/recipe"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

func main() { recipe.Run(newAPI) }

// newAPI shows three ways to guard: a route, a free route, and a group.
func newAPI(gate *middleware.Gate) http.Handler {
	r := chi.NewRouter()
	r.Use(chimiddleware.Recoverer) // outside of the gate: a panic is released, then answered 500

	images := gate.Handler(middleware.Operation{
		Name:   "images.create",
		Scopes: scopes.All("image:generate"),
		Price:  middleware.Fixed(5 * credits.Credit),
	})
	r.With(images).Post("/v1/images/{style}", create)

	models := gate.Handler(middleware.Operation{Name: "models.list", Scopes: scopes.None(), Price: middleware.Free()})
	r.With(models).Get("/v1/models", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `["cat"]`) })

	r.Route("/v1/videos", func(r chi.Router) {
		r.Use(gate.Handler(middleware.Operation{
			Name: "videos.create", Scopes: scopes.All("video:generate"), Price: middleware.Quoted(byStyle),
			Idempotency: middleware.IdempotencyOptional, // what is sent again under one Idempotency-Key is done once
		}))
		r.Use(chimiddleware.Recoverer) // inside: the gate sees the 500
		r.Post("/{style}", create)
	})

	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return r
}

// byStyle is asked below the group's own pattern, before chi knows {style}: it
// looks at the path.
func byStyle(r *http.Request) (credits.Amount, error) {
	if r.URL.Path == "/v1/videos/long" {
		return 10 * credits.Credit, nil
	}
	return 5 * credits.Credit, nil
}

// create is a handler like any other.
func create(w http.ResponseWriter, r *http.Request) {
	switch style := chi.URLParam(r, "style"); style {
	case "job":
		w.WriteHeader(http.StatusAccepted)
	case "unknown":
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprintln(w, `{"message":"there is no such style"}`)
	case "broken":
		http.Error(w, "out of paint", http.StatusInternalServerError)
	case "bug":
		panic(errors.New("a bug"))
	case "late":
		fmt.Fprint(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(errors.New("a bug, later"))
	default:
		pass, _ := middleware.PassFrom(r.Context())
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "a %s for %s\n", style, pass.Key().Owner)
	}
}
