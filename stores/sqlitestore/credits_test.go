package sqlitestore_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// timedCredits is a store with the clock that it goes by.
type timedCredits struct {
	credits.Store
	*clock
}

func TestCreditsKeepTheContract(t *testing.T) {
	creditstest.Run(t, func(t *testing.T) credits.Store {
		c := newClock()
		return timedCredits{open(t, &sqlitestore.Options{Now: c.now, Synchronous: sqlitestore.Normal}).Credits(), c}
	})
}

func TestCreditsKeepTheContractByTheSystemsClock(t *testing.T) {
	creditstest.RunStill(t, func(t *testing.T) credits.Store { return open(t, nil).Credits() })
}

func BenchmarkCredits(b *testing.B) {
	creditstest.Bench(b, func(b *testing.B) credits.Store { return open(b, nil).Credits() })
}

func newLedger(t testing.TB, db *sqlitestore.DB) *credits.Ledger {
	t.Helper()
	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ledger
}

func TestTheClockIsTheOption(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 678901234, time.FixedZone("east", 3600))
	ledger := newLedger(t, open(t, &sqlitestore.Options{Now: func() time.Time { return now }}))
	r, err := ledger.Grant(t.Context(), credits.Grant{Account: "a", ID: "g", Amount: 1})
	if want := time.Date(2030, 1, 2, 2, 4, 5, 678901000, time.UTC); err != nil || r.At != want {
		t.Errorf("granted at %v, %v; want %v", r.At, err, want)
	}
}

func TestWhatIsDueAtThisVeryMicrosecondIsLoaded(t *testing.T) {
	now := time.Unix(1e9, 0)
	ledger := newLedger(t, open(t, &sqlitestore.Options{Now: func() time.Time { return now }}))
	ctx := t.Context()
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "a", ID: "g", Amount: 10, ExpiresAt: now.Add(2 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Hold(ctx, credits.Hold{Account: "a", ID: "h", Amount: 4, TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after                    time.Duration
		available, held, expired credits.Amount
	}{
		{time.Second - time.Microsecond, 6, 4, 0},
		{time.Second, 10, 0, 0},
		{2*time.Second - time.Microsecond, 10, 0, 0},
		{2 * time.Second, 0, 0, 10},
	} {
		now = time.Unix(1e9, 0).Add(c.after)
		b, err := ledger.Balance(ctx, "a")
		if err != nil || b.Available != c.available || b.Held != c.held || b.Expired != c.expired {
			t.Errorf("after %v: %+v, %v; want %+v", c.after, b.Totals, err, c)
		}
	}
}

func TestAnAccountThatIsNotAsItWasLoadedIsCorrupt(t *testing.T) {
	db := open(t, nil)
	ledger := newLedger(t, db)
	if _, err := ledger.Grant(t.Context(), credits.Grant{Account: "a", ID: "g", Amount: 1}); err != nil {
		t.Fatal(err)
	}
	err := db.Credits().Update(t.Context(), []credits.Need{{Account: "a"}}, func(now time.Time, states []*credits.State) error {
		states[0].AccountChange = credits.Updated // of the same version: a lost update
		states[0].Account.Seq = 77
		return nil
	})
	wantCode(t, err, errors.Corrupt)
	if _, err := ledger.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestLedgersReportTheStoresFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ledger := newLedger(t, db)
	_, err = ledger.Grant(t.Context(), credits.Grant{Account: "a", ID: "g", Amount: 1})
	wantCode(t, err, errors.Unavailable)
	if !errors.Is(err, sqlitestore.ErrNotMigrated) {
		t.Errorf("before Migrate: %v", err)
	}
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = ledger.Balance(t.Context(), "a")
	wantCode(t, err, errors.Unavailable)
	if !errors.Is(err, sqlitestore.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAnInterruptedInspectionLetsGoOfItsSnapshot(t *testing.T) {
	db := open(t, &sqlitestore.Options{Readers: 1})
	ledger := newLedger(t, db)
	grant := func(id credits.OpID) {
		t.Helper()
		if _, err := ledger.Grant(t.Context(), credits.Grant{Account: "a", ID: id, Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	grant("one")
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Credits().Inspect(ctx, "a", func(s credits.Snapshot) error {
		cancel()
		for _, err := range s.Entries {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Inspect: %v, want the context's error", err)
	}
	grant("two")
	if b, err := ledger.Balance(t.Context(), "a"); err != nil || b.Available != 2 {
		t.Errorf("balance %v, %v; want 2: the connection still reads the past", b.Available, err)
	}
}

func TestAReaderWaitsNoLongerThanItsContext(t *testing.T) {
	db := open(t, &sqlitestore.Options{Readers: 1})
	err := db.Credits().View(t.Context(), []credits.Need{{Account: "a"}}, func(time.Time, []*credits.State) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		_, err := db.Credits().Accounts(ctx, "", 1)
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the context's error", err)
	}
}

func TestAPanickingReaderIsReplaced(t *testing.T) {
	db := open(t, &sqlitestore.Options{Readers: 1})
	ledger := newLedger(t, db)
	if _, err := ledger.Grant(t.Context(), credits.Grant{Account: "a", ID: "g", Amount: 1}); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"View": func() error {
			return db.Credits().View(t.Context(), []credits.Need{{Account: "a"}}, func(time.Time, []*credits.State) error { panic(t.Name()) })
		},
		"Inspect": func() error {
			return db.Credits().Inspect(t.Context(), "a", func(s credits.Snapshot) error {
				for range s.Entries {
					panic(t.Name())
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var recovered any
			func() {
				defer func() { recovered = recover() }()
				_ = call()
			}()
			if recovered == nil {
				t.Error("the panic did not reach the caller")
			}
			if b, err := ledger.Balance(t.Context(), "a"); err != nil || b.Available != 1 {
				t.Errorf("balance %v, %v", b, err)
			}
		})
	}
}

// Texts that somebody spoiled are told as such, and no command goes by them.
func TestAnOperationThatCannotBeReadIsCorrupt(t *testing.T) {
	db := open(t, nil)
	l := newLedger(t, db)
	for _, spoilt := range []string{
		`parts = 'x:1'`, `parts = '1:x'`, `parts = '1'`, `parts = '99999999999999999999:1:0:0:0'`,
		`charges = '{}'`, `charges = '[1]'`, `terms = 'x'`, `totals = 'x'`, `settled_totals = 'x'`,
	} {
		account := credits.AccountID(spoilt)
		hold := credits.Hold{Account: account, ID: "hold", Amount: 10}
		if _, err := l.Grant(t.Context(), credits.Grant{Account: account, ID: "grant", Amount: 100}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Hold(t.Context(), hold); err != nil {
			t.Fatal(err)
		}
		if err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
			return exec(`UPDATE ops SET `+spoilt+` WHERE account = ?1 AND id = 'hold'`, spoilt)
		}); err != nil {
			t.Fatal(err)
		}
		_, capture := l.Capture(t.Context(), credits.Capture{Account: account, Hold: "hold", Amount: 5})
		_, again := l.Hold(t.Context(), hold)
		_, verify := l.Verify(t.Context(), nil)
		for what, err := range map[string]error{"Capture": capture, "Hold": again, "Verify": verify} {
			if errors.CodeOf(err) != errors.Corrupt {
				t.Errorf("%s: %s: %v, want Corrupt", spoilt, what, err)
			}
		}
		if b, err := l.Balance(t.Context(), account); err != nil || b.Held != 10 {
			t.Errorf("%s: %+v, %v; want 10 held", spoilt, b, err)
		}
	}
}
