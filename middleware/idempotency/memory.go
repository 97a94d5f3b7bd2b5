package idempotency

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// DefaultMemoryBytes is what a [MemoryStore] keeps unless told otherwise.
const DefaultMemoryBytes = 64 << 20

// keyBytes is what one key takes up in a MemoryStore: the entry, its places in the
// map and in the heap, and an answer of SmallAnswer bytes.
const keyBytes = 384

// MemoryOptions adjusts a [MemoryStore].
type MemoryOptions struct {
	// MaxBytes bounds the memory: about 400 bytes for each key, and the answers.
	// Default [DefaultMemoryBytes].
	MaxBytes int64
	// Now is the clock; it never runs backwards here, whatever it returns.
	// Default time.Now.
	Now func() time.Time
}

// A MemoryStore is a [Store] in this process's memory: for one instance, and for
// tests. It forgets everything when the process ends. When it is full it refuses
// newcomers; what was answered already is replayed all the same. It runs no
// goroutine: what is over is freed by later calls.
type MemoryStore struct {
	now  func() time.Time
	base time.Time // what nanoseconds count from
	max  int64

	mu    sync.Mutex
	last  int64 // the latest instant seen
	bytes int64
	keys  map[Key]*entry
	ends  entries // by end
}

// An entry is a claim, or an answer. Instants are nanoseconds since the store's
// base.
type entry struct {
	key         Key
	fingerprint Fingerprint
	token       Token
	first       Token
	turn        int
	lease       int64 // when it ends, of a claim
	end         int64 // when it is over
	done        bool
	answer      []byte
	pos         int // in the heap
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore makes an empty store. o may be nil. The error names every fault
// at once.
func NewMemoryStore(o *MemoryOptions) (*MemoryStore, error) {
	var opt MemoryOptions
	if o != nil {
		opt = *o
	}
	f := errors.Faults{Op: "idempotency.NewMemoryStore"}
	switch {
	case opt.MaxBytes == 0:
		opt.MaxBytes = DefaultMemoryBytes
	case opt.MaxBytes < keyBytes:
		f.Add("MaxBytes is %d; give 0 (the default) or at least %d, which one key takes up", opt.MaxBytes, keyBytes)
	}
	if opt.Now == nil {
		opt.Now = time.Now //nolint:forbidigo // the one default clock
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &MemoryStore{now: opt.Now, base: opt.Now(), max: opt.MaxBytes, keys: make(map[Key]*entry)}, nil
}

// Claim implements [Store].
func (s *MemoryStore) Claim(ctx context.Context, c Claim) (Found, error) {
	if err := s.enter(ctx, "Claim"); err != nil {
		return Found{}, err
	}
	defer s.mu.Unlock()
	e := s.lookup(c.Key)
	switch {
	case e == nil:
		if !s.room(keyBytes) {
			return Found{}, &errors.Error{Code: errors.Exhausted, Op: "idempotency.MemoryStore.Claim", Msg: "there is no room to remember another request"}
		}
		e = &entry{key: c.Key, fingerprint: c.Fingerprint, token: c.Token, first: c.Token}
		s.keys[c.Key] = e
		s.bytes += keyBytes
		heap.Push(&s.ends, e)
	case e.fingerprint != c.Fingerprint:
		return Found{State: Mismatch}, nil
	case e.done:
		return Found{State: Done, Answer: slices.Clone(e.answer)}, nil
	case e.token == c.Token:
	case e.lease > s.last:
		return Found{State: Running, Wait: time.Duration(e.lease - s.last)}, nil
	default:
		e.token, e.turn = c.Token, e.turn+1
	}
	e.lease = s.last + int64(c.Lease)
	s.keep(e, c.Lease+c.Keep)
	return Found{State: Claimed, First: e.first, Turn: e.turn}, nil
}

// Finish implements [Store].
func (s *MemoryStore) Finish(ctx context.Context, key Key, token Token, answer []byte, keep time.Duration) error {
	const op = "idempotency.MemoryStore.Finish"
	if err := s.enter(ctx, "Finish"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	e := s.lookup(key)
	switch {
	case e == nil || e.token != token:
		return errors.Wrap(op, ErrLost)
	case e.done:
		return nil
	case !s.room(extra(answer)):
		return &errors.Error{Code: errors.Exhausted, Op: op, Msg: "there is no room to remember this answer"}
	}
	s.bytes += extra(answer)
	e.done, e.answer = true, slices.Clone(answer)
	s.keep(e, keep)
	return nil
}

// Abandon implements [Store].
func (s *MemoryStore) Abandon(ctx context.Context, key Key, token Token) error {
	if err := s.enter(ctx, "Abandon"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if e := s.lookup(key); e != nil && e.token == token && !e.done {
		s.remove(e)
	}
	return nil
}

// Len returns the number of keys held, among them some that are over and were not
// tidied up yet.
func (s *MemoryStore) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys)
}

// sweepStep bounds what one call tidies up. A call adds at most one key, so
// anything above one keeps up.
const sweepStep = 8

// enter locks s, moves its clock on and tidies up a little. With an error s is not
// locked.
func (s *MemoryStore) enter(ctx context.Context, method string) error {
	if err := ctx.Err(); err != nil {
		return errors.Wrap("idempotency.MemoryStore."+method, err)
	}
	s.mu.Lock()
	s.last = max(s.last, int64(s.now().Sub(s.base)))
	for range sweepStep {
		if !s.sweep() {
			break
		}
	}
	return nil
}

// sweep forgets one key that is over, if there is one. It requires s.mu.
func (s *MemoryStore) sweep() bool {
	if len(s.ends) == 0 || s.ends[0].end > s.last {
		return false
	}
	s.remove(s.ends[0])
	return true
}

// lookup returns the entry of key unless it is over. It requires s.mu.
func (s *MemoryStore) lookup(key Key) *entry {
	e := s.keys[key]
	if e != nil && e.end <= s.last {
		s.remove(e)
		return nil
	}
	return e
}

// room reports whether there is room for so many bytes more, when nothing is kept
// that is over. It requires s.mu.
func (s *MemoryStore) room(bytes int64) bool {
	for s.bytes+bytes > s.max {
		if !s.sweep() {
			return false
		}
	}
	return true
}

// keep has e end after d. It requires s.mu.
func (s *MemoryStore) keep(e *entry, d time.Duration) {
	e.end = s.last + int64(d)
	heap.Fix(&s.ends, e.pos)
}

// remove requires s.mu.
func (s *MemoryStore) remove(e *entry) {
	delete(s.keys, e.key)
	s.bytes -= keyBytes + extra(e.answer)
	heap.Remove(&s.ends, e.pos)
}

// extra is what an answer takes up besides its key.
func extra(answer []byte) int64 { return max(0, int64(len(answer))-SmallAnswer) }

// entries are a heap, the one that ends first on top.
type entries []*entry

func (h entries) Len() int           { return len(h) }
func (h entries) Less(i, j int) bool { return h[i].end < h[j].end }
func (h entries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

// Push implements heap.Interface.
func (h *entries) Push(x any) {
	e := x.(*entry) //nolint:forcetypeassert // heap.Push is only ever given *entry
	e.pos = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *entries) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
