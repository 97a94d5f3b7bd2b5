package creditstest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// A Command is one call of a ledger with its arguments, which can be made again:
// a retry of it.
type Command struct {
	Verb    string // the method of [credits.Ledger]
	Account credits.AccountID
	Args    any // what the method takes

	run func(context.Context, *credits.Ledger) (any, error)
}

// String returns the call as a test's failure shows it.
func (c Command) String() string { return fmt.Sprintf("%s(%+v)", c.Verb, c.Args) }

// An Outcome is what a command came to, in a form that can be compared: equal
// outcomes say the same in every field. That the ledger knew the command before
// is told apart, because a retry and a first try are to say the same.
type Outcome struct {
	Result   string // every field of the receipt; empty: it was refused, or is not known
	Refusal  string // every field of the error; empty: it was accepted, or is not known
	Replayed bool   // the ledger said that it knew the command
	Unknown  error  // what the store failed with: nobody knows whether the command was done
}

// Same reports whether two outcomes say the same, known or not known before.
func (o Outcome) Same(p Outcome) bool {
	return o.Unknown == nil && p.Unknown == nil && o.Result == p.Result && o.Refusal == p.Refusal
}

// String returns the outcome as a test's failure shows it.
func (o Outcome) String() string {
	switch {
	case o.Unknown != nil:
		return fmt.Sprintf("not known: %v", o.Unknown)
	case o.Refusal != "":
		return "refused: " + o.Refusal
	}
	return fmt.Sprintf("%s (replayed %v)", o.Result, o.Replayed)
}

// Do gives the command to the ledger.
func (c Command) Do(ctx context.Context, l *credits.Ledger) Outcome {
	result, err := c.run(ctx, l)
	if err != nil {
		return refusal(err)
	}
	if r, ok := result.(credits.LeaseReceipt); ok {
		// A spend that the lease could not pay is not filed. By what it is refused
		// may change with what the very same settlement gave back.
		// And a replay's totals leave out what is due and not posted yet.
		r.Totals = credits.Totals{}
		r.Spends = slices.Clone(r.Spends)
		for i := range r.Spends {
			if r.Spends[i].Err != nil {
				r.Spends[i].Err = errNotFiled
			}
		}
		result = r
	}
	text, replayed := plain(fmt.Sprintf("%+v", result))
	return Outcome{Result: text, Replayed: replayed}
}

var errNotFiled = errors.New("not filed")

// plain takes out of a text what only says that a command was known before.
func plain(text string) (string, bool) {
	without := strings.ReplaceAll(text, "Replayed:true", "Replayed:false")
	return without, without != text
}

// refusal tells what the ledger refuses from what the store could not do: all
// that a ledger refuses with is one of its sentinels or a fault of the arguments.
func refusal(err error) Outcome {
	if denied, ok := errors.AsType[*credits.DeniedError](err); ok {
		text, replayed := plain(fmt.Sprintf("%v: %+v", err, *denied))
		return Outcome{Refusal: text, Replayed: replayed}
	}
	if !decided(err) {
		return Outcome{Unknown: err}
	}
	return Outcome{Refusal: err.Error()}
}

// decided reports whether err is the ledger's word on the command.
func decided(err error) bool {
	switch errors.CodeOf(err) {
	case errors.Invalid, errors.NotFound, errors.Conflict, errors.Insufficient, errors.Forbidden:
		return true
	}
	return false
}

// NewCommand returns the call of a method, which is named verb, about an account.
func NewCommand[Args, Result any](verb string, account credits.AccountID, args Args, method func(*credits.Ledger, context.Context, Args) (Result, error)) Command {
	return Command{Verb: verb, Account: account, Args: args, run: func(ctx context.Context, l *credits.Ledger) (any, error) {
		return method(l, ctx, args)
	}}
}

// Equal compares every row of an account in two stores, and returns the first
// difference. The Version of the account's row, which counts updates, may differ.
func Equal(ctx context.Context, got, want credits.Store, account credits.AccountID) error {
	g, err := read(ctx, got, account)
	if err != nil {
		return err
	}
	w, err := read(ctx, want, account)
	if err != nil {
		return err
	}
	g.account.Version = w.account.Version
	if err := same(g, w); err != nil {
		return fmt.Errorf("account %q: %w", account, err)
	}
	return nil
}
