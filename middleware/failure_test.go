package middleware_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

var errDown = errors.New("connection refused by db-7.internal")

// A breaker makes a store fail while it is set, before or after the work.
type breaker struct {
	before, after, slow atomic.Bool
	once                atomic.Bool // fail one call, after the work
}

func (b *breaker) around(ctx context.Context, do func() error) error {
	if b.slow.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if b.before.Load() {
		return errDown
	}
	err := do()
	if (b.after.Load() || b.once.Swap(false)) && err == nil {
		return errDown
	}
	return err
}

type brokenKeys struct {
	apikey.Store
	*breaker
}

func (s brokenKeys) ByHandle(ctx context.Context, handle string) (rec apikey.Record, err error) {
	err = s.around(ctx, func() error { rec, err = s.Store.ByHandle(ctx, handle); return err })
	return rec, err
}

type brokenLimits struct {
	ratelimit.Store
	*breaker
}

func (s brokenLimits) Apply(ctx context.Context, req *ratelimit.Request) error {
	return s.around(ctx, func() error { return s.Store.Apply(ctx, req) })
}

type brokenCredits struct {
	credits.Store
	*breaker
}

func (s brokenCredits) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return s.around(ctx, func() error { return s.Store.Update(ctx, needs, fn) })
}

func TestStoresThatFailCloseTheGate(t *testing.T) {
	for _, which := range []string{"keys", "limits", "credits", "credits, after the hold was written"} {
		t.Run(which, func(t *testing.T) {
			var keys, limits, ledger breaker
			h := build(t, blueprint{
				keys:    func(s apikey.Store) apikey.Store { return brokenKeys{s, &keys} },
				limits:  func(s ratelimit.Store) ratelimit.Store { return brokenLimits{s, &limits} },
				credits: func(s credits.Store) credits.Store { return brokenCredits{s, &ledger} },
			})
			h.grant(10)
			op := priced()
			op.Limits = []middleware.Limit{perMinute("minute", 1)}
			ran := 0
			handler := h.gate.Handler(op)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
			issued := h.key("image:generate")
			switch which {
			case "keys":
				keys.before.Store(true)
			case "limits":
				limits.before.Store(true)
			case "credits":
				ledger.before.Store(true)
			default:
				ledger.after.Store(true)
			}
			w := h.call(handler, bearer(issued))
			if got := w.Header().Get("Retry-After"); got != "1" {
				t.Errorf("Retry-After %q, want 1", got)
			}
			if strings.Contains(w.Body.String(), "db-7") {
				t.Errorf("the answer tells of the store: %s", w.Body)
			}
			refused(t, w, 503, "unavailable")
			if ran != 0 {
				t.Error("the handler ran")
			}
			h.spent(0, 0)
			d := h.journal.decisions[len(h.journal.decisions)-1]
			if d.Verdict != middleware.VerdictStoreError || !errors.Is(d.Err, errDown) {
				t.Errorf("the observer was told %v, %v", d.Verdict, d.Err)
			}
			for _, b := range []*breaker{&keys, &limits, &ledger} {
				b.before.Store(false)
				b.after.Store(false)
			}
			// The limit's one unit was not used up.
			if w := h.call(handler, bearer(issued)); w.Code != 200 {
				t.Errorf("status %d when the stores are back", w.Code)
			}
			h.spent(5, 0)
		})
	}
}

// A store that never answers closes the gate after StoreTimeout, whatever time the
// request has, and what the others took is given back.
func TestStoresThatHangCloseTheGate(t *testing.T) {
	for _, which := range []string{"keys", "limits", "credits"} {
		t.Run(which, func(t *testing.T) {
			var keys, limits, ledger breaker
			h := build(t, blueprint{
				keys:    func(s apikey.Store) apikey.Store { return brokenKeys{s, &keys} },
				limits:  func(s ratelimit.Store) ratelimit.Store { return brokenLimits{s, &limits} },
				credits: func(s credits.Store) credits.Store { return brokenCredits{s, &ledger} },
				options: func(o *middleware.Options) { o.StoreTimeout, o.SettleTimeout = time.Millisecond, time.Millisecond },
			})
			h.grant(10)
			op := priced()
			op.Limits = []middleware.Limit{perMinute("minute", 1)}
			handler := h.gate.Handler(op)(says(200))
			issued := h.key("image:generate")
			b := map[string]*breaker{"keys": &keys, "limits": &limits, "credits": &ledger}[which]
			b.slow.Store(true)
			refused(t, h.call(handler, bearer(issued)), 503, "unavailable")
			if err := h.journal.last().Err; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the observer was told %v", err)
			}
			b.slow.Store(false)
			h.spent(0, 0)
			if w := h.call(handler, bearer(issued)); w.Code != 200 { // the limit's one unit was not used up
				t.Errorf("status %d when the store is back", w.Code)
			}
			h.spent(5, 0)
		})
	}
}

// The wait for a limit is as long as the operation says, however short StoreTimeout
// is, and so are the host's own functions.
func TestStoreTimeoutBoundsNoWait(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.StoreTimeout = time.Nanosecond }})
	op := open()
	op.MaxWait = time.Hour
	op.Allow = func(ctx context.Context, _ apikey.Key) error {
		if _, bounded := ctx.Deadline(); bounded {
			t.Error("a function of the host's has the deadline of a store")
		}
		return ctx.Err()
	}
	if w := h.call(h.gate.Handler(op)(says(200)), bearer(h.key(""))); w.Code != 200 {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// A settlement that fails after the answer is told, and the hold ends by itself.
func TestSettlementThatFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		slow bool
	}{{"at once", false}, {"by its time-out", true}} {
		t.Run(tt.name, func(t *testing.T) {
			var down breaker
			h := build(t, blueprint{
				credits: func(s credits.Store) credits.Store { return brokenCredits{s, &down} },
				options: func(o *middleware.Options) { o.SettleTimeout, o.HoldTTL = time.Millisecond, time.Minute },
			})
			h.grant(10)
			handler := h.gate.Handler(priced())(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				down.before.Store(!tt.slow)
				down.slow.Store(tt.slow)
			}))
			if w := h.call(handler, bearer(h.key("image:generate"))); w.Code != 200 {
				t.Fatalf("status %d", w.Code)
			}
			down.before.Store(false)
			down.slow.Store(false)
			s := h.journal.settlements()
			want := errDown
			if tt.slow {
				want = context.DeadlineExceeded
			}
			if len(s) != 1 || !errors.Is(s[0].Err, want) || s[0].Charged != 0 || s[0].Hold == "" || s[0].Action != middleware.Capture {
				t.Fatalf("the observer was told %+v", s)
			}
			h.spent(0, 5)
			h.clock.add(time.Minute)
			h.spent(0, 0)
		})
	}
}

// Without an observer the failure still reaches the program's log.
func TestFailuresAreNeverSilent(t *testing.T) {
	var text strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
	defer slog.SetDefault(before)
	var down breaker
	h := build(t, blueprint{
		credits: func(s credits.Store) credits.Store { return brokenCredits{s, &down} },
		options: func(o *middleware.Options) { o.Observer = nil },
	})
	h.grant(10)
	handler := h.gate.Handler(priced())(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { down.before.Store(true) }))
	issued := h.key("image:generate")
	h.call(handler, bearer(issued))
	if !strings.Contains(text.String(), "gate settlement") || !strings.Contains(text.String(), "db-7") {
		t.Errorf("log after a failed settlement: %q", text.String())
	}
	text.Reset()
	refused(t, h.call(handler, bearer(issued)), 503, "unavailable")
	if !strings.Contains(text.String(), "verdict=store_error") {
		t.Errorf("log after a failed decision: %q", text.String())
	}
	text.Reset()
	down.before.Store(false)
	refused(t, h.call(handler), 401, "missing_key")
	if text.Len() > 0 {
		t.Errorf("a plain refusal is logged: %q", text.String())
	}
}

func TestCallerGivesUpBeforeTheDecision(t *testing.T) {
	var down breaker
	h := build(t, blueprint{limits: func(s ratelimit.Store) ratelimit.Store { return brokenLimits{s, &down} }})
	h.grant(10)
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 1)}
	route, err := h.gate.Route(op)
	must(t, err)
	a := middleware.Attempt{Route: route, Credential: h.key("image:generate").Secret.Reveal()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.gate.Begin(ctx, a)
	d, ok := errors.AsType[*middleware.Denial](err)
	if !ok || d.Verdict != middleware.VerdictCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	down.slow.Store(true)
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = h.gate.Begin(ctx, a)
	d, ok = errors.AsType[*middleware.Denial](err)
	if !ok || d.Verdict != middleware.VerdictStoreError || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of time: %v", err)
	}
	h.spent(0, 0)
}

// An answer that is lost on its way back from the store is asked for again, and
// what had taken effect is not done twice.
func TestSettlementIsAskedForAgain(t *testing.T) {
	for _, tt := range []struct {
		status   int
		consumed credits.Amount
	}{{200, 5}, {500, 0}} {
		var down breaker
		h := build(t, blueprint{credits: func(s credits.Store) credits.Store { return brokenCredits{s, &down} }})
		h.grant(10)
		handler := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			down.once.Store(true)
			w.WriteHeader(tt.status)
		}))
		h.call(handler, bearer(h.key("image:generate")))
		h.spent(tt.consumed, 0)
		if s := h.journal.settlements(); len(s) != 1 || s[0].Err != nil || s[0].Charged != tt.consumed*credits.Credit {
			t.Errorf("settled %+v", s)
		}
	}
}

// full is a store without room for another subject.
type full struct{ ratelimit.Store }

func (full) Apply(context.Context, *ratelimit.Request) error { return ratelimit.ErrFull }

// A flood of addresses uses up neither the gate nor the room of keys; a store
// without room for another key is a store that cannot decide.
func TestNoRoomForAnotherSubject(t *testing.T) {
	h := build(t, blueprint{
		limits: func(s ratelimit.Store) ratelimit.Store { return full{s} },
		options: func(o *middleware.Options) {
			o.IPLimits = []ratelimit.Limit{{Name: "address", Count: 1, Period: time.Minute}}
		},
	})
	issued := h.key("")
	if w := h.call(h.gate.Handler(open())(says(200)), bearer(issued)); w.Code != 200 {
		t.Errorf("no room for the address: status %d", w.Code)
	}
	op := open()
	op.Name, op.Limits = "limited", []middleware.Limit{perMinute("minute", 1)}
	refused(t, h.call(h.gate.Handler(op)(says(200)), bearer(issued)), 503, "unavailable")
}
