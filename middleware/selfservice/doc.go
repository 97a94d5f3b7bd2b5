// Package selfservice are ready handlers for whoever holds a key, behind a gate:
// what the key may do and has left, what it used, a new key in its place, and its
// end.
//
//	self, err := selfservice.New(keys, gate, &selfservice.Options{Rotate: scopes.None()})
//	if err != nil {
//		return err
//	}
//	for _, rt := range self.Routes("/v1/key") {
//		mux.Handle(rt.Pattern, rt.Handler)
//	}
//
// That serves
//
//	GET    /v1/key         the key, its scopes, settings, limits, credits and budgets
//	GET    /v1/key/usage   what it spent, by hour, day, week or month
//	POST   /v1/key/rotate  a successor; the key itself goes on for a grace
//	DELETE /v1/key         the end of the key, at once
//
// as far as [Options] opens them. With [middleware.Gate.Mux] give Handle the route's
// Operation as well. [Handlers.Description] is the OpenAPI 3.1 description.
//
// # Whose data
//
// A key is shown what is its own, and what its account has that it spends from:
// credits, and budgets of the whole account. Options.Account asks for scopes before
// the latter is told. Of other keys of the account nothing is told.
//
// # Errors
//
// Refusals look as the gate's profile says, those of the handlers too, which have
// stable codes: 400 invalid_request, 404 no_credits, 409 already_rotated, 413
// body_too_large, 503 unavailable and 500 internal. The description tells of the
// default profile. What is the server's fault goes to Options.Log.
//
// # Concurrency
//
// [Handlers] are safe for concurrent use. Of two rotations of one key one wins, and
// the other is already_rotated.
//
// # Security
//
// Calls cost nothing and count against limits of their own, so that a key whose
// limits are used up can still look. Rotating and revoking ask the key store,
// whatever its cache holds. The new key stands in the answer to a rotation alone,
// which no cache may keep.
//
// # What it does not do
//
// It does not tell one key of others, change what a key may do, or give an ended key
// back: that is for the owner, see package management.
package selfservice
