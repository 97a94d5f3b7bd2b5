package ratelimittest

import (
	"maps"
	"math"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func flaws() map[string]flaw {
	all := map[string]flaw{}
	for _, some := range []map[string]flaw{settlementFlaws(), leaseFlaws(), shadowFlaws(), stateFlaws(), numberFlaws()} {
		maps.Copy(all, some)
	}
	return all
}

func settlementFlaws() map[string]flaw {
	return map[string]flaw{
		"a settlement forgotten at once": {hold: func(*ratelimit.Request, int64) int64 { return 0 }},
		"a settlement remembered for its Until alone": {hold: func(req *ratelimit.Request, _ int64) (until int64) {
			for i := range req.Ops {
				until = max(until, req.Ops[i].Until)
			}
			return until
		}},
		"a settlement remembered while two quotas come back": {hold: func(req *ratelimit.Request, now int64) (until int64) {
			for i := range req.Ops {
				op := &req.Ops[i]
				until = max(until, op.Until, now+60e6, now+2*op.Rule.Window().Microseconds())
			}
			return until
		}},
		"a settlement that charges remembered for less than a minute": {hold: func(req *ratelimit.Request, now int64) (until int64) {
			hold := req.Hold()
			if hold == 60e6 {
				hold = 50e6
			}
			for i := range req.Ops {
				until = max(until, req.Ops[i].Until, now+hold)
			}
			return until
		}},
		"settlements that charge nothing": asked(ratelimit.ModeSettle, func(_ *plain, _ *ratelimit.Request, op *ratelimit.Op) {
			op.Actual = min(op.Actual, op.Cost)
		}),
		"settlements that give back everything": asked(ratelimit.ModeSettle, func(_ *plain, _ *ratelimit.Request, op *ratelimit.Op) {
			op.Actual = 0
		}),
		"settlements of the first subject for all": asked(ratelimit.ModeSettle, func(_ *plain, req *ratelimit.Request, op *ratelimit.Op) {
			op.Actual = req.Ops[0].Actual
		}),
		"settlements cut at the quota": asked(ratelimit.ModeSettle, func(_ *plain, _ *ratelimit.Request, op *ratelimit.Op) {
			op.Actual = min(op.Actual, op.Rule.Quota())
		}),
		"settlements that find no log charge nothing": asked(ratelimit.ModeSettle, func(_ *plain, _ *ratelimit.Request, op *ratelimit.Op) {
			if op.Rule.Logged() {
				op.Cost = forever
			}
		}),
		"charges cut at the quota": asked(ratelimit.ModeCharge, func(_ *plain, _ *ratelimit.Request, op *ratelimit.Op) {
			op.Cost = min(op.Cost, op.Rule.Quota())
		}),
		"charges that are refused": as(ratelimit.ModeTake, ratelimit.ModeCharge),
		"charges without an ID": done(ratelimit.ModeCharge, func(_ *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
			req.ID = ratelimit.ID{}
		}),
		"an ID for a charge of nothing": done(ratelimit.ModeCharge, func(_ *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
			if req.ID == (ratelimit.ID{}) {
				req.ID = ratelimit.ID{5}
			}
		}),
		"debts cut at the quota": cells(func(_ *plain, _ *ratelimit.Request, _ *ratelimit.Op, c, _ *ratelimit.Cell) {
			if c.Used < 0 {
				c.Used = -c.Used // as of a bucket that was not overdrawn
			}
		}),
	}
}

func leaseFlaws() map[string]flaw {
	return map[string]flaw{
		"a release that remembers its ID": done(ratelimit.ModeRelease, func(p *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
			p.settled[req.ID] = forever
		}),
		"a release of every lease": asked(ratelimit.ModeRelease, func(p *plain, _ *ratelimit.Request, op *ratelimit.Op) {
			delete(p.kept, of(op))
		}),
		"a release that waits for the lease to lapse": as(ratelimit.ModePeek, ratelimit.ModeRelease),
		"a renewal that only says so": done(ratelimit.ModeRenew, func(p *plain, req *ratelimit.Request, was []ratelimit.Kept) {
			p.write(req, was)
		}),
		"a renewal that is always allowed": done(ratelimit.ModeRenew, func(_ *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
			req.Allowed = true
		}),
		"a renewal that revives what lapsed": asked(ratelimit.ModeRenew, func(p *plain, req *ratelimit.Request, op *ratelimit.Op) {
			for i := range p.kept[of(op)].Log.Entries {
				e := &p.kept[of(op)].Log.Entries[i]
				e.Until = max(e.Until, p.now+1)
			}
		}),
		"a renewal of one lease after the other": asked(ratelimit.ModeRenew, func(p *plain, req *ratelimit.Request, op *ratelimit.Op) {
			k := p.kept[of(op)]
			op.Rule.RenewLog(&k.Log, req.ID, p.now)
			p.kept[of(op)] = k
		}),
		"a renewal of every lease of the key": asked(ratelimit.ModeRenew, func(p *plain, _ *ratelimit.Request, op *ratelimit.Op) {
			k := p.kept[of(op)]
			for _, e := range k.Log.Entries {
				op.Rule.RenewLog(&k.Log, e.ID, p.now)
			}
			p.kept[of(op)] = k
		}),
		"a renewal by the time left": entries(func(p *plain, req *ratelimit.Request, op *ratelimit.Op, e *ratelimit.Entry) {
			if req.Mode == ratelimit.ModeRenew && req.Allowed && e.ID == req.ID {
				e.Until = p.now + op.Rule.Limit().Period.Microseconds() // also where that is sooner
			}
		}),
		"leases without IDs": entries(func(_ *plain, _ *ratelimit.Request, _ *ratelimit.Op, e *ratelimit.Entry) {
			e.ID = ratelimit.ID{1}
		}),
		"a log that counts one microsecond too long": {state: shiftLog(1)},
		"a log that ends one microsecond too early":  {state: shiftLog(-1)},
		"a log in whole seconds": entries(func(_ *plain, _ *ratelimit.Request, _ *ratelimit.Op, e *ratelimit.Entry) {
			e.Until -= e.Until % 1e6
		}),
		"a log whose entries end with the last": {state: func(_ *ratelimit.Op, k *ratelimit.Kept, _ int64) {
			for i := range k.Log.Entries {
				k.Log.Entries[i].Until = k.Log.Expires()
			}
		}},
	}
}

// shiftLog has entries end later, or earlier.
func shiftLog(by int64) func(*ratelimit.Op, *ratelimit.Kept, int64) {
	return func(_ *ratelimit.Op, k *ratelimit.Kept, now int64) {
		for i := range k.Log.Entries {
			if e := &k.Log.Entries[i]; by > 0 && e.Until == now || by < 0 && e.Until == now+1 {
				e.Until += by
			}
		}
	}
}

func shadowFlaws() map[string]flaw {
	return map[string]flaw{
		"a shadow limit that denies": {rule: func(l ratelimit.Limit) ratelimit.Limit {
			l.Shadow = false
			return l
		}},
		"a shadow limit that counts what it would refuse": done(ratelimit.ModeTake, func(p *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
			for i := range req.Ops {
				if op := &req.Ops[i]; req.Allowed && op.Rule.Shadow() && op.Outcome.RetryAfter != 0 {
					p.charge(op, op.Cost)
				}
			}
		}),
		"a shadow limit that counts nothing": {after: func(p *plain, req *ratelimit.Request, was []ratelimit.Kept) {
			for i := range req.Ops {
				if op := &req.Ops[i]; op.Rule.Shadow() {
					p.kept[of(op)] = was[i]
				}
			}
		}},
		"a shadow limit that says it would pass": {after: func(_ *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
			for i := range req.Ops {
				if op := &req.Ops[i]; op.Rule.Shadow() {
					op.Outcome.RetryAfter = 0
				}
			}
		}},
		"an ID for what only shadow limits refused": done(ratelimit.ModeTake, func(_ *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
			if req.Allowed && req.ID == (ratelimit.ID{}) && req.Ops[0].Cost > 0 {
				req.ID = ratelimit.ID{6}
			}
		}),
		"a take up to a cost that is all or nothing": as(ratelimit.ModeTake, ratelimit.ModeTakeUpTo),
		"a take up to a cost that shadow limits cut": asked(ratelimit.ModeTakeUpTo, func(p *plain, req *ratelimit.Request, op *ratelimit.Op) {
			if op.Rule.Shadow() && !op.Rule.Logged() {
				free := op.Rule.Peek(p.kept[of(op)].Cell, 0, p.now).Remaining
				for i := range req.Ops {
					req.Ops[i].Cost = min(req.Ops[i].Cost, max(free, 1))
				}
			}
		}),
		"a take up to a cost that takes when refused": done(ratelimit.ModeTakeUpTo, func(p *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
			for i := range req.Ops {
				if op := &req.Ops[i]; !req.Allowed && op.Outcome.RetryAfter == 0 {
					p.charge(op, 1)
				}
			}
		}),
		"a take up to a cost that leaves one": asked(ratelimit.ModeTakeUpTo, func(p *plain, req *ratelimit.Request, op *ratelimit.Op) {
			if !op.Rule.Logged() {
				free := op.Rule.Peek(p.kept[of(op)].Cell, 0, p.now).Remaining
				for i := range req.Ops {
					req.Ops[i].Cost = min(req.Ops[i].Cost, max(free-1, 1))
				}
			}
		}),
		"a refused take up to a cost that asks for all": done(ratelimit.ModeTakeUpTo, func(_ *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
			for i := range req.Ops {
				if !req.Allowed {
					req.Ops[i].Cost = 5
				}
			}
		}),
	}
}

func stateFlaws() map[string]flaw {
	return map[string]flaw{
		"state that ends at a whole second": cells(func(p *plain, _ *ratelimit.Request, _ *ratelimit.Op, c, was *ratelimit.Cell) {
			if *c != *was && c.Expires > p.now+1e6 {
				c.Expires -= (c.Expires - p.now) % 1e6
			}
		}),
		"state that ends a second late": cells(func(_ *plain, _ *ratelimit.Request, _ *ratelimit.Op, c, was *ratelimit.Cell) {
			if *c != *was && c.Expires > 0 {
				c.Expires += 1e6
			}
		}),
		"a peek that creates state": cells(func(p *plain, req *ratelimit.Request, op *ratelimit.Op, c, was *ratelimit.Cell) {
			if req.Mode == ratelimit.ModePeek && *was == (ratelimit.Cell{}) {
				*c = op.Rule.Charge(*c, 1, p.now)
				c.Used, c.Part = 0, 0
			}
		}),
		"a refusal that moves the time of its state": cells(func(p *plain, req *ratelimit.Request, _ *ratelimit.Op, c, _ *ratelimit.Cell) {
			if req.Mode == ratelimit.ModeTake && !req.Allowed && c.Used > 0 {
				c.At = max(c.At, p.now)
			}
		}),
		"state that follows a clock back": {state: func(_ *ratelimit.Op, k *ratelimit.Kept, now int64) {
			k.Cell.At, k.Log.At = min(k.Cell.At, now), min(k.Log.At, now)
		}},
		"windows that start with their first take": {state: func(op *ratelimit.Op, k *ratelimit.Kept, now int64) {
			l := op.Rule.Limit()
			if l.Algorithm == ratelimit.FixedWindow && k.Cell.Used > 0 && now < k.Cell.At+l.Period.Microseconds() {
				k.Cell.At, k.Cell.Expires = now, now+1
			}
		}},
		"calendars in UTC": reread(ratelimit.Calendar, func(l *ratelimit.Limit) { l.Zone = time.UTC }),
		"calendars whose zone never changes": reread(ratelimit.Calendar, func(l *ratelimit.Limit) {
			_, offset := time.UnixMicro(1_800_000_000_000_000).In(l.Zone).Zone()
			l.Zone = time.FixedZone("", offset)
		}),
		"weeks from Sunday": reread(ratelimit.Calendar, func(l *ratelimit.Limit) {
			if l.Every == ratelimit.Week {
				l.Zone = time.FixedZone("", 24*3600)
			}
		}),
		"a burst that is the count": reread(ratelimit.TokenBucket, func(l *ratelimit.Limit) { l.Burst = 0 }),
	}
}

func numberFlaws() map[string]flaw {
	return map[string]flaw{
		"a truncated emission interval": reread(ratelimit.TokenBucket, func(l *ratelimit.Limit) {
			if us := l.Period.Microseconds() / l.Count; us > 0 && l.Burst <= l.Count {
				l.Period = time.Duration(us*l.Count) * time.Microsecond
			}
		}),
		"a bucket in floating point": cells(func(_ *plain, _ *ratelimit.Request, op *ratelimit.Op, c, was *ratelimit.Cell) {
			if op.Rule.Limit().Algorithm == ratelimit.TokenBucket && *c != *was && c.Used > 0 {
				period := float64(op.Rule.Limit().Period.Microseconds())
				tokens := float64(float32(float64(c.Used) + float64(c.Part)/period))
				c.Used = int64(tokens)
				c.Part = int64((tokens - math.Floor(tokens)) * period)
			}
		}),
		"a bucket of whole units": cells(func(_ *plain, _ *ratelimit.Request, op *ratelimit.Op, c, was *ratelimit.Cell) {
			if op.Rule.Limit().Algorithm == ratelimit.TokenBucket && *c != *was {
				c.Part = 0
			}
		}),
		"products in floating point": outcomes(ratelimit.TokenBucket, func(r *ratelimit.Rule, o *ratelimit.Outcome) {
			l := r.Limit()
			o.ResetAfter = int64(math.Ceil(float64(o.ResetAfter) * float64(l.Count) / float64(l.Period.Microseconds()) * float64(l.Period.Microseconds()) / float64(l.Count)))
		}),
		"a sliding wait that is rounded up": outcomes(ratelimit.SlidingWindow, func(_ *ratelimit.Rule, o *ratelimit.Outcome) {
			if o.RetryAfter > 0 {
				o.RetryAfter++
			}
		}),
		"a sliding wait until the window ends": outcomes(ratelimit.SlidingWindow, func(r *ratelimit.Rule, o *ratelimit.Outcome) {
			if p := r.Limit().Period.Microseconds(); o.RetryAfter > 0 && o.ResetAfter > p {
				o.RetryAfter = o.ResetAfter - p
			}
		}),
		"a reset without the rest of a microsecond": outcomes(ratelimit.TokenBucket, func(_ *ratelimit.Rule, o *ratelimit.Outcome) {
			if o.Rest > 0 {
				o.ResetAfter--
			}
		}),
	}
}
