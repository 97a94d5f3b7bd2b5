package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// small is a fleet of one whose ledger has room for a thousand subjects.
func small(t *testing.T, limits ...ratelimit.Limit) *fleet {
	t.Helper()
	f := newFleet(t, ratelimit.Local, 1, limits...)
	g, err := ratelimit.NewGuardedStore(f.store, ratelimit.Local, &ratelimit.GuardOptions{
		Nodes: 1, Samples: 1, Probes: 1, Deadline: patience, Now: f.hand.now, MaxBytes: 1 << 20, Observer: f.turns,
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.nodes[0], err = ratelimit.NewLimiter(g, set(t, limits...), nil); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWhatIsOwedIsBounded(t *testing.T) {
	t.Parallel()
	f := small(t, hourly(10))
	f.store.fail(refused)
	full := 0
	for full < 5000 {
		r, err := f.nodes[0].Take(t.Context(), fmt.Sprint("subject ", full), 3)
		if err != nil {
			if !errors.Is(err, ratelimit.ErrFull) || r.Allowed {
				t.Fatalf("allowed is %v, error %v", r.Allowed, err)
			}
			break
		}
		full++
	}
	if full < 500 || full > 2000 {
		t.Errorf("refused after %d subjects", full)
	}
	if r := f.take(0, "subject 0", 2); !r.Allowed || r.Remaining != 5 { // who owes already takes no more room
		t.Errorf("allowed is %v, %d remain", r.Allowed, r.Remaining)
	}
	f.heal()
	if r := f.take(0, "subject 1", 1); !r.Allowed || r.Remaining != 6 || r.Degraded {
		t.Errorf("%d remain, want 6; degraded is %v", r.Remaining, r.Degraded)
	}
	f.store.fail(refused)
	f.hand.pass(2 * time.Hour) // time has paid
	for i := range 2 * full {
		f.take(0, fmt.Sprint("later ", i%10), 1)
		if i%100 == 0 {
			f.hand.pass(time.Hour)
		}
	}
}

// What is owed of subjects that nobody asks for again is dropped when time has
// paid it, also while the store answers.
func TestWhatTimeHasPaidIsForgotten(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ratelimit.Local, 1, hourly(10))
	f.store.fail(refused)
	for i := range 100 {
		f.take(0, fmt.Sprint("subject ", i), 1)
	}
	f.heal()
	f.take(0, "other", 1)
	f.hand.pass(time.Hour)
	for range 200 {
		f.take(0, "other", 0)
	}
	f.store.fail(refused)
	f.take(0, "other", 1)
	all := f.turns.list()
	if first, last := all[1].Owing, all[2].Owing; first != 100 || last != 0 {
		t.Errorf("%d owed after the outage, want 100, and %d later, want 0", first, last)
	}
}

// Takes in logs are remembered while the store answers, and must leave room for
// what is owed when it does not.
func TestLogsLeaveRoomForWhatIsOwed(t *testing.T) {
	t.Parallel()
	f := small(t, ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 10, Period: time.Hour})
	for i := range 3000 {
		f.take(0, fmt.Sprint("subject ", i), 1)
	}
	f.store.fail(refused)
	if r := f.take(0, "k", 1); !r.Allowed || !r.Degraded {
		t.Errorf("allowed is %v, degraded %v", r.Allowed, r.Degraded)
	}
}
