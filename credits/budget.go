package credits

import (
	"strings"
	"time"
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

// A Budget bounds what one account, one of its keys, a group of its keys or one
// operation may spend within a window. Every budget whose Key and Operation fit
// a command applies to it, so budgets form a hierarchy: all must have room.
//
// Key is a path. A command with the key "red/app/k1" counts against budgets with
// the Key "", "red", "red/app" and "red/app/k1".
type Budget struct {
	Account    AccountID
	ID         BudgetID
	Key        string // whose spending counts: this key, or this path and all below it; empty: everybody's
	Operation  string // which spending counts: for this operation; empty: for every one
	Amount     Amount // the most that may be spent and set aside in a window; 0: nothing
	Every      Span   // how long a window lasts; zero: Total
	Zone       string // IANA name of the zone whose calendar counts; empty: UTC
	Soft       bool   // counts and tells thresholds, and refuses nothing
	Thresholds Thresholds

	// What the ledger keeps. SetBudget takes Base alone, for the window it begins
	// in: what counts as spent already.
	Start time.Time // of the current window; zero with Total
	End   time.Time // of the current window, exclusive; zero with Total
	Base  Amount    // of Used, what no op's record accounts for
	Used  Amount    // spent in the window, less what was refunded
	Held  Amount    // set aside by holds and leases that were made in the window
	Fired uint16    // bit i: Thresholds[i] has been reached in the window
}

// Thresholds are the shares of a budget, in percent, at which it tells once a
// window that they were reached: up to 8, each from 1 to 100, ascending, as text
// such as "50,80,100". The zero value tells nothing.
type Thresholds string

// A Scope is what budgets are found by: those whose Key and Operation are these,
// exactly.
type Scope struct{ Key, Operation string }

// maxKeyDepth bounds how many segments of a key's path are looked up.
const maxKeyDepth = 8

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
	for at, depth := 0, 1; key != ""; depth++ {
		next := strings.IndexByte(key[at:], '/')
		if next < 0 || depth == maxKeyDepth {
			add(key)
			break
		}
		if next > 0 {
			add(key[:at+next])
		}
		at += next + 1
	}
	return list
}

// charge notes in o the budgets that it counts against, each in the window of
// now.
func (s *State) charge(_ *Op, _ time.Time) {}

// count adds to what the budgets that o counts against have set aside and spent,
// where the window that o was made in is still the current one.
func (s *State) count(_ *Op, _, _ Amount, _ time.Time) {}
