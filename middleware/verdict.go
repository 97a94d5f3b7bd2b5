package middleware

import (
	"net/http"
	"strconv"

	"github.com/keytoll/keytoll/errors"
)

// A Verdict is what the gate decided about one attempt. The set is closed:
// numbers and names never change meaning, because they are stored in metrics
// and journals. The zero value allows nothing.
type Verdict uint8

const (
	VerdictUndecided            Verdict = 0  // no decision; never allowed
	VerdictAllowed              Verdict = 1  // the handler may run
	VerdictMissing              Verdict = 2  // no credential was presented; a probe, not a guess
	VerdictMalformed            Verdict = 3  // no key of this format, or more than one credential; no store was asked
	VerdictUnknown              Verdict = 4  // no such key, or a wrong secret
	VerdictDisabled             Verdict = 5  // proven, switched off for now
	VerdictExpired              Verdict = 6  // proven, its time is over
	VerdictRevoked              Verdict = 7  // proven, switched off for good
	VerdictEnvironment          Verdict = 8  // proven, made for another environment
	VerdictIPDenied             Verdict = 9  // proven, not usable from this address
	VerdictScopeDenied          Verdict = 10 // proven, lacks a scope
	VerdictIPLimited            Verdict = 11 // the address sends too much
	VerdictAuthLimited          Verdict = 12 // the address guessed wrong too often
	VerdictRateLimited          Verdict = 13 // a limit of key, owner, address or operation is used up
	VerdictCreditDenied         Verdict = 14 // the account cannot pay
	VerdictTooLarge             Verdict = 15 // the body is larger than the gate accepts
	VerdictPriceRefused         Verdict = 16 // the operation's price could not be told for this request
	VerdictStoreError           Verdict = 17 // a store could not decide; nothing is held
	VerdictCanceled             Verdict = 18 // the caller gave up before the decision
	VerdictMisconfigured        Verdict = 19 // the gate was wired in a way that only shows at run time
	VerdictSuspended            Verdict = 20 // proven, and its owner is suspended
	VerdictBudgetDenied         Verdict = 21 // a budget of the key or the account has no room
	VerdictBusy                 Verdict = 22 // as many calls run at once as a Concurrency limit allows
	VerdictPlanDenied           Verdict = 23 // proven, and Operation.Allow says no
	VerdictIdempotencyMissing   Verdict = 24 // no Idempotency-Key where one is required
	VerdictIdempotencyMalformed Verdict = 25 // an Idempotency-Key that is none
	VerdictIdempotencyRunning   Verdict = 26 // the first call with this Idempotency-Key is still running
	VerdictIdempotencyMismatch  Verdict = 27 // this Idempotency-Key was used for another request
	VerdictIdempotencyOpaque    Verdict = 28 // the first call is over, and its answer could not be kept
	VerdictReplayed             Verdict = 29 // not refused: the first call's answer is given again
	VerdictForeign              Verdict = 30 // proven and allowed, but what it asks for is another owner's
)

// A challenge says what WWW-Authenticate tells.
type challenge uint8

const (
	noChallenge    challenge = iota
	bareChallenge            // nothing was presented: no error code (RFC 6750 section 3.1)
	tokenChallenge           // error="invalid_token"
	scopeChallenge           // error="insufficient_scope"
)

// A rule is how a verdict is told by default.
type rule struct {
	name      string // stable, of the verdict
	public    string // the code that a client reads
	status    int
	detail    string // "": the message of the cause
	challenge challenge
	code      errors.Code
}

const (
	invalidCode   = "invalid_key"
	invalidDetail = "the API key is not valid"
)

// verdicts is indexed by Verdict. Malformed and unknown are one to the client.
var verdicts = [...]rule{
	VerdictUndecided:            {"undecided", "internal", http.StatusInternalServerError, "the request could not be decided", noChallenge, errors.Unknown},
	VerdictAllowed:              {"allowed", "allowed", http.StatusOK, "", noChallenge, errors.Unknown},
	VerdictMissing:              {"missing", "missing_key", http.StatusUnauthorized, "an API key is required", bareChallenge, errors.Unauthenticated},
	VerdictMalformed:            {"malformed", invalidCode, http.StatusUnauthorized, invalidDetail, tokenChallenge, errors.Unauthenticated},
	VerdictUnknown:              {"unknown", invalidCode, http.StatusUnauthorized, invalidDetail, tokenChallenge, errors.Unauthenticated},
	VerdictDisabled:             {"disabled", "disabled_key", http.StatusUnauthorized, "the API key is disabled", tokenChallenge, errors.Unauthenticated},
	VerdictExpired:              {"expired", "expired_key", http.StatusUnauthorized, "the API key has expired", tokenChallenge, errors.Unauthenticated},
	VerdictRevoked:              {"revoked", "revoked_key", http.StatusUnauthorized, "the API key has been revoked", tokenChallenge, errors.Unauthenticated},
	VerdictEnvironment:          {"environment", "wrong_environment", http.StatusUnauthorized, "the API key belongs to another environment", tokenChallenge, errors.Forbidden},
	VerdictIPDenied:             {"ip_denied", "ip_not_allowed", http.StatusForbidden, "the API key may not be used from this address", noChallenge, errors.Forbidden},
	VerdictScopeDenied:          {"scope_denied", "insufficient_scope", http.StatusForbidden, "the API key lacks a scope that this operation needs", scopeChallenge, errors.Forbidden},
	VerdictIPLimited:            {"ip_limited", "ip_limited", http.StatusTooManyRequests, "too many requests from this address", noChallenge, errors.Exhausted},
	VerdictAuthLimited:          {"auth_limited", "too_many_failures", http.StatusTooManyRequests, "too many failed attempts from this address", noChallenge, errors.Exhausted},
	VerdictRateLimited:          {"rate_limited", "rate_limited", http.StatusTooManyRequests, "a rate limit is used up", noChallenge, errors.Exhausted},
	VerdictCreditDenied:         {"credit_denied", "insufficient_credits", http.StatusPaymentRequired, "not enough credits for this operation", noChallenge, errors.Insufficient},
	VerdictTooLarge:             {"too_large", "body_too_large", http.StatusRequestEntityTooLarge, "the request body is too large", noChallenge, errors.Invalid},
	VerdictPriceRefused:         {"price_refused", "price_refused", http.StatusBadRequest, "the request has no price", noChallenge, errors.Invalid},
	VerdictStoreError:           {"store_error", "unavailable", http.StatusServiceUnavailable, "the request cannot be decided now; try again", noChallenge, errors.Unavailable},
	VerdictCanceled:             {"canceled", "canceled", http.StatusServiceUnavailable, "the request was given up", noChallenge, errors.Canceled},
	VerdictMisconfigured:        {"misconfigured", "internal", http.StatusInternalServerError, "the request could not be decided", noChallenge, errors.Unknown},
	VerdictSuspended:            {"suspended", "suspended_account", http.StatusForbidden, "the account of the API key is suspended", noChallenge, errors.Forbidden},
	VerdictBudgetDenied:         {"budget_denied", "budget_exceeded", http.StatusPaymentRequired, "a budget for this operation is used up", noChallenge, errors.Insufficient},
	VerdictBusy:                 {"concurrency_limited", "too_many_at_once", http.StatusTooManyRequests, "too many calls are running at once", noChallenge, errors.Exhausted},
	VerdictPlanDenied:           {"plan_denied", "not_in_plan", http.StatusForbidden, "the account's plan does not include this operation", noChallenge, errors.Forbidden},
	VerdictIdempotencyMissing:   {"idem_missing", "idempotency_key_required", http.StatusBadRequest, "this operation needs the header Idempotency-Key, with a value of its own for each request", noChallenge, errors.Invalid},
	VerdictIdempotencyMalformed: {"idem_malformed", "idempotency_key_malformed", http.StatusBadRequest, "Idempotency-Key is not one value of 1 to 255 visible ASCII characters", noChallenge, errors.Invalid},
	VerdictIdempotencyRunning:   {"idem_running", "request_in_progress", http.StatusConflict, "the first request with this Idempotency-Key is still being handled", noChallenge, errors.Conflict},
	VerdictIdempotencyMismatch:  {"idem_conflict", "idempotency_key_reused", http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request", noChallenge, errors.Conflict},
	VerdictIdempotencyOpaque:    {"idem_opaque", "not_replayable", http.StatusConflict, "the request with this Idempotency-Key was handled, and its answer was not kept", noChallenge, errors.Conflict},
	VerdictReplayed:             {"idem_replayed", "replayed", http.StatusOK, "", noChallenge, errors.Unknown},
	VerdictForeign:              {"foreign", "not_found", http.StatusNotFound, "there is no such resource", noChallenge, errors.NotFound},
}

// String returns the verdict's stable name in snake case, or "verdict(N)" for a
// number that this version does not know.
func (v Verdict) String() string {
	if int(v) < len(verdicts) {
		return verdicts[v].name
	}
	return "verdict(" + strconv.Itoa(int(v)) + ")"
}

// Code returns what a client may read. It says more than the name does to
// somebody who has only the answer, and less where the name would tell too much:
// malformed and unknown are both "invalid_key", and faults of the server's
// wiring "internal".
func (v Verdict) Code() string { return v.rule().public }

// Status returns the HTTP status of the default profile.
func (v Verdict) Status() int { return v.rule().status }

func (v Verdict) rule() *rule {
	if int(v) < len(verdicts) {
		return &verdicts[v]
	}
	return &verdicts[VerdictUndecided]
}
