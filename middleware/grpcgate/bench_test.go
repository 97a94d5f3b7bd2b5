package grpcgate_test

import (
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/keytoll/keytoll/middleware/middlewaretest"
)

// A call of one message over loopback: with nothing in front of the method, and with a
// key, a scope, a limit, a hold and its capture.
func BenchmarkUnary(b *testing.B) {
	call := func(b *testing.B, h *house, client grpc_testing.TestServiceClient) {
		ctx := h.with(b.Context(), middlewaretest.Active)
		message := &grpc_testing.SimpleRequest{}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.UnaryCall(ctx, message); err != nil {
				b.Fatal(err)
			}
		}
	}
	op := priced()
	op.Limits = append(op.Limits, perMinute("minute", 1<<40))
	h := build(b, blueprint{op: &op, fixture: &middlewaretest.Options{Balance: 1 << 60}})
	b.Run("bare", func(b *testing.B) {
		server := grpc.NewServer()
		grpc_testing.RegisterTestServiceServer(server, &h.service)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(b, err)
		go func() { _ = server.Serve(listener) }()
		b.Cleanup(server.Stop)
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		must(b, err)
		b.Cleanup(func() { _ = conn.Close() })
		call(b, h, grpc_testing.NewTestServiceClient(conn))
	})
	b.Run("gate", func(b *testing.B) { call(b, h, h.client) })
}
