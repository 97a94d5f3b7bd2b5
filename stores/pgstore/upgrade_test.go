package pgstore_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/webhook"
)

// A released step made the tables of databases that are out there.
func TestReleasedStepsStay(t *testing.T) {
	for name, want := range map[string]string{
		"0001_keys.sql": "ba8b9d475d022e3867ed37875436f86610ca391374c18d3f76efa054a5d6b785",
	} {
		text, err := os.ReadFile(filepath.Join("sql", name))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s was changed; add a step instead", name)
		}
	}
}

// A schema of the first version gets limits, and keeps its keys and its events.
func TestASchemaOfTheFirstVersionGetsLimits(t *testing.T) {
	d := newDatabase(t)
	old := d.raw(t, "old")
	if err := pgstore.MigrateTo(t.Context(), old, 1); err != nil {
		t.Fatal(err)
	}
	rec := keyRecord(1)
	run(t, d.pool, `INSERT INTO old.owners (id, events, head) VALUES ('owner', 1, sha256('x'))`)
	run(t, d.pool, `INSERT INTO old.keys SELECT $1, $2, 1, sha256('x'), '', '', NULL, 1, NULL, NULL, 0, 0, 'owner', '', '', '', '{}', '{}', '',
		$3, $3, NULL, NULL, 'active', '', '', '', '', '', '', 1`, rec.Key.ID, rec.Handle, begin)
	l := limiter(t, old.Limits(nil), ratelimit.Limit{Name: "year", Count: 2, Period: 365 * 24 * time.Hour})
	if _, err := l.Take(t.Context(), "k", 1); !errors.Is(err, pgstore.ErrNotMigrated) {
		t.Errorf("a take before Migrate: %v, want ErrNotMigrated", err)
	}
	each(4, func(int) {
		if err := d.raw(t, "old").Migrate(t.Context()); err != nil {
			t.Error(err)
		}
	})
	got, err := old.Keys().ByID(t.Context(), rec.Key.ID)
	if err != nil || !got.Key.Equal(rec.Key) || got.Owner.Events != 1 {
		t.Errorf("the key is %+v of %+v, %v; want %+v", got.Key, got.Owner, err, rec.Key)
	}
	for i := range 3 {
		if r, err := l.Take(t.Context(), "k", 1); err != nil || r.Allowed != (i < 2) {
			t.Errorf("take %d: %t, %v", i, r.Allowed, err)
		}
	}
	if err := old.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord(2)}}); err != nil {
		t.Error(err)
	}
}

// A schema of the second version gets credits, and keeps its limits.
func TestASchemaOfTheSecondVersionGetsCredits(t *testing.T) {
	d := newDatabase(t)
	old := d.raw(t, "old")
	if err := pgstore.MigrateTo(t.Context(), old, 2); err != nil {
		t.Fatal(err)
	}
	const taken = `SELECT * FROM keytoll.limits_apply('take', NULL, false, '{1}', substring(sha256('x') FOR 16), ARRAY['k'::bytea], ARRAY['year'],
		ARRAY['fixed_window'], ARRAY[2, 2, $1::bigint, 1, 0, 0, 0, 0, 0], '{}', 0, 0)`
	period := 365 * 24 * time.Hour
	run(t, d.pool, pgstore.InSchema(old, taken), period.Microseconds())
	ledger := newLedger(t, old.Credits(nil))
	if _, err := ledger.Balance(t.Context(), "a"); !errors.Is(err, pgstore.ErrNotMigrated) {
		t.Errorf("a balance before Migrate: %v, want ErrNotMigrated", err)
	}
	each(4, func(int) {
		if err := d.raw(t, "old").Migrate(t.Context()); err != nil {
			t.Error(err)
		}
	})
	l := limiter(t, old.Limits(nil), ratelimit.Limit{Name: "year", Algorithm: ratelimit.FixedWindow, Count: 2, Period: period})
	for i := range 2 {
		if r, err := l.Take(t.Context(), "k", 1); err != nil || r.Allowed != (i < 1) {
			t.Errorf("take %d: %t, %v", i, r.Allowed, err)
		}
	}
	grant(t, ledger, "a", "grant", 10)
	debit(t, ledger, "a", "debit", 4)
	if b, err := ledger.Balance(t.Context(), "a"); err != nil || b.Available != 6 {
		t.Errorf("the balance is %+v, %v", b, err)
	}
	audit(t, t.Context(), ledger)
}

// A schema of the third version gets webhooks, and keeps its credits.
func TestASchemaOfTheThirdVersionGetsWebhooks(t *testing.T) {
	d := newDatabase(t)
	old := d.raw(t, "old")
	if err := pgstore.MigrateTo(t.Context(), old, 3); err != nil {
		t.Fatal(err)
	}
	run(t, d.pool, `INSERT INTO old.accounts SELECT 'a', 1, 0, sha256(''), 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL`)
	s := old.Webhooks(nil)
	if _, err := s.Publish(t.Context(), letter("a", "m")); !errors.Is(err, pgstore.ErrNotMigrated) {
		t.Errorf("a publication before Migrate: %v, want ErrNotMigrated", err)
	}
	if _, err := old.Replays(nil).Claim(t.Context(), "k", "me", time.Hour); !errors.Is(err, pgstore.ErrNotMigrated) {
		t.Errorf("a claim before Migrate: %v, want ErrNotMigrated", err)
	}
	each(4, func(int) {
		if err := d.raw(t, "old").Migrate(t.Context()); err != nil {
			t.Error(err)
		}
	})
	endpointsOf(t, s, "a", 1)
	publish(t, s, "a", "m")
	if got := takeDue(t, s, 10); len(got.Deliveries) != 1 {
		t.Errorf("%d deliveries, want 1", len(got.Deliveries))
	}
	ledger := newLedger(t, old.Credits(nil))
	grant(t, ledger, "a", "grant", 10)
	if b, err := ledger.Balance(t.Context(), "a"); err != nil || b.Available != 10 {
		t.Errorf("the balance is %+v, %v", b, err)
	}
}

// A schema of the fourth version gets idempotency, and keeps what it received.
func TestASchemaOfTheFourthVersionGetsIdempotency(t *testing.T) {
	d := newDatabase(t)
	old := d.raw(t, "old")
	if err := pgstore.MigrateTo(t.Context(), old, 4); err != nil {
		t.Fatal(err)
	}
	run(t, d.pool, `INSERT INTO old.replays VALUES ('k', '', 1::bigint << 60)`)
	if _, err := old.Idempotency(nil).Claim(t.Context(), requestOf("k", "a")); !errors.Is(err, pgstore.ErrNotMigrated) {
		t.Errorf("a claim before Migrate: %v, want ErrNotMigrated", err)
	}
	each(4, func(int) {
		if err := d.raw(t, "old").Migrate(t.Context()); err != nil {
			t.Error(err)
		}
	})
	asks(t, old.Idempotency(nil), requestOf("k", "a"), idempotency.Claimed)
	asks(t, old.Idempotency(nil), requestOf("k", "b"), idempotency.Running)
	if state, err := old.Replays(nil).Claim(t.Context(), "k", "me", time.Hour); err != nil || state != webhook.ClaimDone {
		t.Errorf("the message that was received is %v, %v", state, err)
	}
}
