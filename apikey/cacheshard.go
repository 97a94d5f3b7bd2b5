package apikey

import (
	"sync"
	"sync/atomic"
	"time"
)

// A cacheShard is an open-addressing table, at most three quarters full, that is
// read without its lock. Whoever reads while entries move may miss one, and then
// looks again under the lock; nobody finds one that is gone.
type cacheShard struct {
	slots atomic.Pointer[[]cacheSlot] // a power of two of them

	mu      sync.Mutex    // held to change what follows, and slots
	kept    int           // slots that hold an entry
	hand    uint64        // of the clock: where the search for room goes on
	misses  []*cacheEntry // a ring of those kept, and some that were taken away since
	oldest  int
	flights map[string]*flight

	_ [48]byte // keeps neighbours off one cache line
}

type cacheSlot struct {
	hash  atomic.Uint64
	entry atomic.Pointer[cacheEntry]
}

func (s *cacheShard) init() {
	s.slots.Store(new(make([]cacheSlot, 16)))
	s.flights = make(map[string]*flight)
}

// find returns the entry of a handle, or nil. It needs no lock.
func (s *cacheShard) find(hash uint64, handle string) *cacheEntry {
	slots := *s.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := hash; ; i++ {
		slot := &slots[i&mask]
		e := slot.entry.Load()
		if e == nil || slot.hash.Load() == hash && e.is(handle) {
			return e
		}
	}
}

// forget takes the entry of a handle away, and fences the read that is under
// way: it began before what made this necessary.
func (s *cacheShard) forget(c *cache, hash uint64, handle string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(hash, handle); e != nil {
		s.drop(c, e)
	}
	if f := s.flights[handle]; f != nil {
		f.fenced = true
		delete(s.flights, handle)
	}
}

// keep puts e in the place of what is kept under its handle. It requires mu.
func (s *cacheShard) keep(c *cache, handle string, e *cacheEntry, now time.Time) {
	if old := s.find(e.hash, handle); old != nil {
		s.drop(c, old)
	}
	if e.kind == kindMiss {
		s.keepMiss(c, e)
	} else {
		for c.keys.Add(1) > c.mostKeys {
			c.keys.Add(-1)
			if !s.evict(c, now) {
				return
			}
		}
	}
	slots := *s.slots.Load()
	if s.kept++; s.kept*4 > len(slots)*3 {
		slots = s.grow(slots)
	}
	place(slots, e)
}

// keepMiss makes room for a miss, in the place of the oldest.
func (s *cacheShard) keepMiss(c *cache, e *cacheEntry) {
	if len(s.misses) < c.mostShard {
		s.misses = append(s.misses, e)
		return
	}
	s.drop(c, s.misses[s.oldest])
	s.misses[s.oldest] = e
	s.oldest = (s.oldest + 1) % len(s.misses)
}

// place puts e where a probe finds it.
func place(slots []cacheSlot, e *cacheEntry) {
	mask := uint64(len(slots) - 1)
	for i := e.hash; ; i++ {
		if slot := &slots[i&mask]; slot.entry.Load() == nil {
			slot.hash.Store(e.hash)
			slot.entry.Store(e)
			return
		}
	}
}

// drop takes e away, unless it is gone.
func (s *cacheShard) drop(c *cache, e *cacheEntry) {
	slots := *s.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := e.hash; ; i++ {
		switch slots[i&mask].entry.Load() {
		case e:
			s.empty(c, slots, i&mask)
			return
		case nil:
			return
		}
	}
}

// empty takes the entry in a slot away, and moves those behind it closer to
// where their probes begin.
func (s *cacheShard) empty(c *cache, slots []cacheSlot, hole uint64) {
	if slots[hole].entry.Load().kind == kindKey {
		c.keys.Add(-1)
	}
	s.kept--
	mask := uint64(len(slots) - 1)
	for i := (hole + 1) & mask; ; i = (i + 1) & mask {
		e := slots[i].entry.Load()
		if e == nil {
			slots[hole].entry.Store(nil)
			return
		}
		if (i-e.hash)&mask >= (i-hole)&mask { // its probe begins at the hole or before
			slots[hole].hash.Store(e.hash)
			slots[hole].entry.Store(e)
			hole = i
		}
	}
}

// evict takes one key away: the next one that is no longer good, or was not
// proven since the hand came by. It reports whether there was any.
func (s *cacheShard) evict(c *cache, now time.Time) bool {
	slots := *s.slots.Load()
	mask := uint64(len(slots) - 1)
	for range 2 * len(slots) {
		i := s.hand & mask
		e := slots[i].entry.Load()
		if e != nil && e.kind == kindKey {
			if !e.hot.Load() || !c.holds(e, now) {
				s.empty(c, slots, i) // the hand stays: something may have moved here
				return true
			}
			e.hot.Store(false)
		}
		s.hand++
	}
	return false
}

// grow moves what is kept to a table twice as large.
func (s *cacheShard) grow(slots []cacheSlot) []cacheSlot {
	larger := make([]cacheSlot, 2*len(slots))
	for i := range slots {
		if e := slots[i].entry.Load(); e != nil {
			place(larger, e)
		}
	}
	s.slots.Store(&larger)
	return larger
}
