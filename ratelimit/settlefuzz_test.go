package ratelimit_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func clone(kept []ratelimit.Kept) []ratelimit.Kept {
	kept = slices.Clone(kept)
	for i := range kept {
		kept[i].Log.Entries = slices.Clone(kept[i].Log.Entries)
	}
	return kept
}

// anyLimit makes a limit of arbitrary numbers, often one that is refused.
func anyLimit(name string, algorithm uint8, count, period, burst int64) ratelimit.Limit {
	l := ratelimit.Limit{Name: name, Algorithm: ratelimit.Algorithm(algorithm % 6), Count: count, Period: time.Duration(period), Burst: burst}
	if l.Algorithm == ratelimit.Calendar {
		l.Period, l.Every = 0, ratelimit.Span(1+algorithm/6%4)
	}
	return l
}

// FuzzSettle takes, settles and charges in one world, and in another only what
// the takes come to in the end. No settlement may ever leave more free than is
// free in the second world; those of a token bucket's takes that overlap, more
// than they gave back.
func FuzzSettle(f *testing.F) {
	f.Add(uint8(0), int64(10), int64(time.Second), int64(3), []byte{1, 7, 2, 3, 70, 9, 14, 3, 80, 200, 1, 0})
	f.Add(uint8(132), int64(74), int64(time.Hour), int64(60), []byte("\xb40\xb4Y0"))
	f.Add(uint8(1), int64(10), int64(time.Second), int64(0), []byte{1, 7, 2, 3, 70, 9, 14, 3, 80, 200, 1, 0})
	f.Add(uint8(2), int64(1)<<49, int64(3*time.Microsecond), int64(0), []byte{255, 3, 254, 90, 3, 5, 100, 7, 1})
	f.Add(uint8(3), int64(100), int64(time.Hour), int64(0), []byte{255, 3, 254, 90, 3, 5, 100, 7, 1})
	f.Add(uint8(4), int64(100), int64(0), int64(0), []byte{255, 3, 254, 90, 3, 5, 100, 7, 1})
	f.Add(uint8(5), int64(100), int64(time.Hour), int64(0), []byte{255, 3, 254, 90, 3, 5, 100, 7, 1})
	f.Fuzz(func(t *testing.T, algorithm uint8, count, period, burst int64, steps []byte) {
		limits, err := ratelimit.NewLimits(anyLimit("f", algorithm, count%(1<<50), period, burst%(1<<50)))
		if err != nil {
			return
		}
		r := limits.Rule(0)
		quota, us := r.Quota(), r.Window().Microseconds()
		type open struct {
			id                   ratelimit.ID
			cost, came           int64
			until, rest, settled int64 // settled: the step
		}
		now, actual, ideal := noon, make([]ratelimit.Kept, 1), make([]ratelimit.Kept, 1)
		run := func(kept []ratelimit.Kept, mode ratelimit.Mode, op ratelimit.Op, id ratelimit.ID) ratelimit.Request {
			op.Rule, op.Key = r, "k"
			req := ratelimit.Request{Mode: mode, ID: id, Ops: []ratelimit.Op{op}}
			req.Run(kept, now, id)
			return req
		}
		var pending []open
		overlap, slack := algorithm >= 128, int64(0)
		for i, b := range steps[:min(len(steps), 60)] {
			if b&1 != 0 {
				now += int64(b>>4) * (us/9 + 1)
			}
			id, cost := ratelimit.ID{byte(i), 1}, int64(b>>1&7)*(quota/5+1)
			switch take := run(actual, ratelimit.ModePeek, ratelimit.Op{Cost: cost}, ratelimit.ID{}); {
			case take.Allowed && cost > 0:
				before := clone(actual)
				take = run(actual, ratelimit.ModeTake, ratelimit.Op{Cost: cost}, id)
				if run(before, ratelimit.ModeCharge, ratelimit.Op{Cost: cost}, id); !reflect.DeepEqual(before, actual) {
					t.Fatalf("%+v: a charge of what passes leaves %+v, a take %+v", r.Limit(), before, actual)
				}
				o := take.Ops[0].Outcome
				p := open{id, cost, cost * int64(b>>5&3) / 2, now + o.ResetAfter, o.Rest, int64(i) + int64(b>>6)} // to 0, a half, all or one and a half
				if r.Limit().Algorithm == ratelimit.TokenBucket && len(pending) > 0 {
					if !overlap {
						p.came = cost
					}
					slack += max(p.cost-p.came, 0)
				}
				run(ideal, ratelimit.ModeCharge, ratelimit.Op{Cost: min(cost, p.came)}, id)
				pending = append(pending, p)
			case b&128 != 0: // a charge in both worlds
				run(actual, ratelimit.ModeCharge, ratelimit.Op{Cost: cost / 3}, id)
				run(ideal, ratelimit.ModeCharge, ratelimit.Op{Cost: cost / 3}, id)
			}
			pending = slices.DeleteFunc(pending, func(p open) bool {
				if p.settled > int64(i) {
					return false
				}
				op := ratelimit.Op{Cost: p.cost, Actual: p.came, Until: p.until, Rest: p.rest}
				run(actual, ratelimit.ModeSettle, op, p.id)
				if p.came > p.cost { // in the other world the rest is charged now, or to a lease or log with the take
					op.Cost = min(p.cost, p.came)
					run(ideal, ratelimit.ModeSettle, op, p.id)
				}
				return true
			})
			a, e := run(actual, ratelimit.ModePeek, ratelimit.Op{Cost: cost}, ratelimit.ID{}).Ops[0].Outcome,
				run(ideal, ratelimit.ModePeek, ratelimit.Op{Cost: cost}, ratelimit.ID{}).Ops[0].Outcome
			if a.Remaining < 0 || a.Remaining > e.Remaining+slack || a.Remaining > quota {
				t.Fatalf("%+v, step %d: %d free, without the refunded takes %d", r.Limit(), i, a.Remaining, e.Remaining)
			}
			if a.ResetAfter < 0 || a.RetryAfter < -1 || (a.RetryAfter == -1) != (cost > quota) {
				t.Fatalf("%+v, step %d, cost %d: %+v", r.Limit(), i, cost, a)
			}
			if at := now; a.RetryAfter > 0 {
				now = at + a.RetryAfter - 1
				early := run(actual, ratelimit.ModePeek, ratelimit.Op{Cost: cost}, ratelimit.ID{}).Allowed
				now++
				if late := run(actual, ratelimit.ModePeek, ratelimit.Op{Cost: cost}, ratelimit.ID{}).Allowed; early || !late {
					t.Fatalf("%+v, step %d, cost %d: RetryAfter %d: passes before %v, then %v", r.Limit(), i, cost, a.RetryAfter, early, late)
				}
				now = at
			}
		}
	})
}

// FuzzRun gives requests of every mode, about several states at once, to
// clocks that also go back.
func FuzzRun(f *testing.F) {
	f.Add(uint8(0), uint8(5), int64(10), int64(time.Second), []byte{2, 9, 40, 7, 30, 200, 100, 3, 90, 8, 6, 5})
	f.Add(uint8(3), uint8(1), int64(3), int64(time.Microsecond), []byte{2, 9, 40, 7, 30, 200, 100, 3, 90, 8, 6, 5})
	f.Add(uint8(4), uint8(2), int64(1000), int64(time.Hour), []byte{255, 0, 255, 1, 128, 64, 32, 16})
	f.Fuzz(func(t *testing.T, first, second uint8, count, period int64, steps []byte) {
		limits, err := ratelimit.NewLimits(anyLimit("a", first, count, period, 0), anyLimit("b", second, count, period, 0))
		if err != nil {
			return
		}
		now, kept := noon, make([]ratelimit.Kept, 2)
		var ids []ratelimit.ID
		for i, b := range steps[:min(len(steps), 60)] {
			now += (int64(b&31) - 6) * (min(period/1000, 1<<50)/9 + 1)
			req := ratelimit.Request{Mode: ratelimit.Mode(1 + (b>>3)%8), Ops: []ratelimit.Op{{Rule: limits.Rule(0), Key: "k"}, {Rule: limits.Rule(1), Key: "k"}}}
			for k := range req.Ops {
				op := &req.Ops[k]
				op.Cost = int64(b&7) * (count/5 + 1)
				op.Actual, op.Until = op.Cost/2*int64(b>>6), now+int64(b)
			}
			switch req.Mode {
			case ratelimit.ModeSettle, ratelimit.ModeRenew, ratelimit.ModeRelease:
				if len(ids) > 0 {
					req.ID = ids[int(b)%len(ids)]
				}
				if req.Mode != ratelimit.ModeSettle {
					req.Ops = slices.DeleteFunc(req.Ops, func(op ratelimit.Op) bool { return op.Rule.Limit().Algorithm != ratelimit.Concurrency })
					if len(req.Ops) != 2 {
						continue
					}
				}
			}
			before, asked := clone(kept), req.Ops[0].Cost
			changed := req.Run(kept, now, ratelimit.ID{byte(i), 7})
			if changed == 0 && !reflect.DeepEqual(before, kept) {
				t.Fatalf("step %d, mode %d: changed is %b, from %+v to %+v", i, req.Mode, changed, before, kept)
			}
			switch req.Mode {
			case ratelimit.ModePeek:
				if changed != 0 {
					t.Fatalf("step %d: a peek changed %+v to %+v", i, before, kept)
				}
			case ratelimit.ModeTakeUpTo:
				taken := req.Ops[0].Cost
				if taken > asked || taken < min(asked, 1) || req.Ops[1].Cost != taken {
					t.Fatalf("step %d: took %d of %d", i, taken, asked)
				}
				if taken < asked { // or refused as 1
					more := ratelimit.Request{Mode: ratelimit.ModePeek, Ops: slices.Clone(req.Ops)}
					for k := range more.Ops {
						more.Ops[k].Cost = taken + 1
					}
					if more.Run(before, now, ratelimit.ID{}); more.Allowed {
						t.Fatalf("step %d: took %d of %d though %d pass", i, taken, asked, taken+1)
					}
				}
				fallthrough
			case ratelimit.ModeTake:
				if !req.Allowed && changed != 0 || req.Allowed && req.Ops[0].Cost > 0 && changed != 3 {
					t.Fatalf("step %d: allowed %v, changed %b", i, req.Allowed, changed)
				}
				if req.ID != (ratelimit.ID{}) {
					ids = append(ids, req.ID)
				}
			case ratelimit.ModeRenew:
				if changed != 0 && !req.Allowed {
					t.Fatalf("step %d: a refused renewal changed %b", i, changed)
				}
			}
			for k := range kept {
				if es := kept[k].Log.Entries; !slices.IsSortedFunc(es, func(x, y ratelimit.Entry) int { return int(min(max(x.Until-y.Until, -1), 1)) }) {
					t.Fatalf("step %d: %+v is out of order", i, es)
				}
				o := limits.Rule(k)
				out := o.Peek(kept[k].Cell, 1, now)
				if o.Logged() {
					out = o.PeekLog(&kept[k].Log, 1, now)
				}
				if out.Remaining < 0 || out.Remaining > o.Quota() || out.RetryAfter < 0 || out.ResetAfter < 0 {
					t.Fatalf("step %d: %+v says %+v", i, kept[k], out)
				}
			}
		}
	})
}

// FuzzParseID reads what it wrote and nothing else.
func FuzzParseID(f *testing.F) {
	f.Add("")
	f.Add("000102030405060708090a0b0c0d0e0f")
	f.Add("000102030405060708090a0b0c0d0e0f0")
	f.Add("zz0102030405060708090a0b0c0d0e0f")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ratelimit.ParseID(s)
		if err != nil && id != (ratelimit.ID{}) || err == nil && id.String() != s {
			t.Fatalf("%q is read as %v, error %v", s, id, err)
		}
	})
}
