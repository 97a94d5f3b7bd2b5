package middleware_test

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// overtaken calls op under one Idempotency-Key, and again, when the first has
// outlived its lease, at the point where it calls again. It returns what each of
// them was told.
func (d *desk) overtaken(issued apikey.Issued, op func(again func()) http.Handler) (first, second reply) {
	d.Helper()
	overtakes := true
	var handler http.Handler
	handler = op(func() {
		if overtakes {
			overtakes = false
			d.clock.add(claimLease)
			second = seen(d.call(handler, bearer(issued), idemKey("k")))
		}
	})
	first = seen(d.call(handler, bearer(issued), idemKey("k")))
	return first, second
}

// slowUnits is an operation that calls again when it counts, before its hold.
func slowUnits(again func()) middleware.Operation {
	op := once()
	op.Unit, op.Price = "images", middleware.PerUnit(5*credits.Credit)
	op.Units = func(*http.Request) (int64, error) { again(); return 1, nil }
	return op
}

// Who outlives its lease before there is a hold that somebody could release is given
// the answer of who took over, and neither works nor is charged.
func TestIdemOutlivedBeforeTheHold(t *testing.T) {
	d := newDesk(t, blueprint{})
	first, second := d.overtaken(d.key("image:generate"), func(again func()) http.Handler { return d.numbered(slowUnits(again)) })
	if second.status != 201 || second.replayed() {
		t.Errorf("the second: %+v", second)
	}
	if first.status != 201 || !first.replayed() || first.body != second.body {
		t.Errorf("the first: %+v", first)
	}
	d.ran(1)
	d.spent(5, 0)
}

// When who took over could not do it either, the first still can, unless there was
// another before it, of whom nothing is known any more.
func TestIdemOutlivedBeforeTheHoldAndNobodyDidIt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before int64 // who died
		first  int
	}{{"the first", 0, 200}, {"the second", 1, 409}} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, blueprint{})
			issued := d.key("image:generate")
			var handler http.Handler
			operation := func(op middleware.Operation) http.Handler {
				return d.handler(op, func(w http.ResponseWriter, _ *http.Request) {
					if d.runs.Load() <= tt.before+1 {
						w.WriteHeader(500)
					}
				})
			}
			if tt.before > 0 {
				d.store.abandon.before.Store(true)
				d.call(operation(slowUnits(func() {})), bearer(issued), idemKey("k"))
				d.store.abandon.before.Store(false)
				d.clock.add(claimLease)
			}
			first, second := d.overtaken(issued, func(again func()) http.Handler {
				handler = operation(slowUnits(again))
				return handler
			})
			if first.status != tt.first || second.status != 500 {
				t.Errorf("the first: %+v, the second: %+v", first, second)
			}
			got := seen(d.call(handler, bearer(issued), idemKey("k")))
			if got.status != 200 || got.replayed() != (tt.first == 200) {
				t.Errorf("afterwards: %+v", got)
			}
			d.ran(tt.before + 2)
			d.spent(5, 0)
		})
	}
}

// metered counts n credits, by holds of which the first is of 2.
func metered(d *desk, n credits.Amount, counted func()) http.Handler {
	op := once()
	op.Price, op.HoldTTL = middleware.Fixed(2*credits.Credit), 4*claimLease
	return d.handler(op, func(w http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		must(d, p.Meter().Add(r.Context(), n*credits.Credit))
		counted()
		_, _ = io.WriteString(w, "done")
	})
}

// Of two metered calls that run because the first outlived its lease, one is
// charged: none of the holds of the other, those among it that its meter has made.
func TestIdemOutlivedMeterIsChargedOnce(t *testing.T) {
	d := newDesk(t, blueprint{})
	first, second := d.overtaken(d.key("image:generate"), func(again func()) http.Handler { return metered(d, 7, again) })
	if first.status != 200 || second.status != 200 {
		t.Errorf("the first: %+v, the second: %+v", first, second)
	}
	d.ran(2)
	d.spent(7, 0)
}

// A metered call whose process dies between charge and answer is not charged again
// by who takes it over, even when it was a later hold that was charged.
func TestIdemMeterIsFoundByItsLaterHolds(t *testing.T) {
	for name, price := range map[string]middleware.Price{
		"the first has timed out": middleware.Fixed(2 * credits.Credit),
		"there was no first":      middleware.Quoted(func(*http.Request) (credits.Amount, error) { return 0, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, blueprint{})
			issued := d.key("image:generate")
			op := once()
			op.Price, op.HoldTTL = price, claimLease/2
			handler := d.handler(op, func(_ http.ResponseWriter, r *http.Request) {
				p, _ := middleware.PassFrom(r.Context())
				must(t, p.Meter().Add(r.Context(), credits.Credit))
				d.clock.add(claimLease / 2)
				must(t, p.Meter().Add(r.Context(), 6*credits.Credit))
			})
			d.store.finish.before.Store(true)
			d.call(handler, bearer(issued), idemKey("k"))
			d.spent(7, 0)
			d.store.finish.before.Store(false)
			d.clock.add(claimLease)
			if got := d.call(handler, bearer(issued), idemKey("k")); got.Code != 200 {
				t.Errorf("status %d: %s", got.Code, got.Body)
			}
			d.ran(2)
			d.spent(7, 0)
		})
	}
}

// A metered call that dies leaves holds, and gaps between them where the ledger could
// not tell whether it made one. Who takes over finds them all; a meter that has met
// as many gaps as that makes no more.
func TestIdemHoldsBehindGapsAreFound(t *testing.T) {
	for gaps, held := range map[int]credits.Amount{0: 6, 2: 6, 3: 2} {
		t.Run(strconv.Itoa(gaps), func(t *testing.T) {
			var ledger breaker
			d := newDesk(t, blueprint{credits: func(s credits.Store) credits.Store { return brokenCredits{s, &ledger} }})
			issued := d.key("image:generate")
			op := once()
			op.Price, op.HoldTTL = middleware.Fixed(2*credits.Credit), 4*claimLease
			var last error
			handler := d.handler(op, func(_ http.ResponseWriter, r *http.Request) {
				if d.runs.Load() > 1 {
					return
				}
				p, _ := middleware.PassFrom(r.Context())
				ledger.before.Store(true)
				for range gaps {
					if err := p.Meter().Add(r.Context(), 3*credits.Credit); err == nil {
						t.Error("an undecided hold is counted")
					}
				}
				ledger.before.Store(false)
				last = p.Meter().Add(r.Context(), 3*credits.Credit)
				ledger.before.Store(true) // it dies: nothing is heard of its end
				d.store.finish.before.Store(true)
			})
			d.call(handler, bearer(issued), idemKey("k"))
			if refused := errors.CodeOf(last) == errors.Unavailable; refused != (gaps == 3) || !refused && last != nil {
				t.Errorf("after %d gaps: %v", gaps, last)
			}
			ledger.before.Store(false)
			d.store.finish.before.Store(false)
			d.spent(0, held)
			d.clock.add(claimLease)
			if got := d.call(handler, bearer(issued), idemKey("k")); got.Code != 200 {
				t.Errorf("status %d: %s", got.Code, got.Body)
			}
			d.spent(2, 0)
		})
	}
}

// A store of answers that hangs at the end takes no time from the ledger.
func TestIdemHangingStoreIsCharged(t *testing.T) {
	d := newDesk(t, blueprint{options: func(o *middleware.Options) { o.SettleTimeout = time.Minute }}, func(o *middleware.IdempotencyOptions) { o.Timeout = time.Millisecond })
	op := once()
	op.Late = credits.LateCharged
	d.call(d.handler(op, func(http.ResponseWriter, *http.Request) { d.store.claim.slow.Store(true) }), bearer(d.key("image:generate")), idemKey("k"))
	d.spent(5, 0)
	if got := d.lastSettled(); got.Err != nil || got.Kept != middleware.KeptAnswer {
		t.Errorf("settled %+v", got)
	}
}

// What was kept under another profile does not speak for the gate that gives it
// again.
func TestIdemReplayUnderAnotherProfile(t *testing.T) {
	d := newDesk(t, blueprint{})
	issued := d.key("image:generate")
	op := once()
	op.Limits = []middleware.Limit{perMinute("minute", 100)}
	says := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "the handler's own")
		w.Header().Set("X-Key", "the handler's own")
		w.Header().Set("X-Other", "kept")
	}
	d.call(d.handler(op, says), bearer(issued), idemKey("k"))
	later, err := middleware.NewGate(d.keys, &middleware.Options{
		Credits: d.ledger, Now: d.clock.now, Idempotency: &middleware.IdempotencyOptions{Store: d.store},
		Profile: middleware.Profile{
			Fields:      middleware.LegacyFields(middleware.FieldReset),
			Credentials: []middleware.Location{middleware.Bearer(), middleware.Header("X-Key")},
		},
	})
	must(t, err)
	got := seen(d.call(later.Handler(op)(http.NotFoundHandler()), bearer(issued), idemKey("k")))
	if !got.replayed() || got.header.Get("X-RateLimit-Limit") != "100" || got.header.Get("X-Key") != "" || got.header.Get("X-Other") != "kept" {
		t.Errorf("%+v", got)
	}
}
