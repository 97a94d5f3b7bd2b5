package middleware_test

import (
	"context"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// A hooked store lets something happen on the way to it, once.
type hooked struct {
	credits.Store
	hook func()
}

func (s *hooked) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	if hook := s.hook; hook != nil {
		s.hook = nil
		hook()
	}
	return s.Store.Update(ctx, needs, fn)
}

// A call that ends while its meter asks for another hold: the count is refused, the
// hold that comes too late goes back, and what was counted before is charged.
func TestEndWhileTheMeterAsks(t *testing.T) {
	store := &hooked{}
	h := build(t, blueprint{credits: func(s credits.Store) credits.Store { store.Store = s; return store }})
	h.grant(100)
	p := h.admit(priced())
	must(t, p.Meter().Add(t.Context(), 4*credits.Credit))
	store.hook = func() { must(t, p.End(t.Context(), good())) }
	if err := p.Meter().Add(t.Context(), 4*credits.Credit); errors.CodeOf(err) != errors.Conflict {
		t.Errorf("counted while the call ended: %v", err)
	}
	h.spent(4, 0)
	if n, _ := h.open(); n != 0 {
		t.Errorf("%d holds stay open", n)
	}
}

// The same while it puts its deadlines off.
func TestEndWhileTheMeterExtends(t *testing.T) {
	store := &hooked{}
	h := build(t, blueprint{
		credits: func(s credits.Store) credits.Store { store.Store = s; return store },
		options: func(o *middleware.Options) { o.HoldTTL = time.Minute },
	})
	h.grant(100)
	p := h.admit(priced())
	must(t, p.Meter().Add(t.Context(), 4*credits.Credit))
	h.clock.add(31 * time.Second)
	store.hook = func() { must(t, p.End(t.Context(), good())) }
	if err := p.Meter().Add(t.Context(), credits.Credit); errors.CodeOf(err) != errors.Conflict {
		t.Errorf("counted while the call ended: %v", err)
	}
	h.spent(4, 0)
}

// A call that ends while its hold is moved from a lease to the ledger has it settled
// by its ending; what the ledger held for the job goes back.
func TestEndWhileAHoldIsMoved(t *testing.T) {
	var p *middleware.Pass
	l := lease(t, 10_000, priced(), nil)
	p = l.admit(priced())
	l.store.Store = &hooked{l.store.Store, func() { must(t, p.End(t.Context(), good())) }}
	if _, err := p.Detach(t.Context()); errors.CodeOf(err) != errors.Conflict {
		t.Errorf("detached while the call ended: %v", err)
	}
	l.close(5)
}

// While a hold is handed over nobody else charges it, and when that fails the pass
// has it again.
func TestChargeWhileAHoldIsMoved(t *testing.T) {
	l := lease(t, 10_000, priced(), nil)
	p := l.admit(priced())
	l.store.Store = &hooked{l.store.Store, func() {
		if err := p.Charge(0); errors.CodeOf(err) != errors.Conflict {
			t.Errorf("charged while it was handed over: %v", err)
		}
		if _, err := p.Detach(t.Context()); errors.CodeOf(err) != errors.Conflict {
			t.Errorf("handed over twice at once: %v", err)
		}
	}}
	job, err := p.Detach(t.Context())
	must(t, err)
	must(t, p.End(t.Context(), good()))
	l.spent(0, 5)
	_, err = job.Release(t.Context(), l.ledger)
	must(t, err)
	l.close(0)
}
