package sqlitestore_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// A released step made the tables of files that are out there.
func TestReleasedStepsStay(t *testing.T) {
	for name, want := range map[string]string{
		"0001_schema.sql":            "b9a7f9e2a4b292a2d5b9c209ebce0a167caff9fde6600e057f866dfe31beaf2f",
		"0002_owners_and_events.sql": "a1b7f1824d515c009c69fa2bf5152fc0b8540bee0eab853dafd02b790dfbc31b",
		"0003_limits.sql":            "5d0cb9cba71044c3b9e03de0d850032f25779ec6aa0a255715ce81858213efd7",
		"0004_credits.sql":           "c5384e016aecb6d6d378a803e47a9db7ce90030fc9f1f32a6a9e0f7c734e0a83",
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

// firstKey inserts a key of schema version 1.
const firstKey = `INSERT INTO keys (id, handle, digest_version, digest, owner, name, environment, scopes, metadata, settings,
	networks, created_at, expires_at, last_used_at, state, revoked_reason, start, last4, meter, predecessor, successor, version)
	VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)`

// firstFile makes a file of schema version 1 with these keys and a credit
// account, as a program of then would.
func firstFile(t *testing.T, recs ...apikey.Record) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "first.db")
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.MigrateTo(t.Context(), 1), db.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	raw, err := sqlitestore.Driver(path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	null := func(at time.Time) any {
		if at.IsZero() {
			return nil
		}
		return at.UnixMicro()
	}
	for _, rec := range recs {
		k := rec.Key
		_, err := raw.ExecContext(t.Context(), firstKey, k.ID, rec.Handle, int64(rec.Digest.Version), rec.Digest.Sum[:], k.Owner, k.Name,
			k.Environment, k.Scopes.String(), k.Metadata.String(), k.Settings.String(), k.Networks.String(), k.CreatedAt.UnixMicro(),
			null(k.ExpiresAt), null(k.LastUsedAt), k.State.String(), k.RevokedReason, k.Start, k.Last4, k.Meter, k.Predecessor, k.Successor, k.Version)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = raw.ExecContext(t.Context(), `INSERT INTO accounts (id, version, seq, last_lot, at, issued, pending, available, held, consumed, expired)
		VALUES ('acct', 1, 1, 1, 0, 7, 0, 7, 0, 0, 0);
		INSERT INTO lots (account, id, op, priority, category, effective_at, rank, issued, pending, available, held, consumed, expired)
		VALUES ('acct', 1, 'grant', 0, 0, 0, zeroblob(27), 7, 0, 7, 0, 0, 0)`)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileOfTheFirstSchemaKeepsItsKeys(t *testing.T) {
	made := time.UnixMicro(1_700_000_000_123_456).UTC()
	bare := apikey.Record{Handle: "handle-bare", Key: apikey.Key{ID: "bare", CreatedAt: made, State: apikey.StateActive, Version: 1}}
	full := apikey.Record{
		Handle: "handle-full", Digest: apikey.Digest{Version: 1<<32 - 1, Sum: sha256.Sum256([]byte("full"))},
		Key: apikey.Key{
			ID: "full", Owner: "acme, 'Ltd' \"日本\"", Name: "CI\nand more", Environment: "live", CreatedAt: made,
			ExpiresAt: made.Add(time.Hour), LastUsedAt: made.Add(time.Minute), State: apikey.StateRevoked, RevokedReason: "it leaked",
			Start: "gx_live_abcd", Last4: "wxyz", Meter: "bare", Predecessor: "bare", Successor: "next", Version: 1 << 40,
		},
	}
	var err error
	if full.Key.Scopes, err = scopes.Of("image:generate", "usage:*"); err != nil {
		t.Fatal(err)
	}
	if full.Key.Metadata, err = apikey.NewMetadata(map[string]string{"team": "blue 🔑", "empty": ""}); err != nil {
		t.Fatal(err)
	}
	if full.Key.Settings, err = apikey.NewSettings(map[string]int64{"per_minute": -1 << 63}); err != nil {
		t.Fatal(err)
	}
	if full.Key.Networks, err = apikey.ParseNetworks("10.0.0.0/8", "2001:db8::/32"); err != nil {
		t.Fatal(err)
	}
	same := full
	same.Handle, same.Key.ID, same.Key.State = "handle-same", "same", apikey.StateDisabled
	dead := full
	dead.Handle, dead.Key.ID, dead.Key.State, dead.Digest = "handle-dead", "dead", apikey.StateDeleted, apikey.Digest{}
	undead := full
	undead.Handle, undead.Key.ID, undead.Key.State = "handle-undead", "undead", apikey.StateDeleted

	path := firstFile(t, bare, full, same, dead, undead)
	undead.Digest = apikey.Digest{} // nothing proves it now
	db := openAt(t, path, nil)
	keys := db.Keys()
	for _, want := range []apikey.Record{bare, full, same, dead, undead} {
		want.Key.SecretAt, want.Epoch, want.Owner = want.Key.CreatedAt, 1, apikey.Owner{ID: want.Key.Owner, Epoch: 1}
		for what, find := range map[string]func() (apikey.Record, error){
			"handle": func() (apikey.Record, error) { return keys.ByHandle(t.Context(), want.Handle) },
			"ID":     func() (apikey.Record, error) { return keys.ByID(t.Context(), want.Key.ID) },
		} {
			got, err := find()
			if err != nil || !got.Key.Equal(want.Key) || got.Handle != want.Handle || got.Digest != want.Digest || got.Epoch != want.Epoch ||
				got.Owner != want.Owner || got.Imported != (apikey.Imported{}) || got.Label != "" || got.Intent != [32]byte{} ||
				got.Sealed != nil || got.Reminded != (apikey.Reminded{}) {
				t.Errorf("by %s: %+v, %v; want %+v", what, got, err, want)
			}
		}
	}
	list, err := keys.List(t.Context(), apikey.Query{Owner: full.Key.Owner, States: []apikey.State{apikey.StateDisabled, apikey.StateRevoked}, Limit: 10})
	if err != nil || len(list) != 2 {
		t.Errorf("%d keys of the owner, %v; want 2", len(list), err)
	}
	for _, table := range []string{"accounts", "lots"} {
		if n, err := db.Int(t.Context(), "SELECT count(*) FROM "+table); err != nil || n != 1 {
			t.Errorf("%d rows of %s, %v; want 1", n, table, err)
		}
	}
	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if balance, err := ledger.Balance(t.Context(), "acct"); err != nil || balance.Available != 7 {
		t.Errorf("balance %+v, %v; want 7", balance, err)
	}
	sound(t, db)

	limitsWork(t, db)

	// They live on as others do.
	live := full
	live.Key.State, live.Key.Version, live.Key.SecretAt = apikey.StateActive, full.Key.Version+1, made
	live.Label = "CI"
	change := apikey.Change{
		Update: []apikey.Record{live}, Owner: &apikey.Owner{ID: full.Key.Owner, Epoch: 1, Version: 1},
		Events: []apikey.Event{eventOf(full.Key.Owner, "full")},
	}
	if err := keys.Apply(t.Context(), change); err != nil {
		t.Error(err)
	}
	if o, err := keys.Owner(t.Context(), full.Key.Owner); err != nil || o.Events != 1 || o.Version != 1 {
		t.Errorf("owner %+v, %v", o, err)
	}
}

// limitsWork fails the test if the limits of the file do not.
func limitsWork(t *testing.T, db *sqlitestore.DB) {
	t.Helper()
	l := limiter(t, db.Limits(), ratelimit.Limit{Name: "year", Count: 2, Period: 365 * 24 * time.Hour})
	for i := range 3 {
		if r, err := l.Take(t.Context(), "upgraded", 1); err != nil || r.Allowed != (i < 2) {
			t.Errorf("take %d: %t, %v", i, r.Allowed, err)
		}
	}
}

// A file of any older version gets limits, and keeps what it has.
func TestAFileOfEachSchemaGetsLimits(t *testing.T) {
	for version := range 3 {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "old.db")
			db, err := sqlitestore.Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if version > 0 {
				if err := db.MigrateTo(t.Context(), version); err != nil {
					t.Fatal(err)
				}
			}
			l := limiter(t, db.Limits(), ratelimit.Limit{Name: "l", Count: 1, Period: time.Hour})
			if _, err := l.Take(t.Context(), "k", 1); !errors.Is(err, sqlitestore.ErrNotMigrated) {
				t.Errorf("before Migrate: %v, want ErrNotMigrated", err)
			}
			if err := db.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if version == 2 {
				raw(t, path, func(*sqlitestore.DB) {}, `INSERT INTO owners (id) VALUES ('kept')`)
			}
			db = openAt(t, path, nil)
			limitsWork(t, db)
			if n, err := db.Int(t.Context(), `SELECT count(*) FROM owners`); err != nil || (n == 1) != (version == 2) {
				t.Errorf("%d owners, %v", n, err)
			}
			sound(t, db)
		})
	}
}

// sound fails the test if the file contradicts itself.
func sound(t *testing.T, db *sqlitestore.DB) {
	t.Helper()
	broken, err := db.Int(t.Context(), `SELECT (SELECT count(*) FROM pragma_foreign_key_check) +
		(SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok')`)
	if err != nil || broken != 0 {
		t.Errorf("%d faults in the file, %v", broken, err)
	}
}

// A step that fails half-way leaves the file as it was.
func TestAFailedUpgradeChangesNothing(t *testing.T) {
	path := firstFile(t, apikey.Record{Handle: "h", Key: apikey.Key{ID: "one", State: apikey.StateActive, Version: 1}})
	raw(t, path, func(*sqlitestore.DB) {}, `CREATE TABLE events (stranger INTEGER) STRICT`) // in the way, late in the step
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	if err := db.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "events already exists") {
		t.Fatalf("Migrate: %v, want that the table exists", err)
	}
	if _, err := db.Keys().ByID(t.Context(), "one"); !errors.Is(err, sqlitestore.ErrNotMigrated) {
		t.Errorf("ByID: %v, want ErrNotMigrated", err)
	}
	other, err := sqlitestore.Driver(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var n, version int
	if err := other.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM keys), version FROM schema_version`).Scan(&n, &version); err != nil || n != 1 || version != 1 {
		t.Errorf("%d keys at version %d, %v; want 1 and 1", n, version, err)
	}
	if _, err := other.ExecContext(t.Context(), `DROP TABLE events`); err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Keys().ByID(t.Context(), "one"); err != nil {
		t.Error(err)
	}
}
