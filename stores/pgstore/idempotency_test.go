package pgstore_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/middleware/idempotency/idempotencytest"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

func TestIdempotencyKeepsTheContract(t *testing.T) {
	d := newSharedDatabase(t, isolated("serializable"))
	whole := t
	idempotencytest.Run(t, func(t *testing.T) idempotencytest.Fixture {
		c := newClock()
		return idempotencytest.Fixture{Store: d.lend(t, whole).Idempotency(&pgstore.IdempotencyOptions{Now: c.now}), Advance: c.Advance}
	})
}

func TestIdempotencyKeepsTheContractByTheServersClock(t *testing.T) {
	t.Parallel() // for the most part it waits
	d := newSharedDatabase(t, isolated("read committed"))
	whole := t
	idempotencytest.Run(t, func(t *testing.T) idempotencytest.Fixture {
		return idempotencytest.Fixture{Store: d.lend(t, whole).Idempotency(nil)}
	})
}

func BenchmarkIdempotency(b *testing.B) {
	d := newDatabase(b)
	idempotencytest.Bench(b, func(b *testing.B) idempotency.Store { return d.open(b).Idempotency(nil) })
}

// requestOf is a claim of the key by somebody, for a minute and then an hour.
func requestOf(key, who string) idempotency.Claim {
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

// Keys whose time is over leave the table as others come.
func TestRequestsThatAreOverGoAsNewOnesCome(t *testing.T) {
	d := newDatabase(t, unsynced)
	db, c := d.open(t), newClock()
	s := db.Idempotency(&pgstore.IdempotencyOptions{Now: c.now})
	kept := requestOf("kept", "a")
	asks(t, s, kept, idempotency.Claimed)
	finish(t, s, kept, "answer", time.Hour)
	for i := range 200 {
		k := requestOf(fmt.Sprint("k", i), "a")
		k.Lease, k.Keep = time.Second, 0
		asks(t, s, k, idempotency.Claimed)
		if i%2 == 0 {
			finish(t, s, k, "answer", time.Second)
		}
		c.Advance(100 * time.Millisecond) // ten count at any time
	}
	if n := number(t, d.pool, pgstore.InSchema(db, `SELECT count(*) FROM keytoll.idempotent_requests`)); n > 15 {
		t.Errorf("%d keys are kept, of which 11 count", n)
	}
	asks(t, s, kept, idempotency.Done)
}

// A claim, and each other step, is one round trip.
func TestRoundTripsOfIdempotency(t *testing.T) {
	line := newLine(t, pgtest.Database(t))
	s := openURL(t, withParameter(line.url, "pool_max_conns", "1")).Idempotency(nil)
	for round := range 2 {
		k := requestOf(fmt.Sprint("k", round), "a")
		for _, c := range []struct {
			what string
			call func()
		}{
			{"a claim", func() { asks(t, s, k, idempotency.Claimed) }},
			{"giving it up", func() {
				if err := s.Abandon(t.Context(), k.Key, k.Token); err != nil {
					t.Error(err)
				}
			}},
			{"a claim anew", func() { asks(t, s, k, idempotency.Claimed) }},
			{"an answer", func() { finish(t, s, k, "answer", time.Hour) }},
			{"a replay", func() { asks(t, s, requestOf(fmt.Sprint("k", round), "b"), idempotency.Done) }},
		} {
			line.turns.Store(0)
			c.call()
			if n := line.turns.Load(); round > 0 && n != 1 {
				t.Errorf("%s takes %d round trips, want 1", c.what, n)
			}
		}
	}
}

// What is refused or replayed writes nothing, and locks nothing either.
func TestRequestsThatAreRefusedOrReplayedWriteNothing(t *testing.T) {
	d := newDatabase(t, unsynced)
	db := d.open(t)
	s := db.Idempotency(nil)
	done, running := requestOf("done", "a"), requestOf("running", "a")
	asks(t, s, done, idempotency.Claimed)
	asks(t, s, running, idempotency.Claimed)
	finish(t, s, done, "answer", time.Hour)
	rows := func() (text string) {
		err := d.pool.QueryRow(t.Context(), pgstore.InSchema(db, `SELECT string_agg(concat_ws(' ', ctid, xmin, xmax), ',' ORDER BY key) FROM keytoll.idempotent_requests`)).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	before := rows()
	asks(t, s, requestOf("running", "b"), idempotency.Running)
	asks(t, s, requestOf("done", "b"), idempotency.Done)
	other := requestOf("running", "a")
	other.Fingerprint = sha256.Sum256([]byte("another"))
	asks(t, s, other, idempotency.Mismatch)
	finish(t, s, done, "another", time.Minute)
	if err := s.Abandon(t.Context(), done.Key, done.Token); err != nil {
		t.Error(err)
	}
	if after := rows(); after != before {
		t.Errorf("the rows were %s and are %s", before, after)
	}
}

// An answer of a great size, and one of all bytes, come back as they are.
func TestAnswersComeBackByteForByte(t *testing.T) {
	s := newDatabase(t, unsynced).open(t).Idempotency(nil)
	for i, answer := range [][]byte{nil, {0}, []byte("\x00'; DROP TABLE x; --\xff"), bytes.Repeat([]byte{0, 1, 255}, 300_000)} {
		c := requestOf(fmt.Sprint(i), "a")
		asks(t, s, c, idempotency.Claimed)
		if err := s.Finish(t.Context(), c.Key, c.Token, answer, time.Hour); err != nil {
			t.Error(err)
		}
		if got := asks(t, s, c, idempotency.Done); !bytes.Equal(got.Answer, answer) {
			t.Errorf("%d bytes came back as %d", len(answer), len(got.Answer))
		}
	}
}

// The server is killed between a claim and its answer: the claim is there, the
// answer can be given, and nobody else was let in meanwhile.
func TestRequestsSurviveTheServersKill(t *testing.T) {
	server := pgtest.Start(t)
	db := openURL(t, server.URL())
	s := db.Idempotency(nil)
	k, finished := requestOf("k", "a"), requestOf("finished", "a")
	asks(t, s, k, idempotency.Claimed)
	asks(t, s, finished, idempotency.Claimed)
	finish(t, s, finished, "answer", time.Hour)
	server.Kill()
	got, err := s.Claim(t.Context(), requestOf("k", "b"))
	for what, err := range map[string]error{
		"Claim":   err,
		"Finish":  s.Finish(t.Context(), k.Key, k.Token, []byte("answer"), time.Hour),
		"Abandon": s.Abandon(t.Context(), k.Key, k.Token),
	} {
		if kerrors.CodeOf(err) != kerrors.Unavailable || got.State != 0 {
			t.Errorf("%s while the server is away: %v, %v, want Unavailable", what, got.State, err)
		}
	}
	server.Restart()
	asks(t, s, requestOf("finished", "b"), idempotency.Done)
	asks(t, s, requestOf("k", "b"), idempotency.Running)
	finish(t, s, k, "late", time.Hour)
	if got := asks(t, s, requestOf("k", "b"), idempotency.Done); string(got.Answer) != "late" {
		t.Errorf("the answer is %q", got.Answer)
	}
}

// A claim whose answer was lost is an error, and the same claim again tells what it
// would have told.
func TestAClaimWhoseAnswerWasLostCanBeMadeAgain(t *testing.T) {
	line := newLine(t, pgtest.Database(t))
	s, c := openURL(t, withParameter(line.url, "pool_max_conns", "1")), newClock()
	store := s.Idempotency(&pgstore.IdempotencyOptions{Now: c.now})
	first, second := requestOf("k", "a"), requestOf("k", "b")
	asks(t, store, first, idempotency.Claimed)
	c.Advance(first.Lease)
	line.deaf.Store(true)
	if got, err := store.Claim(t.Context(), second); kerrors.CodeOf(err) != kerrors.Unavailable || got.State != 0 {
		t.Fatalf("Claim = %v, %v; want Unavailable", got.State, err)
	}
	for range 2 {
		if got := asks(t, store, second, idempotency.Claimed); got.First != first.Token || got.Turn != 1 {
			t.Errorf("First %x and Turn %d, want %x and 1", got.First, got.Turn, first.Token)
		}
	}
	finish(t, store, second, "answer", time.Hour)
	line.deaf.Store(true)
	if err := store.Finish(t.Context(), second.Key, second.Token, nil, time.Hour); kerrors.CodeOf(err) != kerrors.Unavailable {
		t.Errorf("Finish: %v, want Unavailable", err)
	}
	finish(t, store, second, "answer", time.Hour)
}

func TestTheSchemaRefusesWhatBreaksAPromiseOfIdempotency(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	c := requestOf("k", "a")
	s := db.Idempotency(nil)
	c.Lease = time.Millisecond
	asks(t, s, c, idempotency.Claimed)
	for _, spoil := range []string{`key = '\x01'`, `fingerprint = ''`, `first = '\x01'`, `token = sha256('')`, `turn = -1`, `first = substring(sha256('') FOR 16)`, `until = NULL`} {
		_, err := d.pool.Exec(t.Context(), pgstore.InSchema(db, `UPDATE keytoll.idempotent_requests SET `+spoil))
		if err == nil {
			t.Errorf("%s was accepted", spoil)
		}
	}
	// Without its rules the table may hold anything: what cannot be read is no claim.
	run(t, d.pool, pgstore.InSchema(db, `ALTER TABLE keytoll.idempotent_requests DROP CONSTRAINT idempotent_requests_sound`))
	run(t, d.pool, pgstore.InSchema(db, `UPDATE keytoll.idempotent_requests SET first = '\x01', lease = 0`))
	if got, err := s.Claim(t.Context(), requestOf("k", "b")); kerrors.CodeOf(err) != kerrors.Corrupt || got.State != 0 {
		t.Errorf("Claim = %v, %v; want Corrupt", got.State, err)
	}
}

const sharedRequests = 100

// claimAll claims the same keys as the other process, and says what it was told.
func claimAll(ctx context.Context, number, url string) error {
	db, err := openChild(ctx, url)
	if err != nil {
		return err
	}
	s := db.Idempotency(nil)
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the parent says go
	failed := make([]error, racers)
	each(racers, func(i int) {
		for n := range sharedRequests {
			c := requestOf(fmt.Sprint(n), fmt.Sprint(number, i))
			got, err := s.Claim(ctx, c)
			if err == nil && got.State == idempotency.Claimed {
				err = s.Finish(ctx, c.Key, c.Token, []byte(number), time.Hour)
				fmt.Println("claimed")
			}
			failed[i] = errors.Join(failed[i], err)
		}
	})
	return errors.Join(errors.Join(failed...), db.Close(ctx))
}

// Two processes, of which one begins its transactions at a stricter level, do each
// request once.
func TestTwoProcessesDoEachRequestOnce(t *testing.T) {
	url := withParameter(pgtest.Database(t), "synchronous_commit", "off")
	openURL(t, url)
	said := answersOf(t, [2]string{url, withParameter(url, "default_transaction_isolation", "serializable")}, "claim", func(context.Context) {})
	if said["claimed"] != sharedRequests || len(said) != 1 {
		t.Errorf("of %d requests: %v", sharedRequests, said)
	}
}
