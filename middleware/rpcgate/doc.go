// Package rpcgate is what gates in front of remote procedure calls share. It knows
// no framework: packages grpcgate and connectgate, modules of their own, put it in
// front of grpc-go and connect-go, and are what most programs import. It is
// exported for whoever guards another framework.
//
//	guard, err := rpcgate.New(gate, rpcgate.Operations{
//		"/images.v1.Images/Generate": {Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit)},
//	}, &rpcgate.Options{Public: []string{"/grpc.health.v1.Health/"}})
//
//	call, refusal := guard.Begin(ctx, rpcgate.Request{Method: method, Remote: peer, Values: header.Values, Message: message})
//	if refusal != nil {
//		return refusal // as the framework tells errors
//	}
//	if call == nil {
//		return handler(ctx, message) // it is public, or the gate stands outside already
//	}
//	defer call.End(ctx)
//	answer, err := handler(call.Context(ctx), message)
//	call.Return(codeOf(err))
//
// # Operations
//
// Every method says what it asks for: an operation of its own or of its service, or
// [Options.Public]. A method that says nothing is refused with Internal, and
// [Gate.Check] finds it at start-up.
//
// # Answers
//
// A refusal has the code of its HTTP status under the gate's profile:
//
//	400, 422  InvalidArgument      429, 413  ResourceExhausted
//	401       Unauthenticated      499       Canceled
//	402       FailedPrecondition   500       Internal
//	403       PermissionDenied     501       Unimplemented
//	404       NotFound             503       Unavailable
//	409       Aborted              504       DeadlineExceeded
//
// FailedPrecondition, for want of credits, is what clients do not repeat by
// themselves (google/rpc/code.proto: until the state has been fixed);
// [Options.Codes] changes that and any other code by verdict. The details are of
// package google.rpc: ErrorInfo with the denial's code as reason and the realm as
// domain, RetryInfo with the exact time to wait, and QuotaFailure for what is used up.
//
// # Settlement
//
// A call ends as its status says, by [Code.Status]: OK is charged, an error is not,
// a panic before the first message of the answer is not and a panic after it is. A
// call that ends by its client's leaving, or by the deadline that came with it, is
// EndClientGone, which is charged: a deadline is set by the client, and a short one
// would make the work free otherwise. Operation.Settle says otherwise, and
// Pass.Charge and Pass.Meter win over it. There is no 202 here: what goes on after
// the call takes its hold along by Pass.Detach.
//
// # Security
//
// [Call.Hides] names the header fields that are not for the handler: the credential
// and what looks like the gate's own fields. Frameworks decode a message before they
// ask anybody about it, so bound what they accept; Options.MaxBody is for net/http.
//
// # Concurrency
//
// [Gate] is safe for concurrent use, and so are the methods of a [Call] but Return
// and End, which belong to the goroutine that serves it.
package rpcgate
