package middleware_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// admit lets a new key pass an operation.
func (h *house) admit(op middleware.Operation) *middleware.Pass {
	h.Helper()
	return h.begin(op, h.key("image:generate"))
}

// good is the outcome of a call that went well.
func good() middleware.Outcome {
	return middleware.Outcome{Status: 200, Completed: true, Wrote: true}
}

// open returns how many holds of the account are open, and what they hold.
func (h *house) open() (n int, held credits.Amount) {
	h.Helper()
	page, err := h.ledger.Holds(context.Background(), credits.ListQuery{Account: account})
	must(h, err)
	for _, o := range page.Ops {
		n, held = n+1, held+o.Amount
	}
	return n, held
}

// settlement returns the one settlement there was.
func (h *house) settlement() middleware.Settled {
	h.Helper()
	all := h.journal.settlements()
	if len(all) != 1 {
		h.Fatalf("%d settlements, want 1", len(all))
	}
	return all[0]
}

// What is counted beyond the price is held in sizes that double, so that a long
// stream makes few holds, and exactly what was counted is charged.
func TestMeterHoldsInDoublingSizes(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10_000)
	p := h.admit(priced())
	m := p.Meter()
	if m != p.Meter() {
		t.Error("a pass has two meters")
	}
	for range 4000 {
		must(t, m.Add(t.Context(), credits.Credit))
	}
	// 5, 10, 20 ... 2560: the first to pass 4000 in all.
	if n, held := h.open(); n != 10 || held != 5115*credits.Credit {
		t.Errorf("%d holds of %v, want 10 of 5115", n, held)
	}
	must(t, p.End(t.Context(), good()))
	h.spent(4000, 0)
	s := h.settlement()
	if s.Charged != 4000*credits.Credit || s.Asked != s.Charged || s.Held != 5115*credits.Credit || s.Action != middleware.Capture || s.Hold == "" {
		t.Errorf("settled %+v", s)
	}
	if n, _ := h.open(); n != 0 {
		t.Errorf("%d holds stay open", n)
	}
	if err := m.Add(t.Context(), 0); errors.CodeOf(err) != errors.Conflict {
		t.Errorf("counting after the end: %v", err)
	}
}

// Sums are exact when 64 goroutines count at once, in amounts that do not divide
// what is held.
func TestMeterCountsExactlyUnderRaces(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100_000)
	p := h.admit(priced())
	m := p.Meter()
	var sum atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 50 {
				amount := credits.Amount(i*j%17)*credits.Credit + 3
				if err := m.Add(t.Context(), amount); err != nil {
					t.Error(err)
				}
				sum.Add(int64(amount))
			}
		})
	}
	wg.Wait()
	if n, _ := h.open(); n > 16 {
		t.Errorf("%d holds for one call", n)
	}
	must(t, p.End(t.Context(), good()))
	if got := h.totals(); got.Consumed != credits.Amount(sum.Load()) || got.Held != 0 || !got.Balanced() {
		t.Errorf("%v were counted, totals %+v", credits.Amount(sum.Load()), got)
	}
}

// 64 goroutines race for the last credits of an account: what was accepted is
// what there was and what is charged, to the credit.
func TestMetersRaceForTheLastCredits(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(337)
	passes := []*middleware.Pass{h.admit(priced()), h.admit(priced())}
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		m := passes[i%len(passes)].Meter()
		wg.Go(func() {
			for {
				switch err := m.Add(t.Context(), credits.Credit); {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, credits.ErrInsufficient):
					return
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, p := range passes {
		must(t, p.End(t.Context(), good()))
	}
	if accepted.Load() != 337 {
		t.Errorf("%d accepted, want all 337", accepted.Load())
	}
	h.spent(credits.Amount(accepted.Load()), 0)
}

// A stream that runs into the end of its account stops, over the wire too, and
// pays for what was accepted and nothing more.
func TestMeterStopsTheStreamWhereTheCreditsEnd(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			h := build(t, blueprint{})
			h.grant(12)
			body, _ := h.exchange(t, protocol, priced(), func(w http.ResponseWriter, r *http.Request) {
				p, _ := middleware.PassFrom(r.Context())
				for {
					if err := p.Meter().Add(r.Context(), credits.Credit); err != nil {
						if n, _ := h.open(); n != 2 {
							t.Errorf("%d holds for the last of the credits, want 2", n)
						}
						if denied, ok := errors.AsType[*credits.DeniedError](err); !ok || denied.Available != 0 || errors.CodeOf(err) != errors.Insufficient {
							t.Errorf("refused with %v", err)
						}
						return
					}
					_, _ = io.WriteString(w, "x")
					_ = http.NewResponseController(w).Flush()
				}
			})
			if body != "xxxxxxxxxxxx" {
				t.Errorf("the client got %q, want 12 pieces", body)
			}
			h.spent(12, 0)
			if got := h.settlement(); got.Ending != middleware.EndSuccess || got.Charged != 12*credits.Credit {
				t.Errorf("settled %+v", got)
			}
		})
	}
}

// However a metered call ends, what was counted is charged: 0 too.
func TestMeterWinsOverTheEnding(t *testing.T) {
	meter := func(r *http.Request, n credits.Amount) {
		p, _ := middleware.PassFrom(r.Context())
		if err := p.Meter().Add(r.Context(), n*credits.Credit); err != nil {
			panic(err)
		}
	}
	for _, tt := range []struct {
		name     string
		handler  http.HandlerFunc
		ending   middleware.Ending
		consumed credits.Amount
	}{
		{"200", func(_ http.ResponseWriter, r *http.Request) { meter(r, 7) }, middleware.EndSuccess, 7},
		{"less than the price", func(_ http.ResponseWriter, r *http.Request) { meter(r, 2) }, middleware.EndSuccess, 2},
		{"an explicit 0", func(_ http.ResponseWriter, r *http.Request) { meter(r, 0) }, middleware.EndSuccess, 0},
		{"nothing counted", func(_ http.ResponseWriter, r *http.Request) { p, _ := middleware.PassFrom(r.Context()); p.Meter() }, middleware.EndSuccess, 0},
		{"202", func(w http.ResponseWriter, r *http.Request) { meter(r, 7); w.WriteHeader(202) }, middleware.EndAccepted, 7},
		{"400", func(w http.ResponseWriter, r *http.Request) { meter(r, 7); w.WriteHeader(400) }, middleware.EndClientError, 7},
		{"500", func(w http.ResponseWriter, r *http.Request) { meter(r, 7); w.WriteHeader(500) }, middleware.EndServerError, 7},
		{"0 and 200 in the answer", func(w http.ResponseWriter, r *http.Request) { meter(r, 0); w.WriteHeader(200) }, middleware.EndSuccess, 0},
		{"panic", func(_ http.ResponseWriter, r *http.Request) { meter(r, 7); panic(http.ErrAbortHandler) }, middleware.EndPanic, 7},
		{"panic in the answer", func(w http.ResponseWriter, r *http.Request) {
			meter(r, 7)
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, middleware.EndPartialPanic, 7},
		{"a charge after it", func(w http.ResponseWriter, r *http.Request) {
			meter(r, 7)
			_ = charge(9*credits.Credit)(w, r)
		}, middleware.EndSuccess, 9},
		{"a charge before it", func(w http.ResponseWriter, r *http.Request) {
			_ = charge(3*credits.Credit)(w, r)
			meter(r, 7)
		}, middleware.EndSuccess, 3},
		{"a charge of 0 after it", func(w http.ResponseWriter, r *http.Request) {
			meter(r, 7)
			_ = charge(0)(w, r)
		}, middleware.EndSuccess, 0},
		{"a charge over all that is held", func(w http.ResponseWriter, r *http.Request) {
			meter(r, 7)
			if err := charge(16*credits.Credit)(w, r); errors.CodeOf(err) != errors.Insufficient {
				panic(err)
			}
		}, middleware.EndSuccess, 15},
	} {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(protocol+"/"+tt.name, func(t *testing.T) {
				h := build(t, blueprint{})
				h.grant(100)
				h.exchange(t, protocol, priced(), tt.handler)
				h.spent(tt.consumed, 0)
				if got := h.settlement(); got.Ending != tt.ending || got.Charged != tt.consumed*credits.Credit || got.Action != middleware.Capture || got.Err != nil {
					t.Errorf("settled %+v, want %v and %d charged", got, tt.ending, tt.consumed)
				}
			})
		}
	}
}

// A count and an end at once: either the count is charged, or it is refused with
// Conflict and not charged.
func TestMeterRacesTheEnd(t *testing.T) {
	for range 50 {
		h := build(t, blueprint{})
		h.grant(1000)
		p := h.admit(priced())
		m := p.Meter()
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					switch err := m.Add(t.Context(), credits.Credit); {
					case err == nil:
						accepted.Add(1)
					case errors.CodeOf(err) != errors.Conflict:
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			if err := p.End(t.Context(), good()); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		h.spent(credits.Amount(accepted.Load()), 0)
	}
}

// A context that is done refuses only what has to ask the ledger.
func TestMeterHonoursItsContext(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	p := h.admit(priced())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, p.Meter().Add(ctx, 5*credits.Credit)) // it was used, and is held
	if err := p.Meter().Add(ctx, 1); errors.CodeOf(err) != errors.Canceled {
		t.Errorf("a trip with a cancelled context: %v", err)
	}
	must(t, p.End(ctx, good()))
	h.spent(5, 0)
}

func TestMeterRefusesWhatCannotBe(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	free := h.admit(open())
	must(t, free.Meter().Add(t.Context(), 0))
	if err := free.Meter().Add(t.Context(), 1); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("metering a free operation: %v", err)
	}
	must(t, free.End(t.Context(), good()))
	m := h.admit(priced()).Meter()
	if err := m.Add(t.Context(), -1); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("a negative amount: %v", err)
	}
	for _, much := range []credits.Amount{credits.MaxAmount + 1, credits.MaxAmount, 1 << 62, 101 * credits.Credit} {
		if err := m.Add(t.Context(), much); errors.CodeOf(err) != errors.Insufficient {
			t.Errorf("%v: %v", much, err)
		}
	}
	must(t, m.Add(t.Context(), 100*credits.Credit)) // to the last
	if m.Used() != 100*credits.Credit {
		t.Errorf("%v counted", m.Used())
	}
}

// A price that comes to 0 for this very request holds nothing; its meter begins
// with what is counted first.
func TestMeterOfAPriceOfZero(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	op := priced()
	op.Price = middleware.Quoted(func(*http.Request) (credits.Amount, error) { return 0, nil })
	h.exchange(t, "h1", op, func(_ http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		for range 9 {
			must(t, p.Meter().Add(r.Context(), 3*credits.Credit))
		}
		if n, held := h.open(); n != 4 || held != 45*credits.Credit { // 3, 6, 12, 24
			t.Errorf("%d holds of %v", n, held)
		}
	})
	h.spent(27, 0)
	if s := h.settlement(); s.Hold == "" || s.Account != account || s.Charged != 27*credits.Credit {
		t.Errorf("settled %+v", s)
	}
}

// A budget ends a stream as the balance does.
func TestMeterStopsAtABudget(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	_, err := h.ledger.SetBudget(t.Context(), credits.Budget{Account: account, ID: "cap", Amount: 8 * credits.Credit})
	must(t, err)
	p := h.admit(priced())
	n := 0
	for ; err == nil; n++ {
		err = p.Meter().Add(t.Context(), credits.Credit)
	}
	if denied, ok := errors.AsType[*credits.DeniedError](err); !ok || denied.Budget != "cap" || n != 9 {
		t.Errorf("%d counts, then %v; want 8, then the budget", n-1, err)
	}
	must(t, p.End(t.Context(), good()))
	h.spent(8, 0)
}
