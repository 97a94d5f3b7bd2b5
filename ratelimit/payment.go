package ratelimit

import (
	"context"

	"github.com/keytoll/keytoll/errors"
)

// pay has the store charge what the subjects of the ops owe it, and reports
// whether they owe nothing any more. When it cannot be told they still owe it:
// the store may charge it twice, and never not at all. An error is one to answer
// with.
func (l *local) pay(ctx context.Context, ops []Op) (paid bool, err error) {
	waited, again := false, false
	for l.owing.Load() > 0 {
		if l.guard.breaker.shut(l.guard.clock) {
			return false, nil
		}
		mine, busy := l.claim(ctx, ops)
		if len(mine) > 0 {
			if paid, err := l.payAll(ctx, mine); !paid || err != nil {
				return false, err
			}
		}
		if busy == nil {
			if len(mine) == 0 || again {
				break
			}
			again = true // others may have been let pass here meanwhile
			continue
		}
		if waited {
			return false, nil // others try, and fail
		}
		waited = true
		select {
		case <-busy:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return true, nil
}

func (l *local) payAll(ctx context.Context, mine []*payment) (paid bool, err error) {
	defer l.finish(mine)
	began := l.guard.clock()
	sum := Request{Mode: ModeCharge}
	for _, p := range mine {
		for _, s := range p.late {
			if paid, err := l.repeat(ctx, s); !paid || err != nil {
				return false, err
			}
		}
		if p.units == 0 {
			continue
		}
		// Time has paid all but what is in use here, where nothing before the
		// units can be, of which the store knows.
		if owed := min(p.units, l.inUse(ctx, p.op.Rule, p.op.Key)); owed > 0 {
			op := p.op
			op.Cost = owed
			sum.Ops = append(sum.Ops, op)
		}
	}
	if len(sum.Ops) > 0 {
		if down, err := l.guard.ask(ctx, &sum); down || err != nil {
			return false, unlessDown(down, err)
		}
		l.follow(sum.Now)
	}
	for _, p := range mine {
		p.units = 0
	}
	for _, p := range mine {
		for id, t := range p.takes {
			if l.guard.clock()-began > l.guard.deadline.Microseconds() {
				return false, nil // the rest goes with the next decision
			}
			if paid, err := l.payTake(ctx, p, id, t); !paid || err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func unlessDown(down bool, err error) error {
	if down {
		return nil
	}
	return err
}

// repeat has the store carry out a settlement that it did not answer, and
// reports whether a decision may follow.
func (l *local) repeat(ctx context.Context, s *settlement) (paid bool, err error) {
	l.mu.Lock()
	done, busy := s.done, s.busy
	if done || busy { // several accounts may wait for it, and one payer is enough
		l.mu.Unlock()
		return done, nil
	}
	s.busy = true
	again := Request{Mode: s.mode, ID: s.id, Ops: append([]Op(nil), s.ops...)}
	l.mu.Unlock()
	var down bool
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.id, s.busy = again.ID, false
		if done {
			l.settled(s)
		}
	}()
	down, err = l.carryOut(ctx, &again)
	switch {
	case errors.Is(err, ErrFull): // again with the next decision
		return true, nil
	case err != nil && errors.CodeOf(err) != errors.Invalid:
		return false, unlessDown(down, err)
	}
	done = true
	return true, nil
}

// carryOut asks the store for a settlement, with a new ID where it has none.
func (l *local) carryOut(ctx context.Context, req *Request) (down bool, err error) {
	if req.ID == (ID{}) {
		if req.ID, down, err = l.draw(ctx, req.Ops[0].Key); down || err != nil {
			return down, err
		}
	}
	return l.guard.ask(ctx, req)
}

// payTake has the store charge a take under a limit with a log, or renew the
// lease if it has it.
func (l *local) payTake(ctx context.Context, p *payment, id ID, t *taken) (paid bool, err error) {
	l.mu.Lock()
	units, there := t.units, t.there
	live := l.takes[takeOf{id, p.of}] == t && t.until > l.clock()
	if !live {
		delete(p.takes, id)
	}
	l.mu.Unlock()
	if !live {
		return true, nil
	}
	op := p.op
	known := false
	if there != (ID{}) {
		renewal := Request{Mode: ModeRenew, ID: there, Ops: []Op{op}}
		if down, err := l.guard.ask(ctx, &renewal); down || err != nil {
			return false, unlessDown(down, err)
		}
		known = renewal.Allowed
	}
	if !known {
		op.Cost = units
		charge := Request{Mode: ModeCharge, Ops: []Op{op}}
		if down, err := l.guard.ask(ctx, &charge); down || err != nil {
			return false, unlessDown(down, err)
		}
		there = charge.ID
	}
	l.mu.Lock()
	t.there = there
	delete(p.takes, id)
	op.Cost, op.Actual = units, t.units
	if l.takes[takeOf{id, p.of}] != t {
		op.Actual = 0
	}
	l.mu.Unlock()
	if op.Actual != op.Cost { // settled meanwhile
		if _, err := l.tell(ctx, ModeSettle, there, []Op{op}); err != nil {
			return false, err
		}
	}
	return true, nil
}

// tell has the store carry out a settlement, now or, when it fails or the caller
// gives up, before it decides about one of the subjects again; the zero ID asks
// for one of its own. Where there is no room to remember it, that is an error,
// and the settlement may be repeated.
func (l *local) tell(ctx context.Context, mode Mode, id ID, ops []Op) (down bool, err error) {
	req := Request{Mode: mode, ID: id, Ops: append([]Op(nil), ops...)}
	down, err = l.carryOut(ctx, &req)
	if (down || ctx.Err() != nil) && err != nil && !l.queue(ctx, mode, req.ID, ops) {
		return true, l.guard.refuse(ErrFull)
	}
	return down, unlessDown(down, err)
}
