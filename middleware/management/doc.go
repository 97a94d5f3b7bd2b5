// Package management is the handler behind a page of API keys: whoever the host
// says may, lists, makes, changes and ends the keys of one owner, in JSON.
//
//	manage, err := management.New(keys, &management.Options{
//		Prefix: "/home/{account}/api-keys",
//		Verbs:  management.Everyday,
//		Authenticate: func(r *http.Request) (management.Caller, error) {
//			user, err := sessions.User(r)
//			if err != nil {
//				return management.Caller{}, err
//			}
//			if !user.Manages(r.PathValue("account")) {
//				return management.Caller{}, &errors.Error{Code: errors.NotFound}
//			}
//			return management.Caller{Owner: r.PathValue("account"), Actor: apikey.Actor{ID: user.ID}, Verbs: management.Everyday}, nil
//		},
//	})
//	mux.Handle("/home/{account}/api-keys/", manage)
//
// Below the prefix it serves
//
//	GET    /                    the keys: limit, cursor, state, environment, expired
//	POST   /                    Create: a key, shown once
//	GET    /{key}               a key, with its credit cap
//	PATCH  /{key}               Update: what Options.Editable names
//	DELETE /{key}?confirm=NAME  Delete: NAME is the key's name or its id, said again
//	POST   /{key}/disable       Switch
//	POST   /{key}/enable        Switch; the plan's cap on keys is asked again
//	POST   /{key}/rotate        Rotate: a successor, the key works on for grace_seconds
//	POST   /{key}/clone         Clone: another key with the same permissions and cap
//	POST   /{key}/regenerate    Regenerate: a new text at once
//	POST   /{key}/revoke        Revoke: for a reason
//	PUT    /{key}/credit-cap    Update: a budget of the ledger for this key
//	DELETE /{key}/credit-cap    Update
//	GET    /{key}/events        what was done to it; GET /events to all keys
//	GET    /{key}/usage         what it spent; GET /usage key by key
//	GET    /owner               Owners: how the account stands
//	POST   /owner/suspend       Owners: no key works, until /owner/restore
//	POST   /owner/revoke        Owners: ends all keys
//	GET    /openapi.json        all of this, in OpenAPI 3.1
//
// as far as Options.Verbs opens it: by default it only shows. A verb works where both
// the options and the [Caller] have it.
//
// # Whose keys
//
// Options.Authenticate says who asks and whose keys they are; no path, parameter or
// body says otherwise. The id of another owner's key is answered as one that never
// was. What an owner may have is the policy of the key service
// (apikey.Options.Policy): how many keys, which scopes, settings within which bounds.
//
// # Changes
//
// A body is one JSON object, with nothing in it that the route does not take. What a
// PATCH leaves out stays; of settings it changes those that it names, also where two
// are changed at once. A key's ETag is its version: with If-Match a change is made
// to what the caller has seen, or refused with 412. Create with an Idempotency-Key
// makes one key however often it is sent. A credit cap is set before its key is made,
// so that no failure leaves a key without it; rotation keeps it.
//
// # Errors
//
// Refusals are application/problem+json in the form of the gate's, with a stable
// code: 400 invalid_request (with every fault in errors), unknown_scope,
// confirmation_required and idempotency_key_malformed, 401 unauthenticated, 403
// forbidden, cross_origin, not_editable, not_in_plan, scope_not_in_plan and key_limit
// (with limit, plan and upgrade), 404 key_not_found and not_found, 405
// method_not_allowed, 409 name_taken, already_rotated, revoked_key, expired_key,
// version_conflict, confirmation_mismatch and conflict, 412 version_conflict, 413
// body_too_large, 415 unsupported_media_type, 422 idempotency_key_reused, 503
// unavailable and canceled, 500 internal. Causes go to Options.Log.
//
// # Concurrency
//
// [Handler] is safe for concurrent use. Of 64 requests for the last five keys that a
// plan allows, five succeed.
//
// # Security
//
// Nothing is served before Authenticate has said who asks, the description neither;
// an error of it, and a Caller without an Owner, refuse. A key's text stands in the
// answer that makes it alone, which no cache may keep.
//
// People are mostly signed in by a cookie, which their browser sends for pages of
// other origins too. Those change nothing here: what http.CrossOriginProtection calls
// cross-origin is refused, and every request that changes something is either DELETE
// or must say Content-Type: application/json, which no form can send and no script of
// another origin without asking first. So answer preflights with care.
//
// # Time
//
// Badges and default ranges go by Options.Now. Keys and credits go by the clocks of
// their services and stores.
//
// # What it does not do
//
// It draws no pages, signs nobody in, and bounds no rate: mount it behind what does.
// It gives nobody's secret back: who lost a key regenerates it.
package management
