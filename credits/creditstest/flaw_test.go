package creditstest

import (
	"strings"
	"testing"

	"github.com/keytoll/keytoll/credits"
)

// everyCheck is what Run and RunStill run together.

func everyCheck() []check { return append(append(still(), moving()...), ticking()...) }

// A sound store passes all checks, and every store of flaws fails the one that
// it is named with. No sentence is without a store that fails it.
func TestEachSentenceRejectsABrokenStore(t *testing.T) {
	caught := make(map[string]bool)
	for _, f := range flaws() {
		t.Run(f.fault, func(t *testing.T) {
			var of *check
			for _, c := range everyCheck() {
				if strings.HasPrefix(c.sentence, f.sentence) {
					of = &c
					break
				}
			}
			if of == nil {
				t.Fatalf("no sentence begins with %q", f.sentence)
			}
			caught[of.sentence] = true
			var err error
			for range f.tries() {
				if err = of.run(t.Context(), newBroken(f.store)); err != nil {
					break
				}
			}
			if err == nil {
				t.Fatalf("a store that %s passes %q", f.fault, of.sentence)
			}
			if f.because != "" && !strings.Contains(err.Error(), f.because) {
				t.Errorf("a store that %s fails %q, but because of: %v", f.fault, of.sentence, err)
			}
		})
	}
	for _, c := range everyCheck() {
		if !caught[c.sentence] {
			t.Errorf("no broken store fails %q", c.sentence)
		}
	}
}

func TestASoundStorePassesEachSentence(t *testing.T) {
	for _, c := range append(still(), moving()...) {
		t.Run(c.sentence, func(t *testing.T) {
			if err := c.run(t.Context(), newBroken(broken{})); err != nil {
				t.Error(err)
			}
		})
	}
}

// A flaw is a store with one fault.
type flaw struct {
	fault    string
	sentence string // how the check begins that must fail
	because  string // part of what that says; empty: not known, as with races
	store    broken
}

// tries is how often the check may run until it fails: who wins a race is luck.
func (f *flaw) tries() int {
	if f.store.split || f.store.apart {
		return 100
	}
	return 1
}

func dropLots(s *credits.State, drop func(*credits.Lot) bool) {
	s.Lots = drops(s.Lots, func(r *credits.LotRow) bool { return drop(&r.Lot) })
}

func dropOps(s *credits.State, drop func(*credits.Op) bool) {
	s.Ops = drops(s.Ops, func(r *credits.OpRow) bool { return drop(&r.Op) })
}

// drops leaves out what drop says, from a list of its own.
func drops[R any](rows []R, drop func(*R) bool) []R {
	var kept []R
	for i := range rows {
		if !drop(&rows[i]) {
			kept = append(kept, rows[i])
		}
	}
	return kept
}
