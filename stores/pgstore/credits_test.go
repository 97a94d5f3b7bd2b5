package pgstore_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// timedCredits is a store with the clock that it goes by.
type timedCredits struct {
	credits.Store
	*clock
}

func (d *database) openTimedCredits(t testing.TB) timedCredits {
	t.Helper()
	c := newClock()
	return timedCredits{d.open(t).Credits(&pgstore.CreditsOptions{Now: c.now}), c}
}

// unsynced lets commits not wait for the disk, where no crash is the subject.
func unsynced(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["synchronous_commit"] = "off" }

func TestCreditsKeepTheContract(t *testing.T) {
	d := newDatabase(t, unsynced)
	creditstest.Run(t, func(t *testing.T) credits.Store { return d.openTimedCredits(t) })
}

func TestCreditsKeepTheContractByTheServersClock(t *testing.T) {
	d := newDatabase(t, unsynced)
	creditstest.RunStill(t, func(t *testing.T) credits.Store { return d.open(t).Credits(nil) })
}
