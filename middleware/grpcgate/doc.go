// Package grpcgate puts the gate in front of a server of grpc-go: every method is
// known, allowed, paced and paid for, and its credits are settled by the call's own
// status.
//
//	guard, err := grpcgate.New(gate, grpcgate.Operations{
//		"/images.v1.Images/Generate": {Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit)},
//	}, &grpcgate.Options{Public: []string{"/grpc.health.v1.Health/"}})
//	if err != nil {
//		return err
//	}
//	server := grpc.NewServer(guard.ServerOptions()...)
//	images.RegisterImagesServer(server, service)
//	if err := guard.Check(server.GetServiceInfo()); err != nil {
//		return err
//	}
//
// It is a module of its own, so that only programs which import it carry grpc-go.
// Package rpcgate says what operations, codes, details and settlement are; this is
// what is of gRPC.
//
// # Requests
//
// The credential stands in the metadata, where the gate's profile has it:
// "authorization: Bearer KEY" by default. More than one is none. The handler gets
// metadata without it, without what looks like the gate's own fields, and a context
// with the pass: [middleware.PassFrom]. The client's address is that of the
// connection, or behind trusted proxies what x-forwarded-for says.
//
// # Answers
//
// The request id and what limits have left are header metadata of calls that were
// allowed. A refusal is an answer of trailers only, so that they are in its trailer,
// with grpc-retry-pushback-ms: a client whose retry policy names the code repeats the
// call when it can pass, and not at all when waiting is not known to help (gRFC A6).
//
// # Streams
//
// A stream is one call, decided when it begins: a Fixed price is set aside then, and
// Pass.Meter counts up what it uses. An error of the meter ends the stream: return it
// from the handler, and the client is told what it lacks. A stream that its client
// cancels, or leaves, or gives too short a deadline, is charged by default.
//
// # Panics
//
// They are not recovered. grpc-go does not recover them either, so put an interceptor
// that does before this one; after it, panics are seen as the status that it makes of
// them.
package grpcgate
