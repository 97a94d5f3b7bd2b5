package ratelimit

import (
	"context"

	"github.com/keytoll/keytoll/errors"
)

// tries is how often a take fetches what others have spent before it could,
// until it goes to the inner store itself.
const tries = 4

// fetch decides a take whose costs are not all held.
func (l *LeasingStore) fetch(ctx context.Context, req *Request) error {
	groups := l.split(nil, req)
	for range tries + len(groups) {
		var short *trip
		at := 0 // of the group that is short
		for i := range groups {
			t, err := l.supply(ctx, &groups[i])
			if err != nil {
				return err
			}
			if t != nil && t.elsewhere {
				return l.direct(ctx, req)
			}
			if t != nil && t.less {
				short, at = t, i
				break
			}
		}
		if l.spend(groups, req) {
			return nil
		}
		if short == nil {
			continue
		}
		if len(groups) == 1 {
			if l.answer(&groups[0], req, short) {
				return nil
			}
			break
		}
		// What is held of the others stays, so that the next one needs no trip for them.
		if _, err := l.giveUp(ctx, groups[at:at+1]); err != nil {
			return err
		}
		if err := l.peek(ctx, req); err != nil || !req.Allowed {
			return err
		}
	}
	if _, err := l.giveUp(ctx, groups); err != nil { // so that a refusal tells the wait
		return err
	}
	return l.apply(ctx, req)
}

// supply sees to it that the costs of the group are held: it makes a trip for
// what is missing, or waits for that of another caller. The trip is nil when
// none was needed. It does not promise that what it brought is still there.
func (l *LeasingStore) supply(ctx context.Context, g *group) (*trip, error) {
	g.mu.Lock()
	at := l.clock()
	if l.closed.Load() || !l.holdable(g) {
		g.mu.Unlock()
		return &trip{elsewhere: true}, nil
	}
	h, returns := l.hold(g, at)
	switch {
	case len(returns) > 0:
		g.mu.Unlock()
		_ = l.send(ctx, returns)
		return nil, nil
	case h == nil:
		g.mu.Unlock()
		return &trip{elsewhere: true}, nil
	case h.trip != nil:
		t := h.trip
		g.mu.Unlock()
		return t, t.wait(ctx)
	}
	ask := h.order(g, at)
	if len(ask.Ops) == 0 {
		g.mu.Unlock()
		return nil, nil
	}
	t := &trip{done: make(chan struct{}), ask: ask}
	h.trip = t
	g.mu.Unlock()
	return t, l.run(ctx, g, h, t)
}

// holdable reports whether the cost of the group may be held of every limit.
func (l *LeasingStore) holdable(g *group) bool {
	for i := range g.ops {
		if most := l.may(g.ops[i].Rule); most < 2 || g.cost > most {
			return false
		}
	}
	return true
}

// order returns the request for what the group is missing: the next lease of
// each limit, at least the cost. A limit of which that would be too much is left
// for another trip.
func (h *holder) order(g *group, at int64) *Request {
	need := int64(0)
	for i := range g.ops {
		if s := h.find(g.ops[i].Rule, i); s.lacks(g.cost, at) {
			need = max(need, g.cost-s.units(at))
		}
	}
	ask := &Request{Mode: ModeTakeUpTo}
	n := int64(MaxCount)
	for i := range g.ops {
		s := h.find(g.ops[i].Rule, i)
		if left := s.most - s.units(at); s.lacks(g.cost, at) && left >= need {
			s.grow(at)
			n = min(n, left, max(need, s.size))
			ask.Ops = append(ask.Ops, Op{Rule: s.asked, Key: h.key})
		}
	}
	for i := range ask.Ops {
		ask.Ops[i].Cost = n
	}
	return ask
}

// run makes the trip and puts what it brings into the stocks.
func (l *LeasingStore) run(ctx context.Context, g *group, h *holder, t *trip) error {
	asked := t.ask.Ops[0].Cost
	sent := l.clock()
	applied := false
	defer func() { // also when the inner store panics
		g.mu.Lock()
		defer g.mu.Unlock()
		h.trip = nil
		if applied && t.err == nil && !t.ask.Degraded && !t.void {
			h.receive(t.ask, sent, l.clock())
		}
		close(t.done)
	}()
	t.err = l.inner.Apply(ctx, t.ask)
	applied = true
	switch {
	case t.err != nil:
		t.abandoned = ctx.Err() != nil
	case t.ask.Degraded: // a policy's units are not the store's: none are held
		t.elsewhere = true
		_ = l.send(ctx, t.ask.undo())
	default:
		t.less = !t.ask.Allowed || t.ask.Ops[0].Cost < asked
	}
	return t.err
}

// receive puts what the store lent into the stocks.
func (h *holder) receive(ask *Request, sent, at int64) {
	if !ask.Allowed {
		return
	}
	for i := range ask.Ops {
		op := &ask.Ops[i]
		s := h.find(op.Rule, i)
		switch {
		case s == nil:
		case op.Outcome.RetryAfter == 0:
			s.put(op, ask.ID, ask.Now, sent, at)
		default:
			s.refused(&op.Outcome, sent)
		}
	}
}

// undo returns the settlement that gives back all that the request took.
func (req *Request) undo() []*Request {
	if req.ID == (ID{}) {
		return nil
	}
	back := &Request{Mode: ModeSettle, ID: req.ID}
	for _, op := range req.Ops {
		if o := op.Outcome; o.RetryAfter == 0 {
			back.Ops = append(back.Ops, Op{Rule: op.Rule, Key: op.Key, Cost: op.Cost, Until: req.Now + o.ResetAfter, Rest: o.Rest})
		}
	}
	return []*Request{back}
}

// wait waits for the trip of another caller.
func (t *trip) wait(ctx context.Context) error {
	select {
	case <-t.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.abandoned { // the other caller's time was up, not ours
		return nil
	}
	return t.err
}

// answer refuses a group of cost 1 as the trip was refused, and reports whether
// that can be told from it.
func (l *LeasingStore) answer(g *group, req *Request, t *trip) bool {
	if g.cost != 1 || t.ask.Allowed || t.ask.Degraded {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	h := l.holders[g.index].of[g.name]
	if h == nil {
		return false
	}
	at, refused := l.clock(), false
	for i := range g.ops {
		op := &g.ops[i]
		s := h.find(op.Rule, i)
		if s == nil || s.rule != op.Rule {
			return false
		}
		if asked := t.ask.op(s.asked); asked != nil {
			op.Outcome = asked.Outcome
			refused = refused || asked.Outcome.RetryAfter != 0 && !op.Rule.limit.Shadow
			continue
		}
		op.Outcome = s.tell(1, at)
		if s.lacks(1, at) {
			return false
		}
		if s.units(at) < 1 {
			op.Outcome.RetryAfter = s.shut - at
		}
	}
	req.Now, req.ID, req.Allowed, req.Degraded = t.ask.Now, ID{}, false, false
	return refused
}

// op returns the op of that rule, or nil.
func (req *Request) op(r *Rule) *Op {
	for i := range req.Ops {
		if req.Ops[i].Rule == r {
			return &req.Ops[i]
		}
	}
	return nil
}

// direct has the inner store decide the whole request. What is held is returned
// when that may make the difference.
func (l *LeasingStore) direct(ctx context.Context, req *Request) error {
	groups := l.split(nil, req)
	if req.Mode == ModeTakeUpTo {
		if _, err := l.giveUp(ctx, groups); err != nil {
			return err
		}
		return l.apply(ctx, req)
	}
	if err := l.apply(ctx, req); err != nil {
		return err
	}
	if !req.Allowed && !req.Degraded {
		gave, err := l.giveUp(ctx, groups)
		if err != nil {
			return err
		}
		if gave {
			return l.apply(ctx, req)
		}
	}
	if !req.Degraded {
		l.addHeld(groups, req)
	}
	return nil
}

// giveUp returns what is held for the groups, and reports whether there was
// anything.
func (l *LeasingStore) giveUp(ctx context.Context, groups []group) (bool, error) {
	var reqs []*Request
	for i := range groups {
		g := &groups[i]
		g.mu.Lock()
		h := l.holders[g.index].of[g.name]
		if h != nil && h.trip != nil {
			t := h.trip
			g.mu.Unlock()
			if err := t.wait(ctx); err != nil && ctx.Err() != nil {
				return false, err
			}
			g.mu.Lock()
			h = l.holders[g.index].of[g.name]
		}
		if h != nil && h.trip == nil {
			reqs = append(reqs, h.give(of(g.ops))...)
		}
		g.mu.Unlock()
	}
	_ = l.send(ctx, reqs)
	return len(reqs) > 0, nil
}

// send returns units. What an error keeps from being returned comes back as what
// was used does.
func (l *LeasingStore) send(ctx context.Context, reqs []*Request) (first error) {
	for _, req := range reqs {
		if err := l.inner.Apply(ctx, req); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Close returns what is held to the inner store, and has it decide everything
// from then on. It reports the first error; units that could not be returned
// come back as what was used does.
func (l *LeasingStore) Close(ctx context.Context) error {
	l.closed.Store(true)
	var first error
	for i := range l.holders {
		for ctx.Err() == nil {
			reqs, t := l.empty(i)
			if err := l.send(ctx, reqs); err != nil && first == nil {
				first = err
			}
			if t == nil {
				break
			}
			_ = t.wait(ctx) // its error is its caller's
		}
	}
	if first == nil {
		first = ctx.Err()
	}
	return errors.Wrap("ratelimit.Close", first)
}

// empty takes everything out of a shard, but for a subject with a trip under
// way, which it returns.
func (l *LeasingStore) empty(shard int) (reqs []*Request, t *trip) {
	mu := &l.book.shards[shard].mu
	mu.Lock()
	defer mu.Unlock()
	hs := &l.holders[shard]
	for w, h := range hs.of {
		if h.trip != nil {
			t = h.trip
			continue
		}
		reqs = append(reqs, h.give(all)...)
		hs.stocks -= len(h.stocks)
		delete(hs.of, w)
	}
	return reqs, t
}
