package sqlitestore_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// timedReplays is a store with the clock that it goes by.
type timedReplays struct {
	webhook.ReplayStore
	*clock
}

func TestReplaysKeepTheContract(t *testing.T) {
	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore {
		c := newClock()
		return timedReplays{open(t, &sqlitestore.Options{Now: c.now}).Replays(), c}
	})
}

func BenchmarkReplays(b *testing.B) {
	webhooktest.BenchReplay(b, func(b *testing.B) webhook.ReplayStore { return open(b, nil).Replays() })
}

func claimReplay(t testing.TB, r webhook.ReplayStore, key, owner string, want webhook.ClaimState) {
	t.Helper()
	if got, err := r.Claim(t.Context(), key, owner, time.Minute); err != nil || got != want {
		t.Errorf("Claim(%.20q, %q) = %v, %v; want %v", key, owner, got, err, want)
	}
}

// A memory that a restart clears lets every captured message in once more.
func TestReplaysOutliveTheirProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	for life := range 2 {
		db, err := sqlitestore.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := db.Replays()
		if life == 0 {
			claimReplay(t, r, "flight", "a", webhook.ClaimGranted)
			if err := r.Done(t.Context(), "done", time.Hour); err != nil {
				t.Fatal(err)
			}
		} else {
			claimReplay(t, r, "done", "b", webhook.ClaimDone)
			claimReplay(t, r, "flight", "b", webhook.ClaimInFlight)
		}
		if err := db.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// What is over leaves the file as others come, and what counts stays.
func TestReplaysThatAreOverGoAsOthersCome(t *testing.T) {
	c := newClock()
	db := open(t, &sqlitestore.Options{Now: c.now, Synchronous: sqlitestore.Normal})
	r := db.Replays()
	if err := r.Done(t.Context(), "kept", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		key := fmt.Sprint(i)
		claimReplay(t, r, key, "a", webhook.ClaimGranted)
		if i%2 == 0 {
			if err := r.Done(t.Context(), key, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		c.Advance(3 * time.Second) // 20 of them count at any time
	}
	claimReplay(t, r, "kept", "a", webhook.ClaimDone)
	if n, err := db.Int(t.Context(), `SELECT count(*) FROM webhook_replays`); err != nil || n > 30 {
		t.Errorf("%d rows, %v, where some 20 count", n, err)
	}
}

func TestRefusedClaimsChangeNoByte(t *testing.T) {
	db := open(t, nil)
	r := db.Replays()
	claimReplay(t, r, "flight", "a", webhook.ClaimGranted)
	if err := r.Done(t.Context(), "done", time.Hour); err != nil {
		t.Fatal(err)
	}
	before := wal(t, db)
	claimReplay(t, r, "flight", "b", webhook.ClaimInFlight)
	claimReplay(t, r, "done", "b", webhook.ClaimDone)
	for _, key := range []string{"flight", "done", "free"} {
		if err := r.Release(t.Context(), key, "b"); err != nil {
			t.Error(err)
		}
	}
	if err := r.Done(t.Context(), "done", time.Minute); err != nil {
		t.Error(err)
	}
	if after := wal(t, db); after != before {
		t.Errorf("the log grew from %d to %d bytes", len(before), len(after))
	}
}

// A clock that is put back makes leases longer, and lets nobody in twice.
func TestReplaysWhenTheClockIsPutBack(t *testing.T) {
	c := newClock()
	r := open(t, &sqlitestore.Options{Now: c.now}).Replays()
	claimReplay(t, r, "k", "a", webhook.ClaimGranted)
	c.Advance(-time.Hour)
	claimReplay(t, r, "k", "b", webhook.ClaimInFlight)
	if err := r.Done(t.Context(), "k", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := r.Release(t.Context(), "k", "a"); err != nil {
		t.Fatal(err)
	}
	claimReplay(t, r, "k", "b", webhook.ClaimDone)
}

func TestReplaysOfAnyLengthOfTime(t *testing.T) {
	c := newClock()
	r := open(t, &sqlitestore.Options{Now: c.now}).Replays()
	if err := r.Done(t.Context(), "k", 1<<63-1); err != nil {
		t.Fatal(err)
	}
	c.Advance(century)
	claimReplay(t, r, "k", "a", webhook.ClaimDone)
}

func TestTheFileRefusesWhatBreaksAPromiseOfReplays(t *testing.T) {
	db := open(t, nil)
	for name, values := range map[string]string{
		"a replay of nothing": `(x'', 'a', 1)`, "a text for a key": `('k', 'a', 1)`, "an owner that is null": `(x'01', NULL, 1)`, "no end": `(x'01', 'a', NULL)`,
	} {
		err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
			return exec(`INSERT INTO webhook_replays (key, owner, until) VALUES ` + values)
		})
		if kerrors.CodeOf(err) != kerrors.Corrupt {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
	}
}
