package ratelimittest

import (
	"math/big"
	"slices"
	"sort"

	"github.com/keytoll/keytoll/ratelimit"
)

// A model is a store that says in rational numbers what the documentation of
// package ratelimit says in words. It shares no arithmetic with that package:
// waits are found by bisection over its one question, whether a cost passes at
// a time.
type model struct {
	now     int64
	states  map[combination]*state
	settled map[ratelimit.ID]int64 // until when each is remembered
	windows map[calendarOf]span    // the latest found
}

type combination struct {
	key, name string
	algorithm ratelimit.Algorithm
}

// A state is what the model keeps of one combination; nil is nothing used.
type state struct {
	at      int64 // the latest time it has seen
	expires int64 // but of a log

	units, parts int64 // bucket: the debt; a part is one of the period in microseconds, of whichever limit reads it
	deep         bool  // bucket: more than the quota was owed
	period       int64 // bucket: of the limit that wrote it

	used, before int64 // windows: in that of at, and in the one before it
	since        int64 // fixed and calendar: start of the window of the first unit

	entries []entry // logs, in the order of until

	passed bool // the clock has been where a store may forget it
}

type entry struct {
	id     ratelimit.ID
	until  int64
	units  int64
	passed bool
}

func newModel(now int64) *model {
	return &model{
		now: now, states: map[combination]*state{},
		settled: map[ratelimit.ID]int64{}, windows: map[calendarOf]span{},
	}
}

func of(op *ratelimit.Op) combination {
	l := op.Rule.Limit()
	return combination{op.Key, l.Name, l.Algorithm}
}

// apply carries out req and fills in what a store must. For a take req.ID is the
// one that the store under test gave it.
func (m *model) apply(req *ratelimit.Request) {
	req.Now = m.now
	switch req.Mode {
	case ratelimit.ModeTake, ratelimit.ModeTakeUpTo, ratelimit.ModePeek:
		m.decide(req)
	case ratelimit.ModeCharge:
		for i := range req.Ops {
			if op := &req.Ops[i]; op.Cost > 0 {
				m.states[of(op)] = m.read(op).charge(m.get(op), req.ID, op.Cost)
			}
		}
	case ratelimit.ModeSettle:
		if _, again := m.settled[req.ID]; again {
			return
		}
		until := m.now + req.Hold()
		for i := range req.Ops {
			op := &req.Ops[i]
			until = max(until, op.Until)
			m.put(op, m.read(op).settle(m.get(op), req.ID, op))
		}
		m.settled[req.ID] = until
	case ratelimit.ModeRenew:
		req.Allowed = true
		for i := range req.Ops {
			op := &req.Ops[i]
			req.Allowed = req.Allowed && m.read(op).find(m.get(op), req.ID) >= 0
		}
		for i := range req.Ops {
			if op := &req.Ops[i]; req.Allowed {
				m.put(op, m.read(op).renew(m.get(op), req.ID))
			}
		}
	case ratelimit.ModeRelease:
		for i := range req.Ops {
			op := &req.Ops[i]
			m.put(op, m.read(op).settle(m.get(op), req.ID, &ratelimit.Op{}))
		}
	case ratelimit.ModeReset:
		for i := range req.Ops {
			delete(m.states, of(&req.Ops[i]))
		}
	}
}

func (m *model) get(op *ratelimit.Op) *state { return m.read(op).kept(m.states[of(op)], m.now) }

// put keeps s. What was as good as absent before stays, for a clock that goes
// back: the store may have forgotten it or not.
func (m *model) put(op *ratelimit.Op, s *state) {
	switch {
	case s != nil:
		m.states[of(op)] = s
	case m.get(op) != nil:
		delete(m.states, of(op))
	}
}

func (m *model) decide(req *ratelimit.Request) {
	if req.Mode == ratelimit.ModeTakeUpTo && req.Ops[0].Cost > 0 {
		most := req.Ops[0].Cost
		for i := range req.Ops {
			if op := &req.Ops[i]; !op.Rule.Shadow() {
				r, s := m.read(op), m.get(op)
				n := sort.Search(int(most), func(n int) bool { return !r.passes(s, int64(n)+1, m.now) }) // the least that fails, less one
				most = max(int64(n), 1)
			}
		}
		for i := range req.Ops {
			req.Ops[i].Cost = most
		}
	}
	req.Allowed = true
	passes := make([]bool, len(req.Ops))
	for i := range req.Ops {
		op := &req.Ops[i]
		passes[i] = m.read(op).passes(m.get(op), op.Cost, m.now)
		req.Allowed = req.Allowed && (passes[i] || op.Rule.Shadow())
	}
	id := req.ID
	req.ID = ratelimit.ID{}
	for i := range req.Ops {
		op := &req.Ops[i]
		r, s := m.read(op), m.get(op)
		if req.Allowed && passes[i] && op.Cost > 0 && req.Mode != ratelimit.ModePeek {
			req.ID = id
			s = r.take(s, id, op.Cost)
			m.states[of(op)] = s
		}
		op.Outcome = ratelimit.Outcome{Remaining: r.remaining(s, m.now)}
		op.Outcome.ResetAfter, op.Outcome.Rest = r.reset(s, m.now)
		switch {
		case passes[i]:
		case op.Cost > r.quota():
			op.Outcome.RetryAfter = -1
		default:
			op.Outcome.RetryAfter = r.least(s, m.now, func(s *state, t int64) bool { return r.passes(s, op.Cost, t) })
		}
	}
}

// A reading is how one limit reads a state.
type reading struct {
	ratelimit.Limit
	m *model
}

func (m *model) read(op *ratelimit.Op) reading { return reading{op.Rule.Limit(), m} }

func (r reading) us() int64 { return r.Period.Microseconds() }

func (r reading) logged() bool {
	return r.Algorithm == ratelimit.SlidingLog || r.Algorithm == ratelimit.Concurrency
}

func (r reading) quota() int64 {
	if r.Burst != 0 {
		return r.Burst
	}
	return r.Count
}

// kept returns s, or nil when it is as good as absent at the time t.
func (r reading) kept(s *state, t int64) *state {
	if s == nil || t >= r.end(s) {
		return nil
	}
	return s
}

func (r reading) end(s *state) int64 {
	if r.logged() {
		return s.entries[len(s.entries)-1].until
	}
	return s.expires
}

// inUse returns how much is in use at the time t.
func (r reading) inUse(s *state, t int64) *big.Rat {
	if s = r.kept(s, t); s == nil {
		return new(big.Rat)
	}
	t = max(t, s.at)
	switch r.Algorithm {
	case ratelimit.FixedWindow, ratelimit.Calendar:
		if r.window(t).start > s.at {
			return new(big.Rat)
		}
		return rat(s.used)
	case ratelimit.SlidingWindow:
		used, before := r.rolled(s, t)
		left := r.window(t).end - t
		weight := new(big.Rat).Mul(rat(min(before, r.quota())), big.NewRat(left, r.us()))
		return weight.Add(weight, rat(used))
	case ratelimit.SlidingLog, ratelimit.Concurrency:
		sum := int64(0)
		for _, e := range s.entries {
			if e.until > t {
				sum += e.units
			}
		}
		return rat(sum)
	}
	debt := new(big.Rat).Sub(r.debt(s), new(big.Rat).Mul(rat(t-s.at), r.rate()))
	if debt.Sign() < 0 {
		return new(big.Rat)
	}
	return debt
}

// passes holds from some time on when it ever does.
func (r reading) passes(s *state, cost, t int64) bool {
	if cost == 0 {
		return true
	}
	return cost <= r.quota() && new(big.Rat).Add(r.inUse(s, t), rat(cost)).Cmp(rat(r.quota())) <= 0
}

func (r reading) remaining(s *state, t int64) int64 {
	free := new(big.Rat).Sub(rat(r.quota()), r.inUse(s, t))
	return max(0, new(big.Int).Div(free.Num(), free.Denom()).Int64()) // Euclidean: rounded down
}

// least returns the least wait after which ok holds of the state, as it does at
// last when the state is as good as absent.
func (r reading) least(s *state, now int64, ok func(s *state, t int64) bool) int64 {
	if s = r.kept(s, now); s == nil {
		return 0
	}
	return int64(sort.Search(int(r.end(s)-now), func(e int) bool { return ok(s, now+int64(e)) }))
}

// reset returns the wait until the whole quota is free and, of a bucket, by how
// much it is rounded up.
func (r reading) reset(s *state, now int64) (wait, rest int64) {
	wait = r.least(s, now, func(s *state, t int64) bool { return r.inUse(s, t).Sign() == 0 })
	if s == nil || r.Algorithm != ratelimit.TokenBucket {
		return wait, 0
	}
	exact := new(big.Rat).Add(rat(max(now, s.at)-now), new(big.Rat).Quo(r.inUse(s, now), r.rate()))
	over := new(big.Rat).Sub(rat(wait), exact)
	if over.Sign() < 0 { // it is forgotten first
		return wait, 0
	}
	return wait, over.Mul(over, rat(r.Count)).Num().Int64()
}

// from returns a copy of s to be written at the model's time.
func (r reading) from(s *state) *state {
	next := &state{at: r.m.now, period: r.us()}
	if s != nil {
		*next = *s
		next.entries = slices.Clone(s.entries)
		next.at, next.period = max(r.m.now, s.at), r.us()
	}
	return next
}

func (r reading) take(s *state, id ratelimit.ID, cost int64) *state {
	next := r.charge(s, id, cost)
	next.deep = false
	return next
}

// charge returns the state after a cost, whatever it is.
func (r reading) charge(s *state, id ratelimit.ID, cost int64) *state {
	next := r.from(s)
	at := next.at
	switch r.Algorithm {
	case ratelimit.FixedWindow, ratelimit.Calendar:
		used := r.inUse(s, at).Num().Int64()
		if used == 0 {
			next.since = r.window(at).start
		}
		next.used = min(used+cost, ratelimit.MaxCount)
	case ratelimit.SlidingWindow:
		next.used, next.before = 0, 0
		if s != nil {
			next.used, next.before = r.rolled(s, at)
		}
		next.used = min(next.used+cost, ratelimit.MaxCount)
	case ratelimit.SlidingLog, ratelimit.Concurrency:
		cost = min(cost, ratelimit.MaxCount-r.inUse(s, at).Num().Int64())
		return r.insert(next, entry{id: id, until: at + r.us(), units: cost})
	default:
		debt := new(big.Rat).Add(r.inUse(s, at), rat(cost))
		debt = least(debt, r.most())
		next.deep = debt.Cmp(rat(r.quota())) > 0
		next.owe(debt, r.us())
	}
	next.passed = false
	next.expires = at + 1<<53 // longer than any window or debt
	next.expires = at + r.least(next, at, func(s *state, t int64) bool { return r.inUse(s, t).Sign() == 0 })
	return next
}

// settle returns the state after op.Cost became op.Actual.
func (r reading) settle(s *state, id ratelimit.ID, op *ratelimit.Op) *state {
	if r.logged() {
		return r.settleLog(s, id, op.Cost, op.Actual)
	}
	if op.Actual > op.Cost {
		return r.charge(s, id, op.Actual-op.Cost)
	}
	back := op.Cost - op.Actual
	if s == nil || max(r.m.now, s.at) >= op.Until || back == 0 {
		return s
	}
	next := *s
	switch taken := r.window(op.Until - 1); r.Algorithm {
	case ratelimit.TokenBucket:
		unpaid := new(big.Rat).Sub(rat(op.Until-max(r.m.now, s.at)), big.NewRat(op.Rest, r.Count))
		unpaid.Mul(unpaid, r.rate())
		debt := new(big.Rat).Add(rat(s.units), big.NewRat(s.parts, r.us()))
		if debt.Sub(debt, least(unpaid, rat(back))).Sign() <= 0 {
			return nil
		}
		next.owe(debt, r.us())
		return &next
	case ratelimit.SlidingWindow: // taken is the one after
		switch r.window(s.at).start {
		case taken.start - r.us():
			next.used = max(next.used-back, 0)
		case taken.start:
			next.before = max(next.before-back, 0)
		}
	default:
		if s.since > taken.start {
			return s
		}
		next.used = max(next.used-back, 0)
	}
	if next.used == 0 && next.before == 0 {
		return nil
	}
	return &next
}

func rat(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

func least(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}
