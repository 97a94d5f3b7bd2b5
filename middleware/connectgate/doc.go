// Package connectgate puts the gate in front of handlers of connect-go, for the
// protocols Connect, gRPC and gRPC-Web: every procedure is known, allowed, paced and
// paid for, and its credits are settled by the call's own error, not by the HTTP
// status, which is 200 for most errors.
//
//	guard, err := connectgate.New(gate, connectgate.Operations{
//		"/images.v1.Images/Generate": {Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit)},
//	}, nil)
//	if err != nil {
//		return err
//	}
//	if err := guard.Check(images.File_images_v1_images_proto.Services().ByName("Images")); err != nil {
//		return err
//	}
//	mux.Handle(imagesconnect.NewImagesHandler(service, connect.WithInterceptors(guard)))
//
// It is a module of its own, so that only programs which import it carry connect-go.
// Package rpcgate says what operations, codes, details and settlement are; this is
// what is of Connect.
//
// # Requests
//
// The credential stands in the header, where the gate's profile has it:
// "Authorization: Bearer KEY" by default. More than one is none. It is taken from the
// header, and so is what looks like the gate's own fields, before the handler gets
// it; the handler's context has the pass: [middleware.PassFrom]. The client's address
// is that of the connection, or behind trusted proxies what X-Forwarded-For says.
// Clients that are given the interceptor are left alone.
//
// # Answers
//
// The request id and what limits have left are header fields of calls that were
// allowed, errors of the handler among them, and metadata of a refusal's error: header
// fields by Connect, trailers by gRPC, which net/http sends without the challenge.
// Answers to GET are Cache-Control: private unless the handler says otherwise, and
// refusals by Connect no-store.
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
// They are not recovered; net/http does that. Put [connect.WithRecover] before this
// interceptor; after it, panics are seen as the error that it makes of them.
package connectgate
