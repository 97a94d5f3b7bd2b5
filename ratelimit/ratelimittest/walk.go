package ratelimittest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// A walk asks a store and the model the same, at random, and compares every
// answer.
type walk struct {
	ctx   context.Context
	s     ratelimit.Store
	m     *model
	rnd   *rand.Rand
	kind  walkKind
	sets  map[ratelimit.Algorithm]ratelimit.Limits // as they are now
	taken []decision
	ids   map[ratelimit.ID]bool
}

type walkKind uint8

const (
	unchanged walkKind = iota // every limit stays as it is
	recounted                 // Count and Burst change
	changing                  // so does Period
	extreme                   // and values come from the ends of their ranges
)

// A decision is one that spent something.
type decision struct {
	id  ratelimit.ID
	now int64
	ops []ratelimit.Op // those that were taken
}

// agrees returns a check that walks for some steps.
func agrees(kind walkKind, steps int) func(ctx context.Context, s ratelimit.Store) error {
	return func(ctx context.Context, s ratelimit.Store) error { return agree(ctx, s, kind, 20+uint64(kind), steps) }
}

func agree(ctx context.Context, s ratelimit.Store, kind walkKind, seed uint64, steps int) error {
	w := &walk{
		ctx: ctx, s: s, kind: kind, rnd: rand.New(rand.NewPCG(seed, uint64(kind))),
		sets: map[ratelimit.Algorithm]ratelimit.Limits{}, ids: map[ratelimit.ID]bool{{}: true},
	}
	probe := ten(ratelimit.TokenBucket)
	req := ratelimit.Request{Mode: ratelimit.ModePeek, Ops: []ratelimit.Op{{Rule: probe.Rule(0), Key: "time"}}}
	if err := s.Apply(ctx, &req); err != nil {
		return err
	}
	w.m = newModel(req.Now)
	for step := range steps {
		if err := w.step(); err != nil {
			return fmt.Errorf("seed %d, kind %d, step %d: %w", seed, kind, step, err)
		}
	}
	return nil
}

// The walk stays between 2001 and 2041, so that no time in an answer is after
// 2255: until then they are exact in the floating-point numbers of some servers.
const latest = 1 << 51

// move moves the time of both by some microseconds.
func (w *walk) move(us int64) {
	if to := w.m.now + us; to < 1e15 || to > latest {
		us = 3<<49 - w.m.now
	}
	for left := us; left != 0; {
		d := min(max(left, -1<<52), 1<<52) // as much as a Duration holds
		w.s.(Clock).Advance(time.Duration(d) * time.Microsecond)
		left -= d
	}
	w.m.now += us
	for of, s := range w.m.states {
		s.passed = s.passed || !of.logged() && w.m.now >= s.expires
		for i := range s.entries {
			s.entries[i].passed = s.entries[i].passed || w.m.now >= s.entries[i].until
		}
	}
	w.drop()
}

// drop drops the decisions that the store may have forgotten to be settled.
func (w *walk) drop() {
	w.taken = slices.DeleteFunc(w.taken, func(d decision) bool {
		until, ok := w.m.settled[d.id]
		return ok && w.m.now >= until
	})
}

func (c combination) logged() bool {
	return reading{Limit: ratelimit.Limit{Algorithm: c.algorithm}}.logged()
}

// unsure reports whether the store may have forgotten the state of op, or part
// of it, though it counts again since the clock went back.
func (w *walk) unsure(op *ratelimit.Op) bool {
	s := w.m.states[of(op)]
	switch {
	case s == nil:
		return false
	case of(op).logged():
		counts := func(e entry) bool { return !e.passed }
		if w.m.now < s.entries[len(s.entries)-1].until && !slices.ContainsFunc(s.entries, counts) {
			return true
		}
		return slices.ContainsFunc(s.entries, func(e entry) bool { return e.passed && e.until > max(w.m.now, s.at) })
	}
	return s.passed && w.m.now < s.expires
}

// do asks both and compares.
func (w *walk) do(req *ratelimit.Request) error {
	var unsure []ratelimit.Op
	for i := range req.Ops {
		if w.unsure(&req.Ops[i]) {
			unsure = append(unsure, ratelimit.Op{Rule: req.Ops[i].Rule, Key: req.Ops[i].Key})
		}
	}
	if unsure != nil {
		forget := ratelimit.Request{Mode: ratelimit.ModeReset, Ops: unsure}
		if err := w.s.Apply(w.ctx, &forget); err != nil {
			return err
		}
		w.m.apply(&forget)
	}
	want := *req
	want.Ops = slices.Clone(req.Ops)
	if err := w.s.Apply(w.ctx, req); err != nil {
		return fmt.Errorf("%v: %w", describe(&want), err)
	}
	asked := describe(&want)
	before := w.describe(want.Ops)
	if req.Mode != ratelimit.ModeSettle && req.Mode != ratelimit.ModeRenew && req.Mode != ratelimit.ModeRelease {
		want.ID = req.ID
	}
	w.m.apply(&want)
	if err := w.compare(req, &want); err != nil {
		return fmt.Errorf("at %d: %s: %w; the state was %s", w.m.now, asked, err, before)
	}
	return nil
}

func (w *walk) compare(got, want *ratelimit.Request) error {
	switch got.Mode {
	case ratelimit.ModeRenew:
		if got.Allowed != want.Allowed {
			return fmt.Errorf("allowed is %v, want %v", got.Allowed, want.Allowed)
		}
		return nil
	case ratelimit.ModeCharge:
		spent := slices.ContainsFunc(want.Ops, func(op ratelimit.Op) bool { return op.Cost > 0 })
		return w.fresh(got.ID, spent)
	case ratelimit.ModeTake, ratelimit.ModeTakeUpTo, ratelimit.ModePeek:
	default:
		return nil
	}
	if got.Allowed != want.Allowed {
		return fmt.Errorf("allowed is %v, want %v", got.Allowed, want.Allowed)
	}
	if got.Now != want.Now {
		return fmt.Errorf("the time of the decision is %d, want %d: the clock moves by itself", got.Now, want.Now)
	}
	spent := false
	for i := range got.Ops {
		g, m := &got.Ops[i], &want.Ops[i]
		if g.Cost != m.Cost {
			return fmt.Errorf("op %d: took %d, want %d", i, g.Cost, m.Cost)
		}
		if !got.Allowed && remembering(w.s) {
			m.Outcome = ratelimit.Outcome{RetryAfter: m.Outcome.RetryAfter}
			g.Outcome = ratelimit.Outcome{RetryAfter: g.Outcome.RetryAfter}
		}
		if g.Outcome != m.Outcome {
			return fmt.Errorf("op %d: outcome is %+v, want %+v", i, g.Outcome, m.Outcome)
		}
		spent = spent || got.Allowed && got.Mode != ratelimit.ModePeek && g.Cost > 0 && g.Outcome.RetryAfter == 0
	}
	return w.fresh(got.ID, spent)
}

// fresh wants an ID that no decision had, or none when nothing was spent.
func (w *walk) fresh(id ratelimit.ID, spent bool) error {
	switch {
	case !spent && id != (ratelimit.ID{}):
		return fmt.Errorf("the ID is %v though nothing was spent", id)
	case spent && w.ids[id]:
		return fmt.Errorf("the ID is %v, zero or that of an earlier decision", id)
	}
	w.ids[id] = true
	return nil
}

func describe(req *ratelimit.Request) string {
	var text strings.Builder
	text.WriteString([...]string{"take", "take up to", "peek", "charge", "settle", "renew", "release", "reset"}[req.Mode])
	if req.ID != (ratelimit.ID{}) {
		text.WriteString(" " + req.ID.String())
	}
	for i := range req.Ops {
		op := &req.Ops[i]
		fmt.Fprintf(&text, " [%q %+v cost %d", op.Key, op.Rule.Limit(), op.Cost)
		if req.Mode == ratelimit.ModeSettle {
			fmt.Fprintf(&text, " actual %d until %d rest %d", op.Actual, op.Until, op.Rest)
		}
		text.WriteString("]")
	}
	return text.String()
}

func (w *walk) describe(ops []ratelimit.Op) string {
	var text strings.Builder
	for i := range ops {
		if s := w.m.states[of(&ops[i])]; s != nil {
			fmt.Fprintf(&text, "[%+v]", *s)
		} else {
			text.WriteString("[none]")
		}
	}
	return text.String()
}
