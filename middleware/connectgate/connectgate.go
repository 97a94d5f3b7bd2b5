package connectgate

import (
	"context"
	"errors"
	"io"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/rpcgate"
)

// Operations say what procedures ask for, by full name; see [rpcgate.Operations].
type Operations = rpcgate.Operations

// Options of an [Interceptor]; see [rpcgate.Options].
type Options = rpcgate.Options

// An Interceptor is a [connect.Interceptor] that puts a gate in front of handlers, and
// leaves clients alone. Make one with [New]; it is safe for concurrent use.
type Interceptor struct{ gate *rpcgate.Gate }

var _ connect.Interceptor = (*Interceptor)(nil)

// New returns the interceptor for procedures of these operations. Nil options are the
// defaults. The error names every fault at once.
func New(gate *middleware.Gate, operations Operations, o *Options) (*Interceptor, error) {
	g, err := rpcgate.New(gate, operations, o)
	if err != nil {
		return nil, err
	}
	return &Interceptor{g}, nil
}

// Check reports, all at once, which procedures of these services say nothing of what
// they ask for, and which names mean none of them. Call it at start-up with all
// services that the interceptor stands in front of: connect has no list of them.
func (i *Interceptor) Check(services ...protoreflect.ServiceDescriptor) error {
	var methods []rpcgate.Method
	for _, service := range services {
		for n := range service.Methods().Len() {
			m := service.Methods().Get(n)
			methods = append(methods, rpcgate.Method{
				Name: "/" + string(service.FullName()) + "/" + string(m.Name()), Streams: m.IsStreamingClient() || m.IsStreamingServer(),
			})
		}
	}
	return i.gate.Check(methods...)
}

// WrapStreamingClient returns next.
func (*Interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapUnary puts the gate in front of a handler of one message.
func (i *Interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		if r.Spec().IsClient {
			return next(ctx, r)
		}
		call, refusal := i.gate.Begin(ctx, rpcgate.Request{
			Method: r.Spec().Procedure, Remote: r.Peer().Addr, Values: r.Header().Values, Message: r.Any(),
		})
		switch {
		case refusal != nil:
			return nil, errorOf(refusal, r.Peer())
		case call == nil:
			return next(ctx, r)
		}
		defer call.End(ctx)
		hide(call, r.Header())
		info, ok := connect.CallInfoForHandlerContext(ctx)
		if ok { // it reaches the client with errors too, which may be shared by calls
			announce(call, info.ResponseHeader())
		}
		answer, err := next(call.Context(ctx), r)
		err = told(call, err, r.Peer())
		if ok && r.HTTPMethod() == http.MethodGet {
			keepPrivate(info.ResponseHeader(), answer)
		}
		end(call, err)
		return answer, err
	}
}

// WrapStreamingHandler puts the gate in front of a handler of a stream.
func (i *Interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		call, refusal := i.gate.Begin(ctx, rpcgate.Request{
			Method: conn.Spec().Procedure, Remote: conn.Peer().Addr, Values: conn.RequestHeader().Values,
		})
		switch {
		case refusal != nil:
			return errorOf(refusal, conn.Peer())
		case call == nil:
			return next(ctx, conn)
		}
		defer call.End(ctx)
		hide(call, conn.RequestHeader())
		announce(call, conn.ResponseHeader())
		err := told(call, next(call.Context(ctx), &watched{conn, ctx, call}), conn.Peer())
		end(call, err)
		return err
	}
}

// hide takes from a request's header what is not for the handler.
func hide(call *rpcgate.Call, h http.Header) {
	for name := range h {
		if call.Hides(name) {
			delete(h, name)
		}
	}
}

// announce sets the header fields of an answer.
func announce(call *rpcgate.Call, h http.Header) {
	for name, value := range call.Fields() {
		h[name] = []string{value}
	}
}

const headerCacheControl = "Cache-Control"

// keepPrivate keeps shared caches from giving one client's answer to another, unless
// the handler said what they may do (RFC 9111 section 5.2.2.7).
func keepPrivate(h http.Header, answer connect.AnyResponse) {
	if h.Get(headerCacheControl) == "" && (answer == nil || answer.Header().Get(headerCacheControl) == "") {
		h.Set(headerCacheControl, "private")
	}
}

// end notes how a handler returned.
func end(call *rpcgate.Call, err error) {
	if err != nil && connect.IsNotModifiedError(err) {
		call.ReturnUnchanged()
		return
	}
	call.Return(codeOf(err))
}

// codeOf returns the code that the client is told of a handler's error.
func codeOf(err error) rpcgate.Code {
	if err == nil {
		return rpcgate.OK
	}
	if code := connect.CodeOf(err); code != connect.CodeUnknown {
		return rpcgate.Code(code)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return rpcgate.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return rpcgate.DeadlineExceeded
	}
	return rpcgate.Unknown
}

// told returns a handler's error, with a code where it tells of a refusal.
func told(call *rpcgate.Call, err error, peer connect.Peer) error {
	if _, ok := errors.AsType[*connect.Error](err); ok || err == nil {
		return err
	}
	if refusal, ok := call.Told(err); ok {
		return errorOf(refusal, peer)
	}
	return err
}

// errorOf returns the error that tells of a refusal; the *middleware.Denial is in its
// tree, for interceptors further out.
func errorOf(r *rpcgate.Refusal, peer connect.Peer) *connect.Error {
	e := connect.NewError(connect.Code(r.Code), r)
	for _, d := range r.Details() {
		if detail, err := connect.NewErrorDetail(&anypb.Any{TypeUrl: d.Type, Value: d.Value}); err == nil {
			e.AddDetail(detail)
		}
	}
	for name, value := range r.Fields() {
		e.Meta()[name] = []string{value}
	}
	if peer.Protocol == connect.ProtocolConnect {
		e.Meta().Set(headerCacheControl, "no-store") // RFC 6585 section 4
	}
	return e
}

// A watched connection notes what reaches the client.
type watched struct {
	connect.StreamingHandlerConn

	ctx  context.Context //nolint:containedctx // of the call
	call *rpcgate.Call
}

// Send sends a message of the answer.
func (w *watched) Send(message any) error {
	err := w.StreamingHandlerConn.Send(message)
	w.call.Sent(w.ctx, err, codeOf(err))
	return err
}

// Receive receives a message of the request.
func (w *watched) Receive(message any) error {
	err := w.StreamingHandlerConn.Receive(message)
	if errors.Is(err, io.EOF) {
		return err
	}
	w.call.Received(w.ctx, err, codeOf(err))
	return err
}
