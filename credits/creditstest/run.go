package creditstest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A Clock is a store whose time stands still unless it is advanced.
type Clock interface {
	// Advance moves the time by d; a negative d moves it back.
	Advance(d time.Duration)
}

// Run runs the suite on a store that implements [Clock]; one that does not fails.
// The function open returns an empty store, each time it is called; what it opens
// it cleans up itself. Subtests run one after the other, so it may empty one place
// again and again.
func Run(t *testing.T, open func(t *testing.T) credits.Store) {
	t.Helper()
	if _, ok := open(t).(Clock); !ok {
		t.Fatal("the store has no method Advance, so its promises about time cannot be proven; implement Clock, or RunStill what needs none")
	}
	run(t, append(still(), moving()...), open)
}

// RunStill runs those subtests of the suite during which time need not be moved:
// on a store as its users get it, whose clock moves on its own, beside Run on the
// same store with a [Clock].
func RunStill(t *testing.T, open func(t *testing.T) credits.Store) {
	t.Helper()
	run(t, append(still(), ticking()...), open)
}

func run(t *testing.T, checks []check, open func(t *testing.T) credits.Store) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.sentence, func(t *testing.T) {
			if err := c.run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A check is one sentence of the contract. It returns what was wrong.
type check struct {
	sentence string
	run      func(ctx context.Context, s credits.Store) error
}

// still are the checks for which time may move or not.
func still() []check {
	var all []check
	for _, part := range [][]check{
		updateChecks(), writeChecks(), shareChecks(), needChecks(), dueChecks(), spendChecks(), listChecks(), readChecks(), ledgerChecks(),
	} {
		all = append(all, part...)
	}
	return all
}

// moving are those that move it.
func moving() []check { return append(append(timeChecks(), randomChecks()...), faultChecks()...) }

// ticking are those that wait for it to move.
func ticking() []check {
	return []check{{"the clock moves on its own", clockMoves}}
}

// wrong describes a difference.
func wrong(what string, got, want any) error {
	return fmt.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
}
