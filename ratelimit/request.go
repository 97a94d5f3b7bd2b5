package ratelimit

import "github.com/keytoll/keytoll/errors"

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
		return nil, invalid("two charges hold one key to limits of one name; give the limits different names")
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
		ops = append(ops, Op{Rule: &limits.set.rules[k], Key: c.Key, Cost: c.Cost})
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

// report fills res from what the store answered.
func (l *Limiter) report(res *Result, req *Request, charges []Charge) {
	res.Allowed = req.Allowed
	r := &res.Reservation
	r.id, r.now = req.ID, req.Now
	r.ncharge, r.nout = len(charges), len(req.Ops)
	if len(charges) > fewCharges || len(req.Ops) > fewOps {
		r.more = &bigReservation{make([]Charge, len(charges)), make([]Outcome, len(req.Ops))}
	}
	cs, outs := r.parts()
	for i := range charges {
		cs[i] = charges[i]
		cs[i].Limits = l.of(&charges[i])
	}
	speaker := 0
	for i := range req.Ops {
		outs[i] = req.Ops[i].Outcome
		if i > 0 && outs[i].tighter(&outs[speaker]) {
			speaker = i
		}
	}
	s, o := &req.Ops[speaker], &outs[speaker]
	res.Limit, res.Key = s.Rule.limit.Name, s.Key
	res.Remaining, res.RetryAfter, res.ResetAfter = o.Remaining, wait(o.RetryAfter), micros(o.ResetAfter)
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
