package redisstore_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// A combination names a state.
type combination struct {
	key, name string
	algorithm ratelimit.Algorithm
}

func of(op *ratelimit.Op) combination {
	l := op.Rule.Limit()
	return combination{op.Key, l.Name, l.Algorithm}
}

// An oracle carries out requests with the rules themselves.
type oracle struct {
	kept    map[combination]ratelimit.Kept
	rules   map[combination]*ratelimit.Rule
	settled map[ratelimit.ID]bool
}

func (o *oracle) apply(req *ratelimit.Request, now int64, fresh ratelimit.ID) {
	if req.Mode == ratelimit.ModeSettle {
		until := now + req.Hold()
		for i := range req.Ops {
			until = max(until, req.Ops[i].Until)
		}
		if until <= now || o.settled[req.ID] {
			return
		}
		o.settled[req.ID] = true
	}
	kept := make([]ratelimit.Kept, len(req.Ops))
	for i := range req.Ops {
		kept[i] = o.kept[of(&req.Ops[i])]
		kept[i].Log.Entries = slices.Clone(kept[i].Log.Entries)
	}
	req.Run(kept, now, fresh)
	for i := range req.Ops {
		o.kept[of(&req.Ops[i])] = kept[i]
		o.rules[of(&req.Ops[i])] = req.Ops[i].Rule
	}
}

// forget resets the cells that a store may have forgotten by now, before a clock
// that goes back would bring them back.
func (o *oracle) forget(t *testing.T, s moved) {
	t.Helper()
	for c, k := range o.kept {
		if k.Cell.Expires == 0 || k.Cell.Expires > s.clock.Now().Add(-time.Hour).UnixMicro() {
			continue
		}
		delete(o.kept, c)
		req := ratelimit.Request{Mode: ratelimit.ModeReset, Ops: []ratelimit.Op{{Rule: o.rules[c], Key: c.key}}}
		if err := s.Apply(t.Context(), &req); err != nil {
			t.Fatal(err)
		}
	}
}

// anyLimit returns a limit whose numbers are small, usual, or at the bounds.
func anyLimit(r *rand.Rand, name string, algorithms []ratelimit.Algorithm) ratelimit.Limit {
	number := func(most int64) int64 {
		switch r.IntN(4) {
		case 0:
			return 1 + r.Int64N(min(most, 10))
		case 1:
			return most - r.Int64N(min(most, 3))
		case 2:
			return 1 + r.Int64N(most)
		default:
			return 1 + r.Int64N(most)>>r.IntN(40)
		}
	}
	zones := []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata"}
	l := ratelimit.Limit{Name: name, Algorithm: algorithms[r.IntN(len(algorithms))], Shadow: r.IntN(5) == 0}
	switch l.Algorithm {
	case ratelimit.Calendar:
		zone, err := time.LoadLocation(zones[r.IntN(len(zones))])
		if err != nil {
			zone = time.UTC
		}
		l.Count, l.Every, l.Zone = number(ratelimit.MaxCount), ratelimit.Span(1+r.IntN(4)), zone
	case ratelimit.SlidingLog, ratelimit.Concurrency:
		l.Count, l.Period = 1+r.Int64N(20), time.Duration(number(1e9))*time.Microsecond
	default:
		l.Count, l.Period = number(ratelimit.MaxCount), time.Duration(number(ratelimit.MaxPeriod.Microseconds()))*time.Microsecond
		if l.Algorithm == ratelimit.TokenBucket && r.IntN(2) == 0 {
			l.Burst = number(ratelimit.MaxCount)
		}
	}
	if _, err := ratelimit.NewLimits(l); err != nil { // the burst takes too long to fill
		l.Burst = 0
	}
	return l
}

// Every answer of the script is the one that the rules give, for all modes and
// algorithms, with numbers at the bounds, limits that change and a clock that
// goes back.
func TestLimitsDecideAsTheRules(t *testing.T) {
	algorithms := []ratelimit.Algorithm{
		ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog, ratelimit.Calendar, ratelimit.Concurrency,
	}
	client := redistest.Start(t).Client(t)
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			agree(t, client, seed, algorithms, 1500)
		})
	}
}

func agree(t *testing.T, client redis.UniversalClient, seed uint64, algorithms []ratelimit.Algorithm, steps int) {
	r := rand.New(rand.NewPCG(seed, 7))
	s := newMoved(t, client)
	o := oracle{map[combination]ratelimit.Kept{}, map[combination]*ratelimit.Rule{}, map[ratelimit.ID]bool{}}
	var sets []ratelimit.Limits
	for i := range 40 {
		l, err := ratelimit.NewLimits(anyLimit(r, fmt.Sprint("l", i%20), algorithms)) // every name has two
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, l)
	}
	var taken []ratelimit.Request
	for step := range steps {
		if t.Failed() {
			t.Fatalf("seed %d, step %d", seed, step-1)
		}
		if r.IntN(2) == 0 {
			s.Advance(time.Duration(r.Int64N(int64(1)<<r.IntN(50)+1)) * time.Microsecond)
		} else if r.IntN(20) == 0 {
			o.forget(t, s)
			s.Advance(-time.Duration(r.Int64N(int64(1)<<r.IntN(46)+1)) * time.Microsecond)
		}
		if s.clock.Now().Year() > 2050 || s.clock.Now().Year() < 1975 {
			o.forget(t, s)
			s.Advance(-time.Duration(s.clock.Now().UnixMicro()-1_700_000_000_000_000) * time.Microsecond)
		}
		req := ratelimit.Request{Mode: ratelimit.Mode(r.IntN(8))}
		switch {
		case len(taken) > 0 && (req.Mode == ratelimit.ModeSettle || r.IntN(4) == 0):
			last := taken[r.IntN(len(taken))]
			req.Mode, req.ID = ratelimit.ModeSettle, last.ID
			for _, op := range last.Ops {
				if op.Outcome.RetryAfter != 0 || op.Cost == 0 {
					continue
				}
				op.Until, op.Rest = last.Now+op.Outcome.ResetAfter, op.Outcome.Rest
				switch r.IntN(3) {
				case 0:
					op.Actual = r.Int64N(op.Cost + 1)
				case 1:
					op.Actual = op.Cost + r.Int64N(int64(1)<<r.IntN(54))
				}
				req.Ops = append(req.Ops, op)
			}
		case req.Mode == ratelimit.ModeRenew || req.Mode == ratelimit.ModeRelease:
			if len(taken) == 0 {
				continue
			}
			last := taken[r.IntN(len(taken))]
			req.ID = last.ID
			for _, op := range last.Ops {
				if op.Rule.Limit().Algorithm == ratelimit.Concurrency {
					req.Ops = append(req.Ops, op)
				}
			}
		case req.Mode == ratelimit.ModeSettle || req.Mode == ratelimit.ModeReset && r.IntN(10) > 0:
			continue
		default:
			cost := r.Int64N(int64(1)<<r.IntN(54) + 1)
			for _, k := range r.Perm(len(sets))[:1+r.IntN(4)] {
				op := ratelimit.Op{Rule: sets[k].Rule(0), Key: fmt.Sprint("k", r.IntN(2)), Cost: cost}
				if req.Mode != ratelimit.ModeTakeUpTo {
					quota := op.Rule.Quota()
					op.Cost = r.Int64N(quota/int64(1+r.IntN(10)) + 2)
				}
				if !slices.ContainsFunc(req.Ops, func(p ratelimit.Op) bool { return p.Key == op.Key && p.Rule.Limit().Name == op.Rule.Limit().Name }) {
					req.Ops = append(req.Ops, op)
				}
			}
		}
		if len(req.Ops) == 0 {
			continue
		}
		want := req
		want.Ops = slices.Clone(req.Ops)
		now := s.clock.Now().UnixMicro()
		if err := s.Apply(t.Context(), &req); err != nil {
			t.Fatalf("seed %d, step %d: %v", seed, step, err)
		}
		o.apply(&want, now, req.ID)
		if (req.Mode <= ratelimit.ModePeek || req.Mode == ratelimit.ModeRenew) && (req.Allowed != want.Allowed || req.ID != want.ID) {
			t.Errorf("mode %d: allowed %t, ID %v; want %t, %v", req.Mode, req.Allowed, req.ID, want.Allowed, want.ID)
		}
		for i := range req.Ops {
			got, want := req.Ops[i], want.Ops[i]
			if req.Mode <= ratelimit.ModePeek && (got.Outcome != want.Outcome || got.Cost != want.Cost) {
				t.Errorf("mode %d, %+v, cost %d: %+v; want %+v (cost %d)", req.Mode, got.Rule.Limit(), got.Cost, got.Outcome, want.Outcome, want.Cost)
			}
		}
		if req.Mode <= ratelimit.ModeTakeUpTo && req.ID != (ratelimit.ID{}) {
			taken = append(taken, req)
		}
	}
	for _, k := range client.Keys(t.Context(), s.prefix+"*").Val() {
		if client.PTTL(t.Context(), k).Val() == -1 {
			t.Errorf("seed %d: %q lives for ever", seed, k)
		}
	}
}
