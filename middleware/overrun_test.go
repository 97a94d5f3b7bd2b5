package middleware_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// What is stated beyond the hold is charged as the operation says: not, as far as
// there are credits, or as a debt, which refuses the next call until it is paid.
func TestOverrun(t *testing.T) {
	for _, tt := range []struct {
		name           string
		overrun        credits.Overrun
		debt           credits.Amount
		stated         credits.Amount
		code           errors.Code
		consumed, owed credits.Amount
		next           int
	}{
		{"refused", credits.OverrunRefused, 0, 9, errors.Insufficient, 5, 0, 200},
		{"capped, with enough", credits.OverrunCapped, 0, 9, errors.Unknown, 9, 0, 402},
		{"capped, to the last", credits.OverrunCapped, 0, 30, errors.Unknown, 10, 0, 402},
		{"debt", credits.OverrunDebt, 100, 30, errors.Unknown, 30, 20, 402},
		{"debt beyond its limit", credits.OverrunDebt, 7, 30, errors.Unknown, 5, 0, 200},
		{"less than the hold", credits.OverrunDebt, 7, 3, errors.Unknown, 3, 0, 200},
	} {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(protocol+"/"+tt.name, func(t *testing.T) {
				h := build(t, blueprint{})
				h.grant(10)
				op := priced()
				op.Overrun, op.DebtLimit = tt.overrun, tt.debt*credits.Credit
				h.exchange(t, protocol, op, func(w http.ResponseWriter, r *http.Request) {
					if err := charge(tt.stated*credits.Credit)(w, r); errors.CodeOf(err) != tt.code {
						t.Errorf("stated %d: %v", tt.stated, err)
					}
				})
				h.spent(tt.consumed, 0)
				if got := h.totals().Debt; got != tt.owed*credits.Credit {
					t.Errorf("%v owed, want %d", got, tt.owed)
				}
				if got := h.settlement(); got.Asked != tt.stated*credits.Credit || got.Charged != tt.consumed*credits.Credit || got.Err != nil {
					t.Errorf("settled %+v", got)
				}
				if w := h.call(h.gate.Handler(op)(says(200)), bearer(h.key("image:generate"))); w.Code != tt.next {
					t.Errorf("the next call: status %d, want %d", w.Code, tt.next)
				}
			})
		}
	}
}

// A job that took over a hold charges by the same terms, and a metered call's last
// hold has them too.
func TestOverrunOfJobsAndMeters(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	op := priced()
	op.Overrun, op.DebtLimit = credits.OverrunDebt, 50*credits.Credit
	p := h.admit(op)
	job, err := p.Detach(t.Context())
	must(t, err)
	must(t, p.End(t.Context(), good()))
	r, err := job.Capture(t.Context(), h.ledger, 20*credits.Credit)
	if err != nil || r.Amount != 20*credits.Credit {
		t.Errorf("captured %v, %v", r.Amount, err)
	}
	p = h.admit(op)
	must(t, p.Meter().Add(t.Context(), 12*credits.Credit))
	must(t, p.Charge(90*credits.Credit))
	must(t, p.End(t.Context(), good()))
	h.spent(110, 0)
	if got := h.totals().Debt; got != 10*credits.Credit {
		t.Errorf("%v owed, want 10", got)
	}
}

// Beyond a hold that is none there is nothing to charge, whatever the terms.
func TestOverrunOfAPriceOfZero(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	op := priced()
	op.Overrun, op.DebtLimit = credits.OverrunDebt, 50*credits.Credit
	op.Price = middleware.Quoted(func(*http.Request) (credits.Amount, error) { return 0, nil })
	h.exchange(t, "h1", op, func(w http.ResponseWriter, r *http.Request) {
		if err := charge(credits.Credit)(w, r); errors.CodeOf(err) != errors.Insufficient {
			t.Errorf("charged without a hold: %v", err)
		}
	})
	h.spent(0, 0)
}

// A hold that timed out while the work went on is charged when the operation says so.
func TestLateSettlement(t *testing.T) {
	for _, late := range []credits.Late{credits.LateRefused, credits.LateCharged} {
		h := build(t, blueprint{options: func(o *middleware.Options) { o.HoldTTL = time.Minute }})
		h.grant(10)
		op := priced()
		op.Late = late
		h.call(h.gate.Handler(op)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { h.clock.add(time.Hour) })), bearer(h.key("image:generate")))
		if s := h.settlement(); late == credits.LateCharged && (s.Err != nil || s.Charged != 5*credits.Credit) || late == credits.LateRefused && (!errors.Is(s.Err, credits.ErrTimedOut) || s.Charged != 0) {
			t.Errorf("late %d: settled %+v", late, s)
		}
		h.spent(5*credits.Amount(late), 0)
	}
}

func TestOverrunIsChecked(t *testing.T) {
	h := build(t, blueprint{})
	op := priced()
	op.Overrun, op.DebtLimit, op.Late = 9, -1, 9
	free := open()
	free.Late = credits.LateCharged
	for want, op := range map[string]middleware.Operation{
		"Overrun is 9": op, "DebtLimit is -0.000001; give 0": op, "without OverrunDebt": op, "Late is 9": op, "the operation is free": free,
	} {
		if err := h.gate.Check(op); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	_, err := h.gate.Route(priced())
	must(t, err)
	other := priced()
	other.Overrun = credits.OverrunCapped
	if _, err := h.gate.Route(other); err == nil {
		t.Error("two operations of one name and different Overrun")
	}
}
