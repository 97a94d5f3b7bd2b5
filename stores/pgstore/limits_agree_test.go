package pgstore_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// reference is the plainest store: what the rules compute, in a map.
type reference struct {
	states  map[string]ratelimit.Kept
	settled map[ratelimit.ID]int64
	latest  int64 // time seen
}

// forgot reports whether a store may have forgotten that req was settled.
func (r *reference) forgot(req *ratelimit.Request) bool {
	until, settled := r.settled[req.ID]
	return req.Mode == ratelimit.ModeSettle && settled && until <= r.latest
}

func stateKey(op *ratelimit.Op) string {
	l := op.Rule.Limit()
	return fmt.Sprintf("%q %s %v", op.Key, l.Name, l.Algorithm)
}

// apply carries out req at the time now, under the ID that the store under test
// gave.
func (r *reference) apply(req *ratelimit.Request, now int64, fresh ratelimit.ID) {
	if req.Mode == ratelimit.ModeSettle {
		until := now + req.Hold()
		for i := range req.Ops {
			until = max(until, req.Ops[i].Until)
		}
		if until <= now || r.settled[req.ID] != 0 {
			req.Now = now
			return
		}
		r.settled[req.ID] = until
	}
	kept := make([]ratelimit.Kept, len(req.Ops))
	for i := range req.Ops {
		kept[i] = r.states[stateKey(&req.Ops[i])]
		kept[i].Log.Entries = slices.Clone(kept[i].Log.Entries)
	}
	req.Run(kept, now, fresh)
	for i := range req.Ops {
		k := stateKey(&req.Ops[i])
		if r.states[k] = kept[i]; kept[i].Cell == (ratelimit.Cell{}) && len(kept[i].Log.Entries) == 0 {
			delete(r.states, k)
		}
	}
}

// agreeLimits are limits of every algorithm whose arithmetic is awkward: rates
// that do not divide, the bounds of everything, and several of one name, between
// which a plan changes.
func agreeLimits(t *testing.T) []ratelimit.Limits {
	t.Helper()
	zones := []*time.Location{nil, time.UTC}
	for _, name := range []string{"Europe/Berlin", "America/Havana", "Pacific/Apia"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zone)
	}
	var all []ratelimit.Limits
	add := func(l ratelimit.Limit) {
		l.Shadow = len(all)%5 == 4
		set, err := ratelimit.NewLimits(l)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, set)
	}
	type rate struct {
		count  int64
		period time.Duration
		burst  int64
	}
	rates := []rate{
		{7, time.Second, 0}, {3, 10 * time.Microsecond, 20}, {700_000, time.Second, 1}, {1000, 24 * time.Hour, 3},
		{1, time.Microsecond, 0}, {5, 7 * time.Millisecond, 0}, {6, 11 * time.Millisecond, 9},
	}
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog, ratelimit.Concurrency} {
		for i, r := range rates {
			if a != ratelimit.TokenBucket {
				r.burst = 0
			}
			if (a == ratelimit.SlidingLog || a == ratelimit.Concurrency) && r.count > ratelimit.MaxLog {
				r.count = ratelimit.MaxLog
			}
			add(ratelimit.Limit{Name: fmt.Sprint("plan", i%3), Algorithm: a, Count: r.count, Period: r.period, Burst: r.burst})
		}
	}
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow} {
		add(ratelimit.Limit{Name: "great", Algorithm: a, Count: ratelimit.MaxCount, Period: ratelimit.MaxPeriod})
		add(ratelimit.Limit{Name: "great", Algorithm: a, Count: ratelimit.MaxCount, Period: time.Microsecond})
		add(ratelimit.Limit{Name: "great", Algorithm: a, Count: 1, Period: ratelimit.MaxPeriod})
		add(ratelimit.Limit{Name: "great", Algorithm: a, Count: ratelimit.MaxCount - 1, Period: ratelimit.MaxPeriod - time.Microsecond})
	}
	for _, zone := range zones {
		for span := ratelimit.Day; span <= ratelimit.Year; span++ {
			add(ratelimit.Limit{Name: fmt.Sprint("calendar", int(span)%2), Algorithm: ratelimit.Calendar, Count: 9, Every: span, Zone: zone})
		}
	}
	return all
}

// Every answer and every later one is the one that the rules compute: all modes,
// limits that change, clocks that jump either way, costs of any size.
func TestLimitsAgreeWithTheRules(t *testing.T) {
	d := newDatabase(t)
	sets := agreeLimits(t)
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 7))
			s := d.openTimed(t)
			s.Store.(*pgstore.LimitStore).KeepAll() // what expired would count again when the clock goes back
			ref := &reference{states: map[string]ratelimit.Kept{}, settled: map[ratelimit.ID]int64{}}
			var taken []ratelimit.Request
			for step := range 2000 {
				s.Advance(jump(rnd))
				ref.latest = max(ref.latest, s.us.Load())
				req := question(rnd, sets, taken)
				if ref.forgot(&req) {
					continue
				}
				want := req
				want.Ops = slices.Clone(req.Ops)
				if err := s.Apply(t.Context(), &req); err != nil {
					t.Fatalf("seed %d, step %d: %v: %+v", seed, step, err, want)
				}
				fresh := req.ID
				if req.ID == (ratelimit.ID{}) {
					fresh = ratelimit.ID{1}
				}
				ref.apply(&want, s.us.Load(), fresh)
				if !same(&req, &want) {
					t.Fatalf("seed %d, step %d, mode %d at %d:\n got %s\nwant %s", seed, step, want.Mode, s.us.Load(), show(&req), show(&want))
				}
				if req.Mode <= ratelimit.ModeTakeUpTo && req.ID != (ratelimit.ID{}) || req.Mode == ratelimit.ModeCharge {
					taken = append(taken, req)
				}
			}
		})
	}
}

// jump returns how far the clock goes: mostly little, at times a window, and at
// times back.
func jump(rnd *rand.Rand) time.Duration {
	d := time.Duration(rnd.Int64N(int64(1)<<rnd.IntN(24)+1)) * time.Microsecond
	switch rnd.IntN(40) {
	case 0:
		d = time.Duration(rnd.Int64N(int64(400 * 24 * time.Hour)))
	case 1:
		d = -time.Duration(rnd.Int64N(int64(3 * time.Second)))
	case 2:
		d = -time.Duration(rnd.Int64N(int64(40 * 24 * time.Hour)))
	case 3, 4:
		d = time.Duration(rnd.Int64N(int64(30 * time.Hour)))
	}
	return d
}

func cost(rnd *rand.Rand, quota int64) int64 {
	switch rnd.IntN(12) {
	case 0:
		return 0
	case 1:
		return quota
	case 2:
		return quota + 1
	case 3:
		return 1<<63 - 1 - rnd.Int64N(3)
	case 4:
		return rnd.Int64N(ratelimit.MaxCount) + 1
	}
	return rnd.Int64N(quota/2+2) + 1
}

// question returns a random request.
func question(rnd *rand.Rand, sets []ratelimit.Limits, taken []ratelimit.Request) ratelimit.Request {
	mode := ratelimit.Mode(rnd.IntN(8))
	if rnd.IntN(2) == 0 {
		mode = ratelimit.ModeTake
	}
	if mode == ratelimit.ModeReset && rnd.IntN(4) > 0 {
		mode = ratelimit.ModePeek
	}
	req := ratelimit.Request{Mode: mode}
	switch mode {
	case ratelimit.ModeSettle, ratelimit.ModeRenew, ratelimit.ModeRelease:
		if len(taken) == 0 {
			req.Mode = ratelimit.ModePeek
			break
		}
		was := taken[max(0, len(taken)-1-rnd.IntN(20))]
		req.ID = was.ID
		for _, op := range was.Ops {
			if mode != ratelimit.ModeSettle && op.Rule.Limit().Algorithm != ratelimit.Concurrency || op.Outcome.RetryAfter != 0 {
				continue
			}
			op.Until, op.Rest = was.Now+op.Outcome.ResetAfter, op.Outcome.Rest
			op.Actual = []int64{0, 0, op.Cost / 2, op.Cost, op.Cost + 1, cost(rnd, op.Rule.Quota())}[rnd.IntN(6)]
			op.Outcome = ratelimit.Outcome{}
			if mode != ratelimit.ModeSettle {
				op.Cost, op.Actual = 0, 0
			}
			req.Ops = append(req.Ops, op)
		}
		if len(req.Ops) > 0 {
			return req
		}
		req.Mode, req.ID = ratelimit.ModePeek, ratelimit.ID{}
	}
	same := cost(rnd, 10)
	seen := make(map[string]bool)
	for range 1 + rnd.IntN(4) {
		set := sets[rnd.IntN(len(sets))]
		op := ratelimit.Op{Rule: set.Rule(0), Key: fmt.Sprint("key ", rnd.IntN(3)), Cost: cost(rnd, set.Rule(0).Quota())}
		if mode == ratelimit.ModeTakeUpTo {
			op.Cost = same
		}
		if k := stateKey(&op); !seen[k] {
			seen[k] = true
			req.Ops = append(req.Ops, op)
		}
	}
	return req
}

// same reports whether two requests were answered alike.
func same(a, b *ratelimit.Request) bool {
	if a.Now != b.Now || a.ID != b.ID || a.Allowed != b.Allowed {
		return false
	}
	for i := range a.Ops {
		x, y := &a.Ops[i], &b.Ops[i]
		if x.Cost != y.Cost || a.Mode <= ratelimit.ModePeek && x.Outcome != y.Outcome {
			return false
		}
	}
	return true
}

func show(req *ratelimit.Request) string {
	text := fmt.Sprintf("allowed %t, ID %v, now %d", req.Allowed, req.ID, req.Now)
	for i := range req.Ops {
		op := &req.Ops[i]
		text += fmt.Sprintf("\n  %q %+v cost %d actual %d until %d rest %d: %+v", op.Key, op.Rule.Limit(), op.Cost, op.Actual, op.Until, op.Rest, op.Outcome)
	}
	return text
}
