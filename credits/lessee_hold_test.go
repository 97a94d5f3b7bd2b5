package credits_test

import (
	"errors"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func TestHoldsAgainstALease(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	l := r.lessee(credits.LesseeOptions{})
	ctx := t.Context()
	r.warm(l)
	spent := credits.Amount(20)
	held, err := l.Hold(ctx, hold("h", 5))
	if err != nil || held.Hold != credits.HoldOpen || held.Deadline.IsZero() {
		t.Fatalf("%+v, %v", held, err)
	}
	if r.totals().Held != 0 {
		t.Fatal("the hold went to the store")
	}
	check := func(what string, got credits.Receipt, err, want error, amount credits.Amount, replayed bool) {
		t.Helper()
		if !errors.Is(err, want) || want == nil && (err != nil || got.Amount != amount || got.Replayed != replayed) {
			t.Errorf("%s: %+v, %v; want %v of %v, replayed %v", what, got, err, want, amount, replayed)
		}
	}
	got, err := l.Hold(ctx, hold("h", 5))
	check("a retry", got, err, nil, 5, true)
	got, err = l.Hold(ctx, hold("h", 6))
	check("another intent", got, err, credits.ErrIntent, 0, false)
	keep := credits.Capture{Account: acme, Hold: "h", Amount: 1, Keep: true, ID: "k"}
	got, err = l.Capture(ctx, keep)
	check("a part", got, err, nil, 1, false)
	got, err = l.Capture(ctx, keep)
	check("a part again", got, err, nil, 1, true)
	got, err = l.Capture(ctx, capture("h", 5))
	check("too much", got, err, credits.ErrOverHold, 0, false)
	got, err = l.Capture(ctx, capture("h", 3))
	check("the rest", got, err, nil, 3, false)
	got, err = l.Capture(ctx, capture("h", 3))
	check("the rest again", got, err, nil, 3, true)
	got, err = l.Capture(ctx, capture("h", 2))
	check("another rest", got, err, credits.ErrSettled, 0, false)
	got, err = l.Release(ctx, release("h"))
	check("a release", got, err, credits.ErrSettled, 0, false)
	spent += 4

	if _, err := l.Hold(ctx, hold("r", 7)); err != nil {
		t.Fatal(err)
	}
	got, err = l.Release(ctx, release("r"))
	check("a release", got, err, nil, 7, false)
	got, err = l.Release(ctx, release("r"))
	check("a release again", got, err, nil, 7, true)

	if _, err := l.Hold(ctx, hold("t", 7)); err != nil {
		t.Fatal(err)
	}
	got, err = l.Extend(ctx, credits.Extend{Account: acme, Hold: "t", TTL: time.Hour})
	if err != nil || !got.Deadline.Equal(epoch.Add(time.Hour)) {
		t.Errorf("extended: %+v, %v", got, err)
	}
	got, err = l.Extend(ctx, credits.Extend{Account: acme, Hold: "t", TTL: time.Minute})
	if err != nil || !got.Deadline.Equal(epoch.Add(time.Hour)) || !got.Replayed {
		t.Errorf("extended by less: %+v, %v", got, err)
	}
	// The lease lapses under the hold; what was promised is still paid.
	r.add(10 * time.Minute)
	if got := r.totals(); got.Suspense == 0 {
		t.Fatalf("%+v", got)
	}
	got, err = l.Capture(ctx, captureAll("t"))
	check("after the lease", got, err, nil, 7, false)
	spent += 7
	if _, err := l.Hold(ctx, hold("u", 1)); err != nil {
		t.Fatal(err)
	}
	r.add(time.Hour)
	got, err = l.Capture(ctx, captureAll("u")) // the store's, and so its time-out
	check("too late", got, err, credits.ErrTimedOut, 0, false)
	r.close(l)
	if got := r.totals(); got.Consumed != spent || got.Available != 100_000-spent {
		t.Errorf("%+v, want %v spent", got, spent)
	}
}

// What a lessee knows under an id by itself is that and nothing else: whoever gave
// it to two requests is told so before the second one is served.
func TestALesseesOwnIDsAreUsedOnce(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	l := r.lessee(credits.LesseeOptions{})
	ctx := t.Context()
	r.warm(l)
	for _, id := range []credits.OpID{"h", "i"} {
		if _, err := l.Hold(ctx, hold(id, 5)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Debit(ctx, debit("d", 5)); err != nil {
		t.Fatal(err)
	}
	before := r.totals()
	for _, id := range []credits.OpID{"h", "i", "d"} {
		keep := credits.Capture{Account: acme, Hold: "h", Amount: 1, Keep: true, ID: id}
		if got, err := l.Capture(ctx, keep); !errors.Is(err, credits.ErrIntent) {
			t.Errorf("a part of h under %s: %+v, %v", id, got, err)
		}
	}
	if got, err := l.Debit(ctx, debit("h", 5)); !errors.Is(err, credits.ErrIntent) {
		t.Errorf("a debit under an open hold's id: %+v, %v", got, err)
	}
	if got, err := l.Hold(ctx, hold("d", 5)); !errors.Is(err, credits.ErrIntent) {
		t.Errorf("a hold under a debit's id: %+v, %v", got, err)
	}
	if got := r.totals(); got != before {
		t.Errorf("a refusal went to the store: %+v, before %+v", got, before)
	}
	for _, id := range []credits.OpID{"h", "i"} {
		if _, err := l.Capture(ctx, captureAll(id)); err != nil {
			t.Fatal(err)
		}
	}
	r.close(l)
	if got := r.totals(); got.Consumed != 20+15 {
		t.Errorf("%+v, want %v spent", got, 20+15)
	}
}

// A hold for somebody else is the ledger's whatever leases have, and what this
// lessee has is given back for it.
func TestHoldDirectIsTheLedgers(t *testing.T) {
	r := newLeaseRig(t, 1000)
	l := r.lessee(credits.LesseeOptions{Instances: 1})
	ctx := t.Context()
	r.warm(l)
	if _, err := l.HoldDirect(ctx, hold("bad", -1)); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("less than 0: %v", err)
	}
	if got, err := l.HoldDirect(ctx, hold("h", 5)); err != nil || got.Parts.Len() != 1 || r.totals().Held != 5 {
		t.Fatalf("%+v, %v", got, err)
	}
	leased := r.totals().Leased
	if leased == 0 {
		t.Fatal("no lease has anything")
	}
	if _, err := l.HoldDirect(ctx, hold("rest", r.totals().Available+1)); err != nil {
		t.Errorf("what the lease had was not given back: %v", err)
	}
	if _, err := r.Capture(ctx, capture("h", 4)); err != nil {
		t.Errorf("the ledger does not know the hold: %v", err)
	}
	if _, err := l.Release(ctx, release("rest")); err != nil {
		t.Error(err)
	}
	r.close(l)
}

func TestALesseeKnowsItsLedger(t *testing.T) {
	r, other := newLeaseRig(t, 1), newLeaseRig(t, 1)
	l, err := credits.NewLessee(r.Ledger, &credits.LesseeOptions{Flush: credits.ManualFlush})
	if err != nil || !l.Of(r.Ledger) || l.Of(other.Ledger) || l.Of(nil) {
		t.Errorf("%v, %t %t %t", err, l.Of(r.Ledger), l.Of(other.Ledger), l.Of(nil))
	}
}
