package credits_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// Whoever asks under ever new keys fills no memory, and keeps nobody from being
// served: what is not watched goes to the ledger.
func TestALesseeWatchesABoundedNumberOfKeys(t *testing.T) {
	r := newLeaseRig(t, 1_000_000)
	l := r.lessee(credits.LesseeOptions{MaxUnsettled: 100})
	r.warm(l)
	r.flush(l)
	for i := range 300 {
		d := debit(credits.OpID(fmt.Sprint("d", i)), 1)
		d.Key = fmt.Sprint("key", i)
		if _, err := l.Debit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		d.ID, d.Key, d.Amount = d.ID+"x", d.Key+"x", 10_000_000
		if _, err := l.Debit(t.Context(), d); !errors.Is(err, credits.ErrInsufficient) {
			t.Fatal(err)
		}
	}
	if _, watched := l.Remembered(); watched != 100 {
		t.Errorf("%d keys are watched", watched)
	}
	before, _ := l.Unsettled()
	r.pay(l, "more", 1, 1)
	if after, _ := l.Unsettled(); after != before+1 {
		t.Errorf("%d spends unsettled, then %d: the key that had a lease has lost it", before, after)
	}
	for range 12 { // idle
		r.flush(l)
	}
	if _, watched := l.Remembered(); watched != 0 {
		t.Errorf("%d keys are watched that nobody uses", watched)
	}
	r.pay(l, "again", 20, 1)
	r.close(l)
	if got := r.totals(); got.Consumed != 20+300+1+20 {
		t.Errorf("%+v", got)
	}
}

// What ended is kept for retries, but not without a bound.
func TestALesseeRemembersABoundedNumberOfHoldsThatEnded(t *testing.T) {
	r := newLeaseRig(t, 1_000_000)
	l := r.lessee(credits.LesseeOptions{MaxUnsettled: 100})
	r.warm(l)
	r.flush(l)
	for i := range 300 {
		id := credits.OpID(fmt.Sprint("h", i))
		if _, err := l.Hold(t.Context(), hold(id, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Release(t.Context(), release(id)); err != nil {
			t.Fatal(err)
		}
	}
	if holds, _ := l.Remembered(); holds != 100 {
		t.Errorf("%d holds are remembered", holds)
	}
	if got := r.totals(); got.Held != 0 || len(r.snapshot(acme).Ops) > 100 {
		t.Errorf("the holds went to the store: %+v", got)
	}
	for range 4 {
		r.flush(l)
	}
	if holds, _ := l.Remembered(); holds != 0 {
		t.Errorf("%d holds are remembered after a while", holds)
	}
	r.close(l)
}

// A hold that comes as the lessee closes is the ledger's, or else Close would
// leave a lease behind.
func TestWhatComesAfterCloseIsTheLedgers(t *testing.T) {
	r := newLeaseRig(t, 1_000_000)
	late := &lateLessor{Lessor: credits.LessorOf(r.Ledger), settling: func() {}}
	l, err := credits.NewLesseeOf(late, &credits.LesseeOptions{Flush: credits.ManualFlush, Now: r.now})
	if err != nil {
		t.Fatal(err)
	}
	r.warm(l)
	for i := range 20 { // another lease, that is settled after the first
		if _, err := l.Debit(t.Context(), keyed(credits.OpID(fmt.Sprint("k", i)), 1, "k", "")); err != nil {
			t.Fatal(err)
		}
	}
	late.settling = func() { // Close has ended the holds that were open, and settles
		h := hold("h", 1)
		h.Key = "k"
		if _, err := l.Hold(t.Context(), h); err != nil {
			t.Error(err)
		}
		if _, err := l.Debit(t.Context(), keyed("d", 1, "k", "")); err != nil {
			t.Error(err)
		}
	}
	r.close(l)
	if got := r.totals(); got.Held != 1 || got.Consumed != 41 {
		t.Errorf("%+v", got)
	}
}

// A lateLessor does something before it settles.
type lateLessor struct {
	credits.Lessor
	settling func()
}

func (l *lateLessor) SettleLease(ctx context.Context, s credits.SettleLease) (credits.LeaseReceipt, error) {
	do := l.settling
	l.settling = func() {}
	do()
	return l.Lessor.SettleLease(ctx, s)
}

// For the last quarter of its TTL, or the margin that the options give, a lease is
// not spent from: a clock that is late by less overspends nothing.
func TestALeaseIsNotSpentFromNearItsEnd(t *testing.T) {
	for margin, last := range map[time.Duration]time.Duration{0: 45 * time.Second, 10 * time.Second: 50 * time.Second} {
		r := newLeaseRig(t, 1_000_000)
		var turns turnLog
		l := r.lessee(credits.LesseeOptions{Margin: margin, Observer: &turns})
		r.warm(l)
		r.add(last - time.Millisecond)
		turns.forget()
		r.pay(l, "in time", 1, 1)
		if len(turns.kinds) != 0 {
			t.Errorf("margin %v: %v; the lease was good for 1 ms more", margin, turns.kinds)
		}
		r.add(time.Millisecond)
		r.pay(l, "late", 1, 1)
		if !turns.has(credits.LeaseTaken) {
			t.Errorf("margin %v: %v; the lease was used %v before its end", margin, turns.kinds, time.Minute-last)
		}
		r.close(l)
	}
}
