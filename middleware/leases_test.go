package middleware_test

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// A leasehold is a house whose operations are paid from leases.
type leasehold struct {
	*house
	leases *credits.Lessee
	store  *counted
	key    apikey.Issued
}

// counted counts the trips that are made to a store to change something.
type counted struct {
	credits.Store
	trips atomic.Int64
}

func (c *counted) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	c.trips.Add(1)
	return c.Store.Update(ctx, needs, fn)
}

// lease builds a house with a lessee whose leases are warm: a call of op is paid
// from memory.
func lease(t *testing.T, amount credits.Amount, op middleware.Operation, o *credits.LesseeOptions) *leasehold {
	t.Helper()
	l := &leasehold{}
	l.house = build(t, blueprint{
		credits: func(s credits.Store) credits.Store { l.store = &counted{Store: s}; return l.store },
		options: func(opt *middleware.Options) {
			if o == nil {
				o = &credits.LesseeOptions{}
			}
			o.Flush, o.Now = credits.ManualFlush, opt.Now
			var err error
			l.leases, err = credits.NewLessee(opt.Credits, o)
			must(t, err)
			opt.Leases = l.leases
		},
	})
	l.grant(amount)
	l.key = l.house.key("image:generate")
	for range 20 {
		must(t, l.admit(op).End(t.Context(), middleware.Outcome{Status: 500, Completed: true}))
	}
	before := l.store.trips.Load()
	must(t, l.admit(op).End(t.Context(), middleware.Outcome{Status: 500, Completed: true}))
	if l.store.trips.Load() != before {
		t.Fatal("no lease was made")
	}
	return l
}

// admit lets the one key pass.
func (l *leasehold) admit(op middleware.Operation) *middleware.Pass {
	l.Helper()
	return l.begin(op, l.key)
}

// close settles and returns everything, after which nothing may be leased.
func (l *leasehold) close(consumed credits.Amount) {
	l.Helper()
	must(l, l.leases.Close(l.Context()))
	if got := l.totals(); got.Leased != 0 || got.Suspense != 0 || !got.Balanced() {
		l.Errorf("after Close: %+v", got)
	}
	l.spent(consumed, 0)
}

// Calls that a lease pays ask no store, however they end, and are settled as
// others are.
func TestLeasesPayAsTheLedgerDoes(t *testing.T) {
	for _, tt := range endings {
		t.Run(tt.name, func(t *testing.T) {
			l := lease(t, 10_000, priced(), nil)
			before := l.store.trips.Load()
			handler := l.gate.Handler(priced())(tt.handler)
			safe := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				done := make(chan struct{})
				go func() { // where a handler may exit its goroutine
					defer close(done)
					defer func() { _ = recover() }()
					handler.ServeHTTP(w, r)
				}()
				<-done
			})
			l.call(safe, bearer(l.key))
			all := l.journal.settlements()
			if got := all[len(all)-1]; got.Ending != tt.ending || got.Charged != tt.consumed*credits.Credit || got.Err != nil {
				t.Errorf("settled %+v, want %v and %d charged", got, tt.ending, tt.consumed)
			}
			want := int64(0)
			if tt.held > 0 {
				want = 1 // to be held where the job will look for it
			}
			if got := l.store.trips.Load() - before; got != want {
				t.Errorf("%d trips to the store, want %d", got, want)
			}
			must(t, l.leases.Close(t.Context()))
			l.spent(tt.consumed, tt.held)
		})
	}
}

// What a lease pays only this process can settle, so a job's hold is made the
// ledger's own: by Detach before the answer, and when a 202 keeps it.
func TestLeasedHoldIsMovedForTheJob(t *testing.T) {
	for _, detach := range []bool{true, false} {
		l := lease(t, 10_000, priced(), nil)
		p := l.admit(priced())
		if l.totals().Held != 0 {
			t.Fatal("the ledger holds what a lease pays")
		}
		job, held := p.Hold()
		if detach {
			got, err := p.Detach(t.Context())
			if err != nil || got != job || !held {
				t.Errorf("detached %+v, %v; want %+v", got, err, job)
			}
			l.spent(0, 5)
		}
		must(t, p.End(t.Context(), middleware.Outcome{Status: 202, Completed: true}))
		must(t, l.leases.Close(t.Context())) // the process ends; the job goes on
		l.spent(0, 5)
		all := l.journal.settlements()
		if got := all[len(all)-1]; got.Action != middleware.Keep || got.Hold != job.ID || got.Err != nil {
			t.Errorf("settled %+v, want the hold %s kept", got, job.ID)
		}
		text, err := json.Marshal(job)
		must(t, err)
		var there middleware.Hold
		must(t, json.Unmarshal(text, &there))
		_, err = there.Capture(t.Context(), l.ledger, 3*credits.Credit)
		must(t, err)
		l.close(3)
	}
}

// When the ledger cannot hold it itself, nothing is handed over, and the pass
// settles its hold as if nobody had asked.
func TestLeasedHoldThatCannotBeMovedStays(t *testing.T) {
	for _, after := range []bool{false, true} { // whether the store fails when it has done its work
		var down breaker
		l := lease(t, 10_000, priced(), nil)
		l.store.Store = brokenCredits{l.store.Store, &down}
		p := l.admit(priced())
		down.before.Store(!after)
		down.after.Store(after)
		if _, err := p.Detach(t.Context()); errors.CodeOf(err) != errors.Unavailable || !errors.Is(err, errDown) {
			t.Errorf("detached without a ledger: %v", err)
		}
		must(t, p.Charge(4*credits.Credit))
		must(t, p.End(t.Context(), good()))
		down.after.Store(false)
		l.spent(0, 0) // what had taken effect all the same was given up

		down.before.Store(true)
		kept := l.admit(priced())
		if err := kept.End(t.Context(), middleware.Outcome{Status: 202, Completed: true}); errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("kept without a ledger: %v", err)
		}
		down.before.Store(false)
		l.close(4)
	}
}

// The answer to a move that was lost on its way is asked for again, and holds once;
// the lease has its own back then.
func TestLostAnswerToAMoveHoldsOnce(t *testing.T) {
	var down breaker
	l := lease(t, 10_000, priced(), nil)
	l.store.Store = brokenCredits{l.store.Store, &down}
	p := l.admit(priced())
	down.once.Store(true)
	job, err := p.Detach(t.Context())
	must(t, err)
	must(t, p.End(t.Context(), good()))
	l.spent(0, 5)
	was := credits.OpID(strings.TrimSuffix(string(job.ID), "/job"))
	if _, err := l.leases.Capture(t.Context(), credits.Capture{Account: account, Hold: was, Amount: 1}); was == job.ID || !errors.Is(err, credits.ErrSettled) {
		t.Errorf("the lease's hold %s after it was moved: %v", was, err)
	}
	_, err = job.Release(t.Context(), l.ledger)
	must(t, err)
	l.close(0)
}

// A metered stream holds from leases too, and is charged to the credit.
func TestMeterFromLeases(t *testing.T) {
	l := lease(t, 10_000, priced(), nil)
	p := l.admit(priced())
	for range 37 {
		must(t, p.Meter().Add(t.Context(), credits.Credit))
	}
	must(t, p.End(t.Context(), good()))
	l.close(37)
}

// Close ends what is still open: a call that outlives it is not charged, and the
// Observer is told. What comes afterwards goes to the ledger.
func TestLeasesClosedBeforeTheCallEnds(t *testing.T) {
	l := lease(t, 10_000, priced(), nil)
	p := l.admit(priced())
	must(t, l.leases.Close(t.Context()))
	if err := p.End(t.Context(), good()); !errors.Is(err, credits.ErrTimedOut) {
		t.Errorf("ended after Close: %v", err)
	}
	l.spent(0, 0)
	must(t, l.admit(priced()).End(t.Context(), good()))
	l.close(5)
}

// A process that dies takes the holds of its leases with it, not what was charged:
// with a journal the next one settles exactly that.
func TestLeasesOfAProcessThatDied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	journal, err := credits.OpenLeaseJournal(path, nil)
	must(t, err)
	l := lease(t, 10_000, priced(), &credits.LesseeOptions{Journal: journal})
	must(t, l.admit(priced()).End(t.Context(), good())) // answered, and not in the ledger yet
	running := l.admit(priced())
	job, err := l.admit(priced()).Detach(t.Context())
	must(t, err)
	l.spent(0, 5)
	must(t, journal.Close()) // the end of the process: nothing more is written

	journal, err = credits.OpenLeaseJournal(path, nil)
	must(t, err)
	defer journal.Close()
	next, err := credits.NewLessee(l.ledger, &credits.LesseeOptions{Flush: credits.ManualFlush, Now: l.clock.now, Journal: journal})
	must(t, err)
	must(t, next.Close(t.Context()))
	l.spent(5, 5)
	if got := l.totals(); got.Leased != 0 || got.Suspense != 0 {
		t.Errorf("after the restart: %+v", got)
	}
	_, err = job.Capture(t.Context(), l.ledger, 2*credits.Credit)
	must(t, err)
	l.spent(7, 0)
	_ = running // whose client was never answered
}

func TestLeasesMustBeOfTheLedger(t *testing.T) {
	one := build(t, blueprint{})
	other := build(t, blueprint{})
	leases, err := credits.NewLessee(other.ledger, &credits.LesseeOptions{Flush: credits.ManualFlush})
	must(t, err)
	for _, ledger := range []*credits.Ledger{one.ledger, nil} {
		_, err = middleware.NewGate(one.keys, &middleware.Options{Credits: ledger, Leases: leases})
		if err == nil || !strings.Contains(err.Error(), "Leases is not a lessee of Credits") {
			t.Errorf("credits %p: %v", ledger, err)
		}
	}
	_, err = middleware.NewGate(other.keys, &middleware.Options{Credits: other.ledger, Leases: leases})
	must(t, err)
}
