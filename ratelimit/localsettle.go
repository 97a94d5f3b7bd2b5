package ratelimit

import "context"

// settle settles a take of either side on both.
func (l *local) settle(ctx context.Context, req *Request) error {
	if l.elsewhere(req.ID) {
		return errElsewhere
	}
	if l.number(req.ID) != 0 {
		return l.settleOwn(ctx, req)
	}
	for _, part := range l.split(req) {
		down, err := l.tell(ctx, ModeSettle, part.ID, part.Ops)
		if err != nil {
			return err
		}
		req.Degraded = req.Degraded || down
	}
	// What is not noted for want of room counts here until it runs out.
	if first, err := l.noteSettled(ctx, req); err == nil && first {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.adjust(req)
	}
	return nil
}

// split divides a request between the IDs that the store knows its ops by. What
// the store was not told of is left out.
func (l *local) split(req *Request) []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parts(req)
}

// conclude is split and adjust in one step: a payment that runs meanwhile comes
// before both or after both.
func (l *local) conclude(req *Request) []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	parts := l.parts(req)
	l.adjust(req)
	return parts
}

// parts is split for one who has the lock.
func (l *local) parts(req *Request) (parts []Request) {
	own := l.number(req.ID) != 0
	for i := range req.Ops {
		op, id := &req.Ops[i], req.ID
		if t := l.takes[takeOf{req.ID, op.combination()}]; t != nil {
			id = t.there
		} else if own {
			continue
		}
		if id == (ID{}) {
			continue
		}
		if n := len(parts); n > 0 && parts[n-1].ID == id {
			parts[n-1].Ops = append(parts[n-1].Ops, *op)
			continue
		}
		parts = append(parts, Request{Mode: req.Mode, ID: id, Ops: []Op{*op}})
	}
	return parts
}

// settleOwn settles a take of this side. What was charged to the store since is
// given back there as far as it is certain that time has not done so.
func (l *local) settleOwn(ctx context.Context, req *Request) error {
	first, err := l.noteSettled(ctx, req)
	if err != nil || !first {
		return err
	}
	var logged, back Request
	logged.ID = req.ID
	for i := range req.Ops {
		switch op := &req.Ops[i]; {
		case op.Rule.Logged():
			logged.Ops = append(logged.Ops, *op)
		case op.Actual > op.Cost:
			l.oweMore(op)
		case op.Actual < op.Cost && !l.owesLess(op, req.ID):
			back.Ops = append(back.Ops, *op)
		}
	}
	for _, part := range l.conclude(&logged) {
		down, err := l.tell(ctx, ModeSettle, part.ID, part.Ops)
		if err != nil {
			return err
		}
		req.Degraded = req.Degraded || down
	}
	return l.giveBack(ctx, &back, takenAt(l.number(req.ID)))
}

// adjust brings what is known of takes in logs to what they came to. The ledger
// must be locked.
func (l *local) adjust(req *Request) {
	for i := range req.Ops {
		op := &req.Ops[i]
		of := takeOf{req.ID, op.combination()}
		switch t := l.takes[of]; {
		case t == nil:
		case op.Actual == 0:
			l.lose(of)
		default:
			t.units = op.Actual
		}
	}
}

// oweMore notes what a settlement charges beyond the cost.
func (l *local) oweMore(op *Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(op)
	a.units = min(a.units+min(op.Actual-op.Cost, MaxCount), MaxCount)
}

// owesLess takes what a settlement gives back off what is owed, and reports
// whether it was part of that.
func (l *local) owesLess(op *Op, id ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := op.combination()
	a := l.accounts[c]
	if a == nil || l.number(id) < a.first {
		return false
	}
	a.units = max(a.units-(op.Cost-op.Actual), 0)
	l.drop(c, a)
	return true
}

// giveBack has the store give back what was taken here at a time and charged to
// it later, as if time had paid for nothing else since: now or, when the store
// fails, before it decides about one of the subjects again.
func (l *local) giveBack(ctx context.Context, back *Request, at int64) error {
	now := l.clock()
	kept := back.Ops[:0]
	for _, op := range back.Ops {
		_, o := op.Rule.Take(Cell{}, op.Cost, at)
		op.Until, op.Rest = at+o.ResetAfter, o.Rest
		end := op.Until
		if op.Rule.limit.Algorithm == SlidingWindow {
			end -= op.Rule.period // in the next window it is uncertain which of the two it was charged in
		}
		if now < end {
			kept = append(kept, op)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	_, err := l.tell(ctx, ModeSettle, ID{}, kept)
	return err
}

// draw returns a new ID of the store: that of a charge made for it, under a
// limit that has it back at once.
func (l *local) draw(ctx context.Context, key string) (id ID, down bool, err error) {
	charge := Request{Mode: ModeCharge, Ops: []Op{{Rule: &l.source, Key: key, Cost: 1}}}
	down, err = l.guard.ask(ctx, &charge)
	if down || err != nil {
		return ID{}, down, err
	}
	return charge.ID, false, nil
}

// noteSettled settles a take in the node's own store, once for each ID, and
// reports whether this was the first time.
func (l *local) noteSettled(ctx context.Context, req *Request) (first bool, err error) {
	n := l.request(ModeTake, ID{})
	defer l.release(n)
	until := l.clock() + req.Hold()
	for i := range req.Ops {
		until = max(until, req.Ops[i].Until)
	}
	// A limit of one is taken once: with the ID as its key, it remembers.
	long := 0
	for long < len(l.once)-1 && l.once[long].period < until-l.clock() {
		long++
	}
	n.Ops = append(n.Ops, Op{Rule: &l.once[long], Key: string(req.ID[:]), Cost: 1})
	if err := l.do(ctx, n); err != nil || !n.Allowed {
		return false, err
	}
	id := n.ID
	cells, logs := l.request(ModeSettle, id), l.request(ModeSettle, ID{})
	defer l.release(cells)
	defer l.release(logs)
	for i := range req.Ops {
		op := &req.Ops[i]
		if !op.Rule.Logged() {
			l.add(cells, op)
		} else if here, ok := l.here(req.ID, op); ok {
			l.add(logs, op)
			logs.ID = here
		}
	}
	// Without room to remember it, what they would give back stays in use here.
	for _, part := range []*Request{cells, logs} {
		if len(part.Ops) > 0 {
			_ = l.do(ctx, part)
		}
	}
	return true, nil
}

// here returns the ID of a take in the node's own store.
func (l *local) here(id ID, op *Op) (here ID, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.takes[takeOf{id, op.combination()}]
	if t == nil {
		return ID{}, false
	}
	return t.here, true
}

// reset forgets on both sides, or on neither when the store does not answer.
func (l *local) reset(ctx context.Context, req *Request) error {
	if down, err := l.guard.ask(ctx, req); down {
		return l.guard.refuse(err)
	} else if err != nil {
		return err
	}
	n := l.request(ModeReset, ID{})
	defer l.release(n)
	for i := range req.Ops {
		l.add(n, &req.Ops[i])
	}
	err := l.do(ctx, n)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range req.Ops {
		c := req.Ops[i].combination()
		if a := l.accounts[c]; a != nil {
			a.units = 0
			for id := range a.takes {
				l.lose(takeOf{id, c})
			}
			l.drop(c, a)
		}
	}
	return err
}
