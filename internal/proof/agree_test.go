package proof_test

import (
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
)

// The same random commands, one by one, come to the same in every store.
func TestStoresAgree(t *testing.T) {
	const usual = 800
	steps, seed := size(t, "KEYTOLL_LEDGER_STEPS", usual), seedOf(t)
	c := newClock()
	names := accounts(4)
	stores := make([]credits.Store, len(kinds))
	ledgers := make([]*credits.Ledger, len(kinds))
	for i, k := range kinds {
		stores[i] = k.open(t, c)
		ledgers[i] = newLedger(t, stores[i])
	}
	g := creditstest.NewRandom(seed, names...)
	done := make(map[string]int)
	for step := range steps {
		c.advance(g.Step())
		cmd := g.Next(c.now())
		want := cmd.Do(t.Context(), ledgers[0])
		if want.Unknown != nil {
			t.Fatalf("seed %d step %d %v: %v", seed, step, cmd, want)
		}
		for i, l := range ledgers[1:] {
			if got := cmd.Do(t.Context(), l); !got.Same(want) || got.Replayed != want.Replayed {
				t.Fatalf("seed %d step %d %v:\n%s: %v\n%s: %v", seed, step, cmd, kinds[i+1].name, got, kinds[0].name, want)
			}
		}
		switch {
		case want.Replayed:
			done["replayed"]++
		case want.Refusal != "":
			done["refused "+cmd.Verb]++
		default:
			done[cmd.Verb]++
		}
		if step%(steps/4+1) == steps/4 {
			equal(t, seed, stores, names)
		}
	}
	equal(t, seed, stores, names)
	for i, l := range ledgers {
		sum, err := l.Verify(t.Context(), nil)
		if err != nil {
			t.Errorf("seed %d: %s: %v", seed, kinds[i].name, err)
		}
		t.Logf("%s: %+v", kinds[i].name, sum)
	}
	t.Logf("seed %d, %d steps: %v", seed, steps, done)
	const long = 10_000
	if seed != usualSeed && steps < long {
		return // what is rare may be missing in a short run, and is not in the usual one
	}
	for _, verb := range []string{
		"Grant", "Hold", "Capture", "Release", "Extend", "Debit", "Refund", "AcquireLease", "SettleLease", "SetBudget", "SetSchedule", "RemoveBudget", "RemoveSchedule",
		"replayed", "refused Debit", "refused Hold", "refused Capture",
	} {
		if done[verb] == 0 {
			t.Errorf("seed %d: nothing was %s: the run proves little", seed, verb)
		}
	}
}

// equal compares every row of every account with that of the first store.
func equal(t *testing.T, seed uint64, stores []credits.Store, names []credits.AccountID) {
	t.Helper()
	for i, s := range stores[1:] {
		for _, a := range names {
			if err := creditstest.Equal(t.Context(), s, stores[0], a); err != nil {
				t.Fatalf("seed %d: %s and %s: %v", seed, kinds[i+1].name, kinds[0].name, err)
			}
		}
	}
}
