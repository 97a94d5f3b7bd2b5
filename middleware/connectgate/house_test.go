package connectgate_test

import (
	"context"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/connectgate"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/scopes"
)

const (
	all      = "/images.v1.Images/"
	generate = "/images.v1.Images/Generate"
	stream   = "/images.v1.Images/Stream"
	upload   = "/images.v1.Images/Upload"
	talk     = "/images.v1.Images/Talk"
	ping     = "/images.v1.Status/Ping"
)

type number = wrapperspb.Int64Value

// services describes what a generator would make of the file that these procedures
// would stand in.
func services(tb testing.TB) protoreflect.ServiceDescriptors {
	tb.Helper()
	method := func(name string, in, out bool) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: new(".google.protobuf.Int64Value"), OutputType: new(".google.protobuf.Int64Value"), ClientStreaming: &in, ServerStreaming: &out,
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("images/v1/images.proto"), Package: new("images.v1"), Syntax: new("proto3"), Dependency: []string{"google/protobuf/wrappers.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{
			{Name: new("Images"), Method: []*descriptorpb.MethodDescriptorProto{
				method("Generate", false, false), method("Stream", false, true), method("Upload", true, false), method("Talk", true, true),
			}},
			{Name: new("Status"), Method: []*descriptorpb.MethodDescriptorProto{method("Ping", false, false)}},
		},
	}, files{})
	must(tb, err)
	return file.Services()
}

// files finds the one file that is imported.
type files struct{}

func (files) FindFileByPath(string) (protoreflect.FileDescriptor, error) {
	return wrapperspb.File_google_protobuf_wrappers_proto, nil
}

func (files) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	return wrapperspb.File_google_protobuf_wrappers_proto.Messages().ByName(name.Name()), nil
}

// A transport is a protocol over a version of HTTP.
type transport struct {
	name    string
	h2      bool
	options []connect.ClientOption
}

var transports = [...]transport{
	{"connect over h1", false, nil},
	{"connect over h2c", true, nil},
	{"connect by GET over h1", false, []connect.ClientOption{connect.WithHTTPGet()}},
	{"grpc over h2c", true, []connect.ClientOption{connect.WithGRPC()}},
	{"grpc-web over h1", false, []connect.ClientOption{connect.WithGRPCWeb()}},
	{"grpc-web over h2c", true, []connect.ClientOption{connect.WithGRPCWeb()}},
}

// each runs a test over every transport.
func each(t *testing.T, run func(t *testing.T, tr transport)) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) { run(t, tr) })
	}
}

// A house is a server behind a gate, on loopback, and what does the work is the test's.
type house struct {
	*middlewaretest.Fixture
	guard  *connectgate.Interceptor
	server *httptest.Server

	unary  func(ctx context.Context, r *connect.Request[number]) error
	stream func(ctx context.Context, out *connect.ServerStream[number]) error
	upload func(ctx context.Context, in *connect.ClientStream[number]) error
	talk   func(ctx context.Context, both *connect.BidiStream[number, number]) error

	over chan error // what each call came to, when it is settled
	hook func(error)
}

// blueprint says what a house is built of.
type blueprint struct {
	fixture *middlewaretest.Options
	op      *middleware.Operation  // of all procedures; nil costs 5 credits
	ops     connectgate.Operations // besides
	options *connectgate.Options   // nil makes Status public
	twice   bool
}

func build(tb testing.TB, b blueprint) *house {
	tb.Helper()
	h := &house{Fixture: middlewaretest.New(tb, b.fixture), over: make(chan error, 1024)}
	if b.op == nil {
		op := priced()
		b.op = &op
	}
	ops := connectgate.Operations{all: *b.op}
	maps.Copy(ops, b.ops)
	if b.options == nil {
		b.options = &connectgate.Options{}
	}
	b.options.Public = append(b.options.Public, ping)
	var err error
	h.guard, err = connectgate.New(h.Gate, ops, b.options)
	must(tb, err)
	described := services(tb)
	must(tb, h.guard.Check(described.Get(0), described.Get(1)))
	chain := []connect.Interceptor{watch{h}, h.guard}
	if b.twice {
		chain = append(chain, h.guard)
	}
	options := []connect.HandlerOption{connect.WithInterceptors(chain...), connect.WithIdempotency(connect.IdempotencyNoSideEffects)}
	mux := http.NewServeMux()
	mux.Handle(generate, connect.NewUnaryHandler(generate, h.work, options...))
	mux.Handle(ping, connect.NewUnaryHandler(ping, func(context.Context, *connect.Request[number]) (*connect.Response[number], error) {
		return connect.NewResponse(&number{}), nil
	}, options...))
	mux.Handle(stream, connect.NewServerStreamHandler(stream, func(ctx context.Context, _ *connect.Request[number], out *connect.ServerStream[number]) error {
		return h.stream(ctx, out)
	}, options...))
	mux.Handle(upload, connect.NewClientStreamHandler(upload, func(ctx context.Context, in *connect.ClientStream[number]) (*connect.Response[number], error) {
		if err := h.upload(ctx, in); err != nil {
			return nil, err
		}
		return connect.NewResponse(&number{}), nil
	}, options...))
	mux.Handle(talk, connect.NewBidiStreamHandler(talk, func(ctx context.Context, both *connect.BidiStream[number, number]) error {
		return h.talk(ctx, both)
	}, options...))
	h.server = httptest.NewUnstartedServer(mux)
	h.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.server.Config.Protocols = new(http.Protocols)
	h.server.Config.Protocols.SetHTTP1(true)
	h.server.Config.Protocols.SetUnencryptedHTTP2(true)
	h.server.Start()
	tb.Cleanup(h.server.Close)
	return h
}

func (h *house) work(ctx context.Context, r *connect.Request[number]) (*connect.Response[number], error) {
	if h.unary != nil {
		if err := h.unary(ctx, r); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&number{Value: 1}), nil
}

// A watch stands outside of the gate: it tells when a call is settled, and makes an
// error of a panic.
type watch struct{ h *house }

func (w watch) done(err *error, panicked any, procedure string) {
	if panicked != nil {
		*err = connect.NewError(connect.CodeInternal, io.ErrUnexpectedEOF)
	}
	if w.h.hook != nil {
		w.h.hook(*err)
	}
	if procedure != ping {
		select {
		case w.h.over <- *err:
		default: // a benchmark, which does not look
		}
	}
}

func (w watch) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (_ connect.AnyResponse, err error) {
		defer func() { w.done(&err, recover(), r.Spec().Procedure) }()
		return next(ctx, r)
	}
}

func (watch) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (w watch) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) (err error) {
		defer func() { w.done(&err, recover(), conn.Spec().Procedure) }()
		return next(ctx, conn)
	}
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

// client returns a client of a procedure, and what closes its connections.
func (h *house) client(tb testing.TB, tr transport, procedure string, options ...connect.ClientOption) (client *connect.Client[number, number], hangUp func()) {
	tb.Helper()
	var mu sync.Mutex
	var dialed []net.Conn
	rt := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			dialed = append(dialed, conn)
		}
		return conn, err
	}}
	rt.Protocols.SetHTTP1(!tr.h2)
	rt.Protocols.SetUnencryptedHTTP2(tr.h2)
	tb.Cleanup(rt.CloseIdleConnections)
	options = append(append(options, tr.options...), connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	return connect.NewClient[number, number](&http.Client{Transport: rt}, h.server.URL+procedure, options...), func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range dialed {
			_ = conn.Close()
		}
	}
}

// request returns a request with the key of a state.
func (h *house) request(s middlewaretest.State) *connect.Request[number] {
	r := connect.NewRequest(&number{Value: 7})
	h.authorize(r.Header(), s)
	return r
}

func (h *house) authorize(header http.Header, s middlewaretest.State) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	h.Authorize(r, s)
	maps.Copy(header, r.Header)
}

// An answer is what a client is told of a call.
type answer struct {
	err    error
	fields http.Header // of the header of an answer, or the metadata of an error
}

// call makes a call of one message.
func (h *house) call(ctx context.Context, tb testing.TB, tr transport, r *connect.Request[number]) answer {
	tb.Helper()
	client, _ := h.client(tb, tr, generate)
	return callOf(ctx, client, r)
}

func callOf(ctx context.Context, client *connect.Client[number, number], r *connect.Request[number]) answer {
	resp, err := client.CallUnary(ctx, r)
	if err != nil {
		a := answer{err: err}
		if e, ok := err.(*connect.Error); ok { //nolint:errorlint // connect returns exactly that
			a.fields = e.Meta()
		}
		return a
	}
	return answer{fields: resp.Header()}
}
