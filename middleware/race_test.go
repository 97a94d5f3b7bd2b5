package middleware_test

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

// together runs n calls at once and counts their statuses.
func (h *house) together(n int, handler http.Handler, edit ...func(*http.Request)) map[int]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			w := h.call(handler, edit...)
			mu.Lock()
			defer mu.Unlock()
			statuses[w.Code]++
		})
	}
	close(start)
	wg.Wait()
	return statuses
}

func TestRaceForTheLastCredits(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(37) // seven calls, and 2 left over
	got := h.together(64, h.gate.Handler(priced())(says(200)), bearer(h.key("image:generate")))
	// Credits that a running call holds do not come back, because every call here succeeds.
	if got[200] != 7 || got[402] != 57 {
		t.Errorf("statuses %v, want 7 of 200 and 57 of 402", got)
	}
	h.spent(35, 0)
}

func TestRaceForTheLastRequests(t *testing.T) {
	h := build(t, blueprint{})
	op := open()
	owner := perMinute("owner", 9)
	owner.Subject = middleware.PerOwner
	op.Limits = []middleware.Limit{perMinute("key", 11), owner}
	got := h.together(64, h.gate.Handler(op)(says(200)), bearer(h.key("")))
	if got[200] != 9 || got[429] != 55 {
		t.Errorf("statuses %v, want 9 of 200 and 55 of 429", got)
	}
}

// Every way a call can end, many at once: the account adds up to the credit.
func TestRaceOfAllEndings(t *testing.T) {
	h := build(t, blueprint{})
	const n = 512
	h.grant(5 * n)
	var charged atomic.Int64
	var turn atomic.Int64
	handler := h.gate.Handler(middleware.Operation{Name: "mixed", Scopes: scopes.None(), Price: middleware.Fixed(5 * credits.Credit)})(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, _ := middleware.PassFrom(r.Context())
			switch turn.Add(1) % 5 {
			case 0:
				charged.Add(5)
			case 1:
				w.WriteHeader(500)
			case 2:
				charged.Add(2)
				if err := p.Charge(2 * credits.Credit); err != nil {
					t.Error(err)
				}
			case 3:
				panic(http.ErrAbortHandler)
			case 4:
				charged.Add(5)
				w.WriteHeader(200)
				panic(http.ErrAbortHandler)
			}
		}))
	safe := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { _ = recover() }()
		handler.ServeHTTP(w, r)
	})
	h.together(n, safe, bearer(h.key("")))
	h.spent(credits.Amount(charged.Load()), 0)
	if !h.totals().Balanced() {
		t.Errorf("totals %+v do not add up", h.totals())
	}
}

// Whatever states, counts, hands over and ends a call at once, also after it has
// ended: what the ledger has consumed is what was told, nothing stays held, and a
// hold is settled by one of the pass and the job.
func TestRaceToSettle(t *testing.T) {
	for _, leased := range []bool{false, true} {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		var h *house
		closing := func() {}
		if leased {
			l := lease(t, 10_000, priced(), nil)
			h, closing = l.house, func() { must(t, l.leases.Close(t.Context())) }
		} else {
			h = build(t, blueprint{})
			h.grant(10_000)
		}
		var charged credits.Amount
		for range 100 {
			p, metered := h.admit(priced()), random.IntN(2) == 0
			handed := make(chan middleware.Hold, 4)
			race := []func(){func() { must(t, p.End(t.Context(), good())) }}
			for n := range 4 {
				switch choice := random.IntN(3); {
				case choice == 0:
					race = append(race, func() { _ = p.Charge(credits.Amount(n) * credits.Credit) })
				case metered:
					race = append(race, func() {
						for range 4 {
							_ = p.Meter().Add(t.Context(), 2*credits.Credit)
						}
					})
				default:
					race = append(race, func() {
						if job, err := p.Detach(t.Context()); err == nil {
							handed <- job
						} else if errors.CodeOf(err) != errors.Conflict {
							t.Error(err)
						}
					})
				}
			}
			var wg sync.WaitGroup
			for _, f := range race {
				wg.Go(f)
			}
			wg.Wait()
			all := h.journal.settlements()
			settled := all[len(all)-1]
			charged += settled.Charged
			if len(handed) == 0 {
				continue
			}
			_, err := (<-handed).Capture(t.Context(), h.ledger, 3*credits.Credit)
			if charged += 3 * credits.Credit; err != nil || settled.Charged != 0 {
				t.Errorf("handed over, and settled %+v: %v", settled, err)
			}
		}
		closing()
		if got := h.totals(); got.Consumed != charged || got.Held != 0 {
			t.Errorf("leases %v, seed %d: %+v, want %v consumed", leased, seed, got, charged)
		}
	}
}
