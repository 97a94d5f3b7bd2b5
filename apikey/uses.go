package apikey

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

const (
	useShards = 16
	touchSize = 1000 // uses in one call of Store.Touch
)

// uses holds the last uses that are noted and not yet written: bounded, off the
// request's path, sharded so that verifications of different keys rarely meet.
type uses struct {
	store Store
	every int64 // microseconds between uses worth noting
	most  int64 // the greatest number of keys noted
	noted atomic.Int64
	// renewals counts the digests noted, bounded by most like uses.
	renewals atomic.Int64
	closed   atomic.Bool
	shards   [useShards]useShard

	stop context.CancelFunc // nil without a goroutine
	done chan struct{}      // closed when the goroutine has ended
}

type useShard struct {
	mu       sync.Mutex
	pending  map[string]int64    // by key ID, microseconds since 1970
	renewals map[string]*renewal // by key ID
	_        [40]byte            // keeps neighbours off one cache line
}

func newUses(store Store, o *Options) *uses {
	u := &uses{store: store, every: cmp.Or(o.LastUsedEvery, time.Minute).Microseconds(), most: int64(cmp.Or(o.MaxPending, 1<<16))}
	for i := range u.shards {
		u.shards[i].pending, u.shards[i].renewals = make(map[string]int64), make(map[string]*renewal)
	}
	return u
}

// start flushes at every interval, in a goroutine that stop ends, and tells
// failed, unless nil, of what flush returns.
func (u *uses) start(every time.Duration, flush func(context.Context) error, failed func(error)) {
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // the goroutine outlives every caller but Close
	u.stop, u.done = stop, make(chan struct{})
	go func() {
		defer close(u.done)
		tick := time.NewTicker(every) //nolint:forbidigo // owned by the service, ended by Close
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := flush(ctx); err != nil && ctx.Err() == nil && failed != nil {
					failed(err)
				}
			}
		}
	}()
}

// shard returns the shard of a key. IDs end in random characters.
func (u *uses) shard(id string) *useShard {
	if id == "" {
		return &u.shards[0]
	}
	return &u.shards[id[len(id)-1]%useShards]
}

// note remembers that k was proven at now, unless what is stored is recent
// enough, and reports whether it does. A key that was never used is always worth
// noting.
func (u *uses) note(k *Key, now time.Time) bool {
	at := now.UnixMicro()
	if !k.LastUsedAt.IsZero() && at-k.LastUsedAt.UnixMicro() < u.every || u.closed.Load() {
		return false
	}
	s := u.shard(k.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.pending[k.ID]
	switch {
	case u.closed.Load(): // asked under mu: what is noted before Close is written by it
		return false
	case known:
		s.pending[k.ID] = max(before, at)
	case u.noted.Add(1) <= u.most:
		s.pending[k.ID] = at
	default:
		u.noted.Add(-1)
		return false
	}
	return true
}

// overlay shows in k a use that is noted and not yet written.
func (u *uses) overlay(k *Key) {
	s := u.shard(k.ID)
	s.mu.Lock()
	at, known := s.pending[k.ID]
	s.mu.Unlock()
	if used := time.UnixMicro(at).UTC(); known && used.After(k.LastUsedAt) {
		k.LastUsedAt = used
	}
}

// flush writes what is noted, in order of IDs, so that stores with row locks
// take them in one order. A use stays noted until it is written: until then it
// is counted and shown, and neither an error nor a panic of the store loses it.
// So do digests, until those who may hold the old ones are told.
func (u *uses) flush(ctx context.Context, told func(context.Context, []Notice) error) error {
	var batch []Use
	handles := make(map[*Restamp]string)
	for i := range u.shards {
		batch = u.shards[i].appendTo(batch, handles)
	}
	slices.SortFunc(batch, func(a, b Use) int { return cmp.Compare(a.ID, b.ID) })
	for chunk := range slices.Chunk(batch, touchSize) {
		if err := u.store.Touch(ctx, chunk); err != nil {
			return err
		}
		var notices []Notice
		for _, use := range chunk {
			if use.Restamp != nil {
				notices = append(notices, Notice{Handle: handles[use.Restamp]})
			}
		}
		if len(notices) > 0 {
			if err := told(ctx, notices); err != nil {
				return err
			}
		}
		u.forget(chunk)
	}
	return nil
}

func (s *useShard) appendTo(batch []Use, handles map[*Restamp]string) []Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, at := range s.pending {
		if s.renewals[id] == nil {
			batch = append(batch, Use{ID: id, At: time.UnixMicro(at).UTC()})
		}
	}
	for id, r := range s.renewals {
		use := Use{ID: id, Restamp: &r.restamp}
		if at, used := s.pending[id]; used {
			use.At = time.UnixMicro(at).UTC()
		}
		batch = append(batch, use)
		handles[use.Restamp] = r.handle
	}
	return batch
}

// forget drops what was written, except where a later use was noted since.
func (u *uses) forget(written []Use) {
	for _, use := range written {
		s := u.shard(use.ID)
		s.mu.Lock()
		if at, known := s.pending[use.ID]; known && at == use.At.UnixMicro() {
			delete(s.pending, use.ID)
			u.noted.Add(-1)
		}
		if r := s.renewals[use.ID]; r != nil && &r.restamp == use.Restamp {
			delete(s.renewals, use.ID)
			u.renewals.Add(-1)
		}
		s.mu.Unlock()
	}
}

// Flush writes the noted last uses, and the digests of keys that were proven by
// another than the current pepper's, to the store; and the events of
// [Options.Failures] and [Options.Detector]. After an error, what was not written
// is kept for the next time.
func (s *Service) Flush(ctx context.Context) error {
	err := s.uses.flush(ctx, s.restamped)
	if err != nil {
		err = s.fault(ctx, "apikey.Flush", err)
	}
	return errors.Join(err, s.tell(ctx))
}

// Close stops noting uses, ends the goroutines of Options.FlushEvery and
// CacheOptions.Feed, waits for them, and writes what is noted. It may be called
// again, also to retry after an error; all other methods keep working.
func (s *Service) Close(ctx context.Context) error {
	s.uses.closed.Store(true)
	listens := s.cache != nil && s.cache.hearing != nil
	if listens {
		s.cache.hearing.stop()
	}
	if s.uses.stop != nil {
		s.uses.stop()
		select {
		case <-s.uses.done:
		case <-ctx.Done():
			return errors.Wrap("apikey.Close", ctx.Err())
		}
	}
	err := s.Flush(ctx) // first: a feed that does not end must not keep it from being written
	if listens {
		err = errors.Join(err, errors.Wrap("apikey.Close", s.cache.hearing.wait(ctx)))
	}
	return err
}
