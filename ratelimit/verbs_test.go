package ratelimit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func TestSettleNamesItsFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, counting()[1])
	r := w.want(true, 4).Reservation
	for want, actual := range map[string][]int64{
		"not one actual cost for each charge": {1, 2},
		"an actual cost is negative":          {-1},
	} {
		if err := w.Settle(t.Context(), r, actual...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	if err := w.Settle(t.Context(), r); err == nil {
		t.Error("no actual cost at all is accepted")
	}
	w.remain(6) // and none of them acted
	if err := w.Settle(t.Context(), r, 1); err != nil {
		t.Fatal(err)
	}
	w.remain(9)
	for i, none := range []ratelimit.Reservation{{}, w.want(true, 0).Reservation, w.want(false, 10).Reservation} {
		if err := w.Settle(t.Context(), none, 7); err != nil {
			t.Errorf("reservation %d, which took nothing: %v", i, err)
		}
	}
	w.remain(9)
}

// Each charge is settled to its own actual cost, under each of its limits that
// took it.
func TestSettlementOfSeveralSubjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hour := func(name string, shadow bool) ratelimit.Limit {
		return ratelimit.Limit{Name: name, Count: 100, Period: 1000 * time.Hour, Shadow: shadow}
	}
	small := ratelimit.Limit{Name: "small", Count: 5, Period: 1000 * time.Hour, Shadow: true} // refuses, in the shadow
	all := ratelimit.Limit{Name: "all", Algorithm: ratelimit.Unlimited}
	log := ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 100, Period: 1000 * time.Hour}
	charges := []ratelimit.Charge{
		{Key: "key", Limits: set(t, hour("a", false), all, small), Cost: 10},
		{Key: "owner", Limits: set(t, log, hour("b", true)), Cost: 20},
		{Key: "address", Limits: set(t, hour("a", false)), Cost: 30},
	}
	r, err := w.TakeAll(t.Context(), charges...)
	if err != nil || !r.Allowed {
		t.Fatalf("allowed %v, error %v", r.Allowed, err)
	}
	for range 2 {
		if err := w.Settle(t.Context(), r.Reservation, 3, 60, 30); err != nil {
			t.Fatal(err)
		}
	}
	if r, err = w.PeekAll(t.Context(), charges...); err != nil {
		t.Fatal(err)
	}
	want := []int64{97, ratelimit.MaxCount, 5, 40, 40, 70}
	for s := range r.States() {
		if s.Remaining != want[0] {
			t.Errorf("%s of %s: %d remain, want %d", s.Limit.Name, s.Key, s.Remaining, want[0])
		}
		want = want[1:]
	}
}

func TestLeaseVerbsOfSeveralSubjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ratelimit.Limit{Name: "jobs", Algorithm: ratelimit.Concurrency, Count: 2, Period: time.Minute}, counting()[1])
	jobs := []ratelimit.Charge{{Key: "a", Cost: 1}, {Key: "b", Cost: 1}}
	r, err := w.TakeAll(t.Context(), jobs...)
	if err != nil || !r.Allowed {
		t.Fatalf("allowed %v, error %v", r.Allowed, err)
	}
	id := r.Reservation.ID()
	for range 3 {
		w.now = w.now.Add(45 * time.Second)
		if err := w.RenewAll(t.Context(), id, jobs...); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Release(t.Context(), "b", id); err != nil {
		t.Fatal(err)
	}
	if err := w.RenewAll(t.Context(), id, jobs...); !errors.Is(err, ratelimit.ErrLapsed) {
		t.Errorf("one of two leases has ended: error %v", err)
	}
	w.now = w.now.Add(time.Minute) // so that of a was not renewed either
	if err := w.Renew(t.Context(), "a", id); !errors.Is(err, ratelimit.ErrLapsed) {
		t.Errorf("a lease was renewed together with one that had ended: error %v", err)
	}
	if err := w.ReleaseAll(t.Context(), id, jobs...); err != nil {
		t.Errorf("releasing what has ended: %v", err)
	}
	if err := newWorld(t, counting()[1]).Renew(t.Context(), "k", id); err == nil || !strings.Contains(err.Error(), "no limit of the charges is a Concurrency limit") {
		t.Errorf("a bucket has a lease: error %v", err)
	}
	if err := w.Release(t.Context(), "", id); err == nil {
		t.Error("an empty key has a lease")
	}
}

func TestTakeUpToUnderSeveralLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t,
		ratelimit.Limit{Name: "minute", Count: 8, Period: time.Minute},
		ratelimit.Limit{Name: "hour", Algorithm: ratelimit.SlidingWindow, Count: 20, Period: time.Hour},
		ratelimit.Limit{Name: "shadow", Count: 3, Period: time.Hour, Shadow: true},
		ratelimit.Limit{Name: "all", Algorithm: ratelimit.Unlimited})
	for _, tt := range []struct {
		most, taken int64
	}{{5, 5}, {50, 3}, {50, 0}, {0, 0}} {
		r, err := w.TakeUpTo(t.Context(), "k", tt.most)
		if err != nil || r.Taken != tt.taken || r.Allowed != (tt.taken > 0 || tt.most == 0) {
			t.Errorf("up to %d: took %d, allowed %v, error %v; want %d", tt.most, r.Taken, r.Allowed, err, tt.taken)
		}
		if !r.Allowed && r.RetryAfter != 7500*time.Millisecond { // of a cost of 1
			t.Errorf("RetryAfter is %v", r.RetryAfter)
		}
		for s := range r.States() {
			if s.Cost != tt.taken && r.Allowed || !r.Allowed && s.Cost != 1 {
				t.Errorf("up to %d: %s took %d", tt.most, s.Limit.Name, s.Cost)
			}
		}
	}
	all := newWorld(t, ratelimit.Limit{Name: "all", Algorithm: ratelimit.Unlimited})
	if r, err := all.TakeUpTo(t.Context(), "k", 50); err != nil || r.Taken != 50 {
		t.Errorf("of an unlimited limit %d of 50, error %v", r.Taken, err)
	}
}

// A decision that needs no store heeds its context all the same.
func TestUnlimitedHeedsItsContext(t *testing.T) {
	t.Parallel()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	w := newWorld(t, ratelimit.Limit{Name: "all", Algorithm: ratelimit.Unlimited})
	if r, err := w.Take(done, "k", 1); !errors.Is(err, context.Canceled) || r.Allowed {
		t.Errorf("allowed %v, error %v", r.Allowed, err)
	}
}

// Waiters of any costs and keys that come, give up and are refused at any time:
// what was taken was free, nobody is forgotten, and the line is empty after.
func TestWaitersOfAllKindsComeThrough(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			l, _ := waiting(t, &ratelimit.Options{MaxWait: 20 * time.Second, MaxWaiters: 60},
				ratelimit.Limit{Name: "pace", Count: 9, Period: time.Second, Burst: 4},
				ratelimit.Limit{Name: "jobs", Algorithm: ratelimit.Concurrency, Count: 6, Period: 3 * time.Second})
			rnd := rand.New(rand.NewPCG(seed, 9))
			var mu sync.Mutex
			var served, refused, gone int
			var wg sync.WaitGroup
			for range 300 {
				var charges []ratelimit.Charge
				for _, k := range rnd.Perm(4)[:1+rnd.IntN(3)] {
					charges = append(charges, ratelimit.Charge{Key: string(rune('a' + k)), Cost: rnd.Int64N(5)})
				}
				patience, back, held := time.Duration(rnd.Int64N(int64(15*time.Second))), rnd.IntN(3), time.Duration(rnd.Int64N(int64(time.Second)))
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					began := time.Now()
					r, err := l.WaitAll(ctx, charges...)
					mu.Lock()
					switch {
					case err != nil:
						if gone++; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != patience || r.Allowed {
							t.Errorf("seed %d: after %v of %v: allowed %v, error %v", seed, time.Since(began), patience, r.Allowed, err)
						}
					case !r.Allowed:
						if refused++; r.RetryAfter <= 0 {
							t.Errorf("seed %d: refused with a RetryAfter of %v", seed, r.RetryAfter)
						}
					default:
						served++
					}
					mu.Unlock()
					if err != nil || !r.Allowed || back == 0 {
						return
					}
					<-time.After(held)
					if back == 1 {
						err = l.Refund(t.Context(), r.Reservation)
					} else {
						err = l.ReleaseAll(t.Context(), r.Reservation.ID(), charges...)
					}
					if err != nil {
						t.Error(err)
					}
				})
				<-time.After(time.Duration(rnd.Int64N(int64(200 * time.Millisecond))))
			}
			wg.Wait()
			if served == 0 || refused == 0 || gone == 0 {
				t.Errorf("seed %d: %d served, %d refused, %d gone: one of them was not tried", seed, served, refused, gone)
			}
			<-time.After(time.Minute)
			start := time.Now()
			for _, k := range []string{"a", "b", "c", "d"} {
				if r, err := l.Wait(t.Context(), k, 4); err != nil || !r.Allowed || time.Since(start) != 0 {
					t.Errorf("seed %d: %s is still waited for: allowed %v, error %v", seed, k, r.Allowed, err)
				}
			}
		})
	}
}

func TestRefusedAndShadowedAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t,
		ratelimit.Limit{Name: "real", Count: 2, Period: time.Hour},
		ratelimit.Limit{Name: "shadow", Count: 1, Period: 10 * time.Hour, Shadow: true},
		ratelimit.Limit{Name: "free", Count: 9, Period: time.Hour},
		ratelimit.Limit{Name: "none", Algorithm: ratelimit.DenyAll, Shadow: true})
	names := func(r ratelimit.Result) (refused, shadowed string) {
		for s := range r.Refused() {
			refused += s.Limit.Name + " "
		}
		for s := range r.Shadowed() {
			shadowed += s.Limit.Name + " "
		}
		return refused, shadowed
	}
	for i, want := range [][2]string{{"", "none "}, {"", "shadow none "}, {"real ", "shadow none "}} {
		r := w.want(i < 2, 1)
		if refused, shadowed := names(r); refused != want[0] || shadowed != want[1] {
			t.Errorf("take %d: refused by %q, in the shadow by %q; want %q", i, refused, shadowed, want)
		}
		if r.Limit != "real" || i < 2 && r.RetryAfter != 0 || i == 2 && r.RetryAfter != 30*time.Minute {
			t.Errorf("take %d speaks for %s: RetryAfter %v", i, r.Limit, r.RetryAfter)
		}
		for range r.States() {
			break // and a loop may end early
		}
	}
}
