package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// sabotage makes the next so many writes of entries fail with an SQLSTATE, as the
// server would by itself. Failures are counted by a sequence, which no rollback
// resets.
func sabotage(t *testing.T, pool *pgxpool.Pool, db *pgstore.DB, state string, times int) {
	t.Helper()
	run(t, pool, pgstore.InSchema(db, `DROP TRIGGER IF EXISTS sabotage ON keytoll.entries; DROP SEQUENCE IF EXISTS keytoll.sabotages;
		CREATE SEQUENCE keytoll.sabotages;
		CREATE OR REPLACE FUNCTION keytoll.sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('keytoll.sabotages') <= `+fmt.Sprint(times)+` THEN
				RAISE 'sabotage' USING ERRCODE = '`+state+`';
			END IF;
			RETURN new;
		END $$;
		CREATE TRIGGER sabotage BEFORE INSERT ON keytoll.entries FOR EACH ROW EXECUTE FUNCTION keytoll.sabotage()`))
}

// What the server undoes because of others is tried again, until it goes
// through: the caller hears nothing of it.
func TestUpdatesThatAreUndoneAreTriedAgain(t *testing.T) {
	d := newSharedDatabase(t)
	l := newLedger(t, d.db.Credits(nil))
	grant(t, l, "a", "grant", 10)
	for i, state := range []string{"40001", "40P01"} {
		sabotage(t, d.pool, d.db, state, 4)
		debit(t, l, "a", credits.OpID(state), 1)
		if b, err := l.Balance(t.Context(), "a"); err != nil || b.Consumed != credits.Amount(i+1) {
			t.Errorf("after %s: %+v, %v", state, b, err)
		}
	}
	audit(t, t.Context(), l)
}

// It is not tried for ever, nor for longer than the caller waits.
func TestUpdatesAreTriedAgainWithinBounds(t *testing.T) {
	d := newSharedDatabase(t)
	l := newLedger(t, d.db.Credits(nil))
	grant(t, l, "a", "grant", 10)
	const always = 1 << 30
	sabotage(t, d.pool, d.db, "40001", always)
	_, err := l.Debit(t.Context(), credits.Debit{Account: "a", ID: "one", Amount: 1})
	wantCode(t, err, kerrors.Unavailable)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = l.Debit(ctx, credits.Debit{Account: "a", ID: "two", Amount: 1})
	wantCode(t, err, kerrors.DeadlineExceeded)
	sabotage(t, d.pool, d.db, "40001", 0)
	if b, err := l.Balance(t.Context(), "a"); err != nil || b.Available != 10 {
		t.Errorf("%+v, %v; want nothing spent", b, err)
	}
	audit(t, t.Context(), l)
}

// A server that is full, out of memory or out of locks says so, the caller is
// told Unavailable, and nothing of the update is there; with room again the same
// command goes through, once.
func TestAFullServerWritesAllOrNothing(t *testing.T) {
	d := newSharedDatabase(t)
	l := newLedger(t, d.db.Credits(nil))
	grant(t, l, "a", "grant", 100)
	for i, state := range []string{
		"53100", "53200", "53400", "58030", // disk full, out of memory, over a configured limit, an error of the disk
		"57014", "55P03", // broken off by a limit of time
	} {
		sabotage(t, d.pool, d.db, state, 1)
		hold := credits.Hold{Account: "a", ID: credits.OpID(state), Amount: 1}
		_, err := l.Hold(t.Context(), hold)
		wantCode(t, err, kerrors.Unavailable)
		if b, err := l.Balance(t.Context(), "a"); err != nil || b.Held != credits.Amount(i) {
			t.Errorf("after %s: %+v, %v; want nothing more held", state, b, err)
		}
		if r, err := l.Hold(t.Context(), hold); err != nil || r.Replayed {
			t.Errorf("the hold again: %+v, %v; want it done now", r, err)
		}
	}
	audit(t, t.Context(), l)
}

// Somebody's transaction takes accounts in another order: the server undoes one
// of the two, and the store's own is tried again.
func TestADeadlockWithACallersTransaction(t *testing.T) {
	d := &sharedDatabase{database: newDatabase(t, unsynced, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["deadlock_timeout"] = "10ms"
	})}
	d.db = d.open(t)
	store := d.db.Credits(nil)
	l := newLedger(t, store)
	grant(t, l, "a", "grant", 10)
	grant(t, l, "b", "grant", 10)
	both := []credits.Need{{Account: "a"}, {Account: "b"}}
	touch := func(now time.Time, states []*credits.State) error {
		for _, st := range states {
			st.AccountChange, st.Account.At = credits.Updated, now
			st.Account.Version++
		}
		return nil
	}
	const rounds = 5
	for range rounds {
		other := make(chan error, 1)
		for done := false; !done; {
			err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
				s := store.In(tx)
				if err := s.Update(t.Context(), both[1:], touch); err != nil {
					return err
				}
				go func() { other <- store.Update(t.Context(), both, touch) }() // takes a, and waits for b
				for blocked := false; !blocked; {
					if err := tx.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks WHERE NOT granted`).Scan(&blocked); err != nil {
						return err
					}
				}
				return s.Update(t.Context(), both[:1], touch)
			})
			if err := <-other; err != nil {
				t.Fatalf("the store's own: %v", err)
			}
			done = err == nil
			if e := kerrors.CodeOf(err); err != nil && e != kerrors.Unavailable {
				t.Fatalf("the caller's: %v", err)
			}
		}
	}
	audit(t, t.Context(), l)
}

// Connections that the server ended while they were idle cost no call.
func TestCreditsOverConnectionsThatWereEnded(t *testing.T) {
	d := newDatabase(t, unsynced)
	l := newLedger(t, d.open(t).Credits(nil))
	grant(t, l, "a", "grant", 100)
	for i := range 5 {
		each(3, func(j int) { debit(t, l, "a", credits.OpID(fmt.Sprint(i, " ", j)), 1) }) // so that there are some
		run(t, d.pool, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		if b, err := l.Balance(t.Context(), "a"); err != nil || b.Consumed != credits.Amount(3*(i+1)) {
			t.Errorf("%+v, %v", b, err)
		}
	}
	audit(t, t.Context(), l)
}

// betwixt is a store that does something after each decision, before it is
// written.
type betwixt struct {
	credits.Store
	do func()
}

func (b betwixt) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return b.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		err := fn(now, states)
		b.do()
		return err
	})
}

// A connection that is lost with the commit leaves it unknown what became of it:
// the store says Unavailable and does not try again by itself, and a retry under
// the same id finds out.
func TestACommitWhoseAnswerIsLost(t *testing.T) {
	direct := pgtest.Database(t)
	line := newLine(t, direct)
	db := openURL(t, withParameter(line.url, "pool_max_conns", "1"))
	pool, err := pgxpool.New(t.Context(), direct)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	l := newLedger(t, db.Credits(nil))
	grant(t, l, "a", "grant", 100)
	for _, c := range []struct {
		name    string
		cut     func()
		arrived bool
	}{
		{"it was committed", func() { line.deaf.Store(true) }, true},
		{"it never arrived", func() {
			run(t, pool, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			debit(t, l, "a", credits.OpID("before "+c.name), 1) // so that the connection knows the statements
			before, err := l.Balance(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			calls := 0
			lossy := newLedger(t, betwixt{db.Credits(nil), func() { calls++; c.cut() }})
			d := credits.Debit{Account: "a", ID: credits.OpID(c.name), Amount: 1}
			if _, err = lossy.Debit(t.Context(), d); kerrors.CodeOf(err) != kerrors.Unavailable || calls != 1 {
				t.Errorf("after %d decisions: %v; want Unavailable after one", calls, err)
			}
			for range 2 {
				r, err := l.Debit(t.Context(), d)
				if err != nil || r.Replayed != c.arrived {
					t.Errorf("the retry: %+v, %v; want it replayed: %t", r, err, c.arrived)
				}
				c.arrived = true
			}
			if b, err := l.Balance(t.Context(), "a"); err != nil || b.Consumed != before.Consumed+1 {
				t.Errorf("%+v, %v; want one more spent", b, err)
			}
		})
	}
	audit(t, t.Context(), l)
}

// Without a server every call says Unavailable, and so it does after Close.
func TestCreditsWithoutAServer(t *testing.T) {
	db, err := pgstore.Open("postgres://nobody@127.0.0.1:1/none", nil)
	if err != nil {
		t.Fatal(err)
	}
	store := db.Credits(nil)
	calls := func() map[string]error {
		none := func(time.Time, []*credits.State) error { t.Error("fn was called"); return nil }
		_, entries := store.Entries(t.Context(), credits.EntryQuery{Account: "a", Limit: 1})
		_, accounts := store.Accounts(t.Context(), "", 1)
		return map[string]error{
			"Update": store.Update(t.Context(), []credits.Need{{Account: "a"}}, none), "View": store.View(t.Context(), []credits.Need{{Account: "a"}}, none),
			"Entries": entries, "Accounts": accounts,
			"Inspect": store.Inspect(t.Context(), "a", func(credits.Snapshot) error { t.Error("fn was called"); return nil }),
		}
	}
	for name, err := range calls() {
		if kerrors.CodeOf(err) != kerrors.Unavailable {
			t.Errorf("%s without a server: %v, want Unavailable", name, err)
		}
	}
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, err := range calls() {
		if !errors.Is(err, pgstore.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}
