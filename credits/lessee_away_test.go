package credits_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

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
		wire := &wire{Lessor: credits.LessorOf(ledger), settlements: make(chan struct{}, 100)}
		l, err := credits.NewLesseeOf(wire, &credits.LesseeOptions{Observer: &turns})
		if err != nil {
			t.Fatal(err)
		}
		leaseRig{&rig{t: t}}.pay(l, "a", 20, 1)
		flushed := func() int64 {
			wire.next()
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

// wire is a lessor that can be away, and lose answers.
type wire struct {
	credits.Lessor
	down            atomic.Bool
	loseAcquisition bool          // the next one's answer
	arrives         bool          // it reaches the ledger all the same
	made            func()        // called when a lease is made, before its owner knows
	settlements     chan struct{} // told of each settlement that is sent, before its answer; nil: nobody listens
}

// next waits in a bubble of package synctest until the lessee settles by itself
// and has taken in the answers.
func (w *wire) next() {
	<-w.settlements
	synctest.Wait()
	for len(w.settlements) > 0 { // of the same flush
		<-w.settlements
	}
}

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
	if w.settlements != nil {
		w.settlements <- struct{}{}
	}
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
