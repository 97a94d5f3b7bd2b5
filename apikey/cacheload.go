package apikey

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A flight is one read of the store for all who ask for the same handle at the
// same time. Whoever asks first makes it, in its own goroutine.
type flight struct {
	began time.Time // a moment before the read
	seq   uint64    // that of the cache, before the read

	fenced bool          // what is read was forgotten since; under the shard's lock
	done   chan struct{} // closed when it has landed; nil while nobody waits

	// What it came to, for those who wait.
	landing landing
	found   found
	err     error
}

// A landing says what a flight's answer is good for.
type landing uint8

const (
	lost    landing = 0 // nothing: whoever made it gave up, or the store panicked
	stale   landing = 1 // for whoever made it alone
	settled landing = 2 // for all
)

// load reads a record for all who ask for it now, and keeps it. The instant is
// one at which the answer was there.
func (s *Service) load(ctx context.Context, handle string) (found, time.Time, error) {
	c := s.cache
	hash := maphash.String(c.seed, handle)
	shard := c.shard(hash)
	for c.live(s.now()) {
		shard.mu.Lock()
		now := s.now() // under the lock, so that no flight begins after those who find it
		if e := shard.find(hash, handle); e != nil && c.holds(e, now) {
			shard.mu.Unlock()
			return e.found, now, nil
		}
		f := shard.flights[handle]
		if f == nil || age(f.began, now) >= c.bound {
			f = &flight{began: now, seq: c.seq.Load()}
			shard.flights[handle] = f
			shard.mu.Unlock()
			return s.lead(ctx, shard, hash, handle, f)
		}
		if f.done == nil {
			f.done = make(chan struct{})
		}
		shard.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return found{}, now, ctx.Err()
		}
		switch f.landing {
		case settled:
			return f.found, s.now(), f.err
		case stale: // once is enough: no flood of changes keeps a caller waiting
			return s.ask(ctx, handle)
		case lost: // somebody else makes another
		}
	}
	return s.ask(ctx, handle)
}

// ask reads a record for one caller, and keeps nothing.
func (s *Service) ask(ctx context.Context, handle string) (found, time.Time, error) {
	f, err := s.fetch(ctx, handle, nil)
	return f, s.now(), err
}

// lead makes a flight.
func (s *Service) lead(ctx context.Context, shard *cacheShard, hash uint64, handle string, f *flight) (found, time.Time, error) {
	var now time.Time
	e := new(cacheEntry)
	e.name(hash, handle)
	defer func() { s.cache.land(shard, handle, f, e, now) }() // also when the store panics
	answer, err := s.fetch(ctx, handle, &e.rec)
	now = s.now()
	if f.found, f.err = answer, err; err == nil || ctx.Err() == nil {
		f.landing = settled
	}
	return answer, now, err
}

// land ends a flight, keeps what it brought, and tells those who wait.
func (c *cache) land(shard *cacheShard, handle string, f *flight, e *cacheEntry, now time.Time) {
	shard.mu.Lock()
	defer func() {
		shard.mu.Unlock()
		if f.done != nil {
			close(f.done)
		}
	}()
	alone := shard.flights[handle] == f
	if alone {
		delete(shard.flights, handle)
	}
	if f.landing != settled || f.err != nil {
		return
	}
	c.fill(e, f)
	if f.fenced || !c.current(e.seq, e.owner) {
		f.landing = stale
	} else if alone && c.holds(e, now) && c.live(now) { // nobody fences one that another replaced
		shard.keep(c, handle, e, now)
	}
}

// fill makes e what a flight brought.
func (c *cache) fill(e *cacheEntry, f *flight) {
	if f.found.rec != &e.rec { // the store's, or the decoy
		e.rec, e.rec.Owner = *f.found.rec, *f.found.owner
	}
	if !f.found.known || f.found.state == StateDeleted {
		e.kind = kindMiss
	}
	e.found = f.found
	e.found.rec, e.found.owner, e.found.entry = &e.rec, &e.rec.Owner, e
	e.began, e.seq, e.owner = f.began, f.seq, c.owner(e.rec.Key.Owner)
	e.noted.Store(never)
}

// compare forgets what is kept under a handle if it is not what was just read.
func (c *cache) compare(handle string, f *found) {
	hash := maphash.String(c.seed, handle)
	shard := c.shard(hash)
	if e := shard.find(hash, handle); e != nil && !e.found.same(f) {
		shard.forget(c, hash, handle)
	}
}

func (f *found) same(o *found) bool {
	return f.known == o.known && f.rec.Key.Version == o.rec.Key.Version && f.owner.Version == o.owner.Version
}

// changed forgets what c changed, here and in other processes, now that it has
// come true, or may have: err is what the store said.
func (s *Service) changed(ctx context.Context, c *Change, err error) {
	if s.cache == nil {
		return
	}
	for _, n := range c.Notices {
		s.cache.forget(n)
	}
	if h := s.cache.hearing; h != nil && !refused(err) {
		h.announce(ctx, c.Notices, s.cache.bound)
	}
}

// outdate forgets, here, what a verb found changed already: who asked for it and
// is told that it is so may rely on that.
func (s *Service) outdate(n Notice) {
	if s.cache != nil {
		s.cache.forget(n)
	}
}

// refused reports whether err says that a change did not come true.
func refused(err error) bool {
	for _, is := range []error{ErrNotFound, ErrConflict, ErrExists, ErrNameTaken, ErrKeyLimit} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// notices returns those of c and, for what c brings, those it lacks.
func notices(c *Change) []Notice {
	all := make([]Notice, 0, len(c.Notices)+len(c.Update)+len(c.Insert)+1)
	seen := make(map[Notice]bool, cap(all))
	add := func(n Notice) {
		if !seen[n] && n != (Notice{}) {
			seen[n] = true
			all = append(all, n)
		}
	}
	for _, n := range c.Notices {
		add(n)
	}
	for i := range c.Update {
		add(Notice{Handle: c.Update[i].Handle})
	}
	for i := range c.Insert {
		add(Notice{Handle: c.Insert[i].Handle})
	}
	if c.Owner != nil {
		add(Notice{Owner: c.Owner.ID})
	}
	return all
}
