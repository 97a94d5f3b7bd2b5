package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Requests of every mode over cells and logs, in a store that is nearly full and
// whose clock goes on: the store stays whole, counts its bytes, and a request
// that finds no room changes nothing.
func TestFullStoreStaysWhole(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	defer func() {
		if t.Failed() {
			t.Log("seed", seed)
		}
	}()
	r := rand.New(rand.NewPCG(seed, 0))
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	m, err := NewMemoryStore(&MemoryOptions{MaxBytes: minBytes + 16<<10, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	var rules []*Rule
	for i := range 12 {
		l := Limit{Name: fmt.Sprint("l", i), Algorithm: Algorithm(i % 4), Count: 40, Period: time.Duration(1+i) * time.Second}
		if i == 3 || i == 7 {
			l.Algorithm = Concurrency
		}
		if i == 8 {
			l.Count = 1 << 50
		}
		set, err := NewLimits(l)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, set.Rule(0))
	}
	state := func(req *Request) (all []Outcome) {
		peek := Request{Mode: ModePeek}
		for _, op := range req.Ops {
			peek.Ops = append(peek.Ops, Op{Rule: op.Rule, Key: op.Key, Cost: 1})
		}
		if err := m.Apply(t.Context(), &peek); err != nil {
			t.Fatal(err)
		}
		for _, op := range peek.Ops {
			all = append(all, op.Outcome)
		}
		return all
	}
	var taken []Request
	full := map[Mode]int{}
	for step := range 60_000 {
		req := Request{Mode: Mode(r.IntN(int(ModeReset) + 1))}
		cost := 1 + r.Int64N(5)
		if r.IntN(10) == 0 {
			cost = 1 << 45
		}
		key, at := fmt.Sprint("key", r.IntN(2000)), r.IntN(12)
		switch req.Mode {
		case ModeSettle, ModeRenew, ModeRelease:
			if len(taken) == 0 {
				continue
			}
			from := taken[r.IntN(len(taken))]
			req.ID = from.ID
			for _, op := range from.Ops {
				if req.Mode == ModeSettle || op.Rule.limit.Algorithm == Concurrency {
					op.Actual = r.Int64N(2 * op.Cost)
					op.Until, op.Rest = from.Now+op.Outcome.ResetAfter, op.Outcome.Rest
					req.Ops = append(req.Ops, op)
				}
			}
			if len(req.Ops) == 0 {
				continue
			}
		default:
			for i := range 1 + r.IntN(10) {
				if i%3 == 2 {
					key = fmt.Sprint("key", r.IntN(2000))
				}
				req.Ops = append(req.Ops, Op{Rule: rules[(at+i)%12], Key: key, Cost: cost})
			}
		}
		before := state(&req)
		switch err := m.Apply(t.Context(), &req); {
		case err == nil && req.Mode <= ModeCharge && req.ID != ID{}:
			taken = append(taken, req)
			if len(taken) > 50 {
				taken = taken[1:]
			}
		case err != nil:
			full[req.Mode]++
			for i, o := range state(&req) {
				if o != before[i] {
					t.Fatalf("step %d: a request of mode %d that failed left %+v, before it %+v", step, req.Mode, o, before[i])
				}
			}
		}
		if req.Mode == ModeTake && req.Allowed {
			for i, o := range state(&req) {
				if told := req.Ops[i].Outcome; o.Remaining != told.Remaining {
					t.Fatalf("step %d: %d remain of op %d, it told %+v", step, o.Remaining, i, told)
				}
			}
		}
		if step%100 == 0 {
			m.audit(t)
			now = now.Add(time.Duration(r.IntN(300)) * time.Millisecond)
		}
	}
	m.audit(t)
	for _, mode := range []Mode{ModeTake, ModeTakeUpTo, ModeCharge, ModeSettle} {
		if full[mode] == 0 {
			t.Errorf("no request of mode %d found the store full: the test tests nothing", mode)
		}
	}
}
