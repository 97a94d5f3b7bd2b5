package apikey

import (
	"context"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A found is what a look-up by handle came to. What it points to is shared, and
// nobody changes it: Verify copies a key once, when it is accepted.
type found struct {
	known     bool  // there is such a record; else rec is a decoy
	suspended bool  // the owner is
	state     State // the effective one
	rec       *Record
	owner     *Owner      // what was decided about rec's owner
	used      int64       // Key.LastUsedAt in microseconds since 1970, or never
	entry     *cacheEntry // of the cache, where it was found there
}

// sight returns what is found with these; used is in microseconds, or never.
func sight(rec *Record, owner *Owner, used int64) found {
	return found{known: true, suspended: owner.Suspended, state: effective(rec, owner), rec: rec, owner: owner, used: used}
}

// find looks a handle up, in the cache if there is one and o allows it, and
// returns an instant at which the answer was there. That there is no such record
// is no error.
func (s *Service) find(ctx context.Context, handle string, o *VerifyOptions) (found, time.Time, error) {
	if s.cache == nil {
		return s.ask(ctx, handle)
	}
	if o != nil && o.Fresh {
		f, now, err := s.ask(ctx, handle)
		if err == nil {
			s.cache.compare(handle, &f)
		}
		return f, now, err
	}
	now := s.now()
	if err := ctx.Err(); err != nil {
		return found{}, now, err
	}
	if e := s.cache.look(handle, now); e != nil {
		f := e.found
		f.rec, f.owner = &e.rec, &e.rec.Owner // as they are; so nobody waits to learn where
		return f, now, nil
	}
	return s.load(ctx, handle)
}

// fetch looks a handle up in the store. Unless room is nil, it may be filled with
// what is found.
func (s *Service) fetch(ctx context.Context, handle string, room *Record) (found, error) {
	if s.memory != nil {
		return s.memory.look(ctx, handle, s.decoy)
	}
	rec, err := s.store.ByHandle(ctx, handle)
	switch {
	case err == nil:
		if room == nil {
			room = new(Record)
		}
		*room = rec
		used := int64(never)
		if at := rec.Key.LastUsedAt; !at.IsZero() {
			used = at.UnixMicro()
		}
		return sight(room, &room.Owner, used), nil
	case errors.Is(err, ErrNotFound): // a decoy, so that what follows is the same work
		f := sight(s.decoy.rec.Load(), s.decoy.owner.state.Load(), never)
		f.known = false
		return f, nil
	}
	return found{}, err
}

// newDecoy returns a place with a record that nothing proves, shaped like one of
// the present format and pepper.
func newDecoy(f *Format, ring *keyring) *node {
	n := &node{owner: new(account)}
	n.used.Store(never)
	n.owner.state.Store(&Owner{Epoch: 1})
	n.rec.Store(&Record{
		Key: Key{ID: "key_" + strings.Repeat("-", 20), State: StateActive}, Handle: strings.Repeat("-", max(f.id, 1)),
		Digest: Digest{Version: ring.current}, Epoch: 1,
	})
	return n
}

// lastUsed returns Key.LastUsedAt.
func (f *found) lastUsed() time.Time {
	if f.used == never {
		return time.Time{}
	}
	return time.UnixMicro(f.used).UTC()
}

// show fills k with the key, what was decided about its owner included.
func (f *found) show(k *Key) {
	*k = f.rec.Key
	if f.state != k.State {
		k.State, k.RevokedReason = f.state, f.owner.RevokedReason
	}
	k.Suspended, k.LastUsedAt = f.suspended, f.lastUsed()
}

// note remembers that the key, found so, was proven at now. A key in the cache
// that was noted a short while ago is not noted again, so that those who use it
// do not meet at a lock.
func (s *Service) note(f *found, k *Key, now time.Time) {
	e := f.entry
	if e == nil {
		s.uses.note(k, now)
		return
	}
	if !e.hot.Load() {
		e.hot.Store(true)
	}
	at := now.UnixMicro()
	if last := e.noted.Load(); (last == never || at-last >= s.uses.every) && s.uses.note(k, now) {
		e.noted.Store(at)
	}
}
