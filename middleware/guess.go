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
	provenWays  = 4       // places that one mark may have
	provenSlots = 1 << 15 // of all marks together: 256 KiB
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

// ways returns the places that mark may have.
func (g *guesses) ways(mark uint64) []atomic.Uint64 {
	first := mark % (provenSlots / provenWays) * provenWays
	return g.proven[first : first+provenWays]
}

// knows reports whether the credential of mark was proven lately.
func (g *guesses) knows(mark uint64) bool {
	ways := g.ways(mark)
	for i := range ways {
		if ways[i].Load() == mark {
			return true
		}
	}
	return false
}

// learn remembers that the credential of mark was proven. Where all its places are
// taken it takes one of them.
func (g *guesses) learn(mark uint64) {
	ways := g.ways(mark)
	for i := range ways {
		if has := ways[i].Load(); has == mark || has == 0 && ways[i].CompareAndSwap(0, mark) {
			return
		}
	}
	ways[mark>>62].Store(mark)
}

// forget undoes learn.
func (g *guesses) forget(mark uint64) {
	ways := g.ways(mark)
	for i := range ways {
		ways[i].CompareAndSwap(mark, 0)
	}
}
