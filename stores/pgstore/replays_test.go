package pgstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// timedReplays is a store with the clock that it goes by.
type timedReplays struct {
	webhook.ReplayStore
	*clock
}

func TestReplaysKeepTheContract(t *testing.T) {
	d := newSharedDatabase(t, isolated("serializable"))
	whole := t
	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore {
		c := newClock()
		return timedReplays{d.lend(t, whole).Replays(&pgstore.ReplaysOptions{Now: c.now}), c}
	})
}

func TestReplaysKeepTheContractByTheServersClock(t *testing.T) {
	d := newSharedDatabase(t, isolated("read committed"))
	whole := t
	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore { return d.lend(t, whole).Replays(nil) })
}

// isolated makes transactions begin at a level that nobody named.
func isolated(level string) func(*pgxpool.Config) {
	return func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_isolation"] = level }
}

// Keys whose time is over leave the table as others come.
func TestReplaysThatAreOverGoAsNewOnesCome(t *testing.T) {
	d := newDatabase(t, unsynced)
	db, c := d.open(t), newClock()
	store := db.Replays(&pgstore.ReplaysOptions{Now: c.now})
	if err := store.Done(t.Context(), "kept", time.Hour); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		key := fmt.Sprint("k", i)
		if state, err := store.Claim(t.Context(), key, "me", time.Second); err != nil || state != webhook.ClaimGranted {
			t.Fatalf("claim %d: %v, %v", i, state, err)
		}
		if err := store.Done(t.Context(), key, time.Second); err != nil {
			t.Fatal(err)
		}
		c.Advance(100 * time.Millisecond) // ten count at any time
	}
	if n := number(t, d.pool, pgstore.InSchema(db, `SELECT count(*) FROM keytoll.replays`)); n > 15 {
		t.Errorf("%d keys are kept, of which 11 count", n)
	}
	if state, err := store.Claim(t.Context(), "kept", "me", time.Second); err != nil || state != webhook.ClaimDone {
		t.Errorf("the key that is kept longer: %v, %v", state, err)
	}
}

// A claim, and each other step, is one round trip; a message that comes again
// writes nothing.
func TestRoundTripsOfReplays(t *testing.T) {
	line := newLine(t, pgtest.Database(t))
	db := openURL(t, withParameter(line.url, "pool_max_conns", "1"))
	store := db.Replays(nil)
	ctx := t.Context()
	for round := range 2 {
		key := fmt.Sprint("k", round)
		for _, c := range []struct {
			what string
			call func() error
		}{
			{"a claim", func() error { _, err := store.Claim(ctx, key, "me", time.Hour); return err }},
			{"a release", func() error { return store.Release(ctx, key, "me") }},
			{"a claim of done", func() error { return store.Done(ctx, key, time.Hour) }},
			{"a duplicate", func() error {
				state, err := store.Claim(ctx, key, "you", time.Hour)
				if err == nil && state != webhook.ClaimDone {
					err = fmt.Errorf("answered %v", state)
				}
				return err
			}},
		} {
			line.turns.Store(0)
			if err := c.call(); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			if n := line.turns.Load(); round > 0 && n != 1 {
				t.Errorf("%s takes %d round trips, want 1", c.what, n)
			}
		}
	}
}

func BenchmarkReplays(b *testing.B) {
	d := newDatabase(b)
	webhooktest.BenchReplay(b, func(b *testing.B) webhook.ReplayStore { return d.open(b).Replays(nil) })
}
