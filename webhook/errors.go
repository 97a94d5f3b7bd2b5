package webhook

import "github.com/keytoll/keytoll/errors"

// What this package refuses, for errors.Is. A returned error wraps one of them
// with the operation and with a message that says what was wrong and what
// would be right. No message holds a secret or a signature.
var (
	// ErrSecret: a text or a byte string is not a secret of this package.
	ErrSecret error = &errors.Error{Code: errors.Invalid, Msg: "the webhook secret is not valid"}
	// ErrNoKeys: a set without a live key was asked to sign, or a zero
	// [Signer] or [Verifier] was used.
	ErrNoKeys error = &errors.Error{Code: errors.Conflict, Msg: "there is no live webhook key; add one with NewKeys or Keys.Rotate"}
	// ErrMessage: the id or the time of a message cannot be signed.
	ErrMessage error = &errors.Error{Code: errors.Invalid, Msg: "the webhook message cannot be signed"}

	// ErrMissing: a header that verification needs is absent.
	ErrMissing error = &errors.Error{Code: errors.Unauthenticated, Msg: "a webhook header is missing"}
	// ErrMalformed: a header is there and is not what the scheme allows.
	ErrMalformed error = &errors.Error{Code: errors.Unauthenticated, Msg: "a webhook header is malformed"}
	// ErrTooOld: the timestamp is further in the past than the tolerance.
	ErrTooOld error = &errors.Error{Code: errors.Unauthenticated, Msg: "the webhook timestamp is too old"}
	// ErrTooNew: the timestamp is further in the future than the tolerance.
	ErrTooNew error = &errors.Error{Code: errors.Unauthenticated, Msg: "the webhook timestamp is in the future"}
	// ErrSignature: no signature matches a key of the set.
	ErrSignature error = &errors.Error{Code: errors.Unauthenticated, Msg: "no webhook signature matches"}
	// ErrKeyExpired: the signature is right, and its key is past its NotAfter.
	ErrKeyExpired error = &errors.Error{Code: errors.Unauthenticated, Msg: "the webhook signature was made with a key that has expired"}
	// ErrBodyTooLarge: the body is longer than the verifier's MaxBody, or than the
	// MaxResponse of a [SafeTransport].
	ErrBodyTooLarge error = &errors.Error{Code: errors.Invalid, Msg: "the webhook body is too large"}
	// ErrBody: the body broke off while it was read.
	ErrBody error = &errors.Error{Code: errors.Invalid, Msg: "the webhook body could not be read"}

	// ErrIntent: a message was published under an id that another message has.
	ErrIntent error = &errors.Error{Code: errors.Conflict, Msg: "the message id was used before for a different message"}
	// ErrNotFound: there is no endpoint, message or delivery of that id.
	ErrNotFound error = &errors.Error{Code: errors.NotFound, Msg: "there is no such webhook endpoint, message or delivery"}
	// ErrExists: an endpoint of that id is there already, or was and is deleted.
	ErrExists error = &errors.Error{Code: errors.Exists, Msg: "the webhook endpoint id is taken"}
	// ErrInFlight: an attempt is being made just now.
	ErrInFlight error = &errors.Error{Code: errors.Conflict, Msg: "an attempt to deliver this message is being made; try again when it is over"}
	// ErrRefused: an address is not one to deliver to.
	ErrRefused error = &errors.Error{Code: errors.Forbidden, Msg: "the address is not one to deliver webhooks to"}

	// ErrFull: a [ReplayStore] has no room to remember one more message.
	ErrFull error = &errors.Error{Code: errors.Unavailable, Msg: "the webhook replay store is full"}
)
