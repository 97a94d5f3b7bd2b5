package connectgate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/connectgate"
	"github.com/keytoll/keytoll/scopes"
)

// draw is the procedure that is guarded.
func draw(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
	pass, _ := middleware.PassFrom(ctx)
	return connect.NewResponse(wrapperspb.String("an image for " + pass.Key().Owner)), nil
}

// serve returns a handler whose procedures are guarded.
func serve(gate *middleware.Gate) (http.Handler, error) {
	guard, err := connectgate.New(gate, connectgate.Operations{
		"/images.v1.Images/Draw": {Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit)},
	}, nil)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/images.v1.Images/Draw", connect.NewUnaryHandler("/images.v1.Images/Draw", draw, connect.WithInterceptors(guard)))
	return mux, nil
}

// A service whose procedures are known, allowed and paid for, whichever protocol a
// client speaks. The third call finds 2 credits of the 5 that it needs.
func Example() {
	gate, secret, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := serve(gate)
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	for _, protocol := range []connect.ClientOption{connect.WithProtoJSON(), connect.WithGRPCWeb(), connect.WithGRPCWeb()} {
		client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+"/images.v1.Images/Draw", protocol)
		request := connect.NewRequest(&emptypb.Empty{})
		request.Header().Set("Authorization", "Bearer "+secret)
		answer, err := client.CallUnary(context.Background(), request)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(answer.Msg.GetValue())
	}
	// Output:
	// an image for acme
	// an image for acme
	// failed_precondition: not enough credits for this operation
}

// shop is a gate on memory stores, and a key of an owner with 12 credits.
func shop() (gate *middleware.Gate, secret string, err error) {
	ctx := context.Background()
	format, err := apikey.NewFormat("shop", nil)
	if err != nil {
		return nil, "", err
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		return nil, "", err
	}
	granted, err := scopes.Of("image:*")
	if err != nil {
		return nil, "", err
	}
	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acme", Scopes: granted})
	if err != nil {
		return nil, "", err
	}
	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		return nil, "", err
	}
	if _, err = ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "welcome", Amount: 12 * credits.Credit}); err != nil {
		return nil, "", err
	}
	gate, err = middleware.NewGate(keys, &middleware.Options{Credits: ledger})
	return gate, issued.Secret.Reveal(), err
}
