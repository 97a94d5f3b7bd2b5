package credits

import (
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A BudgetID is the caller's name for a budget, unique within its account.
type BudgetID string

// A Span is how long a window of a budget lasts. Calendar windows begin at
// midnight of the budget's zone.
type Span uint8

const (
	Total Span = 0 // one window that never ends: a cap for life
	Day   Span = 1
	Week  Span = 2 // from Monday
	Month Span = 3 // from the first
	Year  Span = 4 // from 1 January
)

var spans = [...]string{"total", "day", "week", "month", "year"}

// String returns the stable name of s.
func (s Span) String() string {
	if int(s) < len(spans) {
		return spans[s]
	}
	return "span(" + strconv.Itoa(int(s)) + ")"
}

// Bounds of budgets.
const (
	MaxBudgets  = 100_000                  // of one account
	MaxBase     = 100_000_000_000 * Credit // of [Budget].Base
	maxKeyDepth = 8                        // segments of a budget's Key
)

// A Budget bounds what one account, one of its keys, a group of its keys or one
// operation may spend within a window. Every budget whose Key and Operation fit
// a command applies to it, so budgets form a hierarchy: all must have room.
//
// Key is a path. A command with the key "red/app/k1" counts against budgets with
// the Key "", "red", "red/app" and "red/app/k1".
//
// A hold, a debit and a lease count against the budgets that there are when it is
// made, each in the window of that instant, for good: what it captures, gives
// back or has refunded in a later window does not touch that one. A capture is
// never refused for a budget, because the work is done.
type Budget struct {
	Account    AccountID
	ID         BudgetID
	Key        string // whose spending counts: this key, or this path and all below it, of at most 8 segments; empty: everybody's
	Operation  string // which spending counts: for this operation; empty: for every one
	Amount     Amount // the most that may be spent and set aside in a window; 0: nothing but what is free
	Every      Span   // how long a window lasts; zero: Total
	Zone       string // IANA name of the zone whose calendar counts; empty: UTC, and so with Total
	Soft       bool   // counts and tells thresholds, and refuses nothing
	Thresholds Thresholds

	// What the ledger keeps. SetBudget takes Base alone, for a window that it
	// begins: what counts as spent already.
	Start time.Time // of the current window: when the calendar began it, or when the budget was set within it
	End   time.Time // of the current window, exclusive; zero with Total
	Base  Amount    // of Used, what no op's record accounts for
	Used  Amount    // spent in the window, less what was refunded
	Held  Amount    // set aside by holds and leases that were made in the window
	Fired uint16    // bit i: Thresholds[i] has been reached in the window
}

// Used is Base and what the debits and the holds that carry a [Charge] of this
// budget and Start have captured and not had refunded; Held is what the holds and
// leases that carry one still set aside.

// source is what a denial by b names.
func (b *Budget) source() Source {
	switch {
	case b.Key != "":
		return SourceKeyBudget
	case b.Operation != "":
		return SourceOperationBudget
	}
	return SourceAccountBudget
}

// covers reports whether a command of that key and operation counts against b.
func (b *Budget) covers(key, operation string) bool {
	if b.Operation != "" && b.Operation != operation {
		return false
	}
	rest, ok := strings.CutPrefix(key, b.Key)
	return ok && (b.Key == "" || rest == "" || rest[0] == '/')
}

// check reports what no budget can be.
func (b *Budget) check(f *errors.Faults, z *zones) {
	checkID(f, "Account", string(b.Account))
	checkID(f, "ID", string(b.ID))
	checkText(f, "Key", b.Key, MaxIDBytes)
	if strings.HasSuffix(b.Key, "/") {
		f.Add("Key %s ends with a slash; a path stands for all below it without one", quote(b.Key))
	}
	if n := strings.Count(b.Key, "/") + 1; n > maxKeyDepth {
		f.Add("Key has %d segments; give at most %d", n, maxKeyDepth)
	}
	checkText(f, "Operation", b.Operation, MaxIDBytes)
	checkAmount(f, b.Amount, 0)
	if b.Base < 0 || b.Base > MaxBase {
		f.Add("Base is %v; give 0 to %v credits", b.Base, MaxBase)
	}
	switch {
	case int(b.Every) >= len(spans):
		f.Add("Every is %d; give Total, Day, Week, Month or Year", b.Every)
	case b.Every == Total && b.Zone != "":
		f.Add("Zone is %s with Total, which has no calendar; leave it out", quote(b.Zone))
	default:
		z.check(f, "Zone", b.Zone)
	}
	b.Thresholds.check(f, "Thresholds")
}

// A Scope is what budgets are found by: those whose Key and Operation are these,
// exactly.
type Scope struct{ Key, Operation string }

// scopes appends every scope that a command with that key and operation counts
// against: each path above the key, with and without the operation.
func scopes(list []Scope, key, operation string) []Scope {
	add := func(path string) {
		list = append(list, Scope{Key: path})
		if operation != "" {
			list = append(list, Scope{Key: path, Operation: operation})
		}
	}
	add("")
	for at, depth := 0, 1; depth <= maxKeyDepth; depth++ {
		next := strings.IndexByte(key[at:], '/')
		if next < 0 {
			if key != "" {
				add(key)
			}
			break
		}
		if next > 0 {
			add(key[:at+next])
		}
		at += next + 1
	}
	return list
}
