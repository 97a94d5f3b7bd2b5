package ratelimit

import (
	"context"
	"slices"
)

// settle settles a take that was spent from what is held.
func (l *LeasingStore) settle(ctx context.Context, req *Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if first, err := l.remember(req); !first {
		return err
	}
	var more []Op // what is charged
	for i := range req.Ops {
		if op := req.Ops[i]; op.Actual > op.Cost {
			more = append(more, Op{Rule: op.Rule, Key: op.Key, Cost: op.Actual - op.Cost})
		}
	}
	if err := l.charge(ctx, req.ID, more); err != nil {
		return err
	}
	for i := range req.Ops {
		if op := &req.Ops[i]; op.Actual < op.Cost {
			_ = l.send(ctx, l.back(op))
		}
	}
	return nil
}

// charge takes the ops of the settlement of id. Where that fails, also because the
// inner store panics, the settlement may be repeated.
func (l *LeasingStore) charge(ctx context.Context, id ID, ops []Op) (err error) {
	if len(ops) == 0 {
		return nil
	}
	charged := false
	defer func() {
		if !charged {
			l.unremember(id)
		}
	}()
	if !l.spendMore(ops) {
		err = l.apply(ctx, &Request{Mode: ModeCharge, Ops: ops})
	}
	charged = err == nil
	return err
}

// remember marks the settlement as done, and reports whether it was not before.
func (l *LeasingStore) remember(req *Request) (bool, error) {
	index, _ := l.book.origin(req.ID)
	mu := &l.book.shards[index].mu
	mu.Lock()
	defer mu.Unlock()
	now := l.clock()
	until := now + req.Hold()
	for i := range req.Ops {
		until = max(until, req.Ops[i].Until)
	}
	if until <= now {
		return false, nil
	}
	return l.book.remember(req.ID, until, now)
}

// unremember undoes remember.
func (l *LeasingStore) unremember(id ID) {
	index, _ := l.book.origin(id)
	mu := &l.book.shards[index].mu
	mu.Lock()
	defer mu.Unlock()
	l.book.forgetMark(id)
}

// spendMore takes what settlements charge from what is held, if all of it is.
func (l *LeasingStore) spendMore(ops []Op) bool {
	req := Request{Mode: ModeTake, Ops: ops}
	for i := range ops {
		if !ops[i].Rule.leasable() || ops[i].Rule.limit.Shadow {
			return false
		}
	}
	groups := l.split(nil, &req)
	held := l.lock(groups, nil)
	defer l.book.unlock(held)
	return l.spendLocked(groups, &req)
}

// back gives back what op has left over, and returns what goes beyond what may
// be held.
func (l *LeasingStore) back(op *Op) []*Request {
	var one [1]group
	g := &l.split(one[:0], &Request{Ops: []Op{*op}})[0]
	g.mu.Lock()
	defer g.mu.Unlock()
	h := l.holders[g.index].of[g.name]
	if h == nil {
		return nil
	}
	at := l.clock()
	s := h.find(op.Rule, 0)
	if s == nil || !s.rule.same(op.Rule, at) || s.back(op, at) <= s.most {
		return nil
	}
	return h.give(of(g.ops))
}

// forget drops what is held for the ops of a reset, and what is on the way.
func (l *LeasingStore) forget(req *Request) {
	for _, g := range l.split(nil, req) {
		g.mu.Lock()
		hs := &l.holders[g.index]
		if h := hs.of[g.name]; h != nil {
			if h.trip != nil {
				h.trip.void = true
			}
			n := len(h.stocks)
			h.stocks = slices.DeleteFunc(h.stocks, func(s stock) bool {
				return names(g.ops, &s)
			})
			hs.stocks -= n - len(h.stocks)
			if len(h.stocks) == 0 && h.trip == nil {
				delete(hs.of, g.name)
			}
		}
		g.mu.Unlock()
	}
}
