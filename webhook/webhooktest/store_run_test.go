package webhooktest

import (
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// A timed store is a memory store whose clock only moves by Advance.
type timed struct {
	*webhook.MemoryStore

	mu  sync.Mutex
	now time.Time
}

func newTimed() *timed {
	s := &timed{now: time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)}
	s.MemoryStore = webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now
	}})
	return s
}

func (s *timed) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func TestMemoryQueueKeepsThePromises(t *testing.T) {
	Run(t, func(*testing.T) webhook.Store { return newTimed() })
}

// A store that is no Advancer is waited for.
func TestMemoryQueueKeepsThePromisesOnItsOwnClock(t *testing.T) {
	Run(t, func(*testing.T) webhook.Store { return webhook.NewMemoryStore(nil) })
}

func (s *timed) time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Functions that are called twice, with rows that were loaded anew, decide the same.
func TestMemoryQueueKeepsThePromisesWhenItDecidesTwice(t *testing.T) {
	Run(t, func(*testing.T) webhook.Store {
		s := newTimed()
		return struct {
			webhook.Store
			Advancer
		}{NewFaulty(s, func(string, int) Fault { return DecideTwice }), s}
	})
}

func TestMemoryQueueDoesWhatTheModelDoes(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		RunRandom(t, newTimed(), 1000+seed, 400)
	}
}
