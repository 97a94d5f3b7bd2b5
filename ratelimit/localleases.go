package ratelimit

import "context"

// renew renews leases of either side. Those that only this node prolonged are
// taken up by the store before it decides about the subject again.
func (l *local) renew(ctx context.Context, req *Request) error {
	req.Allowed = false
	if l.elsewhere(req.ID) {
		return nil
	}
	paid, err := l.pay(ctx, req.Ops)
	if err != nil {
		return err
	}
	down, held := !paid, 0
	for _, part := range l.split(req) {
		if down {
			break
		}
		if down, err = l.guard.ask(ctx, &part); err != nil && !down {
			return err
		}
		if part.Allowed && !down {
			held += len(part.Ops)
		}
		req.Now = part.Now
	}
	if !down {
		if req.Allowed = held == len(req.Ops); req.Allowed {
			l.renewHere(ctx, req)
			l.prolong(req, false)
		}
		return nil
	}
	known, allowed := l.renewHere(ctx, req)
	if !known && l.number(req.ID) == 0 {
		return l.guard.refuse(err)
	}
	if req.Allowed, req.Degraded, req.Now = allowed, true, l.clock(); allowed {
		l.prolong(req, true)
	}
	return nil
}

// renewHere renews leases in the node's own store, and reports whether it knew
// them all, and whether they still counted.
func (l *local) renewHere(ctx context.Context, req *Request) (known, allowed bool) {
	n := l.request(ModeRenew, ID{})
	defer l.release(n)
	for i := range req.Ops {
		op := &req.Ops[i]
		here, ok := l.here(req.ID, op)
		if !ok {
			return false, false
		}
		n.ID = here
		l.add(n, op)
	}
	return true, l.do(ctx, n) == nil && n.Allowed
}

// prolong notes that leases were renewed, owing that to the store or not.
func (l *local) prolong(req *Request, owing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	for i := range req.Ops {
		op := &req.Ops[i]
		of := takeOf{req.ID, op.combination()}
		t := l.takes[of]
		if t == nil {
			continue
		}
		t.until = now + op.Rule.period
		if owing {
			l.oweTake(l.of(op), of, t)
		}
	}
}

// giveUp ends leases of either side on both.
func (l *local) giveUp(ctx context.Context, req *Request) error {
	if l.elsewhere(req.ID) {
		return errElsewhere
	}
	n := l.request(ModeRelease, ID{})
	defer l.release(n)
	for i := range req.Ops {
		op := &req.Ops[i]
		if here, ok := l.here(req.ID, op); ok {
			n.ID = here
			l.add(n, op)
		}
	}
	if len(n.Ops) > 0 {
		if err := l.do(ctx, n); err != nil {
			return err
		}
	}
	for _, part := range l.conclude(req) {
		down, err := l.tell(ctx, ModeRelease, part.ID, part.Ops)
		if err != nil {
			return err
		}
		req.Degraded = req.Degraded || down
	}
	return nil
}
