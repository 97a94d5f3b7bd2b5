package middleware_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// inBubble builds a house whose stores run by the bubble's clock.
func inBubble(t *testing.T, b blueprint) *house {
	options := b.options
	b.options = func(o *middleware.Options) {
		memory, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: time.Now})
		must(t, err)
		o.Limits, o.Now = memory, time.Now
		if options != nil {
			options(o)
		}
	}
	return build(t, b)
}

func patient(most time.Duration) middleware.Operation {
	op := priced()
	op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "second", Count: 1, Period: time.Second}}}
	op.MaxWait = most
	return op
}

// A call waits for its limits as long as it says, and its credits are held only
// when it has them.
func TestWaitingForLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, blueprint{})
		h.grant(100)
		began := time.Now()
		handler := h.gate.Handler(patient(2*time.Second + time.Millisecond))(says(200))
		issued := h.key("image:generate")
		var mu sync.Mutex
		after := map[time.Duration]int{}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				w := h.call(handler, bearer(issued))
				mu.Lock()
				defer mu.Unlock()
				after[time.Since(began)]++
				if w.Code != 200 {
					refused(t, w, 429, "rate_limited")
					if atoi(t, w.Header().Get("Retry-After")) < time.Second {
						t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
					}
				}
			})
		}
		synctest.Wait()
		if got := h.totals(); got.Held != 0 || got.Consumed != 5_000_000 {
			t.Errorf("while they wait: %+v, want one call charged and nothing held", got)
		}
		wg.Wait()
		h.spent(15, 0)
		if after[0] != 1 || after[time.Second] != 1 || after[2*time.Second] != 3 {
			t.Errorf("calls were over after %v: want three served a second apart, and two refused once that is known to be in vain", after)
		}
		if vs := h.journal.verdicts(); len(vs) != 5 {
			t.Errorf("told of %d decisions", len(vs))
		}
	})
}

// A wait that is known to be in vain is not begun.
func TestAWaitInVainIsNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, blueprint{})
		h.grant(100)
		handler := h.gate.Handler(patient(900 * time.Millisecond))(says(200))
		issued := h.key("image:generate")
		h.call(handler, bearer(issued))
		began := time.Now()
		refused(t, h.call(handler, bearer(issued)), 429, "rate_limited")
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		long := patient(time.Minute)
		long.Name = "long"
		w := h.call(h.gate.Handler(long)(says(200)), bearer(issued), func(r *http.Request) { *r = *r.WithContext(ctx) })
		refused(t, w, 429, "rate_limited")
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		h.spent(5, 0)
	})
}

// How long a running call runs is not known: who waits for it is served when it
// ends, and refused when the wait is over.
func TestWaitingForARunningCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, blueprint{})
		op := open()
		op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Hour}}}
		op.MaxWait = time.Second
		release, running := make(chan struct{}), make(chan struct{}, 3)
		handler := h.gate.Handler(op)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			running <- struct{}{}
			<-release
		}))
		issued := h.key("")
		var wg sync.WaitGroup
		wg.Go(func() { h.call(handler, bearer(issued)) })
		<-running
		began := time.Now()
		w := h.call(handler, bearer(issued))
		p := refused(t, w, 429, "too_many_at_once")
		if waited := time.Since(began); waited != time.Second || len(p.Violated) != 1 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("waited %v, violated %v, Retry-After %q", waited, p.Violated, w.Header().Get("Retry-After"))
		}
		wg.Go(func() {
			if w := h.call(handler, bearer(issued)); w.Code != 200 {
				t.Errorf("status %d", w.Code)
			}
		})
		synctest.Wait() // it stands in line
		close(release)
		wg.Wait()
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("served %v later, want at once", waited-time.Second)
		}
	})
}

// A client that leaves the line has taken nothing.
func TestLeavingTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, blueprint{})
		h.grant(100)
		route, err := h.gate.Route(patient(time.Minute))
		must(t, err)
		issued := h.key("image:generate")
		a := middleware.Attempt{Route: route, Credential: issued.Secret.Reveal()}
		p, err := h.gate.Begin(t.Context(), a)
		must(t, err)
		must(t, p.End(t.Context(), middleware.Outcome{Status: 200, Completed: true}))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := h.gate.Begin(ctx, a)
			if d, ok := errors.AsType[*middleware.Denial](err); !ok || d.Verdict != middleware.VerdictCanceled || !errors.Is(err, context.Canceled) {
				t.Errorf("left the line: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		h.spent(5, 0)
		began := time.Now()
		p, err = h.gate.Begin(t.Context(), a)
		must(t, err)
		must(t, p.End(t.Context(), middleware.Outcome{Status: 200, Completed: true}))
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("the next waited %v, want a second: nobody took what the one who left wanted", waited)
		}
	})
}

// A store that fails while a call waits is a store that cannot decide, and nothing
// is held.
func TestAStoreThatFailsDuringTheWait(t *testing.T) {
	var down breaker
	h := build(t, blueprint{limits: func(s ratelimit.Store) ratelimit.Store { return brokenLimits{s, &down} }})
	h.grant(100)
	handler, issued := h.gate.Handler(patient(time.Minute))(says(200)), h.key("image:generate")
	down.before.Store(true)
	refused(t, h.call(handler, bearer(issued)), 503, "unavailable")
	h.spent(0, 0)
	down.before.Store(false)
	if w := h.call(handler, bearer(issued)); w.Code != 200 {
		t.Errorf("status %d when the store is back", w.Code)
	}
}

// Jitter lengthens what Retry-After says by up to so much, and changes nothing
// else.
func TestRetryJitter(t *testing.T) {
	for _, tt := range []struct {
		random uint64
		want   string
	}{{0, "60"}, {1, "61"}, {uint64(30 * time.Second), "90"}, {uint64(30*time.Second) + 1, "60"}, {1<<64 - 1, ""}} {
		h := build(t, blueprint{options: func(o *middleware.Options) {
			o.RetryJitter, o.Random = 30*time.Second, func() uint64 { return tt.random }
			o.Profile.Answers = map[middleware.Verdict]middleware.Answer{middleware.VerdictRateLimited: {Message: "wait {retry_after}"}}
		}})
		op := open()
		op.Limits = []middleware.Limit{perMinute("minute", 1)}
		handler, issued := h.gate.Handler(op)(says(200)), h.key("")
		if w := h.call(handler, bearer(issued)); w.Code != 200 || w.Header().Get("Retry-After") != "" {
			t.Fatalf("status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		w := h.call(handler, bearer(issued))
		got := w.Header().Get("Retry-After")
		if wait := atoi(t, got); tt.want != "" && got != tt.want || wait < time.Minute || wait > 90*time.Second {
			t.Errorf("random %d: Retry-After %s, want %s", tt.random, got, tt.want)
		}
		if limit := w.Header().Get("RateLimit"); limit != `"minute";r=0;t=60` {
			t.Errorf("RateLimit %s", limit)
		}
		if p := refused(t, w, 429, "rate_limited"); p.Detail != "wait "+got {
			t.Errorf("detail %q, Retry-After %s", p.Detail, got)
		}
		if w := h.call(handler); w.Header().Get("Retry-After") != "" {
			t.Errorf("a 401 with Retry-After %q", w.Header().Get("Retry-After"))
		}
	}
	// By default it comes from crypto/rand.
	h := build(t, blueprint{options: func(o *middleware.Options) { o.RetryJitter = time.Hour }})
	op := open()
	op.Limits = []middleware.Limit{perMinute("minute", 1)}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("")
	h.call(handler, bearer(issued))
	seen := make(map[string]bool)
	for range 64 {
		wait := h.call(handler, bearer(issued)).Header().Get("Retry-After")
		if d := atoi(t, wait); d < time.Minute || d > time.Minute+time.Hour {
			t.Fatalf("Retry-After %s", wait)
		}
		seen[wait] = true
	}
	if len(seen) < 32 {
		t.Errorf("%d different waits of 64", len(seen))
	}
}
