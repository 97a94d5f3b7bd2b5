package credits

import (
	"strconv"
	"time"

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
	// ErrKeyTooOld: the id is a version 7 UUID from a time whose records were
	// pruned, so nobody knows whether the command was done. It is not done again.
	// Retry no longer than records are kept, or give the command a new id.
	ErrKeyTooOld error = &errors.Error{Code: errors.Conflict, Msg: "the id is older than the records that are kept"}
	// ErrNotFound: the account has no hold, lease, op, budget or schedule of that id.
	ErrNotFound error = &errors.Error{Code: errors.NotFound, Msg: "the account has nothing of that id"}
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
	// ErrTooManyBudgets: the account has [MaxBudgets] budgets.
	ErrTooManyBudgets error = &errors.Error{Code: errors.Conflict, Msg: "the account has too many budgets"}
	// ErrExpired: the grant's ExpiresAt has passed.
	ErrExpired error = &errors.Error{Code: errors.Invalid, Msg: "the grant has expired before it was made; give a later ExpiresAt"}
	// ErrTooManySchedules: the account has [MaxSchedules] schedules.
	ErrTooManySchedules error = &errors.Error{Code: errors.Conflict, Msg: "the account has too many schedules"}
	// ErrCatchUp: the Anchor of a new schedule with CatchUpAll lies more than
	// [MaxCatchUp] periods back.
	ErrCatchUp error = &errors.Error{Code: errors.Invalid, Msg: "too many periods of the schedule have begun"}
	// ErrTooFar: more changes until the instant that was asked for than are looked
	// through.
	ErrTooFar error = &errors.Error{Code: errors.Invalid, Msg: "too much changes until then"}
	// ErrCorrupt: what the store returned contradicts itself.
	ErrCorrupt error = &errors.Error{Code: errors.Corrupt, Msg: "the ledger's records contradict each other"}
)

// A Source is what had no room for a hold or a debit. Numbers and names are
// stored and never change meaning.
type Source uint8

const (
	SourceNone            Source = 0 // nothing: it was accepted
	SourceBalance         Source = 1 // the account's available credits
	SourceAccountBudget   Source = 2 // a budget with neither Key nor Operation
	SourceKeyBudget       Source = 3 // a budget with a Key
	SourceOperationBudget Source = 4 // a budget with an Operation and no Key
	SourceHolds           Source = 5 // Options.MaxHolds open holds
	SourceLeases          Source = 6 // enough credit is there, but open leases have it
)

var sources = [...]string{"none", "balance", "account_budget", "key_budget", "operation_budget", "holds", "leases"}

// String returns the stable name of s.
func (s Source) String() string {
	if int(s) < len(sources) {
		return sources[s]
	}
	return "source(" + strconv.Itoa(int(s)) + ")"
}

// A DeniedError says why a hold or a debit cannot be paid, so that a caller can
// tell "buy more" from "wait for what is running". It matches [ErrInsufficient]
// and has its code.
type DeniedError struct {
	Account     AccountID
	At          time.Time // when it was decided, by the store's clock; of a Replayed one, at first
	Source      Source    // what had no room; of several the first in the order of their numbers
	Budget      BudgetID  // which, when Source is a budget
	Need        Amount    // what the command wanted
	Available   Amount    // what Source had: of the balance, what can be spent on the command's operation
	Held        Amount    // what open holds set aside; some of it may come back
	Leased      Amount    // what open leases have; some of it may come back
	Pending     Amount    // granted, and not effective yet
	Debt        Amount    // what the account owes
	Transient   bool      // what comes back of holds and leases alone can make room
	ClearsAt    time.Time // when there is room by time alone, if nobody else does anything; zero: not known
	NextGrantAt time.Time // when the next grant that could pay for it takes effect; zero: none is known
	Replayed    bool      // a debit that was refused before under this id, and stays refused; only ClearsAt and NextGrantAt are looked up anew, for another id
}

// Error says what had no room, in credits.
func (e *DeniedError) Error() string {
	text := "need " + e.Need.String() + " credits, " + e.Available.String() + " available"
	switch e.Source {
	case SourceHolds:
		return "as many holds are open as may be; capture or release one first"
	case SourceLeases:
		text += ", " + e.Leased.String() + " leased"
	case SourceAccountBudget, SourceKeyBudget, SourceOperationBudget:
		text += " in budget " + quote(string(e.Budget))
	}
	if e.Debt > 0 {
		text += ", " + e.Debt.String() + " owed"
	}
	return text
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
