package middleware_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// A long stream outlives the TTL of its holds, as long as it is not silent for
// half of it, and at the ledger's bound on the life of a hold it holds anew.
func TestMeterKeepsTheHoldsOfALongStream(t *testing.T) {
	h := build(t, blueprint{
		options: func(o *middleware.Options) { o.HoldTTL = 10 * time.Minute },
		ledger:  &credits.Options{MaxHoldTTL: 10 * time.Minute, MaxHoldLife: time.Hour},
	})
	h.grant(1000)
	p := h.admit(priced())
	m := p.Meter()
	for i := range 60 {
		h.clock.add(5 * time.Minute)
		if err := m.Add(t.Context(), credits.Amount(i%3)*credits.Credit); err != nil {
			t.Fatalf("after %d times 5 minutes: %v", i+1, err)
		}
	}
	must(t, p.End(t.Context(), good()))
	h.spent(60, 0)
	if s := h.settlement(); s.Err != nil {
		t.Error(s.Err)
	}
}

// What the first hold of a stream that fell silent could not pay, since it has timed
// out, is charged to a later one as far as that has room.
func TestMeterChargesLaterHoldsForOneThatTimedOut(t *testing.T) {
	for _, tt := range []struct{ counted, charged credits.Amount }{{7, 7}, {13, 10}} {
		h := build(t, blueprint{options: func(o *middleware.Options) { o.HoldTTL = time.Minute }})
		h.grant(100)
		p := h.admit(priced())
		h.clock.add(20 * time.Second)
		must(t, p.Meter().Add(t.Context(), tt.counted*credits.Credit)) // the second hold is of 10
		h.clock.add(50 * time.Second)
		if err := p.End(t.Context(), good()); (err == nil) != (tt.counted == tt.charged) {
			t.Errorf("counted %d: %v", tt.counted, err)
		}
		h.spent(tt.charged, 0)
		if s := h.settlement(); s.Asked != tt.counted*credits.Credit || s.Charged != tt.charged*credits.Credit {
			t.Errorf("settled %+v", s)
		}
	}
}

// What a silent stream let time out is held anew before anything more is counted,
// and when it cannot be, the stream stops.
func TestMeterHoldsAnewWhatHasTimedOut(t *testing.T) {
	for _, broke := range []bool{false, true} {
		h := build(t, blueprint{options: func(o *middleware.Options) { o.HoldTTL = time.Minute }})
		h.grant(12)
		p := h.admit(priced())
		m := p.Meter()
		must(t, m.Add(t.Context(), 4*credits.Credit))
		h.clock.add(2 * time.Minute)
		if broke {
			_, err := h.ledger.Debit(t.Context(), credits.Debit{Account: account, ID: "other", Amount: 9 * credits.Credit})
			must(t, err)
		}
		err := m.Add(t.Context(), credits.Credit)
		if broke != errors.Is(err, credits.ErrInsufficient) {
			t.Errorf("broke %t: %v", broke, err)
		}
		must(t, p.End(t.Context(), good()))
		if broke {
			h.spent(9, 0)
			if s := h.settlement(); s.Asked != 4*credits.Credit || s.Charged != 0 {
				t.Errorf("settled %+v; want 4 asked for and nothing charged", s)
			}
		} else {
			h.spent(5, 0)
		}
	}
}

// A ledger that is down in mid-stream stops the stream when it is needed: nothing
// is counted that is not held, and what was counted is charged when it is back.
func TestMeterWhenTheLedgerIsDown(t *testing.T) {
	for _, after := range []bool{false, true} {
		var down breaker
		h := build(t, blueprint{
			credits: func(s credits.Store) credits.Store { return brokenCredits{s, &down} },
			options: func(o *middleware.Options) { o.HoldTTL = time.Minute },
		})
		h.grant(100)
		p := h.admit(priced())
		m := p.Meter()
		down.before.Store(!after)
		down.after.Store(after)
		must(t, m.Add(t.Context(), 5*credits.Credit)) // which is held
		if err := m.Add(t.Context(), 1); errors.CodeOf(err) != errors.Unavailable || !errors.Is(err, errDown) {
			t.Errorf("counting what is not held: %v", err)
		}
		if got := m.Used(); got != 5*credits.Credit {
			t.Errorf("%v counted", got)
		}
		h.clock.add(31 * time.Second)
		if err := m.Add(t.Context(), 0); err != nil && !after {
			t.Errorf("half of the TTL is left: %v", err)
		}
		down.before.Store(false)
		down.after.Store(false)
		must(t, m.Add(t.Context(), 2*credits.Credit))
		must(t, p.End(t.Context(), good()))
		h.spent(7, 0)
	}
}

// When the ledger does not answer until the holds are over, the stream stops.
func TestMeterDoesNotOutliveItsHolds(t *testing.T) {
	var down breaker
	h := build(t, blueprint{
		credits: func(s credits.Store) credits.Store { return brokenCredits{s, &down} },
		options: func(o *middleware.Options) { o.HoldTTL = time.Minute },
	})
	h.grant(100)
	p := h.admit(priced())
	m := p.Meter()
	down.before.Store(true)
	for _, tt := range []struct {
		at   time.Duration
		want errors.Code
	}{{29 * time.Second, errors.Unknown}, {31 * time.Second, errors.Unknown}, {59 * time.Second, errors.Unknown}, {time.Minute, errors.Unavailable}} {
		start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		h.clock.add(start.Add(tt.at).Sub(h.clock.now()))
		if err := m.Add(t.Context(), credits.Credit); (err == nil) != (tt.want == errors.Unknown) || err != nil && errors.CodeOf(err) != tt.want {
			t.Errorf("after %v: %v", tt.at, err)
		}
	}
	if m.Used() != 3*credits.Credit {
		t.Errorf("%v counted", m.Used())
	}
}

// The ledger's clock and the gate's may be apart: the holds are put off in time, and
// no oftener than twice as often.
func TestMeterWithClocksApart(t *testing.T) {
	for _, apart := range []time.Duration{-time.Hour, -29 * time.Second, 0, 29 * time.Second, time.Hour} {
		store := &counted{}
		h := build(t, blueprint{
			credits: func(s credits.Store) credits.Store { store.Store = s; return store },
			options: func(o *middleware.Options) {
				now := o.Now
				o.HoldTTL, o.Now = time.Minute, func() time.Time { return now().Add(apart) }
			},
		})
		h.grant(10)
		p := h.admit(priced())
		if apart.Abs() == time.Hour {
			h.clock.add(40 * time.Second) // before there is a meter
		}
		m := p.Meter()
		before := store.trips.Load()
		for range 120 {
			h.clock.add(5 * time.Second)
			must(t, m.Add(t.Context(), 0))
		}
		if n, held := h.open(); n != 1 || held != 5*credits.Credit {
			t.Errorf("%v apart: %d holds of %v", apart, n, held)
		}
		if trips := store.trips.Load() - before; trips < 10 || trips > 45 {
			t.Errorf("%v apart: %d trips in 10 minutes", apart, trips)
		}
		must(t, m.Add(t.Context(), 3*credits.Credit))
		must(t, p.End(t.Context(), good()))
		h.spent(3, 0)
	}
}
