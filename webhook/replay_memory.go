package webhook

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"math"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Defaults of a [MemoryReplayStore].
const (
	DefaultReplayKeys       = 1 << 18
	DefaultReplayEvictAfter = 15 * time.Minute
)

// sweepStep bounds what one call tidies of each kind. A call adds at most one
// key, so anything above one keeps up.
const sweepStep = 8

// MemoryReplayOptions adjusts a [MemoryReplayStore].
type MemoryReplayOptions struct {
	// MaxKeys bounds the keys remembered, and with them the memory: about 150
	// bytes each. Default [DefaultReplayKeys].
	MaxKeys int
	// EvictAfter says when a done key may give way to a new one in a full store.
	// It has to be at least twice the tolerance of the verifiers that use the
	// store, and where a scheme signs no timestamp at least [HandlerOptions.Keep];
	// [Verifier.Handler] checks both. An attempt that old is refused for its
	// timestamp. A later attempt at the same message is not, and is then handled
	// again. Default [DefaultReplayEvictAfter].
	EvictAfter time.Duration
	// Now is the clock; it never runs backwards here, whatever it returns.
	// Default time.Now.
	Now func() time.Time
}

// A MemoryReplayStore is a [ReplayStore] in this process's memory: for one
// instance, and for tests. It forgets everything when the process ends.
//
// When it is full, the done key closest to its end gives way, provided that it
// has been done for EvictAfter; otherwise Claim and Done return an error that
// matches [ErrFull]. Only signed messages take up room, so nobody without a key
// can fill it. Hashes of keys are kept, not keys. It runs no goroutine: what
// has ended is tidied up by later calls.
type MemoryReplayStore struct {
	now        func() time.Time
	base       time.Time // what nanoseconds count from
	maxKeys    int
	evictAfter int64

	mu      sync.Mutex
	last    int64 // the latest instant seen
	keys    map[[16]byte]*replay
	flights replayHeap // in flight, by end
	dones   replayHeap // done, by end
}

// A replay is one key that is in flight or done. Instants are nanoseconds since
// the store's base.
type replay struct {
	key, owner [16]byte
	since, end int64
	done       bool
	pos        int // in its heap
}

var _ ReplayStore = (*MemoryReplayStore)(nil)

// NewMemoryReplayStore makes an empty store. opts may be nil.
func NewMemoryReplayStore(opts *MemoryReplayOptions) (*MemoryReplayStore, error) {
	var o MemoryReplayOptions
	if opts != nil {
		o = *opts
	}
	faults := errors.Faults{Op: "webhook.NewMemoryReplayStore"}
	if o.MaxKeys == 0 {
		o.MaxKeys = DefaultReplayKeys
	}
	if o.MaxKeys < 0 {
		faults.Add("max keys is %d; give 1 or more", o.MaxKeys)
	}
	if o.EvictAfter == 0 {
		o.EvictAfter = DefaultReplayEvictAfter
	}
	if o.EvictAfter < 0 {
		faults.Add("evict after is %v; give twice the tolerance or more", o.EvictAfter)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default clock
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &MemoryReplayStore{
		now: o.Now, base: o.Now(), maxKeys: o.MaxKeys, evictAfter: int64(o.EvictAfter),
		keys: map[[16]byte]*replay{},
	}, nil
}

// Claim implements [ReplayStore].
func (s *MemoryReplayStore) Claim(ctx context.Context, key, owner string, lease time.Duration) (ClaimState, error) {
	if err := ctx.Err(); err != nil {
		return 0, errors.Wrap("webhook.MemoryReplayStore.Claim", err)
	}
	k, o := digest(key), digest(owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.tick()
	e := s.lookup(k, now)
	switch {
	case e == nil:
		if !s.room(now) {
			return 0, errors.Wrap("webhook.MemoryReplayStore.Claim", ErrFull)
		}
		s.add(&replay{key: k, owner: o, since: now, end: after(now, lease)})
	case e.done:
		return ClaimDone, nil
	case e.owner != o:
		return ClaimInFlight, nil
	default:
		e.end = after(now, lease)
		heap.Fix(&s.flights, e.pos)
	}
	return ClaimGranted, nil
}

// Done implements [ReplayStore].
func (s *MemoryReplayStore) Done(ctx context.Context, key string, keep time.Duration) error {
	if err := ctx.Err(); err != nil {
		return errors.Wrap("webhook.MemoryReplayStore.Done", err)
	}
	k := digest(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.tick()
	done := &replay{key: k, done: true, since: now, end: after(now, keep)}
	if e := s.lookup(k, now); e != nil {
		if e.done {
			done.since, done.end = e.since, max(e.end, done.end)
		}
		s.remove(e)
	} else if !s.room(now) {
		return errors.Wrap("webhook.MemoryReplayStore.Done", ErrFull)
	}
	s.add(done)
	return nil
}

// Release implements [ReplayStore].
func (s *MemoryReplayStore) Release(ctx context.Context, key, owner string) error {
	if err := ctx.Err(); err != nil {
		return errors.Wrap("webhook.MemoryReplayStore.Release", err)
	}
	k, o := digest(key), digest(owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.lookup(k, s.tick()); e != nil && !e.done && e.owner == o {
		s.remove(e)
	}
	return nil
}

// Len returns the number of keys held, among them some that have ended and
// were not tidied up yet.
func (s *MemoryReplayStore) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys)
}

// tick returns the present instant and tidies up a little. It requires s.mu.
func (s *MemoryReplayStore) tick() int64 {
	s.last = max(s.last, int64(s.now().Sub(s.base)))
	for _, h := range []*replayHeap{&s.flights, &s.dones} {
		for range sweepStep {
			if h.Len() == 0 || (*h)[0].end > s.last {
				break
			}
			s.remove((*h)[0])
		}
	}
	return s.last
}

// lookup returns the entry of k unless it has ended. It requires s.mu.
func (s *MemoryReplayStore) lookup(k [16]byte, now int64) *replay {
	e := s.keys[k]
	if e != nil && e.end <= now {
		s.remove(e)
		return nil
	}
	return e
}

// room makes room for one more key, or reports that there is none. It requires
// s.mu.
func (s *MemoryReplayStore) room(now int64) bool {
	if len(s.keys) < s.maxKeys {
		return true
	}
	if len(s.dones) == 0 || now-s.dones[0].since < s.evictAfter {
		return false
	}
	s.remove(s.dones[0])
	return true
}

// add requires s.mu.
func (s *MemoryReplayStore) add(e *replay) {
	s.keys[e.key] = e
	heap.Push(s.heapOf(e), e)
}

// remove requires s.mu.
func (s *MemoryReplayStore) remove(e *replay) {
	delete(s.keys, e.key)
	heap.Remove(s.heapOf(e), e.pos)
}

func (s *MemoryReplayStore) heapOf(e *replay) *replayHeap {
	if e.done {
		return &s.dones
	}
	return &s.flights
}

// after returns now plus d, or the last instant there is.
func after(now int64, d time.Duration) int64 {
	if end := now + int64(d); d < 0 || end >= now {
		return end
	}
	return math.MaxInt64
}

// digest is collision-resistant: a key that is taken for another would be a
// message that is never handled.
func digest(s string) (d [16]byte) {
	sum := sha256.Sum256([]byte(s))
	copy(d[:], sum[:])
	return d
}

// A replayHeap is a heap of entries, the one that ends first on top.
type replayHeap []*replay

func (h replayHeap) Len() int           { return len(h) }
func (h replayHeap) Less(i, j int) bool { return h[i].end < h[j].end }
func (h replayHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

// Push implements heap.Interface.
func (h *replayHeap) Push(x any) {
	e := x.(*replay) //nolint:forcetypeassert // heap.Push is only ever given *replay
	e.pos = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *replayHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
