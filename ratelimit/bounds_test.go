package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// What the package documentation says that each algorithm admits, against
// callers who take all they can get at the worst instants they can find.

type admitted struct{ at, units int64 }

// greed returns what a caller of that strategy gets out of a rule.
func greed(rule *ratelimit.Rule, rnd *rand.Rand, steps int) []admitted {
	kept := make([]ratelimit.Kept, 1)
	now, edge := noon, rule.Limit().Period.Microseconds()
	if rule.Limit().Algorithm == ratelimit.Calendar {
		edge = (12 * time.Hour).Microseconds()
	}
	var got []admitted
	for i := range steps {
		switch rnd.IntN(6) {
		case 0: // just before the end of a window, or of a whole quota
			now += edge - 1 - now%edge
		case 1:
			now += edge - now%edge
		case 2:
			now += edge - 1
		case 3:
			now += rnd.Int64N(2 * edge)
		case 4: // when the next unit is there
			req := ratelimit.Request{Mode: ratelimit.ModePeek, Ops: []ratelimit.Op{{Rule: rule, Key: "k", Cost: 1}}}
			req.Run(kept, now, ratelimit.ID{})
			now += max(req.Ops[0].Outcome.RetryAfter, 0)
		}
		req := ratelimit.Request{Mode: ratelimit.ModeTakeUpTo, Ops: []ratelimit.Op{{Rule: rule, Key: "k", Cost: 1 + rnd.Int64N(rule.Quota())}}}
		if rnd.IntN(3) > 0 {
			req.Ops[0].Cost = rule.Quota()
		}
		req.Run(kept, now, ratelimit.ID{byte(i), byte(i >> 8), 1})
		if req.Allowed {
			got = append(got, admitted{now, req.Ops[0].Cost})
		}
	}
	return got
}

// most returns the most that was admitted in a span of less than the period.
func most(got []admitted, period int64) int64 {
	best := int64(0)
	for i := range got {
		sum := int64(0)
		for j := i; j < len(got) && got[j].at-got[i].at < period; j++ {
			sum += got[j].units
		}
		best = max(best, sum)
	}
	return best
}

// perWindow returns the most that was admitted in one window.
func perWindow(got []admitted, window func(at int64) int64) int64 {
	sums := map[int64]int64{}
	best := int64(0)
	for _, g := range got {
		w := window(g.at)
		sums[w] += g.units
		best = max(best, sums[w])
	}
	return best
}

func TestBoundsOfEachAlgorithm(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		for _, count := range []int64{1, 2, 7, 100} {
			rnd := rand.New(rand.NewPCG(seed, uint64(count)))
			us := []int64{1, 3, 50, 1000, 86_400_000_000}[rnd.IntN(5)]
			period := time.Duration(us) * time.Microsecond
			check := func(l ratelimit.Limit, bound int64, of func(r *ratelimit.Rule, got []admitted) int64) {
				t.Helper()
				r := ruleOf(t, l)
				if n := of(r, greed(r, rnd, 120)); n > bound {
					t.Errorf("seed %d, %+v: %d admitted, at most %d may", seed, l, n, bound)
				}
			}
			inPeriod := func(_ *ratelimit.Rule, got []admitted) int64 { return most(got, us) }
			aligned := func(_ *ratelimit.Rule, got []admitted) int64 {
				return perWindow(got, func(at int64) int64 { return at / us })
			}
			for _, burst := range []int64{1, count, 3 * count} {
				l := ratelimit.Limit{Count: count, Period: period, Burst: burst}
				r := ruleOf(t, l)
				got := greed(r, rnd, 120)
				for i := range got {
					sum := int64(0)
					for _, g := range got[i:] {
						sum += g.units
						if bound := burst + (g.at-got[i].at)*count/us; (g.at-got[i].at) < 1<<40 && sum > bound {
							t.Fatalf("seed %d, %+v: %d admitted in %dus, at most %d may", seed, l, sum, g.at-got[i].at, bound)
						}
					}
				}
			}
			check(ratelimit.Limit{Algorithm: ratelimit.FixedWindow, Count: count, Period: period}, 2*count, inPeriod)
			check(ratelimit.Limit{Algorithm: ratelimit.FixedWindow, Count: count, Period: period}, count, aligned)
			check(ratelimit.Limit{Algorithm: ratelimit.SlidingWindow, Count: count, Period: period}, 2*count-1, inPeriod)
			check(ratelimit.Limit{Algorithm: ratelimit.SlidingWindow, Count: count, Period: period}, count, aligned)
			check(ratelimit.Limit{Algorithm: ratelimit.SlidingLog, Count: count, Period: period}, count, inPeriod)
			check(ratelimit.Limit{Algorithm: ratelimit.Concurrency, Count: count, Period: period}, count, inPeriod)
			check(ratelimit.Limit{Algorithm: ratelimit.Calendar, Count: count, Every: ratelimit.Day, Zone: zone(t, "America/St_Johns")}, count,
				func(r *ratelimit.Rule, got []admitted) int64 {
					return perWindow(got, func(at int64) int64 { start, _ := r.WindowAt(at); return start })
				})
		}
	}
}

// The bounds are no larger than they must be: each is reached.
func TestBoundsAreReached(t *testing.T) {
	t.Parallel()
	second := time.Second.Microseconds()
	edge := noon - noon%second + second // the start of a window
	for _, tt := range []struct {
		limit ratelimit.Limit
		takes []admitted
	}{
		{ratelimit.Limit{Count: 100, Period: time.Second}, []admitted{{edge, 100}, {edge + second - 1, 99}}},
		{ratelimit.Limit{Count: 100, Period: time.Second, Burst: 5}, []admitted{{edge, 5}, {edge + 40_000, 4}, {edge + 40_000 + 50_000, 5}}},
		{ratelimit.Limit{Algorithm: ratelimit.FixedWindow, Count: 100, Period: time.Second}, []admitted{{edge - 1, 100}, {edge, 100}}},
		{ratelimit.Limit{Algorithm: ratelimit.SlidingWindow, Count: 100, Period: time.Second}, []admitted{{edge - 1, 100}, {edge - 1 + second - 1, 99}}},
		{ratelimit.Limit{Algorithm: ratelimit.SlidingLog, Count: 100, Period: time.Second}, []admitted{{edge - 1, 100}, {edge + second - 2, 0}, {edge - 1 + second, 100}}},
	} {
		r := ruleOf(t, tt.limit)
		kept := make([]ratelimit.Kept, 1)
		for i, take := range tt.takes {
			op := ratelimit.Op{Rule: r, Key: "k", Cost: take.units + 1}
			more := ratelimit.Request{Mode: ratelimit.ModeTake, Ops: []ratelimit.Op{op}}
			if more.Run(kept, take.at, ratelimit.ID{byte(i), 1}); more.Allowed {
				t.Fatalf("%+v: take %d: %d units pass", tt.limit, i, op.Cost)
			}
			op.Cost--
			req := ratelimit.Request{Mode: ratelimit.ModeTake, Ops: []ratelimit.Op{op}}
			if req.Run(kept, take.at, ratelimit.ID{byte(i), 2}); !req.Allowed {
				t.Fatalf("%+v: take %d: %d units do not pass", tt.limit, i, op.Cost)
			}
		}
	}
}

func TestFixedWindowWorstCaseAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "m", Algorithm: ratelimit.FixedWindow, Count: 100, Period: time.Minute})
	w.now = w.now.Add(time.Minute - time.Microsecond)
	w.want(true, 100)
	w.now = w.now.Add(time.Microsecond)
	w.want(true, 100) // 200 within two microseconds, and no more
	w.want(false, 1)
}

func TestSlidingWindowWorstCaseAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "m", Algorithm: ratelimit.SlidingWindow, Count: 100, Period: time.Minute})
	w.now = w.now.Add(time.Minute - time.Microsecond)
	w.want(true, 100)
	w.now = w.now.Add(time.Minute - time.Microsecond) // the last instant of the trailing minute
	w.want(true, 99)
	w.want(false, 1)
}

func TestTokenBucketWorstCaseAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "m", Count: 60, Period: time.Minute, Burst: 5})
	w.want(true, 5)
	passed := int64(5)
	for range 59_999 { // the rest of one minute
		w.now = w.now.Add(time.Millisecond)
		if w.take(1).Allowed {
			passed++
		}
	}
	if passed != 64 { // Burst + floor(Count * 59.999/60)
		t.Errorf("%d passed, want 64", passed)
	}
}

// At most Count is leased at any time, however leases end.
func TestBoundOfConcurrency(t *testing.T) {
	t.Parallel()
	const count = 5
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		r := ruleOf(t, ratelimit.Limit{Algorithm: ratelimit.Concurrency, Count: count, Period: time.Millisecond})
		type lease struct {
			id           ratelimit.ID
			units, until int64
		}
		var live []lease
		kept := make([]ratelimit.Kept, 1)
		now := noon
		for i := range 2000 {
			now += rnd.Int64N(300)
			live = slices.DeleteFunc(live, func(l lease) bool { return l.until <= now })
			op := ratelimit.Op{Rule: r, Key: "k"}
			switch which := rnd.IntN(4); {
			case which < 2:
				op.Cost = 1 + rnd.Int64N(count)
				req := ratelimit.Request{Mode: ratelimit.ModeTake, Ops: []ratelimit.Op{op}}
				if req.Run(kept, now, ratelimit.ID{byte(i), byte(i >> 8), 1}); req.Allowed {
					live = append(live, lease{req.ID, op.Cost, now + 1000})
				}
			case len(live) == 0:
			default:
				at := rnd.IntN(len(live))
				mode := []ratelimit.Mode{ratelimit.ModeRenew, ratelimit.ModeRelease}[which-2]
				req := ratelimit.Request{Mode: mode, ID: live[at].id, Ops: []ratelimit.Op{op}}
				req.Run(kept, now, ratelimit.ID{})
				if mode == ratelimit.ModeRelease {
					live = slices.Delete(live, at, at+1)
				} else if live[at].until = now + 1000; !req.Allowed {
					t.Fatalf("seed %d, step %d: a live lease is not renewed", seed, i)
				}
			}
			used := int64(0)
			for _, l := range live {
				used += l.units
			}
			if o := r.PeekLog(&kept[0].Log, 0, now); used > count || o.Remaining != count-used {
				t.Fatalf("seed %d, step %d: %d leased of %d, %d remain", seed, i, used, count, o.Remaining)
			}
		}
	}
}

func TestAlgorithmsAndSpansHaveNames(t *testing.T) {
	t.Parallel()
	for a, want := range map[fmt.Stringer]string{
		ratelimit.TokenBucket: "token_bucket", ratelimit.DenyAll: "deny_all", ratelimit.Algorithm(77): "unknown",
		ratelimit.Day: "day", ratelimit.Year: "year", ratelimit.Span(0): "unknown", ratelimit.Span(9): "unknown",
	} {
		if a.String() != want {
			t.Errorf("%v, want %s", a, want)
		}
	}
}
