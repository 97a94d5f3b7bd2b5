package webhook_test

import (
	"fmt"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// A memory is a store with a clock that the test moves.
type memory struct {
	*webhook.MemoryReplayStore

	now time.Time
}

func (m *memory) Advance(d time.Duration) { m.now = m.now.Add(d) }

func newMemory(t *testing.T, maxKeys int) *memory {
	t.Helper()
	m := &memory{now: t0}
	m.MemoryReplayStore = must(webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{
		MaxKeys: maxKeys, EvictAfter: 10 * time.Minute, Now: func() time.Time { return m.now },
	}))(t)
	return m
}

func (m *memory) claim(t *testing.T, key string, want webhook.ClaimState) {
	t.Helper()
	if got, err := m.Claim(t.Context(), key, "owner", time.Minute); err != nil || got != want {
		t.Errorf("Claim(%q) = %v, %v; want %v", key, got, err, want)
	}
}

func (m *memory) done(t *testing.T, key string) {
	t.Helper()
	if err := m.Done(t.Context(), key, 24*time.Hour); err != nil {
		t.Errorf("Done(%q): %v", key, err)
	}
}

func TestMemoryReplayStore(t *testing.T) {
	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore { return newMemory(t, 0) })
}

func TestAFullMemoryGivesUpTheOldestDoneKey(t *testing.T) {
	m := newMemory(t, 3)
	m.done(t, "a")
	m.Advance(time.Minute)
	m.done(t, "b")
	m.done(t, "c")
	m.Advance(9*time.Minute - time.Millisecond) // a is not 10 minutes old yet
	_, err := m.Claim(t.Context(), "d", "owner", time.Minute)
	wantIs(t, err, webhook.ErrFull)
	if kterrors.CodeOf(err) != kterrors.Unavailable {
		t.Errorf("code %v", kterrors.CodeOf(err))
	}
	wantIs(t, m.Done(t.Context(), "d", time.Hour), webhook.ErrFull)
	m.claim(t, "a", webhook.ClaimDone)
	m.Advance(time.Millisecond)
	m.claim(t, "d", webhook.ClaimGranted)
	m.claim(t, "b", webhook.ClaimDone)
	m.claim(t, "c", webhook.ClaimDone)
	m.done(t, "d") // takes the place of its own claim
	if m.Len() != 3 {
		t.Errorf("%d keys, want 3", m.Len())
	}
}

// A key counts as done from the first time.
func TestDoneAgainDoesNotKeepAFullMemoryFull(t *testing.T) {
	m := newMemory(t, 1)
	m.done(t, "a")
	m.Advance(5 * time.Minute)
	m.done(t, "a")
	m.Advance(5 * time.Minute)
	m.claim(t, "b", webhook.ClaimGranted)
}

func TestAFullMemoryNeverGivesUpAClaim(t *testing.T) {
	m := newMemory(t, 2)
	m.claim(t, "a", webhook.ClaimGranted)
	m.claim(t, "b", webhook.ClaimGranted)
	_, err := m.Claim(t.Context(), "c", "owner", time.Minute)
	wantIs(t, err, webhook.ErrFull)
	m.Advance(time.Minute) // both leases end
	m.claim(t, "c", webhook.ClaimGranted)
}

func TestMemoryTidiesUpInBoundedSteps(t *testing.T) {
	const keys = 1000
	m := newMemory(t, 0)
	for i := range keys {
		m.claim(t, fmt.Sprint("flight", i), webhook.ClaimGranted)
		m.done(t, fmt.Sprint("done", i))
	}
	m.Advance(25 * time.Hour)
	before := m.Len()
	m.claim(t, "next", webhook.ClaimGranted)
	if removed := before + 1 - m.Len(); removed < 2 || removed > 100 {
		t.Errorf("one call removed %d keys", removed)
	}
	for i := range keys {
		m.claim(t, fmt.Sprint("later", i), webhook.ClaimGranted)
	}
	if m.Len() != keys+1 {
		t.Errorf("%d keys are held, want those %d that have not ended", m.Len(), keys+1)
	}
}

func TestMemoryTimeNeverRunsBackwards(t *testing.T) {
	m := newMemory(t, 0)
	m.Advance(time.Hour)
	m.claim(t, "a", webhook.ClaimGranted)
	m.Advance(-time.Hour)
	m.claim(t, "b", webhook.ClaimGranted) // its lease begins at the latest instant seen
	for _, step := range []struct {
		d    time.Duration
		want webhook.ClaimState
	}{{time.Hour + time.Minute - 1, webhook.ClaimInFlight}, {1, webhook.ClaimGranted}} {
		m.Advance(step.d)
		if got, err := m.Claim(t.Context(), "b", "other", time.Minute); err != nil || got != step.want {
			t.Errorf("a lease that began while the clock was back: %v, %v; want %v", got, err, step.want)
		}
	}
}

// What has ended is free even while it waits to be tidied up.
func TestMemoryDoesNotMistakeWhatHasEnded(t *testing.T) {
	m := newMemory(t, 0)
	for i := range 100 {
		m.done(t, fmt.Sprint("done", i))
	}
	m.Advance(24 * time.Hour)
	for i := range 100 {
		m.claim(t, fmt.Sprint("done", (i*37+50)%100), webhook.ClaimGranted)
	}
}

// A lease that was renewed does not hold up those behind it.
func TestMemoryTidiesUpBehindARenewedLease(t *testing.T) {
	m := newMemory(t, 0)
	m.claim(t, "renewed", webhook.ClaimGranted)
	m.Advance(time.Second)
	m.claim(t, "ended", webhook.ClaimGranted)
	if _, err := m.Claim(t.Context(), "renewed", "owner", time.Hour); err != nil {
		t.Fatal(err)
	}
	m.Advance(time.Minute)
	m.claim(t, "next", webhook.ClaimGranted)
	if m.Len() != 2 {
		t.Errorf("%d keys are held, want the renewed and the next", m.Len())
	}
}

func TestMemoryTakesAnyLength(t *testing.T) {
	m := newMemory(t, 0)
	m.Advance(time.Second) // so that the end would overflow
	if err := m.Done(t.Context(), "k", 1<<63-1); err != nil {
		t.Error(err)
	}
	m.Advance(100 * 365 * 24 * time.Hour)
	m.claim(t, "k", webhook.ClaimDone)
}

func BenchmarkMemoryReplayStore(b *testing.B) {
	webhooktest.BenchReplay(b, func(b *testing.B) webhook.ReplayStore {
		return must(webhook.NewMemoryReplayStore(nil))(b)
	})
}
