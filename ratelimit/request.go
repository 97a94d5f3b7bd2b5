package ratelimit

import "github.com/keytoll/keytoll/errors"

// fill checks the charges and lays out their ops.
func (l *Limiter) fill(req *Request, charges []Charge) error {
	if len(charges) == 0 {
		return invalid("no charges; give 1 or more")
	}
	for i := range charges {
		c := &charges[i]
		switch {
		case c.Key == "":
			return invalid("the key is empty; name the subject")
		case len(c.Key) > l.maxKey:
			return invalid("the key is too long; hash it or raise MaxKeyBytes")
		case c.Cost < 0:
			return invalid("the cost is negative; give 0 or more, and Refund to give back")
		}
		limits := l.of(c)
		if limits.Len() == 0 {
			return invalid("no limits; give the charge or the limiter some")
		}
		if len(req.Ops)+limits.Len() > MaxOps {
			return invalid("too many limits in one call; at most 64 over all charges")
		}
		req.addOne(c, limits)
	}
	if len(charges) > 1 {
		return req.distinct()
	}
	return nil
}

func invalid(msg string) error { return &errors.Error{Code: errors.Invalid, Msg: msg} }

func (l *Limiter) of(c *Charge) Limits {
	if c.Limits.set == nil {
		return l.limits
	}
	return c.Limits
}

func (req *Request) add(charges []Charge) {
	for i := range charges {
		req.addOne(&charges[i], charges[i].Limits)
	}
}

func (req *Request) addOne(c *Charge, limits Limits) {
	for k := range limits.set.rules {
		req.Ops = append(req.Ops, Op{Rule: &limits.set.rules[k], Key: c.Key, Cost: c.Cost})
	}
}

// distinct refuses two ops on one state.
func (req *Request) distinct() error {
	for i := range req.Ops {
		for j := range i {
			a, b := &req.Ops[i], &req.Ops[j]
			if a.Key == b.Key && a.Rule.limit.Name == b.Rule.limit.Name {
				return invalid("two charges hold one key to limits of one name; give the limits different names")
			}
		}
	}
	return nil
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
