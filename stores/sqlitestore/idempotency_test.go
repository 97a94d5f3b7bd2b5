package sqlitestore_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/middleware/idempotency/idempotencytest"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

func TestIdempotencyKeepsTheContract(t *testing.T) {
	idempotencytest.Run(t, func(t *testing.T) idempotencytest.Fixture {
		c := newClock()
		return idempotencytest.Fixture{Store: open(t, &sqlitestore.Options{Now: c.now}).Idempotency(), Advance: c.Advance}
	})
}

func BenchmarkIdempotency(b *testing.B) {
	idempotencytest.Bench(b, func(b *testing.B) idempotency.Store { return open(b, nil).Idempotency() })
}

// claimOf is a claim of the key by somebody, for a minute and then an hour.
func claimOf(key, who string) idempotency.Claim {
	c := idempotency.Claim{Key: sha256.Sum256([]byte(key)), Fingerprint: sha256.Sum256([]byte("print")), Lease: time.Minute, Keep: time.Hour}
	sum := sha256.Sum256([]byte(who))
	copy(c.Token[:], sum[:])
	return c
}

// asks wants an answer to a claim.
func asks(t testing.TB, s idempotency.Store, c idempotency.Claim, want idempotency.State) idempotency.Found {
	t.Helper()
	got, err := s.Claim(t.Context(), c)
	if err != nil || got.State != want {
		t.Errorf("Claim(%x) = %v, %v; want %v", c.Key[:4], got.State, err, want)
	}
	return got
}

func finish(t testing.TB, s idempotency.Store, c idempotency.Claim, answer string, keep time.Duration) {
	t.Helper()
	if err := s.Finish(t.Context(), c.Key, c.Token, []byte(answer), keep); err != nil {
		t.Error(err)
	}
}

// A memory that a restart clears does everything once more.
func TestIdempotencyOutlivesItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	for life := range 2 {
		db, err := sqlitestore.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := db.Idempotency()
		done, running := claimOf("done", "a"), claimOf("running", "a")
		if life == 0 {
			asks(t, s, done, idempotency.Claimed)
			finish(t, s, done, "answer", time.Hour)
			asks(t, s, running, idempotency.Claimed)
		} else {
			if got := asks(t, s, claimOf("done", "b"), idempotency.Done); string(got.Answer) != "answer" {
				t.Errorf("the answer is %q", got.Answer)
			}
			asks(t, s, claimOf("running", "b"), idempotency.Running)
			finish(t, s, running, "late", time.Hour)
			asks(t, s, claimOf("running", "b"), idempotency.Done)
		}
		if err := db.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// What is over leaves the file as others come, and what counts stays.
func TestRequestsThatAreOverGoAsOthersCome(t *testing.T) {
	c := newClock()
	db := open(t, &sqlitestore.Options{Now: c.now, Synchronous: sqlitestore.Normal})
	s := db.Idempotency()
	kept := claimOf("kept", "a")
	asks(t, s, kept, idempotency.Claimed)
	finish(t, s, kept, "answer", 24*time.Hour)
	for i := range 300 {
		k := claimOf(fmt.Sprint(i), "a")
		k.Keep = 0
		asks(t, s, k, idempotency.Claimed)
		if i%2 == 0 {
			finish(t, s, k, "answer", time.Minute)
		}
		c.Advance(3 * time.Second) // 20 of them count at any time
	}
	asks(t, s, kept, idempotency.Done)
	if n, err := db.Int(t.Context(), `SELECT count(*) FROM idempotent_requests`); err != nil || n > 30 {
		t.Errorf("%d rows, %v, where some 20 count", n, err)
	}
}

func TestRequestsThatAreRefusedOrReplayedChangeNoByte(t *testing.T) {
	db := open(t, nil)
	s := db.Idempotency()
	done, running := claimOf("done", "a"), claimOf("running", "a")
	asks(t, s, running, idempotency.Claimed)
	asks(t, s, done, idempotency.Claimed)
	finish(t, s, done, "answer", time.Hour)
	before := wal(t, db)
	asks(t, s, claimOf("running", "b"), idempotency.Running)
	asks(t, s, claimOf("done", "b"), idempotency.Done)
	other := claimOf("running", "a")
	other.Fingerprint = sha256.Sum256([]byte("another"))
	asks(t, s, other, idempotency.Mismatch)
	finish(t, s, done, "another", time.Minute)
	for _, c := range []idempotency.Claim{done, claimOf("running", "b"), claimOf("free", "b")} {
		if err := s.Abandon(t.Context(), c.Key, c.Token); err != nil {
			t.Error(err)
		}
	}
	if err := s.Finish(t.Context(), running.Key, claimOf("", "b").Token, nil, time.Hour); !errors.Is(err, idempotency.ErrLost) {
		t.Errorf("Finish of another's claim: %v, want ErrLost", err)
	}
	if after := wal(t, db); after != before {
		t.Errorf("the log grew from %d to %d bytes", len(before), len(after))
	}
}

// A clock that is put back makes leases longer, and lets nobody in twice.
func TestIdempotencyWhenTheClockIsPutBack(t *testing.T) {
	c := newClock()
	s := open(t, &sqlitestore.Options{Now: c.now}).Idempotency()
	k := claimOf("k", "a")
	asks(t, s, k, idempotency.Claimed)
	c.Advance(-time.Hour)
	if got := asks(t, s, claimOf("k", "b"), idempotency.Running); got.Wait != time.Hour+time.Minute {
		t.Errorf("the lease ends in %v", got.Wait)
	}
	finish(t, s, k, "answer", time.Minute)
	asks(t, s, claimOf("k", "b"), idempotency.Done)
}

// An answer of the greatest size, and one of all bytes, come back as they are.
func TestAnswersComeBackByteForByte(t *testing.T) {
	s := open(t, &sqlitestore.Options{Synchronous: sqlitestore.Normal}).Idempotency()
	for i, answer := range [][]byte{{}, {0}, []byte("\x00'; DROP TABLE x; --\xff"), bytes.Repeat([]byte{0, 1, 255}, 300_000)} {
		c := claimOf(fmt.Sprint(i), "a")
		asks(t, s, c, idempotency.Claimed)
		finish(t, s, c, string(answer), time.Hour)
		if got := asks(t, s, c, idempotency.Done); !bytes.Equal(got.Answer, answer) {
			t.Errorf("%d bytes came back as %d", len(answer), len(got.Answer))
		}
	}
}

func TestTheFileRefusesWhatBreaksAPromiseOfIdempotency(t *testing.T) {
	db := open(t, nil)
	const key, mark, token, other = `zeroblob(32)`, `zeroblob(32)`, `x'00000000000000000000000000000001'`, `x'00000000000000000000000000000002'`
	for name, values := range map[string]string{
		"a key of another length":         `x'01', ` + mark + `, ` + token + `, 0, ` + token + `, 1, 1, NULL`,
		"a fingerprint of another length": key + `, x'', ` + token + `, 0, ` + token + `, 1, 1, NULL`,
		"a token of another length":       key + `, ` + mark + `, ` + token + `, 1, x'01', 1, 1, NULL`,
		"a first of another length":       key + `, ` + mark + `, x'01', 1, ` + token + `, 1, 1, NULL`,
		"a turn below 0":                  key + `, ` + mark + `, ` + token + `, -1, ` + token + `, 1, 1, NULL`,
		"a first that nobody took over":   key + `, ` + mark + `, ` + other + `, 0, ` + token + `, 1, 1, NULL`,
		"no end":                          key + `, ` + mark + `, ` + token + `, 0, ` + token + `, 1, NULL, NULL`,
		"a text for an answer":            key + `, ` + mark + `, ` + token + `, 0, ` + token + `, 1, 1, 'answer'`,
	} {
		err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
			return exec(`INSERT INTO idempotent_requests (key, fingerprint, first, turn, token, lease, until, answer) VALUES (` + values + `)`)
		})
		if kerrors.CodeOf(err) != kerrors.Corrupt {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
	}
}

// A row that a damaged file or another program left is Corrupt, never a free key.
func TestARequestThatCannotBeReadIsCorrupt(t *testing.T) {
	db := open(t, nil)
	s := db.Idempotency()
	for i, spoil := range []string{
		`fingerprint = x'01'`, `first = x''`, `token = zeroblob(17)`, `turn = -1`, `turn = 9223372036854775807`,
	} {
		c := claimOf(fmt.Sprint(i), "a")
		c.Lease = time.Microsecond
		asks(t, s, c, idempotency.Claimed)
		if err := db.Pragma("ignore_check_constraints = 1"); err != nil {
			t.Fatal(err)
		}
		err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
			return exec(`UPDATE idempotent_requests SET `+spoil+` WHERE key = ?`, c.Key[:])
		})
		if err := errors.Join(err, db.Pragma("ignore_check_constraints = 0")); err != nil {
			t.Fatal(err)
		}
		got, err := s.Claim(t.Context(), claimOf(fmt.Sprint(i), "b"))
		if kerrors.CodeOf(err) != kerrors.Corrupt || got.State != 0 {
			t.Errorf("%s: %v, %v; want Corrupt", spoil, got.State, err)
		}
	}
}
