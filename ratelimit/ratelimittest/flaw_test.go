package ratelimittest

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// A plain store runs requests on a map under one lock, with hooks around what
// it does: for defects that no wrapper of a right store can have.
type plain struct {
	mu      sync.Mutex
	now     int64
	seq     uint64
	kept    map[combination]ratelimit.Kept
	settled map[ratelimit.ID]int64
	flaw    flaw
}

// A flaw is one thing that a plain store does wrong; nil fields are right.
type flaw struct {
	before func(p *plain, req *ratelimit.Request)                       // before the request is carried out
	after  func(p *plain, req *ratelimit.Request, was []ratelimit.Kept) // after
	state  func(op *ratelimit.Op, k *ratelimit.Kept, now int64)         // before the state is used
	hold   func(req *ratelimit.Request, now int64) int64                // until when an ID is remembered
	rule   func(l ratelimit.Limit) ratelimit.Limit                      // what an op is decided by
}

func openPlain(f flaw) *plain {
	return &plain{
		now:  time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro(),
		kept: map[combination]ratelimit.Kept{}, settled: map[ratelimit.ID]int64{}, flaw: f,
	}
}

func (p *plain) Advance(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now += d.Microseconds()
}

func (p *plain) Apply(ctx context.Context, req *ratelimit.Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flaw.before != nil {
		p.flaw.before(p, req)
	}
	if req.Mode == ratelimit.ModeSettle && !p.first(req) {
		return nil
	}
	kept, was := p.read(req), p.read(req)
	rules := make([]*ratelimit.Rule, len(req.Ops))
	for i := range req.Ops {
		op := &req.Ops[i]
		if p.flaw.state != nil {
			p.flaw.state(op, &kept[i], p.now)
		}
		rules[i] = op.Rule
		if p.flaw.rule != nil {
			op.Rule = ruleOf(p.flaw.rule(op.Rule.Limit()))
		}
	}
	p.seq++
	req.Run(kept, p.now, ratelimit.ID{0: byte(p.seq), 1: byte(p.seq >> 8), 2: byte(p.seq >> 16), 15: 1})
	for i := range req.Ops {
		req.Ops[i].Rule = rules[i]
	}
	p.write(req, kept)
	if p.flaw.after != nil {
		p.flaw.after(p, req, was)
	}
	return nil
}

// first remembers the settlement and reports whether it was not before.
func (p *plain) first(req *ratelimit.Request) bool {
	if until, ok := p.settled[req.ID]; ok && p.now < until {
		return false
	}
	until := p.now + req.Hold()
	for i := range req.Ops {
		until = max(until, req.Ops[i].Until)
	}
	if p.flaw.hold != nil {
		until = p.flaw.hold(req, p.now)
	}
	p.settled[req.ID] = until
	return true
}

func (p *plain) read(req *ratelimit.Request) []ratelimit.Kept {
	kept := make([]ratelimit.Kept, len(req.Ops))
	for i := range req.Ops {
		kept[i] = p.kept[of(&req.Ops[i])]
		kept[i].Log.Entries = slices.Clone(kept[i].Log.Entries)
	}
	return kept
}

func (p *plain) write(req *ratelimit.Request, kept []ratelimit.Kept) {
	for i := range req.Ops {
		p.kept[of(&req.Ops[i])] = kept[i]
	}
}

func ruleOf(l ratelimit.Limit) *ratelimit.Rule {
	set := limits(l)
	return set.Rule(0)
}

// TestSuiteAcceptsThePlainestStore is what makes a flaw the reason of a
// rejection.
func TestSuiteAcceptsThePlainestStore(t *testing.T) {
	Run(t, func(*testing.T) ratelimit.Store { return openPlain(flaw{}) })
}

// cells returns a flaw that changes the cells of a request after it.
func cells(change func(p *plain, req *ratelimit.Request, op *ratelimit.Op, c, was *ratelimit.Cell)) flaw {
	return flaw{after: func(p *plain, req *ratelimit.Request, was []ratelimit.Kept) {
		kept := p.read(req)
		for i := range req.Ops {
			if op := &req.Ops[i]; !op.Rule.Logged() {
				change(p, req, op, &kept[i].Cell, &was[i].Cell)
			}
		}
		p.write(req, kept)
	}}
}

// entries returns a flaw that changes the entries of logs after a request.
func entries(change func(p *plain, req *ratelimit.Request, op *ratelimit.Op, e *ratelimit.Entry)) flaw {
	return flaw{after: func(p *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
		kept := p.read(req)
		for i := range req.Ops {
			for j := range kept[i].Log.Entries {
				change(p, req, &req.Ops[i], &kept[i].Log.Entries[j])
			}
		}
		p.write(req, kept)
	}}
}

// outcomes returns a flaw that changes what a decision tells.
func outcomes(a ratelimit.Algorithm, change func(r *ratelimit.Rule, o *ratelimit.Outcome)) flaw {
	return flaw{after: func(_ *plain, req *ratelimit.Request, _ []ratelimit.Kept) {
		for i := range req.Ops {
			if op := &req.Ops[i]; op.Rule.Limit().Algorithm == a && req.Mode <= ratelimit.ModePeek {
				change(op.Rule, &op.Outcome)
			}
		}
	}}
}

// reread returns a flaw that decides by other limits of one algorithm.
func reread(a ratelimit.Algorithm, change func(l *ratelimit.Limit)) flaw {
	return flaw{rule: func(l ratelimit.Limit) ratelimit.Limit {
		if l.Algorithm == a {
			change(&l)
		}
		return l
	}}
}

// as returns a flaw that carries out one mode as another.
func as(to, from ratelimit.Mode) flaw {
	was := ratelimit.Mode(0)
	return flaw{
		before: func(_ *plain, req *ratelimit.Request) {
			if was = req.Mode; was == from {
				req.Mode = to
			}
		},
		after: func(_ *plain, req *ratelimit.Request, _ []ratelimit.Kept) { req.Mode = was },
	}
}

// asked returns a flaw that changes what a request of a mode asks.
func asked(mode ratelimit.Mode, change func(p *plain, req *ratelimit.Request, op *ratelimit.Op)) flaw {
	return flaw{before: func(p *plain, req *ratelimit.Request) {
		for i := range req.Ops {
			if req.Mode == mode {
				change(p, req, &req.Ops[i])
			}
		}
	}}
}

// done returns a flaw that adds something after requests of a mode.
func done(mode ratelimit.Mode, add func(p *plain, req *ratelimit.Request, was []ratelimit.Kept)) flaw {
	return flaw{after: func(p *plain, req *ratelimit.Request, was []ratelimit.Kept) {
		if req.Mode == mode {
			add(p, req, was)
		}
	}}
}

// charge takes a cost from a state whatever its limit says.
func (p *plain) charge(op *ratelimit.Op, cost int64) {
	more := ratelimit.Request{Mode: ratelimit.ModeCharge, Ops: []ratelimit.Op{{Rule: op.Rule, Key: op.Key, Cost: cost}}}
	kept := p.read(&more)
	more.Run(kept, p.now, ratelimit.ID{9, 9})
	p.write(&more, kept)
}

const forever = math.MaxInt64
