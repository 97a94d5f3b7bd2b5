package sqlitestore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// journey has a ledger do everything that one of schema version 3 could, to an
// account.
func journey(t *testing.T, l *credits.Ledger, account credits.AccountID, start time.Time, tick func(time.Duration)) {
	t.Helper()
	ctx := t.Context()
	check := func(_ credits.Receipt, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(l.Grant(ctx, credits.Grant{Account: account, ID: "plan", Amount: 100, Category: credits.Plan, ExpiresAt: start.Add(time.Hour), Note: "it's 🔑"}))
	check(l.Grant(ctx, credits.Grant{Account: account, ID: "paid", Amount: 1000, Priority: -7}))
	check(l.Grant(ctx, credits.Grant{Account: account, ID: "later", Amount: 10, EffectiveAt: start.Add(time.Minute), ExpiresAt: start.Add(2 * time.Hour)}))
	check(l.Debit(ctx, credits.Debit{Account: account, ID: "debit", Amount: 1005, Key: "k", Operation: "image", Note: "n"}))
	tick(time.Second)
	check(l.Refund(ctx, credits.Refund{Account: account, ID: "refund", Of: "debit", Amount: 50}))
	check(l.Hold(ctx, credits.Hold{Account: account, ID: "019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b", Amount: 30, TTL: time.Minute}))
	check(l.Capture(ctx, credits.Capture{Account: account, Hold: "019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b", Amount: 5, Keep: true, ID: "some"}))
	check(l.Capture(ctx, credits.Capture{Account: account, Hold: "019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b", Amount: 20}))
	check(l.Hold(ctx, credits.Hold{Account: account, ID: "nothing", TTL: time.Minute}))
	check(l.Release(ctx, credits.Release{Account: account, Hold: "nothing"}))
	tick(time.Microsecond) // of a hold of nothing the journal says no more than when it ended
	check(l.Hold(ctx, credits.Hold{Account: account, ID: "forgotten", Amount: 7, TTL: time.Minute}))
	check(l.Debit(ctx, credits.Debit{Account: account, ID: "019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5c", Amount: 3}))
	tick(2 * time.Minute)
	check(l.Hold(ctx, credits.Hold{Account: account, ID: "open", Amount: 4, TTL: credits.NoTimeout}))
	check(l.Hold(ctx, credits.Hold{Account: account, ID: "019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5d", Amount: 4, TTL: time.Hour}))
	tick(2 * time.Hour)
	check(l.Refund(ctx, credits.Refund{Account: account, ID: "late", Of: "debit", All: true}))
}

// writeThird writes the rows of an account as a program of schema version 3 did.
func writeThird(t *testing.T, raw *sql.DB, c contents) {
	t.Helper()
	null := func(at time.Time) any {
		if at.IsZero() {
			return nil
		}
		return at.UnixMicro()
	}
	exec := func(text string, args ...any) {
		t.Helper()
		if _, err := raw.ExecContext(t.Context(), text, args...); err != nil {
			t.Fatal(err)
		}
	}
	six := func(u credits.Totals) []any {
		return []any{int64(u.Issued), int64(u.Pending), int64(u.Available), int64(u.Held), int64(u.Consumed), int64(u.Expired)}
	}
	a := c.Account
	exec(`INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append([]any{string(a.ID), a.Version, a.Seq, int64(a.LastLot), a.At.UnixMicro()}, six(a.Totals)...)...)
	for _, l := range c.Lots {
		rank := l.Rank()
		exec(`INSERT INTO lots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			append([]any{
				string(a.ID), int64(l.ID), string(l.Op), l.Priority, int64(l.Category), l.EffectiveAt.UnixMicro(), null(l.ExpiresAt),
				append(rank[:2:2], rank[3:]...), null(l.Due()),
			}, six(l.Totals)...)...)
	}
	for _, o := range c.Ops {
		parts, err := o.Parts.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		args := append([]any{
			string(a.ID), string(o.ID), int64(o.Kind), o.Intent[:], o.At.UnixMicro(), int64(o.Amount), string(o.Target), string(parts), o.Seq,
		}, six(o.Totals)...)
		args = append(args, o.Key, o.Operation, o.Note, int64(o.Hold), null(o.Deadline), null(o.Due()), null(o.SettledAt), int64(o.SettledAmount), int64(o.SettledRest))
		exec(`INSERT INTO ops VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			append(args, six(o.SettledTotals)...)...)
	}
	for _, e := range c.Entries {
		exec(`INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, string(a.ID), e.Seq, e.At.UnixMicro(), int64(e.Kind), string(e.Op),
			int64(e.Lot), int64(e.From), int64(e.To), int64(e.Amount), e.Key, e.Operation)
	}
}

// contents are all rows of an account.
type contents struct {
	Account   credits.Account
	Lots      []credits.Lot
	Ops       map[credits.OpID]credits.Op
	Budgets   []credits.Budget
	Schedules []credits.Schedule
	Entries   []credits.Entry
}

// inspect returns all rows of an account.
func inspect(t *testing.T, s credits.Store, account credits.AccountID) contents {
	t.Helper()
	c := contents{Ops: make(map[credits.OpID]credits.Op)}
	err := s.Inspect(t.Context(), account, func(snap credits.Snapshot) error {
		var errs []error
		c.Account = snap.Account
		for row, err := range snap.Lots {
			c.Lots, errs = append(c.Lots, row), append(errs, err)
		}
		for row, err := range snap.Ops {
			c.Ops[row.ID], errs = row, append(errs, err)
		}
		for row, err := range snap.Budgets {
			c.Budgets, errs = append(c.Budgets, row), append(errs, err)
		}
		for row, err := range snap.Schedules {
			c.Schedules, errs = append(c.Schedules, row), append(errs, err)
		}
		for row, err := range snap.Entries {
			c.Entries, errs = append(c.Entries, row), append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// alike fails the test if the rows of an account differ, and says which.
func alike(t *testing.T, what string, got, want contents) {
	t.Helper()
	if got.Account != want.Account {
		t.Errorf("%s: account\n%+v; want\n%+v", what, got.Account, want.Account)
	}
	for name, pair := range map[string][2]any{
		"lots": {got.Lots, want.Lots}, "ops": {got.Ops, want.Ops}, "budgets": {got.Budgets, want.Budgets},
		"schedules": {got.Schedules, want.Schedules}, "entries": {got.Entries, want.Entries},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: %s\n%+v; want\n%+v", what, name, pair[0], pair[1])
		}
	}
}

// A file of schema version 3 keeps every row, and each gets what it would have,
// had it been written now: hashes, the ends of holds, places in the burn order.
func TestAFileOfTheThirdSchemaKeepsItsCredits(t *testing.T) {
	start := time.Unix(1e9, 0)
	now := start
	clock := func() time.Time { return now }
	memory := credits.NewMemoryStore(&credits.MemoryOptions{Now: clock})
	then, err := credits.NewLedger(memory, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []credits.AccountID{"acme, 'Ltd' \"日本\"", "b"} {
		now = start // for each account time is its own
		journey(t, then, id, start, func(d time.Duration) { now = now.Add(d) })
	}
	path := filepath.Join(t.TempDir(), "third.db")
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.MigrateTo(t.Context(), 3), db.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	raw, err := sqlitestore.Driver(path)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := memory.Accounts(t.Context(), "", 10)
	if err != nil || len(ids) != 2 {
		t.Fatal(ids, err)
	}
	for _, id := range ids {
		writeThird(t, raw, inspect(t, memory, id))
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}

	db = openAt(t, path, &sqlitestore.Options{Now: clock})
	sound(t, db)
	limitsWork(t, db)
	same := func(when string) {
		t.Helper()
		for _, id := range ids {
			alike(t, when+": "+string(id), inspect(t, db.Credits(), id), inspect(t, memory, id))
			for _, need := range []credits.Need{
				{Account: id, Until: now.Add(24 * time.Hour)},
				{Account: id, Prunable: now.Add(1e6 * time.Hour)},
				{Account: id, Spends: []credits.Spend{{Amount: 30}}},
				{Account: id, List: credits.List{Rows: credits.OpenRows, Limit: 10}},
			} {
				if got, want := loaded(t, db.Credits(), need), loaded(t, memory, need); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: for %+v the file loads %v; want %v", when, need, got, want)
				}
			}
		}
	}
	same("brought up to date")
	if t.Failed() {
		return
	}
	upgraded := newLedger(t, db)
	if audited, err := upgraded.Verify(t.Context(), nil); err != nil || audited.Accounts != 2 {
		t.Errorf("audited %+v, %v", audited, err)
	}
	// It goes on as it would have.
	for _, l := range []*credits.Ledger{then, upgraded} {
		for _, id := range ids {
			if r, err := l.Debit(t.Context(), credits.Debit{Account: id, ID: "debit", Amount: 1005, Key: "k", Operation: "image", Note: "n"}); err != nil || !r.Replayed {
				t.Errorf("a retry: %+v, %v", r, err)
			}
			if _, err := l.Debit(t.Context(), credits.Debit{Account: id, ID: "another", Amount: 1}); err != nil {
				t.Error(err)
			}
			if _, err := l.Release(t.Context(), credits.Release{Account: id, Hold: "open"}); err != nil {
				t.Error(err)
			}
		}
	}
	same("and used")
}

// loaded names what a need loads, in no order.
func loaded(t *testing.T, s credits.Store, need credits.Need) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := s.View(t.Context(), []credits.Need{need}, func(_ time.Time, states []*credits.State) error {
		st := states[0]
		add := func(kind string, id any) {
			name := fmt.Sprint(kind, " ", id)
			if names[name] {
				t.Errorf("%+v loads %s twice", need, name)
			}
			names[name] = true
		}
		for i := range st.Lots {
			add("lot", st.Lots[i].Lot.ID)
		}
		for i := range st.Ops {
			add("op", st.Ops[i].Op.ID)
		}
		for i := range st.Budgets {
			add("budget", st.Budgets[i].Budget.ID)
		}
		for i := range st.Schedules {
			add("schedule", st.Schedules[i].Schedule.ID)
		}
		if st.More {
			add("more", "")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// More entries than are in memory at a time, of accounts that begin anywhere in
// a page, make one chain each.
func TestALongJournalIsChainedWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "third.db")
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.MigrateTo(t.Context(), 3), db.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	raw, err := sqlitestore.Driver(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	want := make(map[string]int)
	for i := range 9 {
		id, n := fmt.Sprint("a", i), 1+rng.IntN(900)
		want[id] = n
		_, err := raw.ExecContext(t.Context(), `
			INSERT INTO accounts VALUES (?1, 1, ?2, 1, 0, ?2, 0, ?2, 0, 0, 0);
			INSERT INTO lots VALUES (?1, 1, 'g', 0, 0, 0, NULL, zeroblob(27), NULL, ?2, 0, ?2, 0, 0, 0);
			WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT ?2)
				INSERT INTO entries SELECT ?1, n, 0, 1, 'g', 1, 1, 3, 1, '', '' FROM r`, id, n)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	db = openAt(t, path, nil)
	for id, n := range want {
		c := inspect(t, db.Credits(), credits.AccountID(id))
		if len(c.Entries) != n {
			t.Errorf("%d entries of %s; want %d", len(c.Entries), id, n)
		}
		var head credits.Hash
		for i := range c.Entries {
			if head = c.Entries[i].Chain(head); c.Entries[i].Hash != head {
				t.Fatalf("the chain of %s breaks at entry %d", id, i+1)
			}
		}
		if c.Account.Head != head {
			t.Errorf("the head of %s is %v; want %v", id, c.Account.Head, head)
		}
	}
}
