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
	known bool // there is such a record; else rec is a decoy
	rec   *Record
	owner *Owner      // what was decided about rec's owner
	used  int64       // Key.LastUsedAt in microseconds since 1970, or never
	entry *cacheEntry // of the cache, where it was found there
}

// in returns rec as it was found in a store.
func in(rec *Record) found {
	f := found{known: true, rec: rec, owner: &rec.Owner, used: never}
	if at := rec.Key.LastUsedAt; !at.IsZero() {
		f.used = at.UnixMicro()
	}
	return f
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
		return e.found, now, nil
	}
	return s.load(ctx, handle)
}

// fetch looks a handle up in the store.
func (s *Service) fetch(ctx context.Context, handle string) (found, error) {
	if s.memory != nil {
		return s.memory.look(ctx, handle, s.decoy)
	}
	rec, err := s.store.ByHandle(ctx, handle)
	switch {
	case err == nil:
		return in(&rec), nil
	case errors.Is(err, ErrNotFound):
		return s.absent(), nil
	}
	return found{}, err
}

// absent is what is found where there is no record: a decoy, so that what
// follows is the same work.
func (s *Service) absent() found {
	return found{rec: s.decoy.rec.Load(), owner: s.decoy.owner.state.Load(), used: never}
}

// newDecoy returns a place with a record that nothing proves, shaped like one of
// the present format and pepper.
func newDecoy(f *Format, ring *keyring) *node {
	n := &node{owner: new(account)}
	n.used.Store(never)
	n.owner.state.Store(&Owner{Epoch: 1})
	n.rec.Store(&Record{
		Key: Key{State: StateActive}, Handle: strings.Repeat("-", max(f.id, 1)),
		Digest: Digest{Version: ring.current}, Epoch: 1,
	})
	return n
}

// state returns the effective state of the key.
func (f *found) state() State {
	if f.rec.Epoch < f.owner.Epoch && f.rec.Key.State != StateDeleted {
		return StateRevoked
	}
	return f.rec.Key.State
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
	if state := f.state(); state != k.State {
		k.State, k.RevokedReason = state, f.owner.RevokedReason
	}
	k.Suspended, k.LastUsedAt = f.owner.Suspended, f.lastUsed()
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
