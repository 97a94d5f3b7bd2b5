package pgstore_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// unsynced lets commits not wait for the disk, where no crash is the subject.
func unsynced(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["synchronous_commit"] = "off" }

// timedCredits is a store with the clock that it goes by.
type timedCredits struct {
	credits.Store
	*clock
}

func TestCreditsKeepTheContract(t *testing.T) {
	d := newSharedDatabase(t)
	whole := t
	creditstest.Run(t, func(t *testing.T) credits.Store {
		c := newClock()
		return timedCredits{d.lend(t, whole).Credits(&pgstore.CreditsOptions{Now: c.now}), c}
	})
}

func TestCreditsKeepTheContractByTheServersClock(t *testing.T) {
	d := newSharedDatabase(t)
	whole := t
	creditstest.RunStill(t, func(t *testing.T) credits.Store { return d.lend(t, whole).Credits(nil) })
}

// inTransactions is a store each call of which is in a transaction of the
// caller's, of one level.
type inTransactions struct {
	store *pgstore.CreditStore
	pool  *pgxpool.Pool
	level pgx.TxIsoLevel
}

func newLedger(t testing.TB, s credits.Store) *credits.Ledger {
	t.Helper()
	l, err := credits.NewLedger(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func grant(t testing.TB, l *credits.Ledger, account credits.AccountID, id credits.OpID, amount credits.Amount) {
	t.Helper()
	if _, err := l.Grant(t.Context(), credits.Grant{Account: account, ID: id, Amount: amount}); err != nil {
		t.Fatal(err)
	}
}

// audit proves every invariant of the whole ledger.
func audit(t testing.TB, ctx context.Context, l *credits.Ledger) {
	t.Helper()
	if _, err := l.Verify(ctx, nil); err != nil {
		t.Error(err)
	}
}

func TestTheExampleOfCredits(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var out strings.Builder
	if err := sell(t.Context(), pool, &out); err != nil {
		t.Fatal(err)
	}
	if want := "job 2: needs 60, has 40\n1 job, 40 left\n"; out.String() != want {
		t.Errorf("said %q, want %q", out.String(), want)
	}
}
