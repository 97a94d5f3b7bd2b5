package ratelimittest

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// manual is a memory store whose clock stands still unless it is advanced.
type manual struct {
	*ratelimit.MemoryStore
	clock *clock
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (m manual) Advance(d time.Duration) {
	m.clock.mu.Lock()
	defer m.clock.mu.Unlock()
	m.clock.now = m.clock.now.Add(d)
}

func openManual() manual {
	c := &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	return manual{must(ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: c.Now})), c}
}

func TestMemoryStore(t *testing.T) {
	Run(t, func(*testing.T) ratelimit.Store { return openManual() })
}

// The clock that a store has by default cannot be moved by a test, so what is
// proven with it is what needs no moving, and that it tells the time.
func TestMemoryStoreOnItsOwnClock(t *testing.T) {
	RunStill(t, func(*testing.T) ratelimit.Store { return must(ratelimit.NewMemoryStore(nil)) })
	t.Run("it tells the time", func(t *testing.T) {
		limits, err := ratelimit.NewLimits(ratelimit.Limit{Name: "m", Count: 1, Period: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		store := must(ratelimit.NewMemoryStore(nil))
		before := time.Now().UnixMicro()
		for range 3 {
			req := ratelimit.Request{Mode: ratelimit.ModePeek, Ops: []ratelimit.Op{{Rule: limits.Rule(0), Key: "k", Cost: 1}}}
			if err := store.Apply(t.Context(), &req); err != nil {
				t.Fatal(err)
			}
			// A second of grace: the machine's clock may be set while this runs.
			if late := req.Now - before; late < -1e6 || late > 60e6 {
				t.Errorf("the decision was made %d microseconds after it was asked for", late)
			}
			before = req.Now
		}
	})
}

func BenchmarkMemoryStore(b *testing.B) {
	Bench(b, func(*testing.B) ratelimit.Store { return must(ratelimit.NewMemoryStore(nil)) })
}

// A broken store does one thing wrong and leaves the rest to a right one.
type broken struct {
	manual
	apply func(s manual, ctx context.Context, req *ratelimit.Request) error
}

func (b broken) Apply(ctx context.Context, req *ratelimit.Request) error {
	return b.apply(b.manual, ctx, req)
}

// TestSuiteRejects proves the suite by stores with the defects of real ones.
func TestSuiteRejects(t *testing.T) {
	t.Parallel()
	for name, apply := range brokenStores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rejects(t, func() ratelimit.Store { return broken{openManual(), apply()} })
		})
	}
	for name, f := range flaws() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rejects(t, func() ratelimit.Store { return openPlain(f) })
		})
	}
}

// rejects wants a sentence of the contract that the store fails. The random
// walks do not count: a defect has a name.
func rejects(t *testing.T, open func() ratelimit.Store) {
	t.Helper()
	var failed []string
	for _, c := range append(still(), moving()...) {
		if strings.HasPrefix(c.sentence, "subjects in any order") { // a deadlock would cost its whole patience
			continue
		}
		if err := c.run(t.Context(), open()); err != nil {
			failed = append(failed, c.sentence+": "+err.Error())
		}
	}
	if len(failed) == 0 {
		t.Error("the suite accepts it")
	}
	t.Log(strings.Join(failed, "\n"))
}

func brokenStores() map[string]func() func(manual, context.Context, *ratelimit.Request) error {
	type apply = func(manual, context.Context, *ratelimit.Request) error
	always := func(f apply) func() apply { return func() apply { return f } }
	each := func(s manual, ctx context.Context, req *ratelimit.Request, change func(*ratelimit.Op)) error {
		kept := append([]ratelimit.Op(nil), req.Ops...)
		for i := range req.Ops {
			change(&req.Ops[i])
		}
		err := s.MemoryStore.Apply(ctx, req)
		for i := range kept {
			kept[i].Outcome = req.Ops[i].Outcome
		}
		copy(req.Ops, kept)
		return err
	}
	return map[string]func() apply{
		"a peek that spends": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			if req.Mode == ratelimit.ModePeek {
				req.Mode = ratelimit.ModeTake
			}
			return s.MemoryStore.Apply(ctx, req)
		}),
		"ops one after the other": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			all := true
			for i := range req.Ops {
				one := ratelimit.Request{Mode: req.Mode, ID: req.ID, Ops: req.Ops[i : i+1]}
				if err := s.MemoryStore.Apply(ctx, &one); err != nil {
					return err
				}
				all = all && one.Allowed
				req.Now = one.Now
				if req.Mode == ratelimit.ModeTake {
					req.ID = one.ID
				}
			}
			req.Allowed = all
			return nil
		}),
		"check, then take": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			if req.Mode != ratelimit.ModeTake {
				return s.MemoryStore.Apply(ctx, req)
			}
			req.Mode = ratelimit.ModePeek
			if err := s.MemoryStore.Apply(ctx, req); err != nil || !req.Allowed {
				return err
			}
			runtime.Gosched() // here the others come in between
			for i := range req.Ops {
				one := ratelimit.Request{Mode: ratelimit.ModeTake, Ops: req.Ops[i : i+1]}
				if err := s.MemoryStore.Apply(ctx, &one); err != nil {
					return err
				}
				req.ID = one.ID
			}
			return nil
		}),
		"keys without case": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			return each(s, ctx, req, func(op *ratelimit.Op) { op.Key = strings.ToLower(op.Key) })
		}),
		"keys cut at 255 bytes": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			return each(s, ctx, req, func(op *ratelimit.Op) { op.Key = op.Key[:min(len(op.Key), 255)] })
		}),
		"keys that end at a zero byte": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			return each(s, ctx, req, func(op *ratelimit.Op) {
				before, _, _ := bytes.Cut([]byte(op.Key), []byte{0})
				op.Key = string(before)
			})
		}),
		"refunds as often as asked": func() apply {
			var mu sync.Mutex
			n := byte(0)
			return func(s manual, ctx context.Context, req *ratelimit.Request) error {
				if req.Mode == ratelimit.ModeSettle {
					mu.Lock()
					n++
					req.ID = ratelimit.ID{0: n, 15: 77}
					mu.Unlock()
				}
				return s.MemoryStore.Apply(ctx, req)
			}
		},
		"refunds that are lost": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			if req.Mode == ratelimit.ModeSettle {
				return nil
			}
			return s.MemoryStore.Apply(ctx, req)
		}),
		"one ID for all": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			err := s.MemoryStore.Apply(ctx, req)
			if req.Mode == ratelimit.ModeTake && req.ID != (ratelimit.ID{}) {
				req.ID = ratelimit.ID{1}
			}
			return err
		}),
		"an ID for a refusal": func() apply {
			return func(s manual, ctx context.Context, req *ratelimit.Request) error {
				stale := req.ID
				err := s.MemoryStore.Apply(ctx, req)
				if !req.Allowed && stale != (ratelimit.ID{}) {
					req.ID = stale
				}
				return err
			}
		},
		"waits in milliseconds": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			err := s.MemoryStore.Apply(ctx, req)
			for i := range req.Ops {
				if o := &req.Ops[i].Outcome; o.RetryAfter > 0 {
					o.RetryAfter = max(o.RetryAfter/1000*1000, 1)
				}
			}
			return err
		}),
		"a finite wait for what never passes": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			err := s.MemoryStore.Apply(ctx, req)
			for i := range req.Ops {
				if o := &req.Ops[i].Outcome; o.RetryAfter < 0 {
					o.RetryAfter = 1000
				}
			}
			return err
		}),
		"a done context unnoticed": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			return s.MemoryStore.Apply(context.WithoutCancel(ctx), req)
		}),
		"a reset of everything of the key": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			if req.Mode == ratelimit.ModeReset {
				for _, name := range []string{"ten", "other"} {
					for _, a := range algorithms {
						l := lasting(name, a, 1)
						more := ratelimit.Request{Mode: ratelimit.ModeReset, Ops: []ratelimit.Op{{Rule: l.Rule(0), Key: req.Ops[0].Key}}}
						if err := s.MemoryStore.Apply(ctx, &more); err != nil {
							return err
						}
					}
				}
			}
			return s.MemoryStore.Apply(ctx, req)
		}),
		"algorithms that share a state": always(func(s manual, ctx context.Context, req *ratelimit.Request) error {
			return each(s, ctx, req, func(op *ratelimit.Op) {
				l := op.Rule.Limit()
				if l.Algorithm == ratelimit.FixedWindow || l.Algorithm == ratelimit.SlidingWindow {
					l.Algorithm = ratelimit.TokenBucket
				}
				set := limits(l)
				op.Rule = set.Rule(0)
			})
		}),
		"a limit as it was when first seen": func() apply {
			var mu sync.Mutex
			first := map[combination]*ratelimit.Rule{}
			return func(s manual, ctx context.Context, req *ratelimit.Request) error {
				mu.Lock()
				defer mu.Unlock()
				return each(s, ctx, req, func(op *ratelimit.Op) {
					if first[of(op)] == nil {
						first[of(op)] = op.Rule
					}
					op.Rule = first[of(op)]
				})
			}
		},
		"a bucket that refills when the clock goes back": forgetting(func(last, now time.Time) bool { return now.Before(last) }),
		"state that lives for a second":                  forgetting(func(last, now time.Time) bool { return now.Sub(last) > time.Second }),
		"the newest state only": func() apply { // forgets the others, as a full cache does
			var mu sync.Mutex
			last := ""
			return func(s manual, ctx context.Context, req *ratelimit.Request) error {
				mu.Lock()
				defer mu.Unlock()
				if key := req.Ops[0].Key; key != last {
					forget := ratelimit.Request{Mode: ratelimit.ModeReset, Ops: []ratelimit.Op{{Rule: req.Ops[0].Rule, Key: last}}}
					if err := s.MemoryStore.Apply(ctx, &forget); err != nil {
						return err
					}
					last = key
				}
				return s.MemoryStore.Apply(ctx, req)
			}
		},
	}
}

// forgetting forgets the state of a request's ops when the clock went from last
// to now since the store was last asked.
func forgetting(when func(last, now time.Time) bool) func() func(manual, context.Context, *ratelimit.Request) error {
	return func() func(manual, context.Context, *ratelimit.Request) error {
		var mu sync.Mutex
		var last time.Time
		return func(s manual, ctx context.Context, req *ratelimit.Request) error {
			mu.Lock()
			defer mu.Unlock()
			now := s.clock.Now()
			if !last.IsZero() && when(last, now) {
				forget := ratelimit.Request{Mode: ratelimit.ModeReset, Ops: append([]ratelimit.Op(nil), req.Ops...)}
				if err := s.MemoryStore.Apply(ctx, &forget); err != nil {
					return err
				}
			}
			last = now
			return s.MemoryStore.Apply(ctx, req)
		}
	}
}

// FuzzMemoryStore compares the memory store with the model over walks of the
// fuzzer's choice.
func FuzzMemoryStore(f *testing.F) {
	for kind := unchanged; kind <= extreme; kind++ {
		f.Add(uint64(1), uint8(kind))
	}
	f.Fuzz(func(t *testing.T, seed uint64, kind uint8) {
		if err := agree(t.Context(), openManual(), walkKind(kind%4), seed, 300); err != nil {
			t.Error(err)
		}
	})
}
