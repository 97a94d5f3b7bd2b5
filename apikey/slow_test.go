package apikey_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A held scheme runs each proof until the test lets it go.
type held struct {
	fakeScheme
	running, most atomic.Int64
	let           chan struct{}
	order         chan string // texts, as their proofs began
}

func newHeld() *held {
	h := &held{let: make(chan struct{}), order: make(chan string, 10_000)}
	h.slow = true
	h.hold = func(text string) {
		if n := h.running.Add(1); n > h.most.Load() {
			h.most.Store(n)
		}
		h.order <- text
		<-h.let
		h.running.Add(-1)
	}
	return h
}

// verify calls Verify in a goroutine of the test's bubble.
func verify(ctx context.Context, s *apikey.Service, token string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := s.Verify(ctx, token, nil)
		done <- err
	}()
	synctest.Wait() // each arrives before the next
	return done
}

func held4(t *testing.T, places, waiting, keys int) (*held, *apikey.Service) {
	t.Helper()
	h := newHeld()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Legacy: []apikey.Legacy{faked(h)}, SlowProofs: places, SlowWaiting: waiting})
	for n := range keys {
		importRows(t, s, fakeRow(fakeText(n)))
	}
	return h, s
}

func guessAt(n int) string { return fakeText(n)[:31] + "x" }

func TestSlowProofsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := held4(t, 3, 5, 10)
		var all []<-chan error
		for n := range 10 {
			all = append(all, verify(t.Context(), s, fakeText(n)))
		}
		if h.running.Load() != 3 {
			t.Errorf("%d proofs run, want 3", h.running.Load())
		}
		for n := 8; n < 10; n++ { // three run, five wait
			if err := <-all[n]; errors.CodeOf(err) != errors.Unavailable || errors.MessageOf(err) != "too many imported API keys are being proven for the first time; try again in a moment" {
				t.Errorf("one too many: %v", err)
			}
		}
		close(h.let)
		for n := range 8 {
			if err := <-all[n]; err != nil {
				t.Errorf("key %d: %v", n, err)
			}
		}
		if h.most.Load() != 3 {
			t.Errorf("%d proofs ran at once, want 3", h.most.Load())
		}
	})
}

// A flood of guesses at one key takes one place, however many there are, and lets
// others pass at once: with one place alone, after one of its proofs.
func TestAFloodAtOneKeyStarvesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := held4(t, 2, 64, 5)
		var flood []<-chan error
		for range 500 {
			flood = append(flood, verify(t.Context(), s, guessAt(0)))
		}
		if h.running.Load() != 1 {
			t.Errorf("the flood takes %d places, want 1", h.running.Load())
		}
		<-h.order
		other := verify(t.Context(), s, fakeText(1))
		if text := <-h.order; text != fakeText(1) {
			t.Errorf("next is %s", text)
		}
		close(h.let)
		if err := <-other; err != nil {
			t.Errorf("the other key: %v", err)
		}
		for _, f := range flood {
			if err := <-f; !errors.Is(err, apikey.ErrUnknown) && errors.CodeOf(err) != errors.Unavailable {
				t.Errorf("a guess: %v", err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h, s := held4(t, 1, 64, 5)
		var flood []<-chan error
		for range 500 { // fills all places to wait
			flood = append(flood, verify(t.Context(), s, guessAt(0)))
		}
		var others []<-chan error
		for n := 1; n < 5; n++ {
			others = append(others, verify(t.Context(), s, fakeText(n)))
		}
		// The guess that runs, then each of the others, and no guess between them.
		for i, want := range []string{guessAt(0), fakeText(1), fakeText(2), fakeText(3), fakeText(4), guessAt(0)} {
			if got := <-h.order; got != want {
				t.Errorf("proof %d is of %s, want %s", i, got, want)
			}
			h.let <- struct{}{}
			synctest.Wait()
		}
		for i, o := range others {
			if err := <-o; err != nil {
				t.Errorf("key %d: %v", i+1, err)
			}
		}
		close(h.let)
		for _, f := range flood {
			<-f
		}
	})
}

// Many who use an import for the first time at once prove it once or twice, not
// each for themselves.
func TestARushOnOneImportIsProvenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := held4(t, 4, 256, 1)
		var all []<-chan error
		for range 100 {
			all = append(all, verify(t.Context(), s, fakeText(0)))
		}
		h.let <- struct{}{}
		synctest.Wait()
		close(h.let)
		for _, one := range all {
			if err := <-one; err != nil {
				t.Error(err)
			}
		}
		if n := h.proofs.Load(); n > 2 {
			t.Errorf("%d proofs", n)
		}
	})
}

// A key whose first use is over waits for nobody, written or not.
func TestUsedImportsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := held4(t, 1, 1, 3)
		used := verify(t.Context(), s, fakeText(0))
		h.let <- struct{}{}
		if err := <-used; err != nil {
			t.Fatal(err)
		}
		busy, waits := verify(t.Context(), s, fakeText(1)), verify(t.Context(), s, fakeText(2))
		if _, err := s.Verify(t.Context(), fakeText(0), nil); err != nil {
			t.Errorf("a used key: %v", err)
		}
		close(h.let)
		<-busy
		<-waits
	})
}

// Who gives up waiting leaves at once, and takes nobody's place along.
func TestWaitingForASlowProofHonoursTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := held4(t, 1, 2, 4)
		first := verify(t.Context(), s, fakeText(0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		second, third := verify(ctx, s, fakeText(1)), verify(ctx, s, fakeText(2))
		for _, waits := range []<-chan error{second, third} {
			if err := <-waits; !errors.Is(err, context.DeadlineExceeded) || errors.CodeOf(err) != errors.DeadlineExceeded {
				t.Errorf("waiting: %v", err)
			}
		}
		last := verify(t.Context(), s, fakeText(3)) // there is room again
		close(h.let)
		for _, one := range []<-chan error{first, last} {
			if err := <-one; err != nil {
				t.Error(err)
			}
		}
		if h.most.Load() != 1 || h.running.Load() != 0 {
			t.Errorf("%d at once, %d still run", h.most.Load(), h.running.Load())
		}
	})
}

// A proof that panics gives its place back.
func TestAPanicInASlowProofKeepsNoPlace(t *testing.T) {
	scheme := &fakeScheme{slow: true}
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Legacy: []apikey.Legacy{faked(scheme)}, SlowProofs: 1})
	importRows(t, s, fakeRow(fakeText(0)), fakeRow(fakeText(1)))
	scheme.hold = func(string) { panic("no") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		_, _ = s.Verify(t.Context(), fakeText(0), nil)
	}()
	scheme.hold = nil
	for n := range 2 {
		if _, err := s.Verify(t.Context(), fakeText(n), nil); err != nil {
			t.Error(err)
		}
	}
}

// What the bound refuses is a refusal for Identify too.
func TestIdentifyIsBoundedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := held4(t, 1, 1, 3)
		first, second := verify(t.Context(), s, fakeText(0)), verify(t.Context(), s, fakeText(1))
		key, err := s.Identify(t.Context(), fakeText(2))
		if errors.CodeOf(err) != errors.Unavailable || key.ID != "" {
			t.Errorf("Identify = %q, %v", key.ID, err)
		}
		close(h.let)
		<-first
		<-second
	})
}
