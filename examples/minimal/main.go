// Minimal is the shortest program that sells an API: one route, one key, all in
// memory.
//
//	go run ./examples/minimal
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

func main() {
	mux, key, err := newMux(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("curl -X POST http://127.0.0.1:8080/v1/images -H 'Authorization: Bearer %s'\n", key.Reveal())
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", mux))
}

// newMux returns the API, and a key that may use it.
func newMux(ctx context.Context) (*http.ServeMux, apikey.Secret, error) {
	// Where keys and credits live: here memory, in production sqlitestore.
	format, err := apikey.NewFormat("acme", nil)
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	keys, kerr := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	ledger, lerr := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err := errors.Join(kerr, lerr); err != nil {
		return nil, apikey.Secret{}, err
	}

	// What stands between the two and the handlers.
	gate, err := middleware.NewGate(keys, &middleware.Options{Credits: ledger})
	if err != nil {
		return nil, apikey.Secret{}, err
	}

	// What a shop does: sell credits, hand out a key.
	granted, err := scopes.Parse("image:generate")
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	issued, kerr := keys.Create(ctx, apikey.Spec{Owner: "acct_1", Name: "production", Scopes: granted})
	_, lerr = ledger.Grant(ctx, credits.Grant{Account: "acct_1", ID: "invoice-1", Amount: 100 * credits.Credit})
	return routes(gate), issued.Secret, errors.Join(kerr, lerr)
}

// routes says what a call asks for, and what it costs.
func routes(gate *middleware.Gate) *http.ServeMux {
	guard := gate.Handler(middleware.Operation{
		Name:   "images.create",
		Scopes: scopes.All("image:generate"),
		Price:  middleware.Fixed(5 * credits.Credit),
		Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: "images", Count: 120, Period: time.Minute}}},
	})
	mux := http.NewServeMux()
	mux.Handle("POST /v1/images", guard(http.HandlerFunc(createImage)))
	return mux
}

// createImage is the handler that was there before the gate.
func createImage(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	fmt.Fprintf(w, "an image for %s\n", pass.Key().Owner)
}
