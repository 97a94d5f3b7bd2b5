// Package middleware puts a gate in front of handlers: it knows who calls, what
// they may call, how often and for how much, and settles afterwards by how the
// work ended. It composes packages apikey, scopes, ratelimit and credits over
// net/http, and [Gate.Begin] and [Pass.End] do the same for any other transport.
//
//	gate, err := middleware.NewGate(keys, &middleware.Options{Credits: ledger})
//	if err != nil {
//		return err
//	}
//	mux := gate.Mux()
//	mux.HandleFunc("POST /v1/images", middleware.Operation{
//		Name:   "image",
//		Scopes: scopes.All("image:generate"),
//		Price:  middleware.Fixed(5 * credits.Credit),
//		Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: "minute", Count: 60, Period: time.Minute}}},
//	}, generate)
//
// [Gate.Handler] is the same as a middleware, for any router; [Gate.Guard] watches
// that no route of a mux was left without one.
//
// # Order
//
// An attempt is decided in this order, and the first that refuses ends it:
//
//  1. request id, client address (package clientip), Content-Length
//  2. Options.IPLimits of the address
//  3. exactly one credential, of at most 512 visible ASCII characters
//  4. the failed-auth lock of the address, unless this very key was proven lately
//  5. the key's form (no store is asked for garbage), look-up and proof
//  6. the key's state, expiry, environment and networks
//  7. scopes, and then Operation.Allow, the host's own rules
//  8. the Idempotency-Key: a call that was done is answered again, for nothing
//  9. Operation.Units, what the call uses
//  10. all windows and leases of all limits of the operation, in one atomic step,
//     for which the call stands in line no longer than Operation.MaxWait
//  11. the price, and its hold in the ledger; a price of 0 skips the ledger
//
// What a later step refuses costs nothing in an earlier one: a call without
// credits gives its limits back. Only Options.IPLimits count refused calls too,
// and Options.FailedAuth wrong keys. A CORS preflight, where
// Options.PassPreflights lets it through, meets steps 1 and 2 alone.
//
// # Settlement
//
// A hold is settled after the handler has returned, by the table that
// [DefaultSettlement] returns: 2xx is charged, 3xx, 4xx and 5xx are not, nor is
// a panic before the answer began, nor HEAD and OPTIONS; a panic after that, a
// hijacked connection and a client that left are charged. 202 keeps the hold for a
// job. An operation overrides endings. Settling does not depend on the request's
// context: a client that leaves is charged or not, but never in between. When
// the ledger fails then, the Observer is told and the hold times out.
//
// Three things win over the table. [Pass.Charge] states what the call costs in the
// end. [Pass.Meter] counts it while it runs, for streams: every [Meter.Add] is held
// before the client gets what it pays for, an error stops the stream, and exactly
// what was counted is charged, however the call ends. [Pass.Detach] hands the hold
// over to a job, whose process settles it with the [Hold] and the ledger, or to a
// connection that outlives its handler. More than is held is charged as
// Operation.Overrun says: not at all, as far as there are credits, or as a debt.
//
// A client has left when its context is cancelled before the handler returned. Who
// closes the connection after as many bytes as Content-Length has promised has not;
// in a stream without one, the last event and the client's leaving look the same
// until the handler has returned.
//
// http.TimeoutHandler belongs inside of the gate. Outside of it, it answers 503
// while the gate sees the handler's 200; when the deadline has passed the gate asks,
// and charges nothing. http.MaxBytesReader cannot close the connection through the
// gate's writer: Options.MaxBody does.
//
// With Options.Leases all of this costs no trip to the store for most calls.
//
// # Profiles
//
// A [Profile] is how one service talks to its clients, as data. Credentials are the
// places where keys stand: [Bearer], [BearerOnly], [BearerOrBare], [Header],
// [InsecureQuery]. Answers give the status, the code and the message of each
// [Verdict]; wrong, expired and revoked keys that are given the same are told alike
// in the challenge too. Fields are the header fields of answers: [DefaultFields] are
// those of the IETF draft, [LegacyFields] X-RateLimit-* in one of three units.
// What a field tells is left out where it is not known: of a key before its proof, of
// limits on a 401, on a refusal by something else unless Profile.TellLimits asks for
// them, and while a policy decides for a store of limits that is down. Render writes the body: [WriteProblem], what
// [JSON] makes, or a function of the host's.
//
// What clients send under the names of Fields, or of a credential's header with '_'
// for '-', is taken from the request before the handler gets it, and from a trailer.
//
// # Idempotency
//
// With Operation.Idempotency and Options.Idempotency, requests with one
// Idempotency-Key are done once (package idempotency). The key counts for one API
// key (a rotated one goes on), operation, method and path; the request must have the
// same query, type and body: 422 otherwise, and 400 for a key that is none. Who asks
// while the first runs is told 409 and to come back; who asks afterwards is given its
// status, its body and the fields that mean the same to the next reader, with
// Idempotent-Replayed, a request id of its own and the limits as they are. That is
// checked like a call up to step 8, costs nothing and uses nothing up but
// IdempotencyOptions.Replays.
//
// Kept is what a handler answered with 2xx to 4xx, and with 5xx if that was charged.
// A stream, trailers, a connection that was taken over, too long an answer and one
// that was charged and broken off are known to have been given: 409, not_replayable.
// Everything else, panics and 5xx among it, and what the gate refused, is forgotten,
// and the same key is tried again. An answer of nothing to a client that has left is
// none. A handler is not told of a client that has left by errors of its writes, only
// by its context.
//
// Settling comes first, then keeping the answer. A process that dies in between
// leaves a claim; whoever takes it over after its lease does the work again and is
// not charged a second time. One that dies before it settled is charged nothing.
// A store that fails closes the operation for requests with the field: 503.
//
// # Errors
//
// [Gate.Begin] refuses with a [*Denial], whose [Verdict] is one of a closed set;
// [Gate.Handler] renders it by the [Profile], as application/problem+json unless
// told otherwise: 400, 401 with a challenge, 402, 403, 409, 413, 422, 429 with
// Retry-After, 503. Waiting exactly Retry-After is enough to pass that limit;
// Options.RetryJitter only lengthens it. A 402 has it too, when
// the credits come by time alone, a grant or the next window of a budget, and when
// other calls hold them for now.
// [NewGate], [Gate.Route] and [Gate.Check] report every fault of their arguments
// at once; [Gate.Handler] panics with it, at start-up.
//
// # Security
//
// Until a secret is proven, all refusals of a presented credential are the same
// to the client, byte by byte but for the request id. Causes are told after
// proof. The zero Operation is refused: scopes and price are stated for every
// route, even when they are scopes.None() and Free(). The credential is taken
// from the request before the handler gets it, and stands in no event, error or
// log. Answers are Cache-Control: private unless the handler says otherwise,
// refusals no-store. Stores that fail close the gate: 503, and nothing is held. Nor
// is anything when a function of the host's panics before the handler runs.
//
// Wrong keys count against the client's address. While an address is locked,
// keys that were proven lately pass all the same, and an attacker's own
// successes do not unlock it. Both tables live in this process and are bounded.
//
// # Concurrency
//
// [Gate], [Route] and [Pass] are safe for concurrent use. There are no
// goroutines. Of two calls that race for the last request or the last credits
// exactly one wins, as far as the stores promise it.
//
// # Time
//
// Limits and holds run on the clocks of their stores. Options.Now stamps events
// and runs what the gate keeps in memory by itself.
//
// # What it does not do
//
// It answers no CORS preflight: mount CORS outside, or behind
// Options.PassPreflights. It does not recover panics,
// buffer bodies, or touch RemoteAddr. Its name is that of chi's package: a file
// that imports both renames one of them.
package middleware
