package selfservice_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/selfservice"
	"github.com/keytoll/keytoll/scopes"
)

// Every key may look at itself, and those that were granted it may replace
// themselves.
func ExampleNew() {
	format, err := apikey.NewFormat("kt", nil)
	if err != nil {
		panic(err)
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		panic(err)
	}
	gate, err := middleware.NewGate(keys, nil)
	if err != nil {
		panic(err)
	}
	self, err := selfservice.New(keys, gate, &selfservice.Options{Rotate: scopes.All("key:rotate")})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	for _, rt := range self.Routes("/v1/key") {
		fmt.Println(rt.Pattern)
		mux.Handle(rt.Pattern, rt.Handler)
	}

	issued, err := keys.Create(context.Background(), apikey.Spec{Owner: "acme", Name: "CI"})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest("GET", "/v1/key", nil)
	r.Header.Set("Authorization", "Bearer "+issued.Secret.Reveal())
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	var view struct {
		Name, Status string
		Limits       []struct {
			Name      string
			Remaining int
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &view); err != nil {
		panic(err)
	}
	fmt.Println(view.Name, view.Status, view.Limits)
	// Output:
	// GET /v1/key
	// POST /v1/key/rotate
	// DELETE /v1/key
	// CI active [{selfservice 59}]
}
