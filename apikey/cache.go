package apikey

import (
	"cmp"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// CacheOptions make a [Service] keep what it looked up; see "Caching" in the
// package's documentation.
type CacheOptions struct {
	// Bound is required: a Verify that begins this long or longer after a change of
	// a key or its owner has come true, in whatever process, does not go by what
	// was before. Ten seconds suit most; less costs more calls of the store. The
	// lag of a store that does not read its own writes is to be added.
	Bound time.Duration
	// MaxAge is how long a key is kept, counted from before it was read; Bound when
	// zero. It may be more than Bound with a Feed that is lossless and a store that
	// reads its own writes, because then what is not announced has not changed.
	MaxAge time.Duration
	// MaxKeys is the greatest number of keys kept; 65536 when zero. A key takes
	// about 1 KB, more with much metadata. When it is reached, a key that was not
	// used lately makes room.
	MaxKeys int
	// NegativeTTL is how long it is kept that no key has a handle, of the 1024
	// handles asked for last, about 1 KB each, which take no room from keys.
	// It is at most Bound, which it is when zero: then a known handle with a wrong
	// secret and an unknown one are refused at the same price, time and again. A
	// key that is made here, or announced, works at once nonetheless. When
	// negative nothing of the kind is kept.
	NegativeTTL time.Duration
	// Feed, unless nil, carries what changes between processes, so that most of
	// them hear of it at once. While it is not heard nothing is kept, and each
	// Verify asks the store. NewService starts a goroutine that listens, and Close
	// ends it.
	Feed Feed
}

const (
	defaultKeys  = 1 << 16
	mostMisses   = 1 << 10
	mostShards   = 1 << 6
	ownerStripes = 1 << 10
)

// A cache keeps records by handle, each for a time, until something is heard of
// it. Looking up takes no lock and writes nothing.
//
// Every entry has the seq at which its read began, and whatever makes it stale
// has a later one. What concerns one handle is exact: it takes the entry away
// and fences the read of it that is under way.
type cache struct {
	bound     time.Duration
	ages      [2]time.Duration // by kind
	mostKeys  int64
	mostShard int // misses in one shard
	seed      maphash.Seed
	shift     int // of a hash, leaves the number of its shard
	shards    []cacheShard
	keys      atomic.Int64 // entries of kindKey
	hearing   *hearing     // nil without a feed

	deciding sync.Mutex // held to raise seq
	seq      atomic.Uint64
	cleared  atomic.Uint64 // the seq at which everything was forgotten last
	owners   [ownerStripes]atomic.Uint64
}

// A kind of entry has a room and an age of its own.
type kind uint8

const (
	kindKey  kind = 0
	kindMiss kind = 1 // there is no key, or a tombstone
)

// A cacheEntry is what was found under a handle. Only hot and noted ever change.
// Among a million each other place in memory is one to wait for, so there is one
// for all that a look-up reads, and what it reads first stands first.
type cacheEntry struct {
	size  uint8 // of the handle
	kind  kind
	hot   atomic.Bool    // a key was proven since the clock's hand came by
	short [32]byte       // the handle, when it fits
	seq   uint64         // that of the cache at began
	owner *atomic.Uint64 // the seq at which the owner was forgotten last
	began time.Time      // a moment before the read
	found found          // of rec and rec.Owner
	noted atomic.Int64   // the last use noted, in microseconds since 1970, or never
	hash  uint64
	long  string // the handle, when it is not short
	rec   Record
}

// name gives e its handle.
func (e *cacheEntry) name(hash uint64, handle string) {
	e.hash, e.size = hash, uint8(len(handle))
	if copy(e.short[:], handle) < len(handle) {
		e.long = strings.Clone(handle) // it may share memory with a secret
	}
}

// is reports whether handle is that of e.
func (e *cacheEntry) is(handle string) bool {
	if len(handle) > len(e.short) {
		return e.long == handle
	}
	return len(handle) == int(e.size) && string(e.short[:e.size]) == handle
}

// newCache returns nil for nil options.
func newCache(faults *errors.Faults, o *CacheOptions) *cache {
	if o == nil {
		return nil
	}
	age := cmp.Or(o.MaxAge, o.Bound)
	lossless := o.Feed != nil && o.Feed.Lossless()
	switch {
	case o.Bound <= 0:
		faults.Add("Cache.Bound is %v; give the greatest time that a revoked key may still work, such as 10s", o.Bound)
	case age < 0:
		faults.Add("Cache.MaxAge is %v; give 0 for Bound, or more", o.MaxAge)
	case age > o.Bound && !lossless:
		faults.Add("Cache.MaxAge is %v and Bound %v: without a lossless Feed nothing else ends an entry in time; give at most Bound", o.MaxAge, o.Bound)
	case o.NegativeTTL > o.Bound:
		faults.Add("Cache.NegativeTTL is %v and Bound %v; give at most Bound, 0 for Bound, or less than 0 for none", o.NegativeTTL, o.Bound)
	}
	if o.MaxKeys < 0 {
		faults.Add("Cache.MaxKeys is %d; give 1 or more, or 0 for %d", o.MaxKeys, defaultKeys)
	}
	c := &cache{
		bound: o.Bound, ages: [2]time.Duration{kindKey: age, kindMiss: min(age, cmp.Or(o.NegativeTTL, o.Bound))},
		mostKeys: int64(cmp.Or(o.MaxKeys, defaultKeys)), seed: maphash.MakeSeed(),
	}
	shards, bits := 1, 0
	for shards < mostShards && int64(shards)*256 < c.mostKeys {
		shards, bits = shards*2, bits+1
	}
	c.shift, c.mostShard, c.shards = 64-bits, mostMisses/shards, make([]cacheShard, shards)
	for i := range c.shards {
		c.shards[i].init()
	}
	if o.Feed != nil {
		c.hearing = &hearing{feed: o.Feed}
	}
	return c
}

// shard returns where a handle with this hash belongs.
func (c *cache) shard(hash uint64) *cacheShard { return &c.shards[hash>>c.shift] }

// look returns what is kept under handle and may be gone by at now, or nil.
func (c *cache) look(handle string, now time.Time) *cacheEntry {
	hash := maphash.String(c.seed, handle)
	if e := c.shard(hash).find(hash, handle); e != nil && c.holds(e, now) && c.live(now) {
		return e
	}
	return nil
}

// holds reports whether e may be gone by at now, as far as the feed is heard.
func (c *cache) holds(e *cacheEntry, now time.Time) bool {
	return age(e.began, now) < c.ages[e.kind] && c.current(e.seq, e.owner)
}

// current reports whether what was read at seq was not forgotten since.
func (c *cache) current(seq uint64, owner *atomic.Uint64) bool {
	return seq >= c.cleared.Load() && seq >= owner.Load()
}

// live reports whether the cache may be trusted at all at now.
func (c *cache) live(now time.Time) bool { return c.hearing == nil || c.hearing.heard(now, c.bound) }

// owner returns where it stands when an owner was forgotten: a few share one.
func (c *cache) owner(id string) *atomic.Uint64 {
	return &c.owners[maphash.String(c.seed, id)%ownerStripes]
}

// forget drops what a notice names.
func (c *cache) forget(n Notice) {
	if n.Handle != "" {
		hash := maphash.String(c.seed, n.Handle)
		c.shard(hash).forget(c, hash, n.Handle)
	}
	if n.Owner != "" {
		c.decide(c.owner(n.Owner))
	}
}

// clear drops everything.
func (c *cache) clear() { c.decide(&c.cleared) }

// decide makes stale what began before now, as far as it goes by what.
func (c *cache) decide(what *atomic.Uint64) {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	what.Store(c.seq.Add(1))
}

// forever is an age that no entry may have.
const forever time.Duration = 1<<63 - 1

// age returns the time from since to now: by the monotonic clock or by the wall,
// whichever says more, because the former stands while a machine sleeps. A clock
// that was set back tells nothing: forever.
func age(since, now time.Time) time.Duration {
	steady, wall := now.Sub(since), now.Round(0).Sub(since.Round(0))
	if steady < 0 || wall < 0 {
		return forever
	}
	return max(steady, wall)
}
