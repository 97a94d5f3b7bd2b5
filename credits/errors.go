package credits

import (
	"github.com/keytoll/keytoll/errors"
)

// What a ledger refuses with. Each is matched by errors.Is; nothing was written.
var (
	// ErrInsufficient: the account has less available than a hold or a debit
	// wants. The error is a [*DeniedError].
	ErrInsufficient error = &errors.Error{Code: errors.Insufficient, Msg: "not enough credits"}
	// ErrIntent: the id was used before for something else, so that this is not a
	// retry. Give every command an id of its own.
	ErrIntent error = &errors.Error{Code: errors.Conflict, Msg: "the id was used before for a different command"}
	// ErrNotFound: the account has no hold or op of that id.
	ErrNotFound error = &errors.Error{Code: errors.NotFound, Msg: "there is no such hold or operation"}
	// ErrSettled: the hold was captured or released before, and not in the way
	// that is asked for now.
	ErrSettled error = &errors.Error{Code: errors.Conflict, Msg: "the hold is settled already"}
	// ErrTimedOut: the hold had passed its deadline; its credits went back.
	ErrTimedOut error = &errors.Error{Code: errors.Conflict, Msg: "the hold has timed out"}
	// ErrOverHold: the capture is more than the hold still sets aside.
	ErrOverHold error = &errors.Error{Code: errors.Conflict, Msg: "the capture is more than the hold"}
	// ErrOverRefund: the refund is more than was spent and not refunded yet.
	ErrOverRefund error = &errors.Error{Code: errors.Conflict, Msg: "the refund is more than what was spent"}
	// ErrOverIssue: the grant would take the account over [MaxAmount].
	ErrOverIssue error = &errors.Error{Code: errors.Conflict, Msg: "the account would be issued more than an account can be"}
	// ErrExpired: the grant's ExpiresAt has passed.
	ErrExpired error = &errors.Error{Code: errors.Invalid, Msg: "the grant has expired before it was made; give a later ExpiresAt"}
	// ErrCorrupt: what the store returned contradicts itself.
	ErrCorrupt error = &errors.Error{Code: errors.Corrupt, Msg: "the ledger's records contradict each other"}
)

// A DeniedError says why a hold or a debit cannot be paid, so that a caller can
// tell "buy more" from "wait for what is running". It matches [ErrInsufficient]
// and has its code.
type DeniedError struct {
	Account   AccountID
	Need      Amount // what the command wanted
	Available Amount // what the account could spend
	Held      Amount // what open holds set aside; some of it may come back
	Pending   Amount // granted, and not effective yet
	Transient bool   // Available and Held together would have been enough
}

// Error says need and available in credits.
func (e *DeniedError) Error() string {
	return "need " + e.Need.String() + " credits, " + e.Available.String() + " available"
}

// Unwrap returns an error that matches [ErrInsufficient] and whose message is
// safe to show to the holder of the account.
func (e *DeniedError) Unwrap() error {
	return &errors.Error{Code: errors.Insufficient, Msg: "not enough credits: " + e.Error(), Err: ErrInsufficient}
}

// refuse returns sentinel with the detail that a client may read.
func refuse(sentinel error, detail string) error {
	return &errors.Error{Msg: errors.MessageOf(sentinel) + ": " + detail, Err: sentinel}
}
