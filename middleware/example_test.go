package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// A shop is what the examples stand on: a gate on memory stores, a key that may
// generate images, and 12 credits.
func shop() (gate *middleware.Gate, ledger *credits.Ledger, secret string, err error) {
	format, err := apikey.NewFormat("shop", nil)
	if err != nil {
		return nil, nil, "", err
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		return nil, nil, "", err
	}
	granted, err := scopes.Of("image:*")
	if err != nil {
		return nil, nil, "", err
	}
	issued, err := keys.Create(context.Background(), apikey.Spec{Owner: "acme", Scopes: granted})
	if err != nil {
		return nil, nil, "", err
	}
	ledger, err = credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		return nil, nil, "", err
	}
	_, err = ledger.Grant(context.Background(), credits.Grant{Account: "acme", ID: "welcome", Amount: 12 * credits.Credit})
	if err != nil {
		return nil, nil, "", err
	}
	answers, err := idempotency.NewMemoryStore(nil)
	if err != nil {
		return nil, nil, "", err
	}
	gate, err = middleware.NewGate(keys, &middleware.Options{
		Credits: ledger, Idempotency: &middleware.IdempotencyOptions{Store: answers},
	})
	return gate, ledger, issued.Secret.Reveal(), err
}

// ask sends one request to a handler, in process.
func ask(handler http.Handler, secret string) *http.Response {
	r := httptest.NewRequest("POST", "/v1/images", nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

// A route that is limited and paid for. The third call finds 2 credits of the 5
// that it needs.
func Example() {
	gate, ledger, secret, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	images := gate.Handler(middleware.Operation{
		Name:   "image",
		Scopes: scopes.All("image:generate"),
		Price:  middleware.Fixed(5 * credits.Credit),
		Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: "minute", Count: 60, Period: time.Minute}}},
	})
	mux := http.NewServeMux()
	mux.Handle("POST /v1/images", images(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass, _ := middleware.PassFrom(r.Context())
		fmt.Fprintf(w, "an image for %s\n", pass.Key().Owner)
	})))

	for range 3 {
		resp := ask(mux, secret)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode == http.StatusOK {
			fmt.Printf("%d %s", resp.StatusCode, body)
		} else {
			fmt.Println(resp.StatusCode, resp.Header.Get("Content-Type"))
		}
	}
	balance, _ := ledger.Balance(context.Background(), "acme")
	fmt.Println(balance.Available, "credits left")
	// Output:
	// 200 an image for acme
	// 200 an image for acme
	// 402 application/problem+json
	// 2 credits left
}

// What the call costs may be known only afterwards: hold the most, charge what
// it was. The charge stands even if the handler fails later.
func ExamplePass_Charge() {
	gate, ledger, secret, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	chat := gate.Handler(middleware.Operation{Name: "chat", Scopes: scopes.None(), Price: middleware.Fixed(10 * credits.Credit)})
	ask(chat(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass, _ := middleware.PassFrom(r.Context())
		if err := pass.Charge(2_500_000); err != nil { // 2.5 credits of tokens
			fmt.Println(err)
		}
		w.WriteHeader(http.StatusBadGateway)
	})), secret)
	balance, _ := ledger.Balance(context.Background(), "acme")
	fmt.Println(balance.Available, "credits left")
	// Output: 9.5 credits left
}

// Without net/http: what an interceptor of another transport does.
func ExampleGate_Begin() {
	gate, _, secret, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	route, err := gate.Route(middleware.Operation{Name: "rpc", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(credits.Credit)})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, credential := range []string{secret, ""} {
		pass, err := gate.Begin(context.Background(), middleware.Attempt{Route: route, Credential: credential})
		if denial, ok := errors.AsType[*middleware.Denial](err); ok {
			fmt.Println(denial.Verdict, "-", denial.Detail())
			continue
		}
		fmt.Println("the work of", pass.Key().Owner)
		if err := pass.End(context.Background(), middleware.Outcome{Status: 200, Completed: true, Wrote: true}); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// the work of acme
	// missing - an API key is required; send the header Authorization: Bearer KEY
}

// Errors of another shape than problem details: the profile renders them.
func ExampleProfile() {
	format, _ := apikey.NewFormat("shop", nil)
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	gate, err := middleware.NewGate(keys, &middleware.Options{Profile: middleware.Profile{
		Credentials: []middleware.Location{middleware.Header("X-API-Key")},
		Render: func(w http.ResponseWriter, _ *http.Request, d *middleware.Denial) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(d.Status)
			fmt.Fprintf(w, `{"detail":%q}`, d.Detail())
		},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	status := gate.Handler(middleware.Operation{Name: "status", Scopes: scopes.None(), Price: middleware.Free()})
	resp := ask(status(http.NotFoundHandler()), "not looked at: it is in another header")
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body))
	// Output: 401 {"detail":"an API key is required; send the header X-API-Key: KEY"}
}

// An operation that forgets its price or its scopes never serves a request.
func ExampleGate_Handler_incorrect() {
	gate, _, _, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println(recover()) }()
	gate.Handler(middleware.Operation{Name: "oops"})
	// Output:
	// middleware.Operation(oops): the scopes are not stated; give scopes.All(...), or scopes.None() to let any key pass
	// middleware.Operation(oops): the price is not stated; give Free(), Fixed(amount), PerUnit(amount), Listed(func) or Quoted(func)
}
