package grpcgate

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	spb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/rpcgate"
)

// Operations say what methods ask for, by full name; see [rpcgate.Operations].
type Operations = rpcgate.Operations

// Options of an [Interceptor]; see [rpcgate.Options].
type Options = rpcgate.Options

// An Interceptor puts a gate in front of a server's methods. Make one with [New]; it
// is safe for concurrent use.
type Interceptor struct{ gate *rpcgate.Gate }

// New returns the interceptor for methods of these operations. Nil options are the
// defaults. The error names every fault at once.
func New(gate *middleware.Gate, operations Operations, o *Options) (*Interceptor, error) {
	g, err := rpcgate.New(gate, operations, o)
	if err != nil {
		return nil, err
	}
	return &Interceptor{g}, nil
}

// ServerOptions returns the options that put the interceptor into a server, after
// those interceptors whose options come before.
func (i *Interceptor) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(i.Unary), grpc.ChainStreamInterceptor(i.Stream)}
}

// Check reports, all at once, which methods of a server say nothing of what they ask
// for, and which names mean no method of it. Call it when all services are
// registered, with [grpc.Server.GetServiceInfo].
func (i *Interceptor) Check(services map[string]grpc.ServiceInfo) error {
	var methods []rpcgate.Method
	for service, info := range services {
		for _, m := range info.Methods {
			methods = append(methods, rpcgate.Method{Name: "/" + service + "/" + m.Name, Streams: m.IsClientStream || m.IsServerStream})
		}
	}
	return i.gate.Check(methods...)
}

// Unary is a [grpc.UnaryServerInterceptor].
func (i *Interceptor) Unary(ctx context.Context, message any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	call, refusal := i.gate.Begin(ctx, request(ctx, info.FullMethod, message))
	switch {
	case refusal != nil:
		_ = grpc.SetTrailer(ctx, trailerOf(refusal)) // fails only outside of a server
		return nil, refused{refusal}
	case call == nil:
		return handler(ctx, message)
	}
	_ = grpc.SetHeader(ctx, fieldsOf(call)) // fails only outside of a server
	defer call.End(ctx)
	answer, err := handler(inside(ctx, call), message)
	err = told(call, err)
	call.Return(codeOf(err))
	return answer, err
}

// Stream is a [grpc.StreamServerInterceptor].
func (i *Interceptor) Stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx := stream.Context()
	call, refusal := i.gate.Begin(ctx, request(ctx, info.FullMethod, nil))
	switch {
	case refusal != nil:
		stream.SetTrailer(trailerOf(refusal))
		return refused{refusal}
	case call == nil:
		return handler(server, stream)
	}
	_ = stream.SetHeader(fieldsOf(call)) // fails only when somebody outside has sent them
	defer call.End(ctx)
	err := told(call, handler(server, &watched{stream, inside(ctx, call), call}))
	call.Return(codeOf(err))
	return err
}

// request returns what is known of a call.
func request(ctx context.Context, method string, message any) rpcgate.Request {
	r := rpcgate.Request{Method: method, Message: message}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		r.Remote = p.Addr.String()
	}
	r.Values = func(name string) []string { return metadata.ValueFromIncomingContext(ctx, name) }
	return r
}

// inside returns the context that the handler gets.
func inside(ctx context.Context, call *rpcgate.Call) context.Context {
	fields, _ := metadata.FromIncomingContext(ctx) // a copy
	for name := range fields {
		if call.Hides(name) {
			delete(fields, name)
		}
	}
	return metadata.NewIncomingContext(call.Context(ctx), fields)
}

// codeOf returns the code of the status that the server makes of a handler's error.
func codeOf(err error) rpcgate.Code {
	if s, ok := status.FromError(err); ok {
		return rpcgate.Code(s.Code())
	}
	return rpcgate.Code(status.FromContextError(err).Code())
}

// told returns a handler's error, with a status where it tells of a refusal.
func told(call *rpcgate.Call, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if refusal, ok := call.Told(err); ok {
		return refused{refusal}
	}
	return err
}

// A refused error is a status for the client, and for interceptors further out the
// *middleware.Denial, which is in its tree.
type refused struct{ *rpcgate.Refusal }

// Unwrap returns the refusal.
func (r refused) Unwrap() error { return r.Refusal }

// GRPCStatus returns the status that tells of the refusal.
func (r refused) GRPCStatus() *status.Status {
	s := &spb.Status{Code: int32(r.Code), Message: r.Message}
	for _, d := range r.Details() {
		s.Details = append(s.Details, &anypb.Any{TypeUrl: d.Type, Value: d.Value})
	}
	return status.FromProto(s)
}

// fieldsOf returns the header fields of an answer.
func fieldsOf(call *rpcgate.Call) metadata.MD {
	fields := make(metadata.MD)
	for name, value := range call.Fields() {
		fields[strings.ToLower(name)] = []string{value}
	}
	return fields
}

// trailerOf returns the fields of a refusal. They are a trailer, without a header
// before it, because only of such answers clients retry by themselves (gRFC A6).
func trailerOf(r *rpcgate.Refusal) metadata.MD {
	fields := metadata.MD{"grpc-retry-pushback-ms": {r.Pushback()}}
	for name, value := range r.Fields() {
		fields[strings.ToLower(name)] = []string{value}
	}
	return fields
}

// A watched stream notes what reaches the client.
type watched struct {
	grpc.ServerStream

	ctx  context.Context //nolint:containedctx // what a stream has
	call *rpcgate.Call
}

// Context returns the stream's context, with the pass.
func (w *watched) Context() context.Context { return w.ctx }

// SendMsg sends a message of the answer.
func (w *watched) SendMsg(message any) error {
	err := w.ServerStream.SendMsg(message)
	w.call.Sent(w.ctx, err, codeOf(err))
	return err
}

// RecvMsg receives a message of the request.
func (w *watched) RecvMsg(message any) error {
	err := w.ServerStream.RecvMsg(message)
	w.call.Received(w.ctx, err, codeOf(err))
	return err
}
