package apikey

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// A cacheShard is an open-addressing table, at most three quarters full, that is
// read without its lock: a slot whose entry was taken away holds the grave, so
// that a probe goes on, and a table is replaced by another as a whole.
type cacheShard struct {
	slots atomic.Pointer[[]cacheSlot] // a power of two of them

	mu      sync.Mutex    // held to change what follows, and slots
	filled  int           // slots that hold an entry or the grave
	kept    int           // slots that hold an entry
	hand    int           // of the clock: where the search for room goes on
	misses  []*cacheEntry // a ring of those kept, and some that were taken away since
	oldest  int
	flights map[string]*flight

	_ [40]byte // keeps neighbours off one cache line
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
		if e == nil || slot.hash.Load() == hash && e.handle == handle {
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
		s.drop(c, hash, e)
	}
	if f := s.flights[handle]; f != nil {
		f.fenced = true
		delete(s.flights, handle)
	}
}

// keep puts e in the place of what is kept under its handle. It requires mu.
func (s *cacheShard) keep(c *cache, e *cacheEntry, now time.Time) {
	hash := maphash.String(c.seed, e.handle)
	if old := s.find(hash, e.handle); old != nil {
		s.drop(c, hash, old)
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
	if slots := *s.slots.Load(); (s.filled+1)*4 > len(slots)*3 {
		s.rebuild(c)
	}
	if s.place(c, *s.slots.Load(), hash, e) {
		s.filled++
	}
	s.kept++
}

// keepMiss makes room for a miss, in the place of the oldest.
func (s *cacheShard) keepMiss(c *cache, e *cacheEntry) {
	if len(s.misses) < c.mostShard {
		s.misses = append(s.misses, e)
		return
	}
	old := s.misses[s.oldest]
	if hash := maphash.String(c.seed, old.handle); s.find(hash, old.handle) == old {
		s.drop(c, hash, old)
	}
	s.misses[s.oldest] = e
	s.oldest = (s.oldest + 1) % len(s.misses)
}

// place puts e where a probe finds it, and reports whether the slot was empty.
func (s *cacheShard) place(c *cache, slots []cacheSlot, hash uint64, e *cacheEntry) bool {
	mask := uint64(len(slots) - 1)
	for i := hash; ; i++ {
		slot := &slots[i&mask]
		if old := slot.entry.Load(); old == nil || old == c.grave {
			slot.hash.Store(hash)
			slot.entry.Store(e)
			return old == nil
		}
	}
}

// drop takes e away, which is kept.
func (s *cacheShard) drop(c *cache, hash uint64, e *cacheEntry) {
	slots := *s.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := hash; ; i++ {
		if slot := &slots[i&mask]; slot.entry.Load() == e {
			s.bury(c, slot)
			return
		}
	}
}

func (s *cacheShard) bury(c *cache, slot *cacheSlot) {
	if slot.entry.Load().kind == kindKey {
		c.keys.Add(-1)
	}
	slot.entry.Store(c.grave)
	s.kept--
}

// evict takes one key away: the next one that is no longer good, or was not
// proven since the hand came by. It reports whether there was any.
func (s *cacheShard) evict(c *cache, now time.Time) bool {
	slots := *s.slots.Load()
	for range 2 * len(slots) {
		s.hand = (s.hand + 1) & (len(slots) - 1)
		slot := &slots[s.hand]
		e := slot.entry.Load()
		if e == nil || e == c.grave || e.kind != kindKey {
			continue
		}
		if !e.hot.Load() || !c.holds(e, now) {
			s.bury(c, slot)
			return true
		}
		e.hot.Store(false)
	}
	return false
}

// rebuild moves what is kept to a table without graves, at most half full.
func (s *cacheShard) rebuild(c *cache) {
	slots := *s.slots.Load()
	size := 16
	for size < 2*(s.kept+1) {
		size *= 2
	}
	fresh := make([]cacheSlot, size)
	for i := range slots {
		if e := slots[i].entry.Load(); e != nil && e != c.grave {
			s.place(c, fresh, slots[i].hash.Load(), e)
		}
	}
	s.filled, s.hand = s.kept, 0
	s.slots.Store(&fresh)
}
