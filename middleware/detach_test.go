package middleware_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// However the handler ends, a hold that was detached is left to who has its value.
func TestDetachedHoldOutlivesEveryEnding(t *testing.T) {
	for _, tt := range endings {
		if tt.charges {
			continue
		}
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(protocol+"/"+tt.name, func(t *testing.T) {
				h := build(t, blueprint{})
				h.grant(10)
				var text []byte
				h.exchange(t, protocol, priced(), func(w http.ResponseWriter, r *http.Request) {
					p, _ := middleware.PassFrom(r.Context())
					job, err := p.Detach(r.Context())
					if err != nil {
						t.Error(err)
					}
					again, err := p.Detach(r.Context())
					if err != nil || again != job {
						t.Errorf("detached again: %+v, %v", again, err)
					}
					text, err = json.Marshal(job)
					if err != nil {
						t.Error(err)
					}
					tt.handler(w, r)
				})
				h.spent(0, 5)
				if got := h.settlement(); got.Action != middleware.Keep || got.Charged != 0 || got.Ending != tt.ending || got.Err != nil {
					t.Errorf("settled %+v", got)
				}
				var job middleware.Hold
				must(t, json.Unmarshal(text, &job))
				for range 2 { // a retry replays
					r, err := job.Capture(t.Context(), h.ledger, 4*credits.Credit)
					if err != nil || r.Amount != 4*credits.Credit {
						t.Errorf("captured %v, %v", r.Amount, err)
					}
				}
				h.spent(4, 0)
				if _, err := job.Release(t.Context(), h.ledger); !errors.Is(err, credits.ErrSettled) {
					t.Errorf("released after it was captured: %v", err)
				}
			})
		}
	}
}

func TestDetachedHoldIsReleasedExtendedOrTimesOut(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.HoldTTL = time.Minute }})
	h.grant(10)
	p := h.admit(priced())
	job, err := p.Detach(t.Context())
	must(t, err)
	must(t, p.End(t.Context(), good()))
	if _, err := job.Capture(t.Context(), h.ledger, 6*credits.Credit); !errors.Is(err, credits.ErrOverHold) {
		t.Errorf("more than the hold: %v", err)
	}
	r, err := job.Extend(t.Context(), h.ledger, time.Hour)
	must(t, err)
	if !r.Deadline.Equal(h.clock.now().Add(time.Hour)) {
		t.Errorf("extended to %v", r.Deadline)
	}
	h.clock.add(30 * time.Minute)
	h.spent(0, 5)
	_, err = job.Release(t.Context(), h.ledger)
	must(t, err)
	h.spent(0, 0)

	lost, err := h.admit(priced()).Detach(t.Context())
	must(t, err)
	h.spent(0, 5)
	h.clock.add(time.Minute)
	h.spent(0, 0)
	if _, err := lost.Capture(t.Context(), h.ledger, 1); !errors.Is(err, credits.ErrTimedOut) {
		t.Errorf("captured after its time-out: %v", err)
	}
}

// Where a call costs nothing there is nothing to hand over, and a job need not know.
func TestDetachOfAFreeCall(t *testing.T) {
	h := build(t, blueprint{})
	p := h.admit(open())
	job, err := p.Detach(t.Context())
	if err != nil || job != (middleware.Hold{}) {
		t.Fatalf("detached %+v, %v", job, err)
	}
	_, err = job.Capture(t.Context(), h.ledger, 0)
	must(t, err)
	_, err = job.Extend(t.Context(), h.ledger, time.Hour)
	must(t, err)
	_, err = job.Release(t.Context(), h.ledger)
	must(t, err)
	if _, err := job.Capture(t.Context(), h.ledger, 1); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("charging what was not held: %v", err)
	}
	must(t, p.End(t.Context(), good()))
	if s := h.settlement(); s.Hold != "" || s.Err != nil {
		t.Errorf("settled %+v", s)
	}
}

// A hold has one master: who charges, meters or ends a call does not hand it over,
// and who handed it over does not charge or meter.
func TestDetachChargeAndMeterExcludeEachOther(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	conflict := func(what string, err error) {
		t.Helper()
		if errors.CodeOf(err) != errors.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	p := h.admit(priced())
	must(t, p.Charge(credits.Credit))
	_, err := p.Detach(t.Context())
	conflict("detach after a charge", err)
	must(t, p.End(t.Context(), good()))
	h.spent(1, 0)
	_, err = p.Detach(t.Context())
	conflict("detach after the end", err)

	p = h.admit(priced())
	must(t, p.Meter().Add(t.Context(), 2*credits.Credit))
	_, err = p.Detach(t.Context())
	conflict("detach of a metered call", err)
	must(t, p.Meter().Add(t.Context(), credits.Credit)) // which stays one
	must(t, p.End(t.Context(), good()))
	h.spent(4, 0)

	p = h.admit(priced())
	job, err := p.Detach(t.Context())
	must(t, err)
	conflict("charge after detach", p.Charge(0))
	conflict("meter after detach", p.Meter().Add(t.Context(), 1))
	must(t, p.End(t.Context(), good()))
	h.spent(4, 5)
	_, err = job.Release(t.Context(), h.ledger)
	must(t, err)
}

// Of a Charge, or a Detach, and an End at once either the one is carried out as it
// says, or it is refused with Conflict and the ending decides.
func TestEndRacesChargeAndDetach(t *testing.T) {
	h := build(t, blueprint{})
	const n = 2000
	h.grant(5 * n)
	route, err := h.gate.Route(priced())
	must(t, err)
	token := h.key("image:generate").Secret.Reveal()
	var want credits.Amount
	stated, handed := 0, 0
	for i := range n {
		p, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: token})
		must(t, err)
		var wg sync.WaitGroup
		var mine error
		var job middleware.Hold
		start := make(chan struct{})
		wg.Go(func() {
			<-start
			if i%2 == 0 {
				mine = p.Charge(2 * credits.Credit)
			} else {
				job, mine = p.Detach(t.Context())
			}
		})
		wg.Go(func() {
			<-start
			if err := p.End(t.Context(), good()); err != nil {
				t.Error(err)
			}
		})
		close(start)
		wg.Wait()
		switch {
		case mine == nil && i%2 == 0:
			want += 2
			stated++
		case mine == nil:
			_, err := job.Capture(t.Context(), h.ledger, 3*credits.Credit)
			must(t, err)
			want += 3
			handed++
		case errors.CodeOf(mine) == errors.Conflict:
			want += 5
		default:
			t.Fatal(mine)
		}
	}
	t.Logf("of %d: %d stated, %d handed over, before the end", n, stated, handed)
	h.spent(want, 0)
}
