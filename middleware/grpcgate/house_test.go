package grpcgate_test

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/grpcgate"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/scopes"
)

const (
	unary  = "/grpc.testing.TestService/UnaryCall"
	stream = "/grpc.testing.TestService/StreamingOutputCall"
	upload = "/grpc.testing.TestService/StreamingInputCall"
	all    = "/grpc.testing.TestService/"
)

// A service does what a test says.
type service struct {
	grpc_testing.UnimplementedTestServiceServer
	unary  func(ctx context.Context) error
	stream func(out grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error
	upload func(in grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error
}

func (s *service) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	if s.unary == nil {
		return &grpc_testing.SimpleResponse{}, nil
	}
	return &grpc_testing.SimpleResponse{}, s.unary(ctx)
}

func (s *service) StreamingOutputCall(_ *grpc_testing.StreamingOutputCallRequest, out grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	return s.stream(out)
}

func (s *service) StreamingInputCall(in grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	return s.upload(in)
}

// A house is a server behind a gate, on loopback, and a client of it.
type house struct {
	*middlewaretest.Fixture
	service
	guard  *grpcgate.Interceptor
	server *grpc.Server
	client grpc_testing.TestServiceClient
	health grpc_health_v1.HealthClient
	conn   *grpc.ClientConn
	over   chan error // what each call of the test service came to, when it is settled
	hook   func(error)
}

// blueprint says what a house is built of.
type blueprint struct {
	fixture *middlewaretest.Options
	op      *middleware.Operation // of all methods; nil costs 5 credits
	ops     grpcgate.Operations   // besides
	options *grpcgate.Options     // nil makes health checks public
	twice   bool
	dial    []grpc.DialOption
}

func build(tb testing.TB, b blueprint) *house {
	tb.Helper()
	h := &house{Fixture: middlewaretest.New(tb, b.fixture), over: make(chan error, 1024)}
	if b.op == nil {
		op := priced()
		b.op = &op
	}
	ops := grpcgate.Operations{all: *b.op}
	maps.Copy(ops, b.ops)
	if b.options == nil {
		b.options = &grpcgate.Options{}
	}
	b.options.Public = append(b.options.Public, "/grpc.health.v1.Health/")
	var err error
	h.guard, err = grpcgate.New(h.Gate, ops, b.options)
	must(tb, err)
	options := []grpc.ServerOption{grpc.ChainUnaryInterceptor(h.watchUnary), grpc.ChainStreamInterceptor(h.watchStream)}
	options = append(options, h.guard.ServerOptions()...)
	if b.twice {
		options = append(options, h.guard.ServerOptions()...)
	}
	h.server = grpc.NewServer(options...)
	grpc_testing.RegisterTestServiceServer(h.server, &h.service)
	grpc_health_v1.RegisterHealthServer(h.server, health.NewServer())
	must(tb, h.guard.Check(h.server.GetServiceInfo()))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	go func() { _ = h.server.Serve(listener) }()
	tb.Cleanup(h.server.Stop)
	h.conn, err = grpc.NewClient(listener.Addr().String(), append(b.dial, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	must(tb, err)
	tb.Cleanup(func() { _ = h.conn.Close() })
	h.client, h.health = grpc_testing.NewTestServiceClient(h.conn), grpc_health_v1.NewHealthClient(h.conn)
	return h
}

// done tells that a call is settled, and makes a status of a panic.
func (h *house) done(err *error, panicked any, method string) {
	if panicked != nil {
		*err = status.Error(codes.Internal, "the handler panicked")
	}
	if h.hook != nil {
		h.hook(*err)
	}
	if method != "/grpc.health.v1.Health/Check" {
		select {
		case h.over <- *err:
		default: // a benchmark, which does not look
		}
	}
}

func (h *house) watchUnary(ctx context.Context, message any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
	defer func() { h.done(&err, recover(), info.FullMethod) }()
	return handler(ctx, message)
}

func (h *house) watchStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer func() { h.done(&err, recover(), info.FullMethod) }()
	return handler(server, stream)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// priced is an operation that costs 5 credits.
func priced() middleware.Operation {
	return middleware.Operation{Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit)}
}

// with returns a context with the key of a state, and fields besides.
func (h *house) with(ctx context.Context, s middlewaretest.State, fields ...string) context.Context {
	r := &http.Request{Header: make(http.Header), URL: &url.URL{}}
	h.Authorize(r, s)
	for name, values := range r.Header {
		fields = append(fields, strings.ToLower(name), values[0])
	}
	return metadata.AppendToOutgoingContext(ctx, fields...)
}

// An answer is what a client is told of a call.
type answer struct {
	err             error
	header, trailer metadata.MD
}

// call makes a call of one message.
func (h *house) call(ctx context.Context) answer {
	var a answer
	_, a.err = h.client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.Header(&a.header), grpc.Trailer(&a.trailer))
	return a
}

// active makes a call with a good key, and fails the test when it is refused.
func (h *house) active(tb testing.TB) answer {
	tb.Helper()
	a := h.call(h.with(tb.Context(), middlewaretest.Active))
	must(tb, a.err)
	return a
}
