package ratelimit_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// minBytes is the smallest MaxBytes. It tracks at least so many subjects.
const (
	minBytes = 256 * 384
	tracked  = 1400
)

// Before 1970 and beyond what is counted time stands still, for what is swept as
// for what is in use: a full store forgets nobody there.
func TestClockOutOfRangeForgetsNobody(t *testing.T) {
	t.Parallel()
	for _, then := range []time.Time{{}, time.Unix(-1, 0), time.UnixMicro(1<<60 + 1e15), time.UnixMicro(math.MaxInt64), time.UnixMicro(math.MinInt64)} {
		for _, began := range []time.Time{{}, time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC), time.UnixMicro(math.MinInt64)} {
			now := began
			store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: minBytes, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			l, err := ratelimit.NewLimiter(store, set(t, ratelimit.Limit{Name: "h", Count: 10, Period: time.Hour}), nil)
			if err != nil {
				t.Fatal(err)
			}
			now = then
			passed := 0
			for i := range 2 * tracked {
				r, err := l.Take(t.Context(), "k", 1)
				if err != nil {
					t.Fatal(err)
				}
				if r.Allowed {
					passed++
				}
				if _, err := l.Take(t.Context(), fmt.Sprint(i), 1); err != nil && !errors.Is(err, ratelimit.ErrFull) {
					t.Fatal(err)
				}
			}
			if passed != 10 {
				t.Errorf("%d of 10 passed at %d of a clock that began at %d", passed, then.UnixMicro(), began.UnixMicro())
			}
		}
	}
}

func TestMemoryStoreIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: minBytes, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(store, set(t, ratelimit.Limit{Name: "m", Count: 10, Period: time.Minute}), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	attack := func(prefix string) (known []string, full int) {
		for i := range 8_000 {
			key := fmt.Sprint(prefix, i)
			r, err := l.Take(ctx, key, 10)
			switch {
			case err == nil && r.Allowed:
				known = append(known, key)
			case errors.Is(err, ratelimit.ErrFull) && !r.Allowed && strings.Contains(err.Error(), "no room to track"):
				full++
			default:
				t.Fatalf("%s: allowed %v, error %v", key, r.Allowed, err)
			}
		}
		return known, full
	}
	known, full := attack("first")
	if len(known) < tracked || full == 0 {
		t.Errorf("%d tracked, %d refused as full; want %d tracked", len(known), full, tracked)
	}
	for _, k := range known { // nobody was forgotten to make room
		if r, err := l.Take(ctx, k, 1); err != nil || r.Allowed {
			t.Fatalf("%s: allowed %v, error %v", k, r.Allowed, err)
		}
	}
	if r, err := l.Peek(ctx, "new", 1); err != nil || !r.Allowed {
		t.Errorf("a peek needs room: allowed %v, error %v", r.Allowed, err)
	}
	now = now.Add(time.Minute) // all have expired and are swept as others come
	if known, _ := attack("second"); len(known) < tracked {
		t.Errorf("%d tracked after the first expired, want %d", len(known), tracked)
	}
}

// Sweeping, growing and closing gaps must not lose or mix up any state.
func TestMemoryStoreKeepsEveryState(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	short := set(t, ratelimit.Limit{Name: "short", Count: 1, Period: time.Second}, ratelimit.Limit{Name: "short2", Count: 1, Period: time.Second})
	long := set(t, ratelimit.Limit{Name: "long", Count: 1000, Period: 1000 * time.Hour, Algorithm: ratelimit.SlidingWindow}, ratelimit.Limit{Name: "long2", Count: 1000, Period: 1000 * time.Hour})
	l, err := ratelimit.NewLimiter(store, long, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	const keys = 2000
	for round := range int64(4) {
		for i := range keys {
			if _, err := l.TakeAll(ctx, ratelimit.Charge{Key: fmt.Sprint("passing", round, i), Limits: short, Cost: 1}); err != nil {
				t.Fatal(err)
			}
			if i%4 == int(round) {
				if _, err := l.Take(ctx, fmt.Sprint("staying", i), int64(i%500)+1); err != nil {
					t.Fatal(err)
				}
			}
		}
		now = now.Add(2 * time.Second)
	}
	for i := range keys {
		if r, err := l.Peek(ctx, fmt.Sprint("staying", i), 0); err != nil || r.Remaining != 999-int64(i%500) {
			t.Fatalf("key %d: %d remain, want %d; error %v", i, r.Remaining, 999-i%500, err)
		}
	}
}

// A sweep that makes room for new state may drop expired state of the same
// decision, which then needs room too. Forgetting that filled a table to its
// last slot, and the next look-up searched it for ever.
func TestExpiredAndNewStateInOneDecision(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: minBytes, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(store, ratelimit.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := func(n int) ratelimit.Limits {
		limits := make([]ratelimit.Limit, n)
		for i := range limits {
			limits[i] = ratelimit.Limit{Name: fmt.Sprint("limit", i), Count: 10, Period: time.Second}
		}
		return set(t, limits...)
	}
	six, eight := first(6), first(8)
	finished := make(chan error, 1)
	go func() {
		finished <- func() error {
			for round := range 50 {
				var known []string
				for i := range 1000 { // until nothing more fits
					key := fmt.Sprint("k", i)
					if r, err := l.TakeAll(t.Context(), ratelimit.Charge{Key: key, Limits: six, Cost: 10}); err == nil && r.Allowed {
						known = append(known, key)
					} else if !errors.Is(err, ratelimit.ErrFull) {
						return fmt.Errorf("round %d, %s: six new states: allowed %v, error %w", round, key, r.Allowed, err)
					}
				}
				now = now.Add(2 * time.Second)
				passed := 0
				for _, key := range known { // six expired and two new
					r, err := l.TakeAll(t.Context(), ratelimit.Charge{Key: key, Limits: eight, Cost: 10})
					if err == nil && r.Allowed {
						passed++
					} else if !errors.Is(err, ratelimit.ErrFull) {
						return fmt.Errorf("round %d, %s: eight states: allowed %v, error %w", round, key, r.Allowed, err)
					}
				}
				if len(known)*6 < tracked/2 || passed == 0 {
					return fmt.Errorf("round %d: room for six states of %d keys, then for eight of %d", round, len(known), passed)
				}
				now = now.Add(2 * time.Second)
			}
			return nil
		}()
	}()
	select {
	case err := <-finished:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a decision does not return")
	}
}

// bounded returns a limiter on a store of that many bytes.
func bounded(t *testing.T, bytes int64) (*world, ratelimit.Store) {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)}
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: bytes, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	if w.Limiter, err = ratelimit.NewLimiter(store, ratelimit.Limits{}, nil); err != nil {
		t.Fatal(err)
	}
	return w, store
}

// spend takes 4 of the 10 that key has under a limit of that name and period.
func (w *world) spend(key, name string, period time.Duration) ratelimit.Reservation {
	w.t.Helper()
	r, err := w.TakeAll(w.t.Context(), ten(w.t, key, name, period))
	if err != nil || !r.Allowed {
		w.t.Fatalf("%s of %s: allowed %v, error %v", name, key, r.Allowed, err)
	}
	return r.Reservation
}

// free fails the test unless n of the 10 are free.
func (w *world) free(key, name string, period time.Duration, n int64) {
	w.t.Helper()
	if r, err := w.PeekAll(w.t.Context(), ten(w.t, key, name, period)); err != nil || r.Remaining != n {
		w.t.Fatalf("%s of %s: %d remain, want %d (error %v)", name, key, r.Remaining, n, err)
	}
}

// refunds fails the test unless the refund of r ends with the error want.
func (w *world) refunds(r ratelimit.Reservation, want error) {
	w.t.Helper()
	if err := w.Refund(w.t.Context(), r); !errors.Is(err, want) {
		w.t.Fatalf("the refund ends with %v, want %v", err, want)
	}
}

func ten(t *testing.T, key, name string, period time.Duration) ratelimit.Charge {
	t.Helper()
	return ratelimit.Charge{Key: key, Cost: 4, Limits: set(t, ratelimit.Limit{Name: name, Algorithm: ratelimit.FixedWindow, Count: 10, Period: period})}
}

// Each refund took the room of a subject until the window had passed, so that
// one caller whose takes were refunded had everybody else refused.
func TestRefundsLeaveRoomForSubjects(t *testing.T) {
	t.Parallel()
	const (
		bytes    = 128 << 10
		refunded = (bytes*7/8 - minBytes/2) / 48 * 128 // beside what an empty store takes
	)
	w, _ := bounded(t, bytes)
	n := 0
	for ; n < 3*refunded; n++ {
		if err := w.Refund(t.Context(), w.spend("k", "refunded", time.Hour)); errors.Is(err, ratelimit.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n < refunded || n == 3*refunded {
		t.Errorf("%d refunds found room, want %d and an end", n, refunded)
	}
	for i := range bytes / 8 / 256 { // each may be the first of its part of the store
		w.spend(fmt.Sprint("new", i), "h", time.Hour)
	}
	for i := 0; ; i++ {
		if r, err := w.TakeAll(t.Context(), ten(t, fmt.Sprint("more", i), "h", time.Hour)); errors.Is(err, ratelimit.ErrFull) && !r.Allowed {
			break
		} else if err != nil || i > bytes {
			t.Fatalf("more subjects than there is room for: allowed %v, error %v", r.Allowed, err)
		}
	}
}

func TestDecisionsDoNotAllocate(t *testing.T) {
	l := benchLimiter(t, benchLimits(t, 3))
	one := benchLimiter(t, benchLimits(t, 1))
	charges := []ratelimit.Charge{
		{Key: "key_0123456789abcdef", Limits: benchLimits(t, 3), Cost: 1},
		{Key: "owner_42", Limits: benchLimits(t, 1), Cost: 1},
		{Key: "203.0.113.7", Limits: benchLimits(t, 1), Cost: 1},
	}
	ctx := t.Context()
	var res ratelimit.Result
	var err error
	for name, f := range map[string]func(){
		"Take of one limit":    func() { res, err = one.Take(ctx, "k", 1) },
		"Take of three limits": func() { res, err = l.Take(ctx, "k", 1) },
		"a refused Take":       func() { res, err = l.Take(ctx, "k", 1<<62) },
		"Peek":                 func() { res, err = l.Peek(ctx, "k", 1) },
		"TakeAll of three":     func() { res, err = l.TakeAll(ctx, charges...) },
		"States and Refused": func() {
			for s := range res.States() {
				if s.Quota == 0 {
					t.Error("quota is 0")
				}
			}
			for range res.Refused() {
				t.Error("refused")
			}
		},
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 || err != nil {
			t.Errorf("%s: %v allocations, error %v", name, n, err)
		}
	}
}

func TestMemoryPerKey(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a store with 200 000 keys")
	}
	limits := set(t, ratelimit.Limit{Name: "d", Count: 1000, Period: 24 * time.Hour})
	heap := func() float64 {
		var m runtime.MemStats
		for range 3 { // what pools and finalizers of earlier tests still hold goes with the second and the third
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	l := benchLimiter(t, limits)
	for i, next := 0, 10_000; next < 200_000; i++ { // tables grow by an eighth: this meets every phase
		if i == next {
			per := (heap() - before) / float64(i)
			t.Logf("%d keys: %.1f bytes each", i, per)
			if per > 48 {
				t.Errorf("%d keys: %.1f bytes each, want at most 48", i, per)
			}
			next += next / 16
		}
		if _, err := l.Take(t.Context(), fmt.Sprint("key", i), 1); err != nil {
			t.Fatal(err)
		}
	}
	runtime.KeepAlive(l)
}
