package middleware_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// startled is an Observer that panics at its first decision.
type startled struct {
	middleware.Observer

	told bool
}

func (o *startled) Decided(ctx context.Context, d middleware.Decision) {
	if !o.told {
		o.told = true
		panic("observer")
	}
	o.Observer.Decided(ctx, d)
}

// A function of the host's that panics leaves nothing behind: no credits held, no
// place among those that run at once, nothing counted, no Idempotency-Key taken.
func TestPanicsBeforeTheHandlerLeaveNothing(t *testing.T) {
	panics := func() func() {
		first := true
		return func() {
			if first {
				first = false
				panic("host")
			}
		}
	}
	for name, edit := range map[string]func(*middleware.Options, *middleware.Operation){
		"Allow": func(_ *middleware.Options, op *middleware.Operation) {
			f := panics()
			op.Allow = func(context.Context, apikey.Key) error { f(); return nil }
		},
		"Units": func(_ *middleware.Options, op *middleware.Operation) {
			f := panics()
			op.Unit, op.Units = "images", func(*http.Request) (int64, error) { f(); return 1, nil }
		},
		"Quote": func(_ *middleware.Options, op *middleware.Operation) {
			f := panics()
			op.Price = middleware.Quoted(func(*http.Request) (credits.Amount, error) { f(); return 5 * credits.Credit, nil })
		},
		"Account": func(o *middleware.Options, _ *middleware.Operation) {
			f := panics()
			o.Account = func(apikey.Key) credits.AccountID { f(); return account }
		},
		"Observer": func(o *middleware.Options, _ *middleware.Operation) { o.Observer = &startled{Observer: o.Observer} },
	} {
		t.Run(name, func(t *testing.T) {
			op := once()
			op.Limits = []middleware.Limit{
				{Limit: ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Hour}},
				perMinute("minute", 1),
			}
			d := newDesk(t, blueprint{options: func(o *middleware.Options) { edit(o, &op) }})
			handler, issued := d.numbered(op), d.key("image:generate")
			if !survive(func() { d.call(handler, bearer(issued), idemKey("k")) }) {
				t.Fatal("it did not panic")
			}
			d.ran(0)
			d.spent(0, 0)
			if w := d.call(handler, bearer(issued), idemKey("k")); w.Code != 201 {
				t.Errorf("the next call: status %d: %s", w.Code, w.Body)
			}
			d.spent(5, 0)
		})
	}
}

// A departing store takes, and the client leaves before it says so.
type departing struct {
	ratelimit.Store

	leave func()
}

func (s *departing) Apply(ctx context.Context, r *ratelimit.Request) error {
	err := s.Store.Apply(ctx, r)
	if leave := s.leave; leave != nil && r.Mode == ratelimit.ModeTake {
		s.leave = nil
		leave()
		err = errors.Join(err, ctx.Err())
	}
	return err
}

// A client that leaves while its limits are taken does not keep its place among
// those that run at once, nor is it charged.
func TestLeavingWhileLimitsAreTakenLeavesNothing(t *testing.T) {
	store := &departing{}
	h := build(t, blueprint{limits: func(s ratelimit.Store) ratelimit.Store { store.Store = s; return store }})
	h.grant(100)
	op := priced()
	op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Hour}}}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("image:generate")
	ctx, cancel := context.WithCancel(t.Context())
	store.leave = cancel
	h.call(handler, bearer(issued), func(r *http.Request) { *r = *r.WithContext(ctx) })
	if got := h.journal.last().Verdict; got != middleware.VerdictCanceled {
		t.Errorf("verdict %v", got)
	}
	h.spent(0, 0)
	if w := h.call(handler, bearer(issued)); w.Code != 200 {
		t.Errorf("the next call: status %d: %s", w.Code, w.Body)
	}
}
