package apikey

import "github.com/keytoll/keytoll/errors"

// invalidKey is the one message a client reads before a secret is proven:
// it must not tell a malformed key from an unknown one or a wrong secret.
const invalidKey = "the API key is not valid"

// What [Service.Verify] refuses with. The first two come before the secret is
// proven and carry the same code and the same message; the others only after
// proof, when telling the holder the cause gives nothing away.
var (
	// ErrMalformed says that the text is not a key of this format; the store was
	// not asked.
	ErrMalformed error = &errors.Error{Code: errors.Unauthenticated, Msg: invalidKey}
	// ErrUnknown says that no key has this handle, that the secret is wrong, that
	// the key was deleted, or that its pepper is gone: the wrapped cause, which is
	// for operators, says which.
	ErrUnknown error = &errors.Error{Code: errors.Unauthenticated, Msg: invalidKey}

	// ErrDisabled says that the key is switched off and may be enabled again.
	ErrDisabled error = &errors.Error{Code: errors.Unauthenticated, Msg: "the API key is disabled"}
	// ErrExpired says that the key's time is over, by its expiry or by the end of
	// the grace of a rotation.
	ErrExpired error = &errors.Error{Code: errors.Unauthenticated, Msg: "the API key has expired"}
	// ErrRevoked says that the key is switched off for good.
	ErrRevoked error = &errors.Error{Code: errors.Unauthenticated, Msg: "the API key has been revoked"}
	// ErrSuspended says that all keys of the owner are stopped, until the owner is
	// restored.
	ErrSuspended error = &errors.Error{Code: errors.Forbidden, Msg: "the account of the API key is suspended"}
	// ErrEnvironment says that the key is not one of the environment asked for.
	ErrEnvironment error = &errors.Error{Code: errors.Forbidden, Msg: "the API key belongs to another environment"}
	// ErrNetwork says that the key is bound to networks, and that the client's
	// address is in none of them or not known.
	ErrNetwork error = &errors.Error{Code: errors.Forbidden, Msg: "the API key may not be used from this address"}
)

// What the management verbs and a [Store] refuse with.
var (
	// ErrNotFound says that there is no such key, or that it was deleted.
	ErrNotFound error = &errors.Error{Code: errors.NotFound, Msg: "there is no such API key"}
	// ErrExists says that the ID or the handle of a record is taken.
	ErrExists error = &errors.Error{Code: errors.Exists, Msg: "the API key id is taken"}
	// ErrNameTaken says that another key of the owner has this name.
	ErrNameTaken error = &errors.Error{Code: errors.Exists, Msg: "another API key of the account has this name; give another"}
	// ErrKeyLimit says that the owner has as many keys as the plan allows.
	ErrKeyLimit error = &errors.Error{Code: errors.Exhausted, Msg: "the account has as many API keys as its plan allows; revoke one first"}
	// ErrMayNotCreate says that the owner's [Policy] allows no new key.
	ErrMayNotCreate error = &errors.Error{Code: errors.Forbidden, Msg: "the account may not create API keys"}
	// ErrIntent says that the request ID has made a key that was asked for in other
	// words.
	ErrIntent error = &errors.Error{Code: errors.Conflict, Msg: "the request id was used to ask for another API key; give a new one"}
	// ErrConflict says that somebody else changed the key first.
	ErrConflict error = &errors.Error{Code: errors.Conflict, Msg: "the API key was changed by somebody else; read it again"}
	// ErrRotated says that the key already has a successor.
	ErrRotated error = &errors.Error{Code: errors.Conflict, Msg: "the API key was already rotated; use its successor"}
)

// errTombstone says that a key is not found because it was deleted.
var errTombstone error = &errors.Error{Err: ErrNotFound}

// errCorruptState says that a stored state is not one of this version.
var errCorruptState error = &errors.Error{
	Code: errors.Corrupt, Msg: "the API key cannot be used", Err: errors.New("the record's state is not known to this version"),
}
