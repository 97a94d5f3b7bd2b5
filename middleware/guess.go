package middleware

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/keytoll/keytoll/ratelimit"
)

// guesses counts wrong keys by client address, and remembers which credentials
// were proven lately. It lives in this process and its memory is bounded: about
// 4 MiB at most.
type guesses struct {
	lock
	seed   maphash.Seed
	proven [provenSlots]atomic.Uint64
}

const (
	provenSlots = 1 << 13
	lockMemory  = 4 << 20
)

func newGuesses(limit ratelimit.Limit, memory *ratelimit.MemoryOptions) (*guesses, error) {
	if limit.Name == "" {
		limit.Name = defaultFailedAuth().Name
	}
	l, err := newLock(limit, memory)
	if err != nil {
		return nil, err
	}
	return &guesses{lock: l, seed: maphash.MakeSeed()}, nil
}

// mark hashes a credential under a seed that never leaves the process. A hash
// that collides lets an attempt past the lock and no further: the key is proven
// all the same.
func (g *guesses) mark(credential string) uint64 {
	return max(maphash.String(g.seed, credential), 1) // 0 is an empty slot
}

func (g *guesses) slot(mark uint64) *atomic.Uint64 { return &g.proven[mark%provenSlots] }

// knows reports whether the credential of mark was proven lately.
func (g *guesses) knows(mark uint64) bool { return g.slot(mark).Load() == mark }

// learn remembers that the credential of mark was proven. It takes the place of
// whichever stood in its slot.
func (g *guesses) learn(mark uint64) { g.slot(mark).Store(mark) }

// forget undoes learn.
func (g *guesses) forget(mark uint64) { g.slot(mark).CompareAndSwap(mark, 0) }
