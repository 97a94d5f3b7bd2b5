package rpcgate_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/rpcgate"
	"github.com/keytoll/keytoll/scopes"
)

// serve is what an adapter for some framework does for each call.
func serve(ctx context.Context, guard *rpcgate.Gate, header http.Header, work func(ctx context.Context) string) (string, error) {
	call, refusal := guard.Begin(ctx, rpcgate.Request{Method: "/images.v1.Images/Draw", Remote: "192.0.2.1:7000", Values: header.Values})
	if refusal != nil {
		return "", refusal // with refusal.Code, refusal.Details() and refusal.Fields()
	}
	if call == nil {
		return work(ctx), nil // it is public, or the gate stands further out already
	}
	defer call.End(ctx)
	for name := range header {
		if call.Hides(name) {
			header.Del(name)
		}
	}
	answer := work(call.Context(ctx))
	call.Return(rpcgate.OK)
	return answer, nil
}

// An adapter for a framework of one's own.
func Example() {
	ctx := context.Background()
	format, err := apikey.NewFormat("shop", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acme"})
	if err != nil {
		fmt.Println(err)
		return
	}
	gate, err := middleware.NewGate(keys, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	guard, err := rpcgate.New(gate, rpcgate.Operations{"/images.v1.Images/": {Scopes: scopes.None(), Price: middleware.Free()}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	header := http.Header{"Authorization": {"Bearer " + issued.Secret.Reveal()}}
	for range 2 {
		answer, err := serve(ctx, guard, header, func(ctx context.Context) string {
			pass, _ := middleware.PassFrom(ctx)
			return "an image for " + pass.Key().Owner
		})
		fmt.Println(answer, err) // the second time the header has no key any more
	}
	// Output:
	// an image for acme <nil>
	//  an API key is required; send the header Authorization: Bearer KEY
}
