package pgstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// Behind the rules of package credits stand those of the schema: a row that
// contradicts itself is refused, whoever writes it.
func TestTheDatabaseRefusesCreditsThatContradictThemselves(t *testing.T) {
	d := newSharedDatabase(t)
	l := newLedger(t, d.db.Credits(nil))
	grant(t, l, "a", "grant", 100)
	for _, id := range []credits.OpID{"open", "captured", "released"} {
		if _, err := l.Hold(t.Context(), credits.Hold{Account: "a", ID: id, Amount: 10}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Capture(t.Context(), credits.Capture{Account: "a", Hold: "captured", All: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Release(t.Context(), credits.Release{Account: "a", Hold: "released"}); err != nil {
		t.Fatal(err)
	}
	run(t, d.pool, pgstore.InSchema(d.db, `INSERT INTO keytoll.budgets VALUES ('a', 'b', '', '', 5, 0, '', false, '', NULL, NULL, 0, 0, 0, 0)`))
	run(t, d.pool, pgstore.InSchema(d.db, `INSERT INTO keytoll.schedules VALUES ('a', 's', 5, 4, 1, 0, '', NULL, 0, 0, 0, 0, 0, '', 0, 0)`))
	run(t, d.pool, pgstore.InSchema(d.db, `UPDATE keytoll.accounts SET budgets = 1`))
	for name, statement := range map[string]string{
		"an account twice":                     `INSERT INTO keytoll.accounts SELECT * FROM keytoll.accounts`,
		"an account gone":                      `DELETE FROM keytoll.accounts`,
		"an account with less than nothing":    `UPDATE keytoll.accounts SET available = -1, issued = issued - available - 1`,
		"an account out of balance":            `UPDATE keytoll.accounts SET available = available + 1`,
		"an account with a debt from nowhere":  `UPDATE keytoll.accounts SET debt = 1`,
		"an account with less than no holds":   `UPDATE keytoll.accounts SET holds = -1`,
		"an account of no version":             `UPDATE keytoll.accounts SET version = 0`,
		"an account with half a head":          `UPDATE keytoll.accounts SET head = '\x00'`,
		"a lot gone":                           `DELETE FROM keytoll.lots`,
		"a lot with less than nothing":         `UPDATE keytoll.lots SET available = -1, issued = issued - available - 1`,
		"a lot with less than nothing held":    `UPDATE keytoll.lots SET held = held - 1000, available = available + 1000`,
		"a lot out of balance":                 `UPDATE keytoll.lots SET consumed = consumed + 1`,
		"a lot that owes":                      `UPDATE keytoll.lots SET debt = 1, consumed = consumed + 1`,
		"a lot with half a rank":               `UPDATE keytoll.lots SET rank = '\x00'`,
		"a lot that is spendable by word only": `UPDATE keytoll.lots SET spendable = false`,
		"a lot of unknown category":            `UPDATE keytoll.lots SET category = 256`,
		"an op of unknown kind":                `UPDATE keytoll.ops SET kind = 257`,
		"an entry of unknown kind":             `INSERT INTO keytoll.entries SELECT account, 99, at, 257, from_bucket, to_bucket, op, lot, 1, key, operation, price, hash FROM keytoll.entries LIMIT 1`,
		"an entry to an unknown bucket":        `INSERT INTO keytoll.entries SELECT account, 99, at, kind, 3, 261, op, lot, 1, key, operation, price, hash FROM keytoll.entries LIMIT 1`,
		"an op twice":                          `INSERT INTO keytoll.ops SELECT * FROM keytoll.ops`,
		"an op of no kind":                     `UPDATE keytoll.ops SET kind = 0`,
		"an op with half an intent":            `UPDATE keytoll.ops SET intent = '\x00'`,
		"a hold that ends twice":               `UPDATE keytoll.ops SET hold = 3 WHERE id = 'captured'`,
		"a hold that is open again":            `UPDATE keytoll.ops SET hold = 1 WHERE id = 'released'`,
		"a hold that was none":                 `UPDATE keytoll.ops SET hold = 1 WHERE id = 'grant'`,
		"a hold that has ended and is due":     `UPDATE keytoll.ops SET due = 1 WHERE id = 'captured'`,
		"an open hold that may be forgotten":   `UPDATE keytoll.ops SET prunable = 1 WHERE id = 'open'`,
		"an entry changed":                     `UPDATE keytoll.entries SET amount = 1`,
		"an entry gone":                        `DELETE FROM keytoll.entries`,
		"all entries gone":                     `TRUNCATE keytoll.entries`,
		"an entry twice":                       `INSERT INTO keytoll.entries SELECT * FROM keytoll.entries`,
		"an entry that moves nothing":          `INSERT INTO keytoll.entries SELECT account, 99, at, kind, from_bucket, to_bucket, op, lot, 0, key, operation, price, hash FROM keytoll.entries LIMIT 1`,
		"an entry that moves less":             `INSERT INTO keytoll.entries SELECT account, 99, at, kind, from_bucket, to_bucket, op, lot, -1, key, operation, price, hash FROM keytoll.entries LIMIT 1`,
		"an entry from a bucket to itself":     `INSERT INTO keytoll.entries SELECT account, 99, at, kind, 3, 3, op, lot, 1, key, operation, price, hash FROM keytoll.entries LIMIT 1`,
		"an entry without a hash":              `INSERT INTO keytoll.entries SELECT account, 99, at, kind, from_bucket, to_bucket, op, lot, 1, key, operation, price, '' FROM keytoll.entries LIMIT 1`,
		"a budget of less than nothing":        `UPDATE keytoll.budgets SET amount = -1`,
		"a budget used less than not at all":   `UPDATE keytoll.budgets SET used = -1`,
		"a budget that nobody knows to count":  `UPDATE keytoll.budgets SET every = 9`,
		"a schedule of nothing":                `UPDATE keytoll.schedules SET amount = 0`,
		"a schedule without a period":          `UPDATE keytoll.schedules SET every = 0`,
		"a schedule of unknown units":          `UPDATE keytoll.schedules SET unit = 6`,
	} {
		_, err := d.pool.Exec(t.Context(), pgstore.InSchema(d.db, statement))
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code[:2] != "23" && e.Code != "428C9" {
			t.Errorf("%s: %v, want it refused by a constraint", name, err)
		}
	}
	audit(t, t.Context(), l)
}

// A write of the store's own that would break one is Corrupt, and changes
// nothing.
func TestAWriteThatContradictsItselfIsCorrupt(t *testing.T) {
	d := newSharedDatabase(t)
	store := d.db.Credits(nil)
	l := newLedger(t, store)
	grant(t, l, "a", "grant", 10)
	debit(t, l, "a", "debit", 1)
	need := credits.Need{Account: "a", Ops: []credits.OpID{"debit"}, Spends: []credits.Spend{{Amount: 1}}}
	for name, spoil := range map[string]func(st *credits.State){
		"a lot below zero": func(st *credits.State) {
			st.Lots[0].Lot.Totals = credits.Totals{Issued: 10, Available: -1, Consumed: 11}
			st.Lots[0].Change = credits.Updated
		},
		"a lot that is not there": func(st *credits.State) {
			st.Lots[0].Lot.ID = 77
			st.Lots[0].Change = credits.Updated
		},
		"a lot that is there already": func(st *credits.State) { st.Lots[0].Change = credits.Added },
		"an op that is there already": func(st *credits.State) { st.Ops[0].Change = credits.Added },
		"an op that is not there": func(st *credits.State) {
			st.Ops[0].Op.ID = "other"
			st.Ops[0].Change = credits.Removed
		},
		"a budget that is not there": func(st *credits.State) {
			st.Budgets = append(st.Budgets, credits.BudgetRow{Budget: credits.Budget{Account: "a", ID: "b"}, Change: credits.Updated})
		},
		"a schedule that is not there": func(st *credits.State) {
			st.Schedules = append(st.Schedules, credits.ScheduleRow{Schedule: credits.Schedule{Account: "a", ID: "s"}, Change: credits.Removed})
		},
		"an account of another version": func(st *credits.State) { st.Account.Version++ },
		"an entry that is there already": func(st *credits.State) {
			st.Entries = append(st.Entries, credits.Entry{
				Account: "a", Seq: 1, Kind: credits.KindGrant, From: credits.BucketIssued, To: credits.BucketAvailable, Lot: 1, Amount: 1,
			})
		},
	} {
		err := store.Update(t.Context(), []credits.Need{need}, func(now time.Time, states []*credits.State) error {
			st := states[0]
			st.AccountChange, st.Account.At = credits.Updated, now
			st.Account.Version++
			spoil(st)
			return nil
		})
		if kerrors.CodeOf(err) != kerrors.Corrupt {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
		if b, err := l.Balance(t.Context(), "a"); err != nil || b.Available != 9 || b.Consumed != 1 {
			t.Errorf("after %s: %+v, %v", name, b, err)
		}
	}
	audit(t, t.Context(), l)
}

// Texts that somebody spoiled are told as such, wherever they are taken apart,
// and no command goes by them.
func TestStoredTextsThatCannotBeReadAreCorrupt(t *testing.T) {
	d := newSharedDatabase(t)
	store := d.db.Credits(nil)
	l := newLedger(t, store)
	grant(t, l, "a", "grant", 100)
	if _, err := l.SetBudget(t.Context(), credits.Budget{Account: "a", ID: "b", Amount: 50}); err != nil {
		t.Fatal(err)
	}
	hold := credits.Hold{Account: "a", ID: "hold", Amount: 10}
	if _, err := l.Hold(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	for _, spoilt := range []string{
		`parts = 'x:1'`, `parts = '1:x'`, `parts = '1'`, `parts = '99999999999999999999:1:0:0:0'`,
		`charges = 'x'`, `charges = '{}'`, `charges = '[1]'`, `terms = 'x'`, `totals = 'x'`,
	} {
		undo := errors.New("undo")
		err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), pgstore.InSchema(d.db, `UPDATE keytoll.ops SET `+spoilt+` WHERE id = 'hold'`)); err != nil {
				return err
			}
			in := newLedger(t, store.In(tx))
			_, capture := in.Capture(t.Context(), credits.Capture{Account: "a", Hold: "hold", Amount: 5})
			_, again := in.Hold(t.Context(), hold)
			_, verify := in.Verify(t.Context(), nil)
			need := []credits.Need{{Account: "a", Targets: []credits.OpID{"hold"}}}
			view := store.In(tx).View(t.Context(), need, func(time.Time, []*credits.State) error { return nil })
			for what, err := range map[string]error{"Capture": capture, "Hold": again, "Verify": verify, "View": view} {
				if kerrors.CodeOf(err) != kerrors.Corrupt {
					t.Errorf("%s: %s: %v, want Corrupt", spoilt, what, err)
				}
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
	}
	audit(t, t.Context(), l)
}
