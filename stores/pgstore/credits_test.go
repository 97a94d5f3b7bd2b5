package pgstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
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

// A ledgerDatabase is a schema that many tests use, one after the other: it is
// much faster to empty than to make.
type ledgerDatabase struct {
	*database
	db *pgstore.DB

	mu   sync.Mutex
	free []*pgstore.DB // for tests beside each other
}

func newLedgerDatabase(t testing.TB) *ledgerDatabase {
	t.Helper()
	d := newDatabase(t, unsynced)
	return &ledgerDatabase{database: d, db: d.open(t)}
}

// lend returns an empty schema that is t's until it is over.
func (d *ledgerDatabase) lend(t testing.TB, of testing.TB) *pgstore.DB {
	t.Helper()
	d.mu.Lock()
	var db *pgstore.DB
	if last := len(d.free) - 1; last >= 0 {
		db, d.free = d.free[last], d.free[:last]
	}
	d.mu.Unlock()
	if db == nil {
		db = d.open(of) // which closes it
	}
	d.empty(t, db)
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free = append(d.free, db)
	})
	return db
}

// empty takes all credits away, whatever triggers say.
func (d *ledgerDatabase) empty(t testing.TB, db *pgstore.DB) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		text := `SET LOCAL session_replication_role = replica;`
		for _, table := range []string{"accounts", "lots", "ops", "entries", "budgets", "schedules"} {
			text += fmt.Sprintf(`DELETE FROM "%s".%s;`, db.Schema(), table)
		}
		_, err := tx.Exec(t.Context(), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// timedCredits is a store with the clock that it goes by.
type timedCredits struct {
	credits.Store
	*clock
}

func TestCreditsKeepTheContract(t *testing.T) {
	d := newLedgerDatabase(t)
	whole := t
	creditstest.Run(t, func(t *testing.T) credits.Store {
		c := newClock()
		return timedCredits{d.lend(t, whole).Credits(&pgstore.CreditsOptions{Now: c.now}), c}
	})
}

func TestCreditsKeepTheContractByTheServersClock(t *testing.T) {
	d := newLedgerDatabase(t)
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
