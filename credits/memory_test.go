package credits_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
)

func TestMemoryStore(t *testing.T) {
	creditstest.Run(t, func(*testing.T) credits.Store {
		s := movable{clock: newClock()}
		s.MemoryStore = credits.NewMemoryStore(&credits.MemoryOptions{Now: s.now})
		return s
	})
}

func TestMemoryStoreByItsOwnClock(t *testing.T) {
	creditstest.RunStill(t, func(*testing.T) credits.Store { return credits.NewMemoryStore(nil) })
}

// A movable memory store has a clock that tests move.
type movable struct {
	*credits.MemoryStore
	*clock
}

func (m movable) Advance(d time.Duration) { m.add(d) }
