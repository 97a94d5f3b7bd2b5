package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// A process that dies between the charge and the keeping of the answer leaves a
// claim that is taken over after its lease: the work is done again, and paid once,
// however often that happens.
func TestIdemDiedBetweenChargeAndAnswerIsChargedOnce(t *testing.T) {
	for _, deaths := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(deaths), func(t *testing.T) {
			d := newDesk(t, blueprint{})
			handler, issued := d.numbered(once()), d.key("image:generate")
			ask := func() reply { return seen(d.call(handler, bearer(issued), idemKey("k"), posting("a cat"))) }
			for n := range deaths {
				d.store.finish.before.Store(true)
				if got := ask(); got.status != 201 || got.body != fmt.Sprintf("run %d of a cat", n+1) || got.replayed() {
					t.Fatalf("try %d: %+v", n, got)
				}
				d.store.finish.before.Store(false)
				if w := d.call(handler, bearer(issued), idemKey("k"), posting("a cat")); w.Code != 409 {
					t.Errorf("while the lease lasts: %d", w.Code)
				}
				if w := d.call(handler, bearer(issued), idemKey("k"), posting("a dog")); w.Code != 422 {
					t.Errorf("another request: %d", w.Code)
				}
				d.clock.add(claimLease)
			}
			if got := ask(); got.status != 201 || got.replayed() {
				t.Errorf("the last: %+v", got)
			}
			if got := ask(); !got.replayed() || got.body != fmt.Sprintf("run %d of a cat", deaths+1) {
				t.Errorf("the replay: %+v", got)
			}
			d.ran(int64(deaths + 1))
			d.spent(5, 0)
		})
	}
}

// One that dies before the charge leaves a hold: whoever takes over gives it back.
func TestIdemDiedBeforeTheChargeLeavesNothingHeld(t *testing.T) {
	var ledger breaker
	d := newDesk(t, blueprint{credits: func(s credits.Store) credits.Store { return brokenCredits{s, &ledger} }})
	issued := d.key("image:generate")
	handler := d.handler(once(), func(http.ResponseWriter, *http.Request) {
		if d.runs.Load() == 1 { // it dies: nothing that follows reaches a store
			ledger.before.Store(true)
			d.store.finish.before.Store(true)
		}
	})
	d.call(handler, bearer(issued), idemKey("k"))
	ledger.before.Store(false)
	d.store.finish.before.Store(false)
	d.spent(0, 5)
	d.clock.add(claimLease)
	if w := d.call(handler, bearer(issued), idemKey("k")); w.Code != 200 {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	d.ran(2)
	d.spent(5, 0)
}

// Of attempts that died in different ways, the one that was paid is found.
func TestIdemTheAttemptThatWasPaidIsFound(t *testing.T) {
	for _, deaths := range []string{"-+", "--+", "-+-", "+--"} { // + was paid, - died before that
		t.Run(deaths, func(t *testing.T) {
			var ledger breaker
			d := newDesk(t, blueprint{credits: func(s credits.Store) credits.Store { return brokenCredits{s, &ledger} }})
			issued := d.key("image:generate")
			handler := d.handler(once(), func(http.ResponseWriter, *http.Request) {
				if n := int(d.runs.Load()); n <= len(deaths) {
					ledger.before.Store(deaths[n-1] == '-')
					d.store.finish.before.Store(true)
				}
			})
			for range deaths {
				d.call(handler, bearer(issued), idemKey("k"))
				ledger.before.Store(false)
				d.store.finish.before.Store(false)
				d.clock.add(claimLease)
			}
			if w := seen(d.call(handler, bearer(issued), idemKey("k"))); w.status != 200 || w.replayed() {
				t.Errorf("%+v", w)
			}
			d.ran(int64(len(deaths) + 1))
			d.spent(5, 0)
		})
	}
}

// A hold that a lease would pay is the ledger's own for a call that another process
// may have to take over.
func TestIdemHoldsAreTheLedgersOwn(t *testing.T) {
	var leases *credits.Lessee
	d := newDesk(t, blueprint{options: func(o *middleware.Options) {
		var err error
		leases, err = credits.NewLessee(o.Credits, &credits.LesseeOptions{Flush: credits.ManualFlush, Now: o.Now})
		must(t, err)
		o.Leases = leases
	}})
	issued := d.key("image:generate")
	handler := d.handler(once(), func(_ http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		hold, held := p.Hold()
		_, err := d.ledger.Op(r.Context(), account, hold.ID)
		switch keyed := r.Header.Get("Idempotency-Key") != ""; {
		case keyed && d.runs.Load() == 21 && (!held || err != nil):
			t.Errorf("the ledger does not know %v: %v", hold, err)
		case !keyed && d.runs.Load() == 20 && err == nil:
			t.Error("no lease was made")
		}
	})
	for range 20 {
		d.call(handler, bearer(issued))
	}
	d.store.finish.before.Store(true)
	d.call(handler, bearer(issued), idemKey("k"))
	d.store.finish.before.Store(false)
	d.clock.add(claimLease)
	d.call(handler, bearer(issued), idemKey("k"))
	d.ran(22)
	must(t, leases.Close(t.Context()))
	d.spent(21*5, 0)
}

// A run that is free because the one before it was paid stays so when it fails.
func TestIdemAFreeRunThatFailsLeavesTheNextFree(t *testing.T) {
	d := newDesk(t, blueprint{})
	issued := d.key("image:generate")
	handler := d.handler(once(), func(w http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		if n := d.runs.Load(); n == 2 || n == 3 {
			if err := p.Meter().Add(r.Context(), credits.Credit); err != nil || p.Meter().Used() != 0 {
				t.Errorf("metered again: %v, %v", err, p.Meter().Used())
			}
			if err := p.Charge(3 * credits.Credit); err != nil {
				t.Errorf("stated again: %v", err)
			}
			w.WriteHeader(500)
		}
	})
	d.store.finish.before.Store(true)
	d.call(handler, bearer(issued), idemKey("k"))
	d.store.finish.before.Store(false)
	d.clock.add(claimLease)
	for _, want := range []int{500, 500, 200, 200} {
		if w := d.call(handler, bearer(issued), idemKey("k")); w.Code != want {
			t.Errorf("status %d, want %d: %s", w.Code, want, w.Body)
		}
		d.clock.add(time.Millisecond) // what a failed run leaves of its lease
	}
	d.ran(4)
	d.spent(5, 0)
}

// Of two that run because the first outlived its lease, one is paid.
func TestIdemOutlivedLeaseIsChargedOnce(t *testing.T) {
	late := once()
	late.Late, late.HoldTTL = credits.LateCharged, claimLease/2 // charged although the hold has timed out
	metered := renamed(late, "metered")
	for name, op := range map[string]middleware.Operation{"a hold": once(), "one that is over": late, "a meter": metered} {
		t.Run(name, func(t *testing.T) { outlivesItsLease(t, op) })
	}
}

func outlivesItsLease(t *testing.T, op middleware.Operation) {
	t.Helper()
	d := newDesk(t, blueprint{})
	issued := d.key("image:generate")
	began, goOn := make(chan struct{}), make(chan struct{})
	handler := d.handler(op, func(w http.ResponseWriter, r *http.Request) {
		first := d.runs.Load() == 1
		if op.Name == "metered" {
			p, _ := middleware.PassFrom(r.Context())
			must(t, p.Meter().Add(r.Context(), 5*credits.Credit))
		}
		if first {
			close(began)
			<-goOn
			_, _ = io.WriteString(w, "slow")
			return
		}
		_, _ = io.WriteString(w, "second")
	})
	var first reply
	var wg sync.WaitGroup
	wg.Go(func() { first = seen(d.call(handler, bearer(issued), idemKey("k"))) })
	<-began
	d.clock.add(claimLease)
	second := seen(d.call(handler, bearer(issued), idemKey("k")))
	close(goOn)
	wg.Wait()
	if first.body != "slow" || second.body != "second" {
		t.Errorf("first %+v, second %+v", first, second)
	}
	if got := d.lastSettled(); got.Kept != middleware.KeptNothing || !errors.Is(got.Err, idempotency.ErrLost) {
		t.Errorf("the one that lost its claim: %+v", got)
	}
	if again := seen(d.call(handler, bearer(issued), idemKey("k"))); again.body != "second" || !again.replayed() {
		t.Errorf("again %+v", again)
	}
	d.spent(5, 0)
}

// While one runs, the others are told to wait.
func TestIdemRunningIsToldToWait(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			d := newDesk(t, blueprint{})
			issued := d.key("image:generate")
			began, goOn := make(chan struct{}), make(chan struct{})
			s, client := serve(t, protocol, d.handler(once(), func(http.ResponseWriter, *http.Request) {
				close(began)
				<-goOn
			}))
			var wg sync.WaitGroup
			wg.Go(func() { send(t, client, "POST", s.URL, "", bearer(issued), idemKey("k")) })
			<-began
			got := send(t, client, "POST", s.URL, "", bearer(issued), idemKey("k"))
			if got.status != 409 || got.header.Get("Retry-After") != "1" || !strings.Contains(got.body, "request_in_progress") {
				t.Errorf("%+v", got)
			}
			d.spent(0, 5)
			close(goOn)
			wg.Wait()
			if got := send(t, client, "POST", s.URL, "", bearer(issued), idemKey("k")); got.status != 200 || !got.replayed() {
				t.Errorf("%+v", got)
			}
			d.ran(1)
			d.spent(5, 0)
		})
	}
}

// A store that fails closes the operation for requests with the field: 503, nothing
// is held and nothing stays claimed.
func TestIdemAStoreThatFailsClosesTheGate(t *testing.T) {
	d := newDesk(t, blueprint{})
	op := once()
	op.Limits = []middleware.Limit{perMinute("minute", 3)}
	handler, issued := d.numbered(op), d.key("image:generate")
	d.store.claim.before.Store(true)
	w := d.call(handler, bearer(issued), idemKey("k"))
	if w.Header().Get("Retry-After") != "1" {
		t.Errorf("header %v", w.Header())
	}
	refused(t, w, 503, "unavailable")
	if strings.Contains(w.Body.String(), "db-7") {
		t.Errorf("the store's error is told: %s", w.Body)
	}
	if got := d.journal.last(); got.Verdict != middleware.VerdictStoreError || !errors.Is(got.Err, errDown) {
		t.Errorf("decision %+v", got)
	}
	if w := d.call(handler, bearer(issued)); w.Code != 201 {
		t.Errorf("without the field: %d", w.Code)
	}
	d.store.claim.before.Store(false)
	if w := d.call(handler, bearer(issued), idemKey("k")); w.Code != 201 || w.Header().Get("RateLimit") != `"minute";r=1;t=60` {
		t.Errorf("afterwards: %d, %v", w.Code, w.Header())
	}
	// What was claimed although the store said no stands in nobody's way.
	d.store.claim.once.Store(true)
	refused(t, d.call(handler, bearer(issued), idemKey("l")), 503, "unavailable")
	d.clock.add(time.Millisecond)
	if w := d.call(handler, bearer(issued), idemKey("l")); w.Code != 201 {
		t.Errorf("after a claim whose answer was lost: %d %s", w.Code, w.Body)
	}
	d.spent(15, 0)
}

func TestIdemASlowStoreIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, blueprint{}, func(o *middleware.IdempotencyOptions) { o.Timeout = 300 * time.Millisecond })
		handler, issued := d.numbered(once()), d.key("image:generate")
		d.store.claim.slow.Store(true)
		began := time.Now()
		refused(t, d.call(handler, bearer(issued), idemKey("k")), 503, "unavailable")
		if took := time.Since(began); took > 600*time.Millisecond {
			t.Errorf("it took %v, want no more than twice the time-out", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := d.call(handler, bearer(issued), idemKey("k"), func(r *http.Request) { *r = *r.WithContext(ctx) })
		refused(t, w, 503, "canceled")
		d.store.claim.slow.Store(false)
		d.spent(0, 0)
		if w := d.call(handler, bearer(issued), idemKey("k")); w.Code != 201 {
			t.Errorf("afterwards: %d", w.Code)
		}
		// And one that is slow to keep the answer does not keep the client for long.
		d.store.finish.slow.Store(true)
		began = time.Now()
		if w := d.call(handler, bearer(issued), idemKey("l")); w.Code != 201 {
			t.Errorf("status %d", w.Code)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v, want no more than SettleTimeout", took)
		}
		if got := d.lastSettled(); got.Kept != middleware.KeptNothing || !errors.Is(got.Err, context.DeadlineExceeded) || got.Charged != 5*credits.Credit {
			t.Errorf("settled %+v", got)
		}
	})
}

// An answer that cannot be kept goes out all the same, and the Observer is told.
func TestIdemKeepingFailsAfterTheAnswer(t *testing.T) {
	d := newDesk(t, blueprint{})
	handler, issued := d.numbered(once()), d.key("image:generate")
	d.store.finish.before.Store(true)
	got := seen(d.call(handler, bearer(issued), idemKey("k")))
	if got.status != 201 || got.body != "run 1 of " {
		t.Errorf("%+v", got)
	}
	if s := d.lastSettled(); !errors.Is(s.Err, errDown) || s.Kept != middleware.KeptNothing || s.Charged != 5*credits.Credit {
		t.Errorf("settled %+v", s)
	}
	d.store.finish.before.Store(false)

	// One that did keep it, and whose answer was lost, is asked again or not: both do.
	d.store.finish.once.Store(true)
	d.call(handler, bearer(issued), idemKey("l"))
	if again := seen(d.call(handler, bearer(issued), idemKey("l"))); !again.replayed() {
		t.Errorf("%+v", again)
	}
	// A claim that cannot be given up ends with its lease.
	d.store.abandon.before.Store(true)
	broke := once()
	broke.Name = "broke"
	fails := d.handler(broke, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	d.call(fails, bearer(issued), idemKey("m"))
	if s := d.lastSettled(); !errors.Is(s.Err, errDown) {
		t.Errorf("settled %+v", s)
	}
	refused(t, d.call(fails, bearer(issued), idemKey("m")), 409, "request_in_progress")
	d.clock.add(claimLease)
	if w := d.call(fails, bearer(issued), idemKey("m")); w.Code != 500 {
		t.Errorf("status %d", w.Code)
	}
}

// A store that is full refuses newcomers, and forgets nothing that was answered.
func TestIdemAFullStore(t *testing.T) {
	d := newDesk(t, blueprint{}, func(o *middleware.IdempotencyOptions) {
		small, err := idempotency.NewMemoryStore(&idempotency.MemoryOptions{MaxBytes: 2000})
		must(t, err)
		o.Store = small
	})
	issued := d.key("image:generate")
	op := once()
	handler := d.handler(op, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 900)) })
	ask := func(key string) reply { return seen(d.call(handler, bearer(issued), idemKey(key))) }
	ask("a")
	ask("b") // has no room for its answer besides the first
	if s := d.lastSettled(); s.Kept != middleware.KeptOpaque || s.Err != nil {
		t.Errorf("settled %+v", s)
	}
	if got := ask("b"); got.status != 409 {
		t.Errorf("%+v", got)
	}
	var full bool
	for i := range 5 {
		got := ask(fmt.Sprint(i))
		full = full || got.status == 503
	}
	if !full {
		t.Error("the store never was full")
	}
	if got := ask("a"); !got.replayed() {
		t.Errorf("%+v", got)
	}
}

// What cannot be read is not guessed.
func TestIdemACorruptAnswerIsNotGiven(t *testing.T) {
	d := newDesk(t, blueprint{}, func(o *middleware.IdempotencyOptions) { o.Store = corrupting{o.Store} })
	handler, issued := d.numbered(once()), d.key("image:generate")
	d.call(handler, bearer(issued), idemKey("k"))
	refused(t, d.call(handler, bearer(issued), idemKey("k")), 503, "unavailable")
	if got := d.journal.last(); errors.CodeOf(got.Err) != errors.Corrupt {
		t.Errorf("decision %+v", got)
	}
	d.ran(1)
}

type corrupting struct{ idempotency.Store }

func (s corrupting) Finish(ctx context.Context, key idempotency.Key, token idempotency.Token, answer []byte, keep time.Duration) error {
	answer[len(answer)/2] ^= 1
	return s.Store.Finish(ctx, key, token, answer, keep)
}
