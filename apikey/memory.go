package apikey

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A MemoryStore keeps records in this process and forgets them with it. It is
// the reference reading of the [Store] contract, the store of tests and of
// programs that create their keys at start-up. It is safe for concurrent use,
// look-ups by handle take no lock, and it holds about 1 KB for each key,
// tombstones included, without a bound. [NewMemoryStore] makes one; the zero
// value is not ready for use.
type MemoryStore struct {
	handles  handleTable // read without mu
	changing atomic.Bool // set, under mu, while a Change comes true

	mu      sync.RWMutex
	byID    map[string]*node
	all     listing
	byOwner map[string]*listing
}

var _ Store = (*MemoryStore)(nil)

// A node is a key's place. Records are replaced, never changed, so that they
// can be read without a lock.
type node struct {
	rec  atomic.Pointer[Record]
	used atomic.Int64 // Key.LastUsedAt in microseconds since 1970, or never
}

const never = math.MinInt64

// record returns what the node holds now.
func (n *node) record() Record {
	rec := *n.rec.Load()
	rec.Key.LastUsedAt = time.Time{}
	if at := n.used.Load(); at != never {
		rec.Key.LastUsedAt = time.UnixMicro(at).UTC()
	}
	return rec
}

// touch moves the last use forward. It requires that mu is held.
func (n *node) touch(at time.Time) {
	if !at.IsZero() && at.UnixMicro() > n.used.Load() {
		n.used.Store(at.UnixMicro())
	}
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	m := &MemoryStore{byID: make(map[string]*node), byOwner: make(map[string]*listing)}
	m.handles.init()
	return m
}

// Apply implements [Store].
func (m *MemoryStore) Apply(ctx context.Context, c Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refusal(&c); err != nil {
		return err
	}
	m.changing.Store(true)
	defer m.changing.Store(false)
	for i := range c.Insert {
		m.insert(c.Insert[i])
	}
	for i := range c.Update {
		m.update(c.Update[i])
	}
	return nil
}

// refusal says why c may not come true. It requires that mu is held.
func (m *MemoryStore) refusal(c *Change) error {
	for i := range c.Insert {
		if m.byID[c.Insert[i].Key.ID] != nil || m.handles.find(c.Insert[i].Handle) != nil {
			return ErrExists
		}
	}
	for i := range c.Update {
		n := m.byID[c.Update[i].Key.ID]
		if n == nil {
			return ErrNotFound
		}
		if n.rec.Load().Key.Version != c.Update[i].Key.Version-1 {
			return ErrConflict
		}
		if holder := m.handles.find(c.Update[i].Handle); holder != nil && holder != n {
			return ErrExists
		}
	}
	return nil
}

// insert requires that mu is held, and that ID and handle are free.
func (m *MemoryStore) insert(rec Record) {
	n := new(node)
	n.used.Store(never)
	n.touch(rec.Key.LastUsedAt)
	n.rec.Store(stored(rec))
	m.byID[rec.Key.ID] = n
	m.handles.add(n)
	m.all.add(n)
	m.owned(rec.Key.Owner).add(n)
}

// update requires that mu is held, that the record is there and its handle is
// free or its own.
func (m *MemoryStore) update(rec Record) {
	n := m.byID[rec.Key.ID]
	old := n.rec.Load()
	n.rec.Store(stored(rec))
	if rec.Handle != old.Handle {
		m.handles.add(n)
	}
	if !rec.Key.CreatedAt.Equal(old.Key.CreatedAt) {
		m.all.unsorted = true
		m.owned(old.Key.Owner).unsorted = true
	}
	if rec.Key.Owner != old.Key.Owner {
		m.owned(old.Key.Owner).remove(n)
		m.owned(rec.Key.Owner).add(n)
	}
}

// owned returns the listing of an owner. It requires that mu is held.
func (m *MemoryStore) owned(owner string) *listing {
	l := m.byOwner[owner]
	if l == nil {
		l = new(listing)
		m.byOwner[owner] = l
	}
	return l
}

// stored brings rec to what a database would give back.
func stored(rec Record) *Record {
	rec.Key.CreatedAt, rec.Key.ExpiresAt = toMicros(rec.Key.CreatedAt), toMicros(rec.Key.ExpiresAt)
	return &rec
}

// ByHandle implements [Store].
func (m *MemoryStore) ByHandle(ctx context.Context, handle string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	// A look-up that begins while a Change comes true waits for all of it: so
	// nobody finds one record as it is after the change and then another as it
	// was before.
	if m.changing.Load() {
		m.mu.RLock()
		defer m.mu.RUnlock()
	}
	n := m.handles.find(handle)
	if n == nil {
		return Record{}, ErrNotFound
	}
	rec := n.record()
	if rec.Handle != handle { // changed since it was found
		return Record{}, ErrNotFound
	}
	return rec, nil
}

// ByID implements [Store].
func (m *MemoryStore) ByID(ctx context.Context, id string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if n := m.byID[id]; n != nil {
		return n.record(), nil
	}
	return Record{}, ErrNotFound
}

// List implements [Store].
func (m *MemoryStore) List(ctx context.Context, q Query) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock() // not RLock: sorting what was added since the last listing writes
	defer m.mu.Unlock()
	if q.Owner == "" {
		return m.all.page(&q), nil
	}
	return m.byOwner[q.Owner].page(&q), nil
}

// Touch implements [Store].
func (m *MemoryStore) Touch(ctx context.Context, uses []Use) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, use := range uses {
		if n := m.byID[use.ID]; n != nil {
			n.touch(use.At)
		}
	}
	return nil
}
