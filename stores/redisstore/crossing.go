package redisstore

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// A crossing is one request about several tags of a cluster, which no one step
// can decide. Its parts, one for each tag, are taken one after the other in the
// order of their tags, once a look at all of them says that they pass; a refusal
// or an error half way gives back what was taken.
type crossing struct {
	store *LimitStore
	req   *ratelimit.Request
	parts []part
	call  call
}

// A part is what a request asks of one tag.
type part struct {
	tag   string
	req   ratelimit.Request
	index []int // of its ops in the whole
}

// parts returns the request's parts by tag.
func (s *LimitStore) parts(req *ratelimit.Request) []part {
	var all []part
	for i := range req.Ops {
		tag := s.tagOf(req.Ops[i].Key)
		at := slices.IndexFunc(all, func(p part) bool { return p.tag == tag })
		if at < 0 {
			at = len(all)
			all = append(all, part{tag: tag})
		}
		all[at].index = append(all[at].index, i)
	}
	slices.SortFunc(all, func(a, b part) int { return cmp.Compare(a.tag, b.tag) })
	for k := range all {
		p := &all[k]
		p.req.Mode, p.req.ID = req.Mode, req.ID
		for _, i := range p.index {
			p.req.Ops = append(p.req.Ops, req.Ops[i])
		}
	}
	return all
}

func (x *crossing) apply(ctx context.Context) error {
	switch x.req.Mode {
	case ratelimit.ModeTake:
		return x.take(ctx)
	case ratelimit.ModeTakeUpTo:
		return x.takeUpTo(ctx)
	case ratelimit.ModePeek:
		if err := x.each(ctx, x.parts, ratelimit.ModePeek); err != nil {
			return err
		}
		x.tell()
		return nil
	case ratelimit.ModeCharge:
		if _, err := x.takeParts(ctx, ratelimit.ModeCharge); err != nil {
			return err
		}
		x.tell()
		return nil
	case ratelimit.ModeRenew:
		return x.renew(ctx)
	default: // each part is complete in itself, and may be asked again
		return x.each(ctx, x.parts, x.req.Mode)
	}
}

// each carries out parts at once, in a mode of the script.
func (x *crossing) each(ctx context.Context, parts []part, mode ratelimit.Mode) error {
	errs := make([]error, len(parts))
	c := x.call
	c.mode = mode
	var running sync.WaitGroup
	for i := range parts {
		running.Go(func() { errs[i] = x.store.step(ctx, &parts[i].req, c) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// take looks at all parts but the first, whose take is a look in itself, takes
// them when all pass, and gives back when one does not after all.
func (x *crossing) take(ctx context.Context) error {
	if err := x.each(ctx, x.parts[1:], ratelimit.ModePeek); err != nil {
		return err
	}
	pass := !slices.ContainsFunc(x.parts[1:], func(p part) bool { return !p.req.Allowed })
	if !pass {
		if err := x.each(ctx, x.parts[:1], ratelimit.ModePeek); err != nil {
			return err
		}
		x.tell()
		return nil
	}
	taken, err := x.takeParts(ctx, ratelimit.ModeTake)
	if err != nil {
		return err
	}
	if taken < len(x.parts) { // that part says itself what a peek would; the others were changed
		if err := errors.Join(x.each(ctx, x.parts[:taken], ratelimit.ModePeek), x.each(ctx, x.parts[taken+1:], ratelimit.ModePeek)); err != nil {
			return err
		}
	}
	x.tell()
	return nil
}

// takeParts carries out one part after the other, and returns how many passed.
// When not all did it has given back what they took.
func (x *crossing) takeParts(ctx context.Context, mode ratelimit.Mode) (taken int, err error) {
	c := x.call
	c.mode = mode
	for taken = range x.parts {
		p := &x.parts[taken]
		if err = x.store.step(ctx, &p.req, c); err != nil || mode == ratelimit.ModeTake && !p.req.Allowed {
			return taken, errors.Join(err, x.giveBack(ctx, x.parts[:taken]))
		}
	}
	return len(x.parts), nil
}

// giveBack settles what parts took to nothing, also when ctx is over.
func (x *crossing) giveBack(ctx context.Context, parts []part) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.store.undo)
	defer cancel()
	back := make([]part, 0, len(parts))
	x.call.till = 0
	for i := range parts {
		p := &parts[i].req
		settle := ratelimit.Request{Mode: ratelimit.ModeSettle}
		for _, op := range p.Ops {
			if op.Outcome.RetryAfter == 0 && op.Cost > 0 {
				op.Actual, op.Until, op.Rest = 0, p.Now+op.Outcome.ResetAfter, op.Outcome.Rest
				settle.Ops = append(settle.Ops, op)
				x.call.till = max(x.call.till, op.Until)
			}
		}
		if len(settle.Ops) > 0 {
			back = append(back, part{req: settle})
		}
	}
	if err := x.each(ctx, back, ratelimit.ModeSettle); err != nil {
		return &errors.Error{Code: errors.Unavailable, Op: opApply, Msg: "a part of the limits was taken and could not be given back; it comes back with time", Err: err}
	}
	return nil
}

// takeUpTo takes what a look says is free, and looks again when others were
// faster; in the end it asks for 1.
func (x *crossing) takeUpTo(ctx context.Context) error {
	most := x.req.Ops[0].Cost
	for try := range 4 {
		cost := min(most, 1)
		if try < 3 {
			x.price(0)
			if err := x.each(ctx, x.parts, ratelimit.ModePeek); err != nil {
				return err
			}
			cost = x.free(most)
		}
		x.price(cost)
		x.call.fresh() // what was given back counts as settled
		if err := x.take(ctx); err != nil {
			return err
		}
		if x.req.Allowed || cost <= 1 {
			break
		}
	}
	return nil
}

// price gives all ops a cost.
func (x *crossing) price(cost int64) {
	for k := range x.parts {
		p := &x.parts[k]
		p.req.Mode = ratelimit.ModeTake
		for j, i := range p.index {
			p.req.Ops[j].Cost = cost
			x.req.Ops[i].Cost = cost
		}
	}
}

// free returns the most that passes, or 1.
func (x *crossing) free(most int64) int64 {
	for k := range x.parts {
		for i := range x.parts[k].req.Ops {
			if op := &x.parts[k].req.Ops[i]; !op.Rule.Shadow() {
				most = min(most, max(op.Outcome.Remaining, 1))
			}
		}
	}
	return most
}

// renew looks first whether all leases are there.
func (x *crossing) renew(ctx context.Context) error {
	for _, mode := range [...]ratelimit.Mode{modeHolds, ratelimit.ModeRenew} {
		if err := x.each(ctx, x.parts, mode); err != nil {
			return err
		}
		x.req.Allowed = !slices.ContainsFunc(x.parts, func(p part) bool { return !p.req.Allowed })
		if !x.req.Allowed {
			break
		}
	}
	return nil
}

// tell puts what the parts said into the request. Servers have clocks of their
// own: the earliest time counts, and the waits until all is free are counted
// from it, so that a settlement knows when each was to end by its own clock.
func (x *crossing) tell() {
	req := x.req
	allowed := true
	req.ID, req.Now = ratelimit.ID{}, x.parts[0].req.Now
	for k := range x.parts {
		req.Now = min(req.Now, x.parts[k].req.Now)
		allowed = allowed && x.parts[k].req.Allowed
	}
	for k := range x.parts {
		p := &x.parts[k]
		if p.req.ID != (ratelimit.ID{}) {
			req.ID = p.req.ID
		}
		for j, i := range p.index {
			o := p.req.Ops[j].Outcome
			if o.ResetAfter > 0 {
				o.ResetAfter += p.req.Now - req.Now
			}
			req.Ops[i].Outcome = o
		}
	}
	if req.Mode == ratelimit.ModeCharge {
		return
	}
	if req.Allowed = allowed; !allowed {
		req.ID = ratelimit.ID{}
	}
}
