package proof_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// A clock is moved by the test, and read by all stores.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.micros.Store(time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMicro(c.micros.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

// kinds are the stores, each with how to open an empty one.
var kinds = []struct {
	name string
	open func(t testing.TB, c *clock) credits.Store
}{
	{"memory", inMemory}, {"SQLite", inSQLite}, {"PostgreSQL", inPostgres},
}

func inMemory(_ testing.TB, c *clock) credits.Store {
	return credits.NewMemoryStore(&credits.MemoryOptions{Now: c.now})
}

func inSQLite(t testing.TB, c *clock) credits.Store {
	t.Helper()
	// Nothing is unplugged here: not every commit has to reach the disk.
	db, err := sqlitestore.Open(filepath.Join(t.TempDir(), "credits.db"), &sqlitestore.Options{Now: c.now, Synchronous: sqlitestore.Normal})
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
	return db.Credits()
}

func inPostgres(t testing.TB, c *clock) credits.Store {
	t.Helper()
	config, err := pgxpool.ParseConfig(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db, err := pgstore.New(pool, nil)
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
	return db.Credits(&pgstore.CreditsOptions{Now: c.now})
}

func newLedger(t testing.TB, s credits.Store) *credits.Ledger {
	t.Helper()
	l, err := credits.NewLedger(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newNearsighted returns a ledger whose denials do not look ahead: that look is
// taken after the decision, and others may have come between.
func newNearsighted(t testing.TB, s credits.Store) *credits.Ledger {
	t.Helper()
	l, err := credits.NewLedger(s, &credits.Options{LookAhead: credits.NoLookAhead})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// size returns how long a run is: what the environment says, or so much.
func size(t testing.TB, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q; give a number of 1 or more", name, text)
	}
	return n
}

// usualSeed is that of the runs that CI makes.
const usualSeed = 20261121

// seedOf returns the seed of a run: KEYTOLL_LEDGER_SEED, or the usual one.
func seedOf(t testing.TB) uint64 {
	t.Helper()
	return uint64(size(t, "KEYTOLL_LEDGER_SEED", usualSeed))
}

// accounts returns so many ids.
func accounts(n int) []credits.AccountID {
	list := make([]credits.AccountID, n)
	for i := range list {
		list[i] = credits.AccountID(fmt.Sprintf("account %d", i))
	}
	return list
}
