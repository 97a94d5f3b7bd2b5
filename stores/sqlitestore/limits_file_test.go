package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

const century = 100 * 365 * 24 * time.Hour

func take(t testing.TB, l *ratelimit.Limiter, key string, cost int64) ratelimit.Result {
	t.Helper()
	r, err := l.Take(t.Context(), key, cost)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wal returns the bytes of the write-ahead log, which every change adds to.
func wal(t *testing.T, db *sqlitestore.DB) string {
	t.Helper()
	b, err := os.ReadFile(db.Path() + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Envoy, ulule and others charge what they refuse; throttled's peek writes.
func TestRefusalsAndPeeksChangeNoByte(t *testing.T) {
	db := open(t, nil)
	l := limiter(t, db.Limits(),
		ratelimit.Limit{Name: "bucket", Count: 10, Period: century}, ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 10, Period: century},
		ratelimit.Limit{Name: "window", Algorithm: ratelimit.SlidingWindow, Count: 10, Period: century}, ratelimit.Limit{Name: "year", Algorithm: ratelimit.Calendar, Count: 10, Every: ratelimit.Year})
	take(t, l, "k", 5)
	other := take(t, l, "k", 3)
	if err := l.Refund(t.Context(), other.Reservation); err != nil {
		t.Fatal(err)
	}
	before := wal(t, db)
	for cost := range int64(9) {
		if r := take(t, l, "k", cost+6); r.Allowed {
			t.Errorf("a cost of %d passed", cost+6)
		}
		take(t, l, "k", 0)
		take(t, l, "never seen", 11)
		for _, key := range []string{"k", "never seen"} {
			if _, err := l.Peek(t.Context(), key, cost); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Refund(t.Context(), other.Reservation); err != nil { // again
			t.Fatal(err)
		}
	}
	if after := wal(t, db); after != before {
		t.Errorf("the log grew from %d to %d bytes", len(before), len(after))
	}
}

// busy keeps the writer's turn until the returned function is called.
func busy(t *testing.T, db *sqlitestore.DB) (release func()) {
	t.Helper()
	begun, done, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- db.Write(t.Context(), func(sqlitestore.Exec) error {
			close(begun)
			<-done
			return nil
		})
	}()
	<-begun
	return func() {
		close(done)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestAPeekDoesNotWaitForTheWriter(t *testing.T) {
	db := open(t, nil)
	l := limiter(t, db.Limits(), ratelimit.Limit{Name: "one", Count: 10, Period: century}, ratelimit.Limit{Name: "two", Count: 5, Period: century})
	take(t, l, "k", 3)
	release := busy(t, db)
	if r, err := l.Peek(t.Context(), "k", 2); err != nil || !r.Allowed || r.Remaining != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	release()
}

// What gave up waiting takes nothing later.
func TestATakeThatMissesItsDeadlineTakesNothing(t *testing.T) {
	db := open(t, nil)
	l := limiter(t, db.Limits(), ratelimit.Limit{Name: "one", Count: 10, Period: century})
	release := busy(t, db)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			if r, err := l.Take(ctx, "k", 1); r.Allowed || kerrors.CodeOf(err) != kerrors.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%t, %v; want the end of the time", r.Allowed, err)
			}
		})
	}
	group.Wait()
	release()
	if r := take(t, l, "k", 10); !r.Allowed {
		t.Errorf("only %d of 10 are free", r.Remaining)
	}
}

// A process that was suspended between reading the clock and deciding mints what
// others took meanwhile (x/time/rate): the clock is read in the writer's turn.
func TestTheClockIsReadInTheWritersTurn(t *testing.T) {
	var clock atomic.Int64
	db := open(t, &sqlitestore.Options{Now: func() time.Time { return time.UnixMicro(clock.Load()) }})
	l := limiter(t, db.Limits(), ratelimit.Limit{Name: "one", Count: 1, Period: time.Second})
	clock.Store(1e15)
	take(t, l, "k", 1)
	release := busy(t, db)
	got := make(chan ratelimit.Result, 1)
	go func() {
		r, err := l.Take(t.Context(), "k", 1)
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	db.WaitQueued(1)
	clock.Store(1e15 + 1e6) // the token is back by the time of its turn
	release()
	if r := <-got; !r.Allowed {
		t.Errorf("refused by the clock of before its turn: %+v", r)
	}
}

// Keys that come once and never again, as attackers make them, leave the file
// once they have expired; those that count stay.
func TestExpiredStatesGoAsNewOnesCome(t *testing.T) {
	clock := newClock()
	db := open(t, &sqlitestore.Options{Now: clock.now, Synchronous: sqlitestore.Normal})
	short := limiter(t, db.Limits(), ratelimit.Limit{Name: "short", Count: 1, Period: time.Second})
	long := limiter(t, db.Limits(), ratelimit.Limit{Name: "long", Count: 1, Period: century}, ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 1, Period: century})
	var most int64
	for i := range 3000 {
		if i%300 == 0 {
			take(t, long, fmt.Sprint("long ", i), 1)
		}
		r := take(t, short, fmt.Sprint(i*7919%3000), 1)
		if i%3 == 0 {
			if err := short.Refund(t.Context(), r.Reservation); err != nil {
				t.Fatal(err)
			}
		}
		clock.Advance(20 * time.Millisecond) // 50 of the short ones count at any time
		if i%100 == 99 {
			n, err := db.Int(t.Context(), `SELECT (SELECT count(*) FROM limits) + (SELECT count(*) FROM settled)`)
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, n)
		}
	}
	if most > 250 {
		t.Errorf("%d rows at a time, where some 90 count", most)
	}
	for i := 0; i < 3000; i += 300 {
		if r := take(t, long, fmt.Sprint("long ", i), 1); r.Allowed {
			t.Errorf("long %d was forgotten", i)
		}
	}
}

func TestKeysOfAnyLengthAreApart(t *testing.T) {
	db := open(t, nil)
	set, err := ratelimit.NewLimits(ratelimit.Limit{Name: "one", Count: 1, Period: century})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(db.Limits(), set, &ratelimit.Options{MaxKeyBytes: 1 << 21})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("\xff\x00", 1<<19)
	for _, key := range []string{long, long[1:], long + "\x00", "'; DROP TABLE limits; --"} {
		for i := range 2 {
			if r := take(t, l, key, 1); r.Allowed != (i == 0) {
				t.Errorf("take %d of a key of %d bytes: %t", i, len(key), r.Allowed)
			}
		}
	}
}

// The states of limits outlive the process and the store.
func TestLimitsOutliveTheirProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	var first ratelimit.Result
	limits := []ratelimit.Limit{{Name: "day", Count: 3, Period: century}, {Name: "log", Algorithm: ratelimit.SlidingLog, Count: 3, Period: century}}
	for i := range 3 {
		db, err := sqlitestore.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := limiter(t, db.Limits(), limits...)
		switch r := take(t, l, "k", 2); {
		case i == 0:
			first = r
		case i == 1 && r.Allowed:
			t.Error("a restart handed out a fresh quota")
		case i == 2 && !r.Allowed:
			t.Error("a refund before the restart is gone")
		}
		if i == 1 {
			if err := l.Refund(t.Context(), first.Reservation); err != nil {
				t.Fatal(err)
			}
		}
		if i == 2 { // settled in another life
			if err := l.Refund(t.Context(), first.Reservation); err != nil {
				t.Fatal(err)
			}
			if r := take(t, l, "k", 2); r.Allowed {
				t.Error("a refund acted twice")
			}
		}
		if err := db.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheFileRefusesWhatBreaksAPromiseOfLimits(t *testing.T) {
	db := open(t, nil)
	for name, values := range map[string]string{
		"a state of nobody":      `(x'', 'n', 'a', 0, 0, 0, 1, NULL)`,
		"a text for a key":       `('k', 'n', 'a', 0, 0, 0, 1, NULL)`,
		"a part below 0":         `(x'01', 'n', 'a', 0, 0, -1, 1, NULL)`,
		"a state that is over":   `(x'01', 'n', 'a', 0, 0, 0, 0, NULL)`,
		"a fraction of a unit":   `(x'01', 'n', 'a', 0, 0.5, 0, 1, NULL)`,
		"a log cut short":        `(x'01', 'n', 'a', 0, 0, 0, 1, zeroblob(31))`,
		"a log without an entry": `(x'01', 'n', 'a', 0, 0, 0, 1, x'')`,
	} {
		err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
			return exec(`INSERT INTO limits (key, name, algorithm, at, used, part, expires, entries) VALUES ` + values)
		})
		if kerrors.CodeOf(err) != kerrors.Corrupt {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
	}
	err := db.Write(t.Context(), func(exec sqlitestore.Exec) error { return exec(`INSERT INTO settled (id, until) VALUES (x'00', 1)`) })
	wantCode(t, err, kerrors.Corrupt)
}

// Peeks do not wait for the writer, and share nothing with it: the race detector
// says so.
func TestPeeksRunBesideTakes(t *testing.T) {
	l := limiter(t, open(t, &sqlitestore.Options{Synchronous: sqlitestore.Normal}).Limits(), ratelimit.Limit{Name: "l", Count: 1, Period: time.Hour})
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for n := range 40 {
				do := l.Take
				if g >= 2 {
					do = l.Peek
				}
				if _, err := do(t.Context(), fmt.Sprint(g%2, n), 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}
