package ratelimittest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// step does one thing at random.
func (w *walk) step() error {
	w.wander()
	switch n := w.rnd.IntN(100); {
	case n < 45:
		return w.spend(ratelimit.ModeTake)
	case n < 55:
		return w.spend(ratelimit.ModeTakeUpTo)
	case n < 65:
		return w.spend(ratelimit.ModePeek)
	case n < 68:
		return w.spend(ratelimit.ModeCharge)
	case n < 83:
		return w.settle()
	case n < 91:
		return w.lease(ratelimit.ModeRenew)
	case n < 95:
		return w.lease(ratelimit.ModeRelease)
	case n < 97:
		return w.do(&ratelimit.Request{Mode: ratelimit.ModeReset, Ops: w.ops(0)})
	}
	return w.retry()
}

// wander moves the clock: mostly a little, or to where something ends.
func (w *walk) wander() {
	switch n := w.rnd.IntN(20); {
	case n < 7: // stay
	case n < 14:
		w.move(w.rnd.Int64N(int64(1) << w.rnd.IntN(35)))
	case n == 14:
		w.move(-w.rnd.Int64N(int64(1) << w.rnd.IntN(38)))
	case n == 15 && w.kind == extreme:
		w.move(w.rnd.Int64N(1<<50) - 1<<49)
	default: // beside the end of a window, a debt or an entry
		if len(w.m.states) == 0 {
			return
		}
		all := slices.SortedFunc(maps.Keys(w.m.states), func(a, b combination) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.name, b.name)) })
		of := all[w.rnd.IntN(len(all))]
		s := w.m.states[of]
		end := s.expires
		if of.logged() {
			end = s.entries[w.rnd.IntN(len(s.entries))].until
		} else if set, ok := w.sets[of.algorithm]; ok && of.algorithm != ratelimit.TokenBucket && w.rnd.IntN(2) == 0 {
			end = reading{set.At(0), w.m}.window(w.m.now).end
		}
		if d := end - w.m.now + w.rnd.Int64N(3) - 1; d > 0 || w.rnd.IntN(4) == 0 {
			w.move(d)
		}
	}
}

// ops returns ops of one to three subjects under one to three limits each.
func (w *walk) ops(algorithm ratelimit.Algorithm) []ratelimit.Op {
	var ops []ratelimit.Op
	for _, k := range w.rnd.Perm(3)[:1+w.rnd.IntN(2)] {
		for _, n := range w.rnd.Perm(len(algorithms))[:1+w.rnd.IntN(3)] {
			a := algorithms[n]
			if algorithm != 0 {
				a = algorithm
			}
			l := w.limit(a)
			ops = append(ops, ratelimit.Op{Rule: l.Rule(0), Key: fmt.Sprint("key", k), Cost: w.cost(l.Rule(0).Quota())})
			if algorithm != 0 {
				break
			}
		}
	}
	return ops
}

func (w *walk) cost(quota int64) int64 {
	switch w.rnd.IntN(12) {
	case 0:
		return 0
	case 1:
		return quota
	case 2:
		return quota + 1
	case 3, 4:
		return 1
	}
	return w.rnd.Int64N(quota/2 + 2)
}

// limit returns the limit of an algorithm, changed at times.
func (w *walk) limit(a ratelimit.Algorithm) ratelimit.Limits {
	set, ok := w.sets[a]
	if ok && (w.kind == unchanged || w.rnd.IntN(4) > 0) {
		if w.rnd.IntN(8) > 0 {
			return set
		}
		l := set.At(0)
		l.Shadow = !l.Shadow && w.rnd.IntN(2) == 0
		w.sets[a] = limits(l)
		return w.sets[a]
	}
	periods := []time.Duration{7 * time.Microsecond, time.Millisecond, time.Second, time.Hour, 31 * time.Hour}
	l := ratelimit.Limit{Name: a.String(), Algorithm: a, Period: periods[w.rnd.IntN(len(periods))], Count: 1 + w.rnd.Int64N(12)}
	switch n := w.rnd.IntN(4); {
	case n == 0:
		l.Count = 1 + w.rnd.Int64N(1e6)
	case w.kind == extreme && n == 1:
		l.Count = ratelimit.MaxCount - w.rnd.Int64N(1<<w.rnd.IntN(40))
	case w.kind == extreme:
		l.Count = 1 + w.rnd.Int64N(1<<(1+w.rnd.IntN(53)))
	}
	if w.kind == extreme {
		l.Period = time.Duration(1+w.rnd.Int64N(1<<(1+w.rnd.IntN(51)))) * time.Microsecond
		if w.rnd.IntN(4) == 0 {
			l.Period = ratelimit.MaxPeriod - time.Duration(w.rnd.Int64N(1000))*time.Microsecond
		}
	}
	if ok && w.kind == recounted {
		l.Period = set.At(0).Period
	}
	switch a {
	case ratelimit.TokenBucket:
		if w.rnd.IntN(2) == 0 {
			l.Burst = 1 + w.rnd.Int64N(min(2*l.Count, ratelimit.MaxCount))
			if l.Burst > l.Count && l.Period > ratelimit.MaxPeriod/4 {
				l.Burst = 0
			}
		}
	case ratelimit.SlidingLog, ratelimit.Concurrency:
		l.Count = min(l.Count, ratelimit.MaxLog)
	case ratelimit.Calendar:
		l.Period = 0
		l.Every = ratelimit.Day + ratelimit.Span(w.rnd.IntN(4))
		l.Zone = zones()[w.rnd.IntN(len(zones()))]
		if ok && w.kind == recounted {
			l.Every, l.Zone = set.At(0).Every, set.At(0).Zone
		}
	}
	if w.rnd.IntN(5) == 0 {
		l.Shadow = true
	}
	w.sets[a] = limits(l)
	return w.sets[a]
}

func (w *walk) spend(mode ratelimit.Mode) error {
	req := ratelimit.Request{Mode: mode, Ops: w.ops(0)}
	if mode == ratelimit.ModeTakeUpTo {
		for i := range req.Ops {
			req.Ops[i].Cost = req.Ops[0].Cost
		}
	}
	if mode == ratelimit.ModeCharge && w.rnd.IntN(3) == 0 {
		req.Ops[0].Cost *= 1 + w.rnd.Int64N(20)
		req.Ops[0].Cost = min(req.Ops[0].Cost, ratelimit.MaxCount)
	}
	if err := w.do(&req); err != nil {
		return err
	}
	if mode == ratelimit.ModeCharge || req.ID == (ratelimit.ID{}) {
		return nil
	}
	d := decision{id: req.ID, now: w.m.now}
	for _, op := range req.Ops {
		if op.Outcome.RetryAfter == 0 {
			op.Until, op.Rest = w.m.now+op.Outcome.ResetAfter, op.Outcome.Rest
			d.ops = append(d.ops, op)
		}
	}
	w.taken = append(w.taken, d)
	return nil
}

// settle settles a decision, which may have been settled, and looks at what
// became of it.
func (w *walk) settle() error {
	if len(w.taken) == 0 {
		return nil
	}
	d := w.taken[len(w.taken)-1-w.rnd.IntN(min(len(w.taken), 12))]
	req := ratelimit.Request{Mode: ratelimit.ModeSettle, ID: d.id, Ops: slices.Clone(d.ops)}
	kind := w.rnd.IntN(4)
	for i := range req.Ops {
		op := &req.Ops[i]
		op.Outcome = ratelimit.Outcome{}
		// The fraction of a unit is then read as of another period: documented,
		// and not modelled.
		if s := w.m.states[of(op)]; s != nil && op.Rule.Limit().Algorithm == ratelimit.TokenBucket && s.period != op.Rule.Limit().Period.Microseconds() {
			return nil
		}
		switch kind {
		case 0, 1: // given back
		case 2:
			op.Actual = w.rnd.Int64N(op.Cost + 1)
		case 3:
			op.Actual = min(op.Cost+w.rnd.Int64N(op.Cost*3+2), ratelimit.MaxCount)
		}
	}
	if err := w.do(&req); err != nil {
		return err
	}
	w.drop()
	return w.look(d.ops)
}

func (w *walk) look(ops []ratelimit.Op) error {
	peek := ratelimit.Request{Mode: ratelimit.ModePeek}
	for _, op := range ops {
		peek.Ops = append(peek.Ops, ratelimit.Op{Rule: op.Rule, Key: op.Key, Cost: 1})
	}
	return w.do(&peek)
}

// lease renews or releases the leases of a decision, or of none.
func (w *walk) lease(mode ratelimit.Mode) error {
	req := ratelimit.Request{Mode: mode, ID: ratelimit.ID{1, 2, 3}, Ops: w.ops(ratelimit.Concurrency)}
	for _, d := range slices.Backward(w.taken) {
		leases := slices.DeleteFunc(slices.Clone(d.ops), func(op ratelimit.Op) bool {
			return op.Rule.Limit().Algorithm != ratelimit.Concurrency || op.Cost == 0
		})
		if len(leases) > 0 && w.rnd.IntN(3) > 0 {
			req.ID, req.Ops = d.id, leases
			break
		}
	}
	for i := range req.Ops {
		req.Ops[i] = ratelimit.Op{Rule: req.Ops[i].Rule, Key: req.Ops[i].Key}
	}
	if err := w.do(&req); err != nil {
		return err
	}
	return w.look(req.Ops)
}

// retry asks what may be refused again one microsecond before the wait that was
// told, and after it.
func (w *walk) retry() error {
	req := ratelimit.Request{Mode: ratelimit.ModeTake, Ops: w.ops(0)}
	if err := w.do(&req); err != nil || req.Allowed {
		return err
	}
	wait := int64(0)
	for i := range req.Ops {
		if op := &req.Ops[i]; op.Outcome.RetryAfter < 0 {
			return nil
		} else if !op.Rule.Shadow() {
			wait = max(wait, op.Outcome.RetryAfter)
		}
	}
	if wait > latest-w.m.now {
		return nil
	}
	start := w.m.now
	for _, passes := range []bool{false, true} {
		if passes {
			w.move(1)
		} else {
			w.move(wait - 1)
		}
		again := ratelimit.Request{Mode: ratelimit.ModePeek}
		for _, op := range req.Ops {
			again.Ops = append(again.Ops, ratelimit.Op{Rule: op.Rule, Key: op.Key, Cost: op.Cost})
		}
		if err := w.do(&again); err != nil {
			return err
		}
		if again.Allowed != passes {
			return fmt.Errorf("%s: refused for %dus, but %dus later allowed is %v", describe(&req), wait, w.m.now-start, again.Allowed)
		}
	}
	return nil
}
