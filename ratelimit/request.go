package ratelimit

import (
	"context"
	"slices"

	"github.com/keytoll/keytoll/errors"
)

// lay checks the charges and appends their ops.
func (l *Limiter) lay(ops []Op, charges []Charge) ([]Op, error) {
	if len(charges) == 0 {
		return nil, invalid("no charges; give 1 or more")
	}
	for i := range charges {
		c := &charges[i]
		limits := l.of(c)
		switch {
		case c.Key == "":
			return nil, invalid("the key is empty; name the subject")
		case len(c.Key) > l.maxKey:
			return nil, invalid("the key is too long; hash it or raise MaxKeyBytes")
		case c.Cost < 0:
			return nil, invalid("the cost is negative; give 0 or more, and Refund to give back")
		case limits.set == nil:
			return nil, invalid("no limits; give the charge or the limiter some")
		case len(ops)+limits.Len() > MaxOps:
			return nil, invalid("too many limits in one call; give at most 64 over all charges")
		}
		ops = lay(ops, c, limits)
	}
	if len(charges) > 1 && !distinct(ops) {
		return nil, invalid("two charges hold one key to limits of one name; add their costs up in one, or give the limits different names")
	}
	return ops, nil
}

func invalid(msg string) error { return &errors.Error{Code: errors.Invalid, Msg: msg} }

// of returns the limits that c is held to.
func (l *Limiter) of(c *Charge) Limits {
	if c.Limits.set == nil {
		return l.limits
	}
	return c.Limits
}

func lay(ops []Op, c *Charge, limits Limits) []Op {
	for k := range limits.set.rules {
		ops = append(ops, Op{})
		op := &ops[len(ops)-1] // filled in place: an Op is large
		op.Rule, op.Key, op.Cost = &limits.set.rules[k], c.Key, c.Cost
	}
	return ops
}

// distinct reports whether no two ops share a key and a limit's name.
func distinct(ops []Op) bool {
	for i := range ops {
		for j := range i {
			if ops[i].Key == ops[j].Key && ops[i].Rule.limit.Name == ops[j].Rule.limit.Name {
				return false
			}
		}
	}
	return true
}

// stateful drops the ops that no store decides.
func stateful(ops []Op) []Op {
	return slices.DeleteFunc(ops, func(o Op) bool { return o.Rule.stateless() })
}

// hasStateless reports whether a limit of the charges needs no store.
func (l *Limiter) hasStateless(charges []Charge) bool {
	for i := range charges {
		if l.of(&charges[i]).set.stateless {
			return true
		}
	}
	return false
}

// decideAround answers the ops that need no state itself and has the store
// decide the others: of what it will refuse anyway only a peek.
func (l *Limiter) decideAround(ctx context.Context, req *Request) error {
	denied := false
	for i := range req.Ops {
		if op := &req.Ops[i]; op.Rule.stateless() {
			op.Outcome = Outcome{Remaining: MaxCount}
			if op.Rule.limit.Algorithm == DenyAll {
				op.Outcome = Outcome{}
				if op.Cost > 0 {
					op.Outcome.RetryAfter = never
					denied = denied || !op.Rule.limit.Shadow
				}
			}
		}
	}
	inner := l.request(req.Mode)
	defer l.release(inner)
	inner.Ops = stateful(append(inner.Ops, req.Ops...))
	cost := req.Ops[0].Cost // of ModeTakeUpTo
	if denied {
		inner.Mode, cost = ModePeek, min(cost, 1)
		for i := range inner.Ops {
			if req.Mode == ModeTakeUpTo {
				inner.Ops[i].Cost = cost
			}
		}
	}
	inner.Allowed = true
	if len(inner.Ops) == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
	} else {
		if err := l.store.Apply(ctx, inner); err != nil {
			return err
		}
		cost = inner.Ops[0].Cost
	}
	next := 0
	for i := range req.Ops {
		op := &req.Ops[i]
		if !op.Rule.stateless() {
			*op = inner.Ops[next]
			next++
		} else if req.Mode == ModeTakeUpTo {
			op.Cost = cost
		}
	}
	req.Allowed, req.ID = inner.Allowed && !denied, inner.ID
	req.Now, req.Degraded = inner.Now, inner.Degraded
	return nil
}

// report fills res from what the store answered.
func (l *Limiter) report(res *Result, req *Request, charges []Charge) {
	res.Allowed, res.Degraded = req.Allowed, req.Degraded
	r := &res.Reservation
	r.id, r.now = req.ID, req.Now
	r.ncharge, r.nout = int32(len(charges)), int32(len(req.Ops))
	if len(charges) > fewCharges || len(req.Ops) > fewOuts {
		r.more = &bigReservation{make([]Charge, len(charges)), make([]out, len(req.Ops))}
	}
	cs, outs := r.parts()
	for i := range charges {
		cs[i] = charges[i]
		cs[i].Limits = l.of(&charges[i])
	}
	if req.Mode == ModeTakeUpTo {
		cs[0].Cost = req.Ops[0].Cost
		if req.Allowed {
			res.Taken = req.Ops[0].Cost
		}
	}
	speaker := 0
	for i := range req.Ops {
		outs[i] = req.Ops[i].Outcome.out()
		if i > 0 && req.Ops[i].speaksBefore(&req.Ops[speaker]) {
			speaker = i
		}
	}
	s := &req.Ops[speaker]
	o := &s.Outcome
	res.Limit, res.Key = s.Rule.limit.Name, s.Key
	res.Remaining, res.RetryAfter, res.ResetAfter = o.Remaining, wait(o.RetryAfter), micros(o.ResetAfter)
	if req.Allowed {
		res.RetryAfter = 0 // a shadow limit may have one
	}
}

// speaksBefore reports whether a result speaks of op rather than of other: a
// shadow limit comes last.
func (op *Op) speaksBefore(other *Op) bool {
	if a, b := op.Rule.limit.Shadow, other.Rule.limit.Shadow; a != b {
		return b
	}
	return op.Outcome.tighter(&other.Outcome)
}

// tighter reports whether o holds the caller back more than p: a longer wait
// (never is the longest), then less remaining, then a later reset.
func (o *Outcome) tighter(p *Outcome) bool {
	if o.RetryAfter != p.RetryAfter {
		return uint64(o.RetryAfter) > uint64(p.RetryAfter)
	}
	if o.Remaining != p.Remaining {
		return o.Remaining < p.Remaining
	}
	return o.ResetAfter > p.ResetAfter
}
