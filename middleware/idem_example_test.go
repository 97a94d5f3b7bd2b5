package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

// A client that does not know whether its request arrived sends it again under the
// same Idempotency-Key. It is done once and paid once. What the key was not used
// for is refused.
func ExampleIdempotencyOptions() {
	gate, ledger, secret, err := shop() // with Options.Idempotency
	if err != nil {
		fmt.Println(err)
		return
	}
	images := 0
	handler := gate.Handler(middleware.Operation{
		Name:        "image",
		Scopes:      scopes.All("image:generate"),
		Price:       middleware.Fixed(5 * credits.Credit),
		Idempotency: middleware.IdempotencyOptional,
	})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		images++
		prompt, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "image %d: %s", images, prompt)
	}))
	for _, prompt := range []string{"a cat", "a cat", "a dog"} {
		r := httptest.NewRequest("POST", "/v1/images", strings.NewReader(prompt))
		r.Header.Set("Authorization", "Bearer "+secret)
		r.Header.Set("Idempotency-Key", `"8e03978e-40d5-43e8-bc93-6894a57f9324"`)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusCreated {
			fmt.Println(w.Code)
			continue
		}
		fmt.Println(w.Code, w.Body, "replayed:", w.Header().Get("Idempotent-Replayed") == "true")
	}
	balance, err := ledger.Balance(context.Background(), "acme")
	fmt.Println(balance.Consumed, "credits,", err)
	// Output:
	// 201 image 1: a cat replayed: false
	// 201 image 1: a cat replayed: true
	// 422
	// 5 credits, <nil>
}
