package ratelimit_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// The model says in rational numbers what package documentation says in words,
// and shares no code with the package. Waits are found by bisection over its
// one question: would this cost pass at that time?

type modelCell struct {
	debt       *big.Rat // token bucket
	cur, prev  int64    // windows
	since      int64    // fixed window: the start of the window of the first unit
	at         int64
	period     int64 // of the limit that wrote it
	expires    int64 // by the limit that wrote it
	maybeSwept bool  // the clock has been past expires
}

type modelLimit struct{ ratelimit.Limit }

func (l modelLimit) us() int64 { return l.Period.Microseconds() }

func (l modelLimit) quota() int64 {
	if l.Burst != 0 {
		return l.Burst
	}
	return l.Count
}

func (l modelLimit) rate() *big.Rat { return big.NewRat(l.Count, l.us()) } // units a microsecond

func rat(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

func minRat(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

// unless returns c, or nil when it has expired at the time t.
func (c *modelCell) unless(t int64) *modelCell {
	if c == nil || t >= c.expires {
		return nil
	}
	return c
}

// inUse returns how much of the quota is in use at the time t.
func (l modelLimit) inUse(c *modelCell, t int64) *big.Rat {
	if c == nil {
		return new(big.Rat)
	}
	t = max(t, c.at)
	switch l.Algorithm {
	case ratelimit.FixedWindow:
		if t/l.us() == c.at/l.us() {
			return rat(min(c.cur, l.quota()))
		}
		return new(big.Rat)
	case ratelimit.SlidingWindow:
		cur, prev := l.rolled(c, t)
		left := l.us() - t%l.us()
		return new(big.Rat).Add(rat(cur), new(big.Rat).Mul(rat(prev), big.NewRat(left, l.us())))
	}
	debt := minRat(l.debt(c), rat(l.quota()))
	debt = new(big.Rat).Sub(debt, new(big.Rat).Mul(rat(t-c.at), l.rate()))
	if debt.Sign() < 0 {
		return new(big.Rat)
	}
	return debt
}

// debt returns the cell's debt as l reads it: the fraction was counted in parts
// of the period it was written under.
func (l modelLimit) debt(c *modelCell) *big.Rat {
	if c.period == l.us() {
		return c.debt
	}
	whole := new(big.Int).Quo(c.debt.Num(), c.debt.Denom())
	frac := new(big.Rat).Sub(c.debt, new(big.Rat).SetInt(whole))
	parts := minRat(new(big.Rat).Mul(frac, rat(c.period)), rat(l.us()))
	return new(big.Rat).Add(new(big.Rat).SetInt(whole), parts.Quo(parts, rat(l.us())))
}

func (l modelLimit) rolled(c *modelCell, t int64) (cur, prev int64) {
	switch t/l.us() - c.at/l.us() {
	case 0:
		return min(c.cur, l.quota()), min(c.prev, l.quota())
	case 1:
		return 0, min(c.cur, l.quota())
	}
	return 0, 0
}

func (l modelLimit) passes(c *modelCell, cost, t int64) bool {
	if cost == 0 {
		return true
	}
	return new(big.Rat).Add(l.inUse(c, t), rat(cost)).Cmp(rat(l.quota())) <= 0
}

func (l modelLimit) remaining(c *modelCell, t int64) int64 {
	free := new(big.Rat).Sub(rat(l.quota()), l.inUse(c, t))
	return max(0, new(big.Int).Div(free.Num(), free.Denom()).Int64())
}

// least returns the least wait after now at which ok holds of the cell, which is
// forgotten when it expires; -1 for none.
func (l modelLimit) least(c *modelCell, now int64, ok func(c *modelCell, t int64) bool) int64 {
	span := 2*l.us() + 1
	if l.Algorithm == ratelimit.TokenBucket {
		span = l.quota()*l.us()/l.Count + 2
	}
	if c != nil {
		span += max(c.at-now, 0)
	}
	e := sort.Search(int(span), func(e int) bool { return ok(c.unless(now+int64(e)), now+int64(e)) })
	if int64(e) == span {
		return -1
	}
	return int64(e)
}

func (l modelLimit) reset(c *modelCell, now int64) int64 {
	return l.least(c, now, func(c *modelCell, t int64) bool { return l.remaining(c, t) == l.quota() })
}

// take returns the cell after a cost that passes.
func (l modelLimit) take(c *modelCell, cost, now int64) *modelCell {
	at := now
	if c != nil {
		at = max(now, c.at)
	}
	next := &modelCell{at: at, period: l.us()}
	switch l.Algorithm {
	case ratelimit.FixedWindow:
		used := l.inUse(c, at).Num().Int64()
		next.cur, next.since = used+cost, at-at%l.us()
		if used > 0 {
			next.since = c.since
		}
	case ratelimit.SlidingWindow:
		if c != nil {
			next.cur, next.prev = l.rolled(c, at)
		}
		next.cur += cost
	default:
		next.debt = new(big.Rat).Add(l.inUse(c, at), rat(cost))
	}
	next.expires = 1<<62 - 1
	next.expires = now + l.reset(next, now)
	return next
}

type modelTake struct {
	id     stateID
	limit  modelLimit
	cost   int64
	until  int64
	precis *big.Rat // token bucket: until, exactly
}

func (k modelTake) refund(c *modelCell, now int64) *modelCell {
	if c == nil || k.cost == 0 || max(now, c.at) >= k.until {
		return c
	}
	l, next := k.limit, *c
	switch l.Algorithm {
	case ratelimit.FixedWindow:
		if c.since > k.until-l.us() {
			return c
		}
		next.cur = max(next.cur-k.cost, 0)
	case ratelimit.SlidingWindow:
		switch k.until/l.us() - 2 - c.at/l.us() {
		case 0:
			next.cur = max(next.cur-k.cost, 0)
		case -1:
			next.prev = max(next.prev-k.cost, 0)
		}
	default:
		unpaid := new(big.Rat).Sub(k.precis, rat(max(now, c.at)))
		next.debt = new(big.Rat).Sub(c.debt, minRat(unpaid.Mul(unpaid, l.rate()), rat(k.cost)))
		if next.debt.Sign() <= 0 {
			return nil
		}
		return &next
	}
	if next.cur == 0 && next.prev == 0 {
		return nil
	}
	return &next
}

type stateID struct {
	key, name string
	algorithm ratelimit.Algorithm
}

// TestModel compares every answer with the model's, over random takes, peeks,
// refunds, resets, changes of limits and jumps of the clock in both directions.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { t.Parallel(); runModel(t, seed) })
	}
}

// FuzzModel is TestModel with seeds of the fuzzer's choice.
func FuzzModel(f *testing.F) {
	for seed := range uint64(3) {
		f.Add(seed + 100)
	}
	f.Fuzz(runModel)
}

func runModel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	changing := seed%3 == 2 // the period too; with seed%3 == 1 only count and burst
	now := int64(1_700_000_000_000_000)
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: func() time.Time { return time.UnixMicro(now) }})
	if err != nil {
		t.Fatal(err)
	}
	limiter, err := ratelimit.NewLimiter(store, ratelimit.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	cells := map[stateID]*modelCell{}
	periods := []time.Duration{7 * time.Microsecond, 1000 * time.Microsecond, time.Second, 3 * time.Hour}
	period := map[string]time.Duration{}
	limitFor := func(name string, a ratelimit.Algorithm) modelLimit {
		if _, ok := period[name]; !ok || changing && rnd.IntN(6) == 0 {
			period[name] = periods[rnd.IntN(len(periods))]
		}
		l := ratelimit.Limit{Name: name, Algorithm: a, Count: 1 + rnd.Int64N(12), Period: period[name]}
		if rnd.IntN(4) == 0 {
			l.Count = 1 + rnd.Int64N(1e6)
		}
		if a == ratelimit.TokenBucket && rnd.IntN(2) == 0 {
			l.Burst = 1 + rnd.Int64N(2*l.Count)
		}
		return modelLimit{l}
	}
	fixed := map[stateID]modelLimit{} // without changes a state keeps its limit
	type decision struct {
		res   ratelimit.Result
		takes []modelTake
		until int64 // the latest of the takes
	}
	var taken []decision
	refunded := map[ratelimit.ID]bool{}
	var step int
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("seed %d, step %d: %s", seed, step, fmt.Sprintf(format, args...))
	}

	for step = range 250 {
		switch rnd.IntN(20) {
		case 0:
			now -= rnd.Int64N(int64(1) << rnd.IntN(34))
		case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
			now += rnd.Int64N(int64(1) << (1 + rnd.IntN(34)))
		}
		// What the store may have swept while the clock was ahead is forgotten
		// on both sides.
		for id, c := range cells {
			if now >= c.expires {
				c.maybeSwept = true
			} else if c.maybeSwept {
				set, err := ratelimit.NewLimits(ratelimit.Limit{Name: id.name, Algorithm: id.algorithm, Count: 1, Period: time.Second})
				if err != nil {
					fail("%v", err)
				}
				if err := limiter.ResetAll(ctx, ratelimit.Charge{Key: id.key, Limits: set}); err != nil {
					fail("%v", err)
				}
				delete(cells, id)
			}
		}
		// Nor is a decision refunded once the store may have forgotten its id.
		taken = slices.DeleteFunc(taken, func(d decision) bool { return now >= d.until })
		if len(taken) > 0 && rnd.IntN(6) == 0 {
			d := taken[rnd.IntN(len(taken))]
			// A refund across a change of period may shift a bucket by less than a
			// unit: documented, and not modelled.
			if slices.ContainsFunc(d.takes, func(k modelTake) bool {
				c := cells[k.id]
				return k.precis != nil && c != nil && c.period != k.limit.us()
			}) {
				continue
			}
			if err := limiter.Refund(ctx, d.res.Reservation); err != nil {
				fail("%v", err)
			}
			if id := d.res.Reservation.ID(); !refunded[id] {
				for _, k := range d.takes {
					if c := cells[k.id].unless(now); c == nil {
						continue
					} else if next := k.refund(c, now); next != nil {
						cells[k.id] = next
					} else {
						delete(cells, k.id)
					}
				}
				refunded[id] = true
			}
			continue
		}
		var charges []ratelimit.Charge
		var ops []modelTake
		for _, k := range rnd.Perm(3)[:1+rnd.IntN(2)] {
			key := fmt.Sprint("key", k)
			cost := rnd.Int64N(8)
			var limits []ratelimit.Limit
			for _, n := range rnd.Perm(3)[:1+rnd.IntN(2)] {
				a := ratelimit.Algorithm(n)
				id := stateID{key, a.String(), a}
				l, ok := fixed[id]
				if !ok || seed%3 != 0 {
					l = limitFor(a.String(), a)
					fixed[id] = l
				}
				limits = append(limits, l.Limit)
				ops = append(ops, modelTake{id: id, limit: l, cost: cost})
			}
			set, err := ratelimit.NewLimits(limits...)
			if err != nil {
				fail("%v", err)
			}
			charges = append(charges, ratelimit.Charge{Key: key, Limits: set, Cost: cost})
		}
		peek := rnd.IntN(5) == 0
		var res ratelimit.Result
		var err error
		if peek {
			res, err = limiter.PeekAll(ctx, charges...)
		} else {
			res, err = limiter.TakeAll(ctx, charges...)
		}
		if err != nil {
			fail("%v", err)
		}
		want := true
		for _, o := range ops {
			want = want && o.limit.passes(cells[o.id].unless(now), o.cost, now)
		}
		if res.Allowed != want {
			fail("allowed is %v, want %v: %+v", res.Allowed, want, ops)
		}
		if want && !peek {
			for i, o := range ops {
				if o.cost > 0 {
					cells[o.id] = o.limit.take(cells[o.id].unless(now), o.cost, now)
				}
				if c := cells[o.id]; c != nil && o.cost > 0 {
					ops[i].until = c.expires
					if c.debt != nil {
						ops[i].precis = new(big.Rat).Add(rat(max(now, c.at)), new(big.Rat).Quo(c.debt, o.limit.rate()))
					}
				}
			}
			until := int64(0)
			for _, o := range ops {
				until = max(until, o.until)
			}
			taken = append(taken, decision{res, ops, until})
		}
		i := 0
		for s := range res.States() {
			o := ops[i]
			c := cells[o.id].unless(now)
			i++
			if got, want := s.Remaining, o.limit.remaining(c, now); got != want {
				fail("%+v: %d remain, want %d", s, got, want)
			}
			if got, want := s.ResetAfter.Microseconds(), o.limit.reset(c, now); got != want {
				fail("%+v: ResetAfter is %dus, want %d", s, got, want)
			}
			if want && !peek {
				continue
			}
			retry := o.limit.least(c, now, func(c *modelCell, t int64) bool { return o.limit.passes(c, o.cost, t) })
			if got := s.RetryAfter.Microseconds(); s.RetryAfter != ratelimit.Never && got != retry || s.RetryAfter == ratelimit.Never && retry != -1 {
				fail("%+v: RetryAfter is %v, want %dus", s, s.RetryAfter, retry)
			}
		}
		if res.Allowed || res.RetryAfter == ratelimit.Never {
			continue
		}
		// The refused decision as a whole passes after RetryAfter, and not before.
		at := now
		now = at + res.RetryAfter.Microseconds() - 1
		if r, err := limiter.PeekAll(ctx, charges...); err != nil || r.Allowed {
			fail("one microsecond before RetryAfter, %v: allowed is %v, error %v", res.RetryAfter, r.Allowed, err)
		}
		now++
		if r, err := limiter.PeekAll(ctx, charges...); err != nil || !r.Allowed {
			fail("after RetryAfter, %v: allowed is %v, error %v", res.RetryAfter, r.Allowed, err)
		}
		now = at
	}
}
