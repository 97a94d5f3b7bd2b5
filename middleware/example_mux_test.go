package middleware_test

import (
	"fmt"
	"net/http"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

// On the gate's own mux no route is open or free by forgetting, and what each asks
// for can be listed.
func ExampleGate_Mux() {
	gate, _, secret, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := gate.Mux()
	mux.HandleFunc("POST /v1/images", middleware.Operation{
		Name: "image", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit),
	}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	mux.Public("GET /healthz", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	fmt.Println(ask(mux, secret).StatusCode, ask(mux, "").StatusCode)
	for _, m := range mux.Routes() {
		if m.Route == nil {
			fmt.Println(m.Pattern, "is public")
			continue
		}
		fmt.Println(m.Pattern, "costs", m.Route.Price(), "and needs", m.Route.Scopes())
	}
	// Output:
	// 201 401
	// POST /v1/images costs 5 and needs image:generate
	// GET /healthz is public
}

// A mux that is there already is watched: start-up fails while a route of it has no
// gate, and a request that reaches one all the same is refused.
func ExampleGate_Guard() {
	gate, _, _, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	free := middleware.Operation{Name: "models", Scopes: scopes.None(), Price: middleware.Free()}
	models := func(http.ResponseWriter, *http.Request) {}
	mux := http.NewServeMux()
	mux.Handle("GET /v1/models", gate.Handler(free)(http.HandlerFunc(models)))
	mux.HandleFunc("GET /v1/secrets", models)

	_, err = gate.Guard(mux, "GET /v1/models", "GET /v1/secrets")
	fmt.Println(err)
	// Output:
	// middleware.Guard: pattern "GET /v1/secrets": its handler, a http.HandlerFunc, is not behind the gate; wrap it by Gate.Handler, or by Public when it needs no key
}
