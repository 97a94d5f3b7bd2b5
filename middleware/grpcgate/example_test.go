package grpcgate_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/grpcgate"
	"github.com/keytoll/keytoll/scopes"
)

// images is the service that is guarded.
type images struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (images) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	pass, _ := middleware.PassFrom(ctx)
	return &grpc_testing.SimpleResponse{Username: pass.Key().Owner}, nil
}

// serve returns a server whose methods are guarded.
func serve(gate *middleware.Gate) (*grpc.Server, error) {
	guard, err := grpcgate.New(gate, grpcgate.Operations{
		"/grpc.testing.TestService/": {Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit)},
	}, nil)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(guard.ServerOptions()...)
	grpc_testing.RegisterTestServiceServer(server, images{})
	return server, guard.Check(server.GetServiceInfo())
}

// A service whose methods are known, allowed and paid for. The third call finds 2
// credits of the 5 that it needs.
func Example() {
	gate, secret, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := serve(gate)
	if err != nil {
		fmt.Println(err)
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop()
	go func() { _ = server.Serve(listener) }()

	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	client := grpc_testing.NewTestServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+secret)
	for range 3 {
		answer, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
		if err != nil {
			fmt.Println(status.Code(err), status.Convert(err).Message())
			continue
		}
		fmt.Println("an image for", answer.GetUsername())
	}
	_, err = client.UnaryCall(context.Background(), &grpc_testing.SimpleRequest{})
	fmt.Println(status.Code(err))
	// Output:
	// an image for acme
	// an image for acme
	// FailedPrecondition not enough credits for this operation
	// Unauthenticated
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
