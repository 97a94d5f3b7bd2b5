package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	neturl "net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// withParameter adds a parameter to a URL.
func withParameter(url, name, value string) string {
	join := "?"
	if strings.Contains(url, "?") {
		join = "&"
	}
	return url + join + name + "=" + neturl.QueryEscape(value)
}

// openURL returns a migrated DB with a pool of its own.
func openURL(t testing.TB, url string) *pgstore.DB {
	t.Helper()
	db, err := pgstore.Open(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// debit spends one credit and fails the test for any other error than an empty
// account's.
func debit(t testing.TB, l *credits.Ledger, account credits.AccountID, id credits.OpID, amount credits.Amount) bool {
	t.Helper()
	_, err := l.Debit(t.Context(), credits.Debit{Account: account, ID: id, Amount: amount})
	if err != nil && !errors.Is(err, credits.ErrInsufficient) {
		t.Error(err)
	}
	return err == nil
}

// What every call costs on the network, once its connection knows the
// statements: a proxy counts how often it is the client's turn.
func TestRoundTripsOfCredits(t *testing.T) {
	for _, mode := range []string{"cache_statement", "exec"} {
		t.Run(mode, func(t *testing.T) {
			line := newLine(t, pgtest.Database(t))
			db := openURL(t, withParameter(withParameter(line.url, "pool_max_conns", "1"), "default_query_exec_mode", mode))
			l := newLedger(t, db.Credits(nil))
			ctx := t.Context()
			grant(t, l, "a", "grant", 1000)
			id := func(verb string, round int) credits.OpID { return credits.OpID(fmt.Sprint(verb, round)) }
			for round := range 2 {
				for _, c := range []struct {
					what  string
					turns int64
					call  func() error
				}{
					{"a hold", 2, func() error {
						_, err := l.Hold(ctx, credits.Hold{Account: "a", ID: id("hold", round), Amount: 10, Key: "red/app", Operation: "image"})
						return err
					}},
					{"a capture", 2, func() error {
						_, err := l.Capture(ctx, credits.Capture{Account: "a", Hold: id("hold", round), Amount: 7})
						return err
					}},
					{"a debit", 2, func() error {
						_, err := l.Debit(ctx, credits.Debit{Account: "a", ID: id("debit", round), Amount: 10})
						return err
					}},
					{"a retry", 2, func() error {
						_, err := l.Debit(ctx, credits.Debit{Account: "a", ID: id("debit", round), Amount: 10})
						return err
					}},
					{"a refund", 2, func() error {
						_, err := l.Refund(ctx, credits.Refund{Account: "a", ID: id("refund", round), Of: id("debit", round), All: true})
						return err
					}},
					{"a grant", 2, func() error {
						_, err := l.Grant(ctx, credits.Grant{Account: "a", ID: id("grant", round), Amount: 10})
						return err
					}},
					{"a balance", 1, func() error { _, err := l.Balance(ctx, "a"); return err }},
				} {
					line.turns.Store(0)
					if err := c.call(); err != nil {
						t.Fatalf("%s: %v", c.what, err)
					}
					if n := line.turns.Load(); round > 0 && n != c.turns {
						t.Errorf("%s takes %d round trips, want %d", c.what, n, c.turns)
					}
				}
			}
		})
	}
}

// One statement that locks the account and reads the lots lets callers spend what
// others have spent already: it waits for the lock, and then reads the lots as
// they were before. With 16 clients on many small lots, exactly what there is
// can be spent, whatever level of isolation is the default.
func TestWaitingCallersSpendNoLotTwice(t *testing.T) {
	const clients, lots, lot, price = 16, 75, 4, 3
	for _, level := range []string{"read committed", "serializable"} {
		t.Run(level, func(t *testing.T) {
			d := newDatabase(t, unsynced, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_isolation"] = level })
			l := newLedger(t, d.open(t).Credits(nil))
			for i := range lots {
				grant(t, l, "a", credits.OpID(fmt.Sprint("grant ", i)), lot)
			}
			var paid atomic.Int64
			each(clients, func(client int) {
				for i := 0; debit(t, l, "a", credits.OpID(fmt.Sprint(client, " ", i)), price); i++ {
					paid.Add(1)
				}
			})
			if paid.Load() != lots*lot/price {
				t.Errorf("%d debits of %d were paid from %d credits, want %d", paid.Load(), price, lots*lot, lots*lot/price)
			}
			b, err := l.Balance(t.Context(), "a")
			if err != nil || b.Available != 0 || b.Consumed != lots*lot {
				t.Errorf("the balance is %+v, %v", b, err)
			}
			audit(t, t.Context(), l)
		})
	}
}

// Thousands of commands of one account, and one command on hundreds of accounts,
// are as few statements as one of one.
func TestManyRowsAreFewStatements(t *testing.T) {
	const rows, accounts = 1000, 500
	line := newLine(t, pgtest.Database(t))
	db := openURL(t, withParameter(withParameter(line.url, "pool_max_conns", "1"), "synchronous_commit", "off"))
	store := db.Credits(nil)
	l := newLedger(t, store)
	grant(t, l, "a", "grant", credits.MaxAmount)
	debit(t, l, "a", "warm", 1)

	need := credits.Need{Account: "a"}
	for i := range rows {
		need.Ops = append(need.Ops, credits.OpID(fmt.Sprint("op ", i)))
	}
	line.turns.Store(0)
	err := store.Update(t.Context(), []credits.Need{need}, func(now time.Time, states []*credits.State) error {
		st := states[0]
		st.AccountChange, st.Account.At = credits.Updated, now
		st.Account.Version++
		for _, id := range need.Ops {
			st.Account.Seq++
			st.Ops = append(st.Ops, credits.OpRow{Change: credits.Added, Op: credits.Op{
				Account: "a", ID: id, Kind: credits.KindDebit, At: now, Seq: st.Account.Seq,
			}})
			st.Entries = append(st.Entries, credits.Entry{
				Account: "a", Seq: st.Account.Seq, At: now, Kind: credits.KindDebit, Op: id, Lot: 1, Amount: 1,
				From: credits.BucketAvailable, To: credits.BucketConsumed,
			})
		}
		return nil
	})
	if err != nil || line.turns.Load() != 2 {
		t.Errorf("%d commands took %d round trips, want 2: %v", rows, line.turns.Load(), err)
	}
	entries, err := store.Entries(t.Context(), credits.EntryQuery{Account: "a", After: 2, Limit: 2 * rows})
	if err != nil || len(entries) != rows {
		t.Errorf("%d entries, %v; want %d", len(entries), err, rows)
	}

	needs := make([]credits.Need, accounts)
	for i := range needs {
		needs[i] = credits.Need{Account: credits.AccountID(fmt.Sprintf("account %03d", i)), Ops: []credits.OpID{"grant"}}
	}
	for round := range int64(2) {
		line.turns.Store(0)
		err := store.Update(t.Context(), needs, func(now time.Time, states []*credits.State) error {
			for _, st := range states {
				st.AccountChange, st.Account.At = []credits.Change{credits.Added, credits.Updated}[round], now
				if st.Account.Version++; st.Account.Version != round+1 {
					return fmt.Errorf("%q has version %d in round %d", st.Account.ID, st.Account.Version, round)
				}
			}
			return nil
		})
		if err != nil || line.turns.Load() != 2 {
			t.Errorf("round %d of %d accounts took %d round trips, want 2: %v", round, accounts, line.turns.Load(), err)
		}
	}
	ids, err := store.Accounts(t.Context(), "account", 2*accounts)
	if err != nil || len(ids) != accounts {
		t.Errorf("%d accounts, %v; want %d", len(ids), err, accounts)
	}
}

// Whatever a pool is set to, values pass as they are.
func TestCreditsInEveryModeOfThePool(t *testing.T) {
	url := withParameter(pgtest.Database(t), "synchronous_commit", "off")
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		db := openURL(t, withParameter(url, "default_query_exec_mode", mode))
		l := newLedger(t, db.Credits(nil))
		account := credits.AccountID(mode + " \u4f60'\\ ")
		grant(t, l, account, "grant", credits.MaxAmount)
		note := "'; DROP TABLE lots; -- \U0001f4b3"
		for range 2 {
			if _, err := l.Hold(t.Context(), credits.Hold{Account: account, ID: "hold", Amount: 10, Note: note}); err != nil {
				t.Errorf("%s: %v", mode, err)
			}
		}
		if _, err := l.Capture(t.Context(), credits.Capture{Account: account, Hold: "hold", All: true}); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if b, err := l.Balance(t.Context(), account); err != nil || b.Consumed != 10 || b.Available != credits.MaxAmount-10 {
			t.Errorf("%s: %+v, %v", mode, b, err)
		}
		audit(t, t.Context(), l)
	}
}

// Statements that somebody forgot on the server's side are prepared again, and
// those of tables that were made anew too.
func TestCreditsOutliveTheirPreparedStatements(t *testing.T) {
	d := newDatabase(t, unsynced, func(c *pgxpool.Config) { c.MaxConns = 1 })
	db := d.open(t)
	l := newLedger(t, db.Credits(nil))
	grant(t, l, "a", "grant", 10)
	debit(t, l, "a", "one", 1)
	run(t, d.pool, "DEALLOCATE ALL")
	debit(t, l, "a", "two", 1)
	if b, err := l.Balance(t.Context(), "a"); err != nil || b.Consumed != 2 {
		t.Errorf("%+v, %v", b, err)
	}
	run(t, d.pool, pgstore.InSchema(db, `DROP SCHEMA "`+db.Schema()+`" CASCADE`))
	_, err := l.Debit(t.Context(), credits.Debit{Account: "a", ID: "three", Amount: 1})
	if !errors.Is(err, pgstore.ErrNotMigrated) {
		t.Errorf("without tables: %v, want ErrNotMigrated", err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	grant(t, l, "a", "grant", 10)
	debit(t, l, "a", "three", 1)
	if b, err := l.Balance(t.Context(), "a"); err != nil || b.Consumed != 1 {
		t.Errorf("with new tables: %+v, %v", b, err)
	}
}

// The server's clock is read once the account is locked: who waited is not
// decided before whom it waited for.
func TestTheServersClockIsReadUnderTheLock(t *testing.T) {
	d := newSharedDatabase(t)
	store := d.db.Credits(nil)
	var first time.Time
	note := func(at *time.Time) func(time.Time, []*credits.State) error {
		return func(now time.Time, states []*credits.State) error {
			*at = now
			st := states[0]
			st.AccountChange = credits.Updated
			if st.Account.Version == 0 {
				st.AccountChange = credits.Added
			}
			st.Account.Version++
			st.Account.At = now
			return nil
		}
	}
	need := []credits.Need{{Account: "a"}}
	if err := store.Update(t.Context(), need, note(&first)); err != nil {
		t.Fatal(err)
	}
	var second, waited time.Time
	done := make(chan error, 1)
	err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		if err := store.In(tx).Update(t.Context(), need, note(&first)); err != nil {
			return err
		}
		go func() { done <- store.Update(t.Context(), need, note(&waited)) }()
		for blocked := false; !blocked; { // until the other stands in line
			if err := tx.QueryRow(t.Context(), `SELECT count(*) > 0, clock_timestamp() FROM pg_locks WHERE NOT granted`).Scan(&blocked, &second); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if !waited.After(second) || !second.After(first) {
		t.Errorf("the one who waited was decided at %v; the lock was free after %v", waited, second)
	}
}

// A context that ends while an update waits for the account is told so, and
// nothing of the update is written.
func TestAnUpdateThatGivesUpWritesNothing(t *testing.T) {
	d := newSharedDatabase(t)
	store := d.db.Credits(nil)
	l := newLedger(t, store)
	grant(t, l, "a", "grant", 10)
	err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		if _, err := newLedger(t, store.In(tx)).Debit(t.Context(), credits.Debit{Account: "a", ID: "inside", Amount: 1}); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := l.Debit(ctx, credits.Debit{Account: "a", ID: "impatient", Amount: 1})
		if !errors.Is(err, context.DeadlineExceeded) || kerrors.CodeOf(err) != kerrors.DeadlineExceeded {
			t.Errorf("%v, want the end of the time", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := l.Balance(t.Context(), "a"); err != nil || b.Consumed != 1 {
		t.Errorf("%+v, %v", b, err)
	}
}

// Accounts are locked in the order given, and one that others changed meanwhile
// is locked as it is then.
func TestAccountsAreLockedInOrder(t *testing.T) {
	d := newSharedDatabase(t)
	l := newLedger(t, d.db.Credits(nil))
	for _, account := range []credits.AccountID{"a", "b", "c"} {
		grant(t, l, account, "grant", 1)
	}
	in := func(text string) string { return pgstore.InSchema(d.db, text) }
	for _, order := range [][]string{{"a", "b", "c"}, {"c", "b", "a"}} {
		locked := make(chan error, 1)
		err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), in(`UPDATE keytoll.accounts SET at = at + 1 WHERE id = 'b'`)); err != nil {
				return err
			}
			go func() {
				n := 0
				err := d.pool.QueryRow(t.Context(), in(`SELECT keytoll.credits_lock($1)`), order).Scan(&n)
				if err == nil && n != len(order) {
					err = fmt.Errorf("%d of %d accounts are locked", n, len(order))
				}
				locked <- err
			}()
			for blocked := false; !blocked; { // until the other stands in line
				if err := tx.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks WHERE NOT granted`).Scan(&blocked); err != nil {
					return err
				}
			}
			var free []string
			err := tx.QueryRow(t.Context(), in(`SELECT array_agg(id) FROM (SELECT id FROM keytoll.accounts WHERE id <> 'b' FOR NO KEY UPDATE SKIP LOCKED) a`)).Scan(&free)
			if err == nil && !slices.Equal(free, order[2:]) {
				err = fmt.Errorf("of %v, while b is waited for, %v are free", order, free)
			}
			return err
		})
		if err := errors.Join(err, <-locked); err != nil {
			t.Error(err)
		}
	}
}
