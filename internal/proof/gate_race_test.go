package proof_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// ages is longer than any window that could end within a test.
const ages = 1000 * 24 * time.Hour

// What only some can have, just as many get, of a crowd that asks two instances at
// once.
func TestAFleetGivesNothingTwice(t *testing.T) {
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			at := p.make(t)
			one, other := newInstance(t, at.open(t)), newInstance(t, at.open(t))
			f := newFleet(t, one.serve(t, one.mux), other.serve(t, other.mux))
			t.Run("the last credit and the last of a window", f.lastCredit)
			t.Run("the last slot", f.lastSlot)
			t.Run("an Idempotency-Key", f.oneKey)
		})
	}
}

// As many pass as there is credit for. Who is refused for want of credit has used up
// nothing of the limit, so that as many pass later as that still allows; who the
// limit refuses pays nothing.
func (f *fleet) lastCredit(t *testing.T) {
	const funded, window = 3, 10
	var ran atomic.Int64
	f = f.of(t, funded, middleware.Operation{
		Name: "image", Scopes: scopes.None(), Price: middleware.Fixed(price),
		Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: "images", Algorithm: ratelimit.FixedWindow, Count: window, Period: ages}}},
	}, func(http.ResponseWriter, *http.Request) { ran.Add(1) })
	got := f.race("/image", "", nil)
	if got[200] != funded || got[200]+got[402]+got[429] != crowd {
		t.Errorf("with credit for %d calls the crowd was told %v", funded, got)
	}
	f.charged(funded)
	f.grant("plenty", crowd)
	got = f.race("/image", "", nil)
	if got[200] != window-funded || got[429] != crowd-window+funded {
		t.Errorf("with %d left of the window the crowd was told %v", window-funded, got)
	}
	f.charged(window)
	if ran.Load() != window {
		t.Errorf("the handler ran %d times, want %d", ran.Load(), window)
	}
}

// As many run as there are slots, until they end; then the slots are free again,
// every one.
func (f *fleet) lastSlot(t *testing.T) {
	const slots = 3
	var ran atomic.Int64
	refused := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f = f.of(t, crowd, middleware.Operation{
		Name: "video", Scopes: scopes.None(), Price: middleware.Fixed(price),
		Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: "videos", Algorithm: ratelimit.Concurrency, Count: slots, Period: time.Hour}}},
	}, func(http.ResponseWriter, *http.Request) {
		ran.Add(1)
		select {
		case <-refused:
		case <-ctx.Done():
			t.Error("too few were refused")
		}
	})
	no := 0
	got := f.race("/video", "", func(a answer) {
		if a.status == 429 {
			if no++; no == crowd-slots {
				close(refused)
			}
		}
	})
	if got[200] != slots || got[429] != crowd-slots || ran.Load() != slots {
		t.Errorf("the crowd was told %v, and %d ran; want %d", got, ran.Load(), slots)
	}
	for n := range slots + 1 {
		if a := f.call(n, "/video", ""); a.status != 200 {
			t.Errorf("afterwards a call was told %d: %s", a.status, a.body)
		}
	}
	f.charged(2*slots + 1)
}

// One runs and is charged, and all who ask later are told what that one was; they
// use up nothing else.
func (f *fleet) oneKey(t *testing.T) {
	var ran atomic.Int64
	f = f.of(t, crowd, middleware.Operation{
		Name: "order", Scopes: scopes.None(), Price: middleware.Fixed(price), Idempotency: middleware.IdempotencyRequired,
		Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: "orders", Algorithm: ratelimit.FixedWindow, Count: 1, Period: ages}}},
	}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "order %d", ran.Add(1))
	})
	told := func(a answer) {
		if a.status == 201 && a.body != "order 1" {
			t.Errorf("one was told %q", a.body)
		}
	}
	got := f.race("/order", "key-1", told)
	if got[201] < 1 || got[201]+got[409] != crowd {
		t.Errorf("the crowd was told %v", got)
	}
	for n := range f.instances {
		a := f.call(n, "/order", "key-1")
		if told(a); a.status != 201 || !a.replayed {
			t.Errorf("afterwards a call was told %+v", a)
		}
	}
	if ran.Load() != 1 {
		t.Errorf("the handler ran %d times", ran.Load())
	}
	f.charged(1)
	if a := f.call(0, "/order", "key-2"); a.status != 429 {
		t.Errorf("another key, with the window used up, was told %+v", a)
	}
}
