package credits_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// lessee returns one that settles when it is told to, and whose clock is the rig's.
func (r leaseRig) lessee(o credits.LesseeOptions) *credits.Lessee {
	r.t.Helper()
	o.Flush = credits.ManualFlush
	if o.Now == nil {
		o.Now = r.now
	}
	l, err := credits.NewLesseeOf(credits.LessorOf(r.Ledger), &o)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func (r leaseRig) flush(l *credits.Lessee) {
	r.t.Helper()
	if err := l.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r leaseRig) close(l *credits.Lessee) {
	r.t.Helper()
	if err := l.Close(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if spends, leases := l.Unsettled(); spends != 0 || leases != 0 {
		r.t.Errorf("%d spends of %d leases are left after Close", spends, leases)
	}
	r.idle()
}

// idle checks that nothing is leased or in suspense.
func (r leaseRig) idle() {
	r.t.Helper()
	b, err := r.Balance(r.t.Context(), acme)
	if err != nil || b.Leased != 0 || b.Suspense != 0 {
		r.t.Errorf("%+v, %v", b, err)
	}
}

// pay spends n times amount, each under an id of its own.
func (r leaseRig) pay(l *credits.Lessee, name string, n int, amount credits.Amount) {
	r.t.Helper()
	for i := range n {
		if _, err := l.Debit(r.t.Context(), debit(credits.OpID(fmt.Sprint(name, i)), amount)); err != nil {
			r.t.Fatalf("%s %d: %v", name, i, err)
		}
	}
}

func (r leaseRig) totals() credits.Totals {
	r.t.Helper()
	b, err := r.Balance(r.t.Context(), acme)
	if err != nil {
		r.t.Fatal(err)
	}
	return b.Totals
}

func TestALesseePaysFromMemoryAndSettlesEveryRequest(t *testing.T) {
	r := newLeaseRig(t, 1_000_000)
	l := r.lessee(credits.LesseeOptions{})
	r.pay(l, "a", 4, 5) // not yet worth a lease
	if got := r.totals(); got.Consumed != 20 || got.Leased != 0 {
		t.Fatalf("%+v", got)
	}
	r.pay(l, "b", 4, 5)
	before := r.totals()
	if before.Leased == 0 {
		t.Fatalf("nothing is leased: %+v", before)
	}
	if spends, _ := l.Unsettled(); spends == 0 {
		t.Fatal("nothing was paid from memory")
	}
	r.flush(l)
	if got := r.totals(); got.Consumed != 40 {
		t.Errorf("%+v", got)
	}
	r.pay(l, "c", 100, 5)
	r.close(l)
	r.close(l)
	if got := r.totals(); got.Consumed != 540 || got.Available != 1_000_000-540 {
		t.Errorf("%+v", got)
	}
	leased := 0
	for _, o := range r.snapshot(acme).Ops {
		if o.Kind == credits.KindDebit && o.Target != "" {
			leased++
		}
	}
	if leased < 90 {
		t.Errorf("%d of 108 requests were paid from leases", leased)
	}
	r.pay(l, "d", 10, 5) // after Close: through the store
	if got := r.totals(); got.Consumed != 590 || got.Leased != 0 {
		t.Errorf("%+v", got)
	}
}

// warm makes the lessee hold a lease for debits of acme.
func (r leaseRig) warm(l *credits.Lessee) {
	r.t.Helper()
	r.pay(l, "warm", 20, 1)
	if spends, leases := l.Unsettled(); spends == 0 || leases == 0 {
		r.t.Fatal("no lease was made")
	}
}

func TestARetryThroughALesseeReplays(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	l := r.lessee(credits.LesseeOptions{})
	r.warm(l)
	d := debit("x", 3)
	d.Note = "n"
	first, err := l.Debit(t.Context(), d)
	if err != nil || first.Replayed || first.Op != "x" || first.Amount != 3 || first.Kind != credits.KindDebit {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := l.Debit(t.Context(), d); err != nil || !again.Replayed {
		t.Errorf("%+v, %v", again, err)
	}
	other := d
	other.Note = "m"
	if _, err := l.Debit(t.Context(), other); !errors.Is(err, credits.ErrIntent) {
		t.Error(err)
	}
	r.flush(l)
	// Settled, it is paid again in memory, and charged once.
	if _, err := l.Debit(t.Context(), d); err != nil {
		t.Error(err)
	}
	if got, err := l.Debit(t.Context(), credits.Debit{Account: acme, Amount: 2}); err != nil || len(got.Op) != 36 || got.Op[14] != '7' {
		t.Errorf("an id of the library's: %+v, %v", got, err)
	}
	r.close(l)
	if got := r.totals(); got.Consumed != 25 {
		t.Errorf("%+v", got)
	}
	if got := r.run(d); !got.Replayed {
		t.Errorf("through the store: %+v", got)
	}
}

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

// Whatever way it takes, the last credit is spent once, by somebody, and nobody
// is refused for good while an instance has what it asks for.
func TestLesseesAndDirectCallersSpendToExactlyZero(t *testing.T) {
	const issued = 20_000
	r := newLeaseRig(t, issued)
	lessees := []*credits.Lessee{r.lessee(credits.LesseeOptions{Instances: 2}), r.lessee(credits.LesseeOptions{Instances: 2})}
	var answered, ids atomic.Int64
	spender := func(debit func(context.Context, credits.Debit) (credits.Receipt, error), key string) {
		for misses := 0; misses < 3; {
			d := credits.Debit{Account: acme, ID: credits.OpID(fmt.Sprint("x", ids.Add(1))), Amount: 1 + credits.Amount(ids.Load()%3), Key: key}
			_, err := debit(t.Context(), d)
			denied, _ := errors.AsType[*credits.DeniedError](err)
			switch {
			case err == nil:
				answered.Add(int64(d.Amount))
			case denied == nil:
				t.Error(err)
				return
			case !denied.Transient && d.Amount == 1:
				misses++
			}
		}
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	for i, l := range lessees {
		for range 2 {
			all.Go(func() { spender(l.Debit, fmt.Sprint("k", i)) })
		}
	}
	all.Go(func() { spender(r.Debit, "") })
	var flusher sync.WaitGroup
	flusher.Go(func() {
		for {
			for _, l := range lessees {
				if err := l.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	all.Wait()
	close(done)
	flusher.Wait()
	for _, l := range lessees {
		r.close(l)
	}
	if got := r.totals(); got.Consumed != issued || got.Available != 0 || answered.Load() != issued {
		t.Errorf("%d were answered: %+v", answered.Load(), got)
	}
}

// Leases of others stand between a caller and the credits: it is told to wait, the
// others are recalled, and then it gets them, under the same id.
func TestARecallFreesWhatAnotherInstanceHas(t *testing.T) {
	r := newLeaseRig(t, 1000)
	var turns turnLog
	a := r.lessee(credits.LesseeOptions{Instances: 1, Observer: &turns})
	b := r.lessee(credits.LesseeOptions{Instances: 1})
	r.warm(a)
	free := r.totals().Available
	if free >= 980 {
		t.Fatal("nothing is leased")
	}
	r.add(time.Second)
	big := debit("big", 980)
	_, err := b.Debit(t.Context(), big)
	denied, ok := errors.AsType[*credits.DeniedError](err)
	if !ok || !denied.Transient || denied.Source != credits.SourceLeases || denied.ClearsAt.IsZero() || denied.ClearsAt.After(r.now().Add(time.Minute)) {
		t.Fatalf("%+v, %v", denied, err)
	}
	r.flush(a)
	if !turns.has(credits.LeaseRecalled) {
		t.Errorf("%v", turns.kinds)
	}
	if _, err := b.Debit(t.Context(), big); err != nil {
		t.Error(err)
	}
	// What is refused for good stays refused.
	_, err = b.Debit(t.Context(), debit("more", 1))
	if denied, ok := errors.AsType[*credits.DeniedError](err); !ok || denied.Transient {
		t.Errorf("%v", err)
	}
	r.close(a)
	r.close(b)
}

// What this instance has itself is given back before anybody is refused.
func TestALesseeIsNotRefusedForWhatItHasItself(t *testing.T) {
	r := newLeaseRig(t, 1000)
	l := r.lessee(credits.LesseeOptions{Instances: 1})
	r.warm(l)
	for _, key := range []string{"k", "m"} {
		for i := range 20 {
			d := debit(credits.OpID(fmt.Sprint(key, i)), 1)
			d.Key = key
			if _, err := l.Debit(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := l.Debit(t.Context(), debit("all", 940)); err != nil {
		t.Fatal(err)
	}
	r.close(l)
	if got := r.totals(); got.Consumed != 1000 {
		t.Errorf("%+v", got)
	}
}

// Near the end leases are not worth it any more, and after a grant they are.
func TestDirectNearZeroAndLeasedAgain(t *testing.T) {
	r := newLeaseRig(t, 300)
	var turns turnLog
	l := r.lessee(credits.LesseeOptions{Observer: &turns})
	for i := range 60 {
		r.pay(l, fmt.Sprint("a", i, "-"), 5, 1)
		r.flush(l)
	}
	if got := r.totals(); got.Consumed != 300 || got.Leased != 0 {
		t.Errorf("%+v", got)
	}
	if !turns.has(credits.LeaseDirect) {
		t.Errorf("%v", turns.kinds)
	}
	r.run(grant("g2", 100_000))
	r.add(time.Minute)
	turns.forget()
	r.pay(l, "b", 20, 1)
	if !turns.has(credits.LeaseTaken) {
		t.Errorf("%v", turns.kinds)
	}
	r.close(l)
}

// A store that is away costs nothing that was answered.
func TestAStoreThatIsAway(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	wire := &wire{Lessor: credits.LessorOf(r.Ledger)}
	l, err := credits.NewLesseeOf(wire, &credits.LesseeOptions{Flush: credits.ManualFlush, Now: r.now, MaxUnsettled: 60})
	if err != nil {
		t.Fatal(err)
	}
	r.warm(l)
	wire.down.Store(true)
	r.pay(l, "a", 4, 1)
	for range 2 {
		if err := l.Flush(t.Context()); kerrors.CodeOf(err) != kerrors.Unavailable {
			t.Errorf("%v", err)
		}
	}
	paid := 0
	for i := range 100 { // memory is bounded
		if _, err := l.Debit(t.Context(), debit(credits.OpID(fmt.Sprint("b", i)), 0)); err == nil {
			paid++
		}
	}
	if spends, _ := l.Unsettled(); spends != 60 || paid == 100 {
		t.Errorf("%d spends in memory, %d of 100 were paid", spends, paid)
	}
	if err := l.Close(t.Context()); kerrors.CodeOf(err) != kerrors.Unavailable {
		t.Errorf("%v", err)
	}
	r.add(time.Hour)
	wire.down.Store(false)
	r.close(l)
	if got := r.totals(); got.Consumed != 24 {
		t.Errorf("%+v", got)
	}
}

// An answer that is lost leaves nothing behind.
func TestAnAcquisitionWhoseAnswerIsLost(t *testing.T) {
	for name, arrives := range map[string]bool{"it arrived": true, "it did not": false} {
		r := newLeaseRig(t, 100_000)
		wire := &wire{Lessor: credits.LessorOf(r.Ledger)}
		l, err := credits.NewLesseeOf(wire, &credits.LesseeOptions{Flush: credits.ManualFlush, Now: r.now, TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		wire.loseAcquisition, wire.arrives = true, arrives
		r.pay(l, "a", 5, 1)
		if arrives == (r.totals().Leased == 0) {
			t.Errorf("%s: %+v", name, r.totals())
		}
		err = l.Close(t.Context())
		if known := err == nil; known != arrives || !known && kerrors.CodeOf(err) != kerrors.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
		r.idle()
		r.add(2 * time.Minute) // nothing that is sent is under way so long
		r.close(l)
	}
}

// A flush that comes while a lease is made, and before its owner knows, leaves the
// lease alone: closing it would close what is spent from next.
func TestAFlushWhileALeaseIsMade(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	wire := &wire{Lessor: credits.LessorOf(r.Ledger)}
	l, err := credits.NewLesseeOf(wire, &credits.LesseeOptions{Flush: credits.ManualFlush, Now: r.now})
	if err != nil {
		t.Fatal(err)
	}
	wire.made = func() { r.flush(l) }
	r.warm(l)
	r.close(l)
	if got := r.totals(); got.Consumed != 20 {
		t.Errorf("%+v", got)
	}
}

func TestTheOwnerIsHeardAfterALapse(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	var turns turnLog
	l := r.lessee(credits.LesseeOptions{Observer: &turns})
	r.warm(l)
	r.add(time.Hour) // nobody flushed
	if got := r.totals(); got.Suspense == 0 {
		t.Fatalf("%+v", got)
	}
	r.flush(l)
	r.idle()
	if got := r.totals(); got.Consumed != 20 {
		t.Errorf("%+v", got)
	}
	r.close(l)
}

// An operator was faster: the observer hears of every answer that has no credits.
func TestWhatAnOperatorGaveAwayIsTold(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	var turns turnLog
	l := r.lessee(credits.LesseeOptions{Observer: &turns})
	r.warm(l)
	spends, _ := l.Unsettled()
	r.add(time.Hour)
	for i, o := range r.snapshot(acme).Ops {
		if o.Kind == credits.KindLease {
			if _, err := r.ResolveLease(t.Context(), resolve(credits.OpID(fmt.Sprint("r", i)), o.ID, credits.BucketAvailable)); err != nil {
				t.Error(err)
			}
		}
	}
	r.flush(l)
	if got := turns.count(credits.LeaseRefused); got != int(spends) || spends == 0 {
		t.Errorf("%d of %d spends were told as refused", got, spends)
	}
	r.close(l)
}

func TestNewLesseeReportsEveryFault(t *testing.T) {
	r := newLeaseRig(t, 1)
	if _, err := credits.NewLessee(nil, nil); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Error(err)
	}
	_, err := credits.NewLessee(r.Ledger, &credits.LesseeOptions{
		Owner: "a\x00", Instances: -1, Least: -1, MaxUnsettled: -1, Workers: -1, Flush: time.Millisecond, TTL: 25 * time.Hour, Margin: 26 * time.Hour,
	})
	for _, part := range []string{"Owner", "Instances is -1", "Least is -1", "MaxUnsettled is -1", "Workers is -1", "Flush is 1ms", "TTL is 25h", "Margin is 26h"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	l := r.lessee(credits.LesseeOptions{})
	for _, err := range []error{
		second(l.Debit(t.Context(), credits.Debit{ID: "x"})), second(l.Debit(t.Context(), debit("@x", 1))), second(l.Debit(t.Context(), debit("x", -1))),
		second(l.Hold(t.Context(), hold("", 1))), second(l.Capture(t.Context(), capture("", 1))), second(l.Release(t.Context(), release(""))),
		second(l.Extend(t.Context(), credits.Extend{Account: acme})),
	} {
		if kerrors.CodeOf(err) != kerrors.Invalid {
			t.Error(err)
		}
	}
	for _, err := range []error{
		second(l.Capture(t.Context(), capture("x", 1))), second(l.Release(t.Context(), release("x"))),
		second(l.Extend(t.Context(), credits.Extend{Account: acme, Hold: "x"})),
	} {
		if !errors.Is(err, credits.ErrNotFound) {
			t.Error(err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// The goroutine settles by itself, and Close ends it.
func TestALesseeFlushesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Grant(t.Context(), grant("g", 100_000)); err != nil {
			t.Fatal(err)
		}
		s, err := credits.NewLessee(l, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			for range 20 {
				if _, err := s.Debit(t.Context(), credits.Debit{Account: acme, Amount: 1}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			time.Sleep(time.Second + time.Millisecond) //nolint:forbidigo // the bubble's clock
			synctest.Wait()
			if spends, _ := s.Unsettled(); spends != 0 {
				t.Errorf("%d spends are not settled after a flush", spends)
			}
		}
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock: idle leases go back
		if b, err := l.Balance(t.Context(), acme); err != nil || b.Consumed != 100 || b.Leased != 0 || b.Suspense != 0 {
			t.Errorf("%+v, %v", b, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAFlushThatFailsIsToldAndMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Grant(t.Context(), grant("g", 100_000)); err != nil {
			t.Fatal(err)
		}
		var turns turnLog
		wire := &wire{Lessor: credits.LessorOf(ledger)}
		l, err := credits.NewLesseeOf(wire, &credits.LesseeOptions{Observer: &turns})
		if err != nil {
			t.Fatal(err)
		}
		leaseRig{&rig{t: t}}.pay(l, "a", 20, 1)
		flushed := func() int64 {
			time.Sleep(time.Second + time.Millisecond) //nolint:forbidigo // the bubble's clock
			synctest.Wait()
			spends, _ := l.Unsettled()
			return spends
		}
		wire.down.Store(true)
		if spends := flushed(); spends == 0 || !turns.has(credits.LeaseUnsettled) {
			t.Errorf("%d spends are not settled; the observer heard %v", spends, turns.kinds)
		}
		wire.down.Store(false)
		turns.forget()
		if spends := flushed(); spends != 0 || turns.has(credits.LeaseUnsettled) {
			t.Errorf("%d spends are not settled; the observer heard %v", spends, turns.kinds)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if b, err := ledger.Balance(t.Context(), acme); err != nil || b.Consumed != 20 || b.Leased != 0 {
			t.Errorf("%+v, %v", b, err)
		}
	})
}

// turnLog is an observer that remembers.
type turnLog struct {
	mu    sync.Mutex
	kinds []credits.LeaseTurnKind
}

func (o *turnLog) LeaseTurned(_ context.Context, t credits.LeaseTurn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kinds = append(o.kinds, t.Kind)
}

func (o *turnLog) count(k credits.LeaseTurnKind) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, x := range o.kinds {
		if x == k {
			n++
		}
	}
	return n
}

func (o *turnLog) has(k credits.LeaseTurnKind) bool { return o.count(k) > 0 }

func (o *turnLog) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kinds = nil
}

// wire is a lessor that can be away, and lose answers.
type wire struct {
	credits.Lessor
	down            atomic.Bool
	loseAcquisition bool   // the next one's answer
	arrives         bool   // it reaches the ledger all the same
	made            func() // called when a lease is made, before its owner knows
}

var errDown = &kerrors.Error{Code: kerrors.Unavailable, Msg: "nobody answers"}

func (w *wire) AcquireLease(ctx context.Context, a credits.AcquireLease) (credits.LeaseReceipt, error) {
	if w.down.Load() {
		return credits.LeaseReceipt{}, errDown
	}
	if w.loseAcquisition {
		w.loseAcquisition = false
		if w.arrives {
			_, _ = w.Lessor.AcquireLease(ctx, a)
		}
		return credits.LeaseReceipt{}, errDown
	}
	r, err := w.Lessor.AcquireLease(ctx, a)
	if w.made != nil {
		w.made()
	}
	return r, err
}

func (w *wire) SettleLease(ctx context.Context, s credits.SettleLease) (credits.LeaseReceipt, error) {
	if w.down.Load() {
		return credits.LeaseReceipt{}, errDown
	}
	return w.Lessor.SettleLease(ctx, s)
}

func (w *wire) Pay(ctx context.Context, d credits.Debit) (credits.Receipt, error) {
	if w.down.Load() {
		return credits.Receipt{}, errDown
	}
	return w.Lessor.Pay(ctx, d)
}

func TestTheSlogObserverOfLeases(t *testing.T) {
	var out strings.Builder
	o := credits.NewSlogLeaseObserver(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	o.LeaseTurned(t.Context(), credits.LeaseTurn{Kind: credits.LeaseTaken, Account: acme, Key: "k", Lease: "l", Amount: credits.Credit})
	o.LeaseTurned(t.Context(), credits.LeaseTurn{Kind: credits.LeaseLapsed, Account: acme, Lease: "l"})
	o.LeaseTurned(t.Context(), credits.LeaseTurn{Kind: credits.LeaseRefused, Account: acme, Lease: "l", Spend: "x", Err: errDown})
	want := `level=INFO msg="credit lease" turn=taken account=acme key=k lease=l amount=1
level=WARN msg="credit lease" turn=lapsed account=acme lease=l
level=ERROR msg="credit lease" turn=refused account=acme lease=l spend=x error="nobody answers"
`
	if out.String() != want {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
	credits.NewSlogLeaseObserver(nil).LeaseTurned(t.Context(), credits.LeaseTurn{})
	if got := credits.LeaseTurnKind(99).String(); got != "lease_turn(99)" {
		t.Error(got)
	}
}
