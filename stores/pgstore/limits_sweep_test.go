package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// Keys that come once and never again, as attackers make them, leave the table
// once they have expired; those that count stay.
func TestExpiredStatesGoAsNewOnesCome(t *testing.T) {
	d := newDatabase(t)
	db, clock := d.open(t), newClock()
	store := db.Limits(&pgstore.LimitsOptions{Now: clock.now, Relaxed: true})
	short := limiter(t, store, ratelimit.Limit{Name: "short", Count: 1, Period: time.Second}, ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 1, Period: time.Second})
	long := limiter(t, store, ratelimit.Limit{Name: "long", Count: 1, Period: century}, ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 1, Period: century})
	rows := func() int64 {
		return number(t, d.pool, pgstore.InSchema(db, `SELECT (SELECT count(*) FROM keytoll.limits) + (SELECT count(*) FROM keytoll.limit_entries) + (SELECT count(*) FROM keytoll.settled)`))
	}
	var most int64
	for i := range 2000 {
		if i%400 == 0 {
			take(t, long, fmt.Sprint("long ", i), 1)
		}
		r := take(t, short, fmt.Sprint(i*7919%2000), 1)
		if i%3 == 0 {
			if err := short.Refund(t.Context(), r.Reservation); err != nil {
				t.Fatal(err)
			}
		}
		clock.Advance(20 * time.Millisecond) // 50 of the short ones count at any time
		if i%100 == 99 {
			most = max(most, rows())
		}
	}
	if most > 600 {
		t.Errorf("%d rows at a time, where some 150 count", most)
	}
	for i := 0; i < 2000; i += 400 {
		if r := take(t, long, fmt.Sprint("long ", i), 1); r.Allowed {
			t.Errorf("long %d was forgotten", i)
		}
	}
	clock.Advance(time.Minute)
	for range 2 { // from wherever the hand was, to the end, and from the beginning
		if _, err := store.Sweep(t.Context(), 1_000_000); err != nil {
			t.Fatal(err)
		}
	}
	if n := number(t, d.pool, pgstore.InSchema(db, `SELECT (SELECT count(*) FROM keytoll.limits) + (SELECT count(*) FROM keytoll.limit_entries) + (SELECT count(*) FROM keytoll.settled)`)); n != 15 {
		t.Errorf("%d rows are left of 5 subjects under a bucket and a log, want 15", n)
	}
	if _, err := store.Sweep(t.Context(), 0); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("a sweep of none: %v, want Invalid", err)
	}
}

// What somebody decides by just now is not swept.
func TestASweepPassesByWhatIsInUse(t *testing.T) {
	d := newDatabase(t)
	db, clock := d.open(t), newClock()
	store := db.Limits(&pgstore.LimitsOptions{Now: clock.now})
	l := limiter(t, store, ratelimit.Limit{Name: "l", Count: 1, Period: time.Second})
	take(t, l, "in use", 1)
	take(t, l, "not", 1)
	clock.Advance(time.Hour)
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, pgstore.LockOf(db, "in use")); err != nil {
		t.Fatal(err)
	}
	if n, err := store.Sweep(t.Context(), 10); err != nil || n != 1 {
		t.Errorf("%d states swept, %v; want the one that nobody uses", n, err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := store.Sweep(t.Context(), 10); err != nil || n != 1 {
		t.Errorf("%d states swept, %v; want the other", n, err)
	}
}

// A sweep that is held up keeps no take waiting.
func TestNoTakeWaitsForASweep(t *testing.T) {
	d := newDatabase(t)
	db, clock := d.open(t), newClock()
	store := db.Limits(&pgstore.LimitsOptions{Now: clock.now})
	l := limiter(t, store, ratelimit.Limit{Name: "l", Count: 1, Period: time.Second})
	take(t, l, "held", 1)
	clock.Advance(time.Hour)
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), pgstore.InSchema(db, `SELECT FROM keytoll.limits FOR UPDATE`)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	swept := make(chan error, 1)
	go func() {
		n, err := store.Sweep(t.Context(), 10)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d states swept, want 1", n)
		}
		swept <- err
	}()
	for number(t, d.pool, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%limits_sweep%' AND pid <> pg_backend_pid()`) == 0 {
		if ctx.Err() != nil {
			t.Fatal("the sweep never waited")
		}
	}
	for i := range 100 { // and many a step is due
		if r, err := l.Take(ctx, fmt.Sprint(i), 1); err != nil || !r.Allowed {
			t.Fatalf("take %d: %t, %v", i, r.Allowed, err)
		}
	}
	soon, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	if _, err := store.Sweep(soon, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a sweep beside another: %v, want the end of its context", err)
	}
	if ctx.Err() != nil {
		t.Error("the takes waited for the sweep")
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-swept; err != nil {
		t.Error(err)
	}
}
