package credits_test

import (
	"context"
	"errors"
	"fmt"
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
	_, err = credits.NewLessee(r.Ledger, &credits.LesseeOptions{Instances: 1 << 29, Flush: credits.ManualFlush})
	if err == nil || !strings.Contains(err.Error(), "Instances is 536870912; give 1 to 268435456") {
		t.Error(err)
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
		wire := &wire{Lessor: credits.LessorOf(l), settlements: make(chan struct{}, 100)}
		s, err := credits.NewLesseeOf(wire, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			for range 20 {
				if _, err := s.Debit(t.Context(), credits.Debit{Account: acme, Amount: 1}); err != nil {
					t.Fatal(err)
				}
			}
			wire.next()
			if spends, _ := s.Unsettled(); spends != 0 {
				t.Errorf("%d spends are not settled after a flush", spends)
			}
		}
		for leases := 1; leases > 0; _, leases = s.Unsettled() { // the idle ones go back
			wire.next()
		}
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

var errDown = &kerrors.Error{Code: kerrors.Unavailable, Msg: "nobody answers"}
