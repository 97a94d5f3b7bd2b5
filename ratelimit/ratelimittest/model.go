package ratelimittest

import (
	"context"

	"github.com/keytoll/keytoll/ratelimit"
)

// A model is the plainest store: one map of cells, nothing else.
type model struct {
	cells    map[combination]ratelimit.Cell
	now      int64 // of the latest decision of the store under test
	refunded map[ratelimit.ID]bool
}

type combination struct {
	key, name string
	algorithm ratelimit.Algorithm
}

func newModel() *model {
	return &model{cells: map[combination]ratelimit.Cell{}, refunded: map[ratelimit.ID]bool{}}
}

func of(op *ratelimit.Op) combination {
	l := op.Rule.Limit()
	return combination{op.Key, l.Name, l.Algorithm}
}

// apply carries out req at the time now.
func (m *model) apply(req *ratelimit.Request, now int64) {
	switch req.Mode {
	case ratelimit.ModeTake, ratelimit.ModePeek:
		next := make([]ratelimit.Cell, len(req.Ops))
		req.Allowed = true
		for i := range req.Ops {
			op := &req.Ops[i]
			next[i], op.Outcome = op.Rule.Take(m.cells[of(op)], op.Cost, now)
			req.Allowed = req.Allowed && op.Outcome.RetryAfter == 0
		}
		for i := range req.Ops {
			op := &req.Ops[i]
			if req.Allowed && req.Mode == ratelimit.ModeTake {
				m.cells[of(op)] = next[i]
			} else {
				op.Outcome = op.Rule.Peek(m.cells[of(op)], op.Cost, now)
			}
		}
	case ratelimit.ModeSettle:
		if m.refunded[req.ID] {
			return
		}
		m.refunded[req.ID] = true
		for i := range req.Ops {
			op := &req.Ops[i]
			m.cells[of(op)] = op.Rule.Settle(m.cells[of(op)], op.Cost, op.Actual, op.Until, op.Rest, now)
		}
	case ratelimit.ModeReset:
		for i := range req.Ops {
			delete(m.cells, of(&req.Ops[i]))
		}
	}
}

// A recorder notes what a limiter asks of a store, and has the model answer the
// same at the store's time.
type recorder struct {
	ratelimit.Store
	m    *model
	want ratelimit.Request
}

func (r *recorder) Apply(ctx context.Context, req *ratelimit.Request) error {
	r.want = *req
	r.want.Ops = append([]ratelimit.Op(nil), req.Ops...)
	if err := r.Store.Apply(ctx, req); err != nil {
		return err
	}
	if req.Mode == ratelimit.ModeTake {
		r.m.now = req.Now
	}
	r.m.apply(&r.want, r.m.now)
	return nil
}

func (m *model) take(c *caller, charges []ratelimit.Charge) ratelimit.Result {
	rec := &recorder{Store: c.s, m: m}
	l := must(ratelimit.NewLimiter(rec, ratelimit.Limits{}, nil))
	res, err := l.TakeAll(c.ctx, charges...)
	if err != nil { // the limiter refuses what names one combination twice
		return ratelimit.Result{}
	}
	if res.Allowed != rec.want.Allowed {
		c.fail("take of %s: allowed is %v, want %v", list(charges), res.Allowed, rec.want.Allowed)
	}
	i := 0
	for s := range res.States() {
		o := rec.want.Ops[i].Outcome
		if got := s.Remaining; got != o.Remaining {
			c.fail("%+v, key %q, cost %d: %d remain, want %d", s.Limit, s.Key, s.Cost, got, o.Remaining)
		}
		if got := s.ResetAfter.Microseconds(); got != o.ResetAfter {
			c.fail("%+v, key %q, cost %d: ResetAfter is %dus, want %d", s.Limit, s.Key, s.Cost, got, o.ResetAfter)
		}
		if got := s.RetryAfter; got != ratelimit.Never && got.Microseconds() != o.RetryAfter || got == ratelimit.Never && o.RetryAfter != -1 {
			c.fail("%+v, key %q, cost %d: RetryAfter is %v, want %dus", s.Limit, s.Key, s.Cost, got, o.RetryAfter)
		}
		i++
	}
	return res
}

// refund gives r back on both sides. A peek first tells the model the time.
func (m *model) refund(ctx context.Context, s ratelimit.Store, r ratelimit.Result) error {
	rec := &recorder{Store: s, m: m}
	l := must(ratelimit.NewLimiter(rec, ratelimit.Limits{}, nil))
	req := ratelimit.Request{Mode: ratelimit.ModePeek}
	for st := range r.States() {
		set := limits(st.Limit)
		req.Ops = append(req.Ops, ratelimit.Op{Rule: set.Rule(0), Key: st.Key})
	}
	if err := s.Apply(ctx, &req); err != nil {
		return err
	}
	m.now = req.Now
	return l.Refund(ctx, r.Reservation)
}
