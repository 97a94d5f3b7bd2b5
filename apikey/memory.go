package apikey

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A MemoryStore keeps records in this process and forgets them with it. It is
// the reference reading of the [Store] contract, the store of tests and of
// programs that create their keys at start-up. It is its own [Feed], so that
// several services over one store may each have a cache. It is safe for
// concurrent use and look-ups by handle take no lock while nothing changes.
//
// It forgets nothing: a key takes about 1.1 KB, tombstones included, and an event
// about 0.4 KB, both without a bound. A listing [SoonestFirst] looks at all keys,
// or all of the owner, and a [Cap] at all keys of its owner; other changes take no
// longer for what they do not touch. [NewMemoryStore] makes one; the zero value
// is not ready for use.
type MemoryStore struct {
	handles handleTable   // read without mu
	changes atomic.Uint64 // odd while a Change comes true, under mu; then one more
	feed    MemoryFeed

	mu     sync.RWMutex
	byID   map[string]*node
	keys   listing[*node]
	owners map[string]*account
	events listing[*Event]
	census map[Count]int64 // by a Count without Keys
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	m := &MemoryStore{byID: make(map[string]*node), owners: make(map[string]*account), census: make(map[Count]int64)}
	m.keys.order, m.events.order = oldestKey, oldestEvent
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
	o, err := m.outcome(&c)
	if err != nil {
		return err
	}
	m.changes.Add(1)
	defer m.changes.Add(1)
	m.realize(o)
	return nil
}

// insert requires that mu is held, and that ID, handle and label are free.
func (m *MemoryStore) insert(rec *Record, used time.Time) {
	n := &node{owner: m.owner(rec.Key.Owner)}
	n.used.Store(never)
	n.touch(used)
	n.rec.Store(rec)
	m.count(rec, 1)
	m.byID[rec.Key.ID] = n
	m.handles.add(n)
	m.keys.add(n)
	n.owner.keys.add(n)
	n.relabel()
}

// replace gives n another record. It requires that mu is held, and that the
// handle is free or its own.
func (m *MemoryStore) replace(n *node, rec *Record) {
	old := n.rec.Load()
	m.count(old, -1)
	m.count(rec, 1)
	n.rec.Store(rec)
	if rec.Handle != old.Handle {
		m.handles.add(n)
	}
}

// count brings the census up to date for a record that comes or goes.
func (m *MemoryStore) count(rec *Record, by int64) {
	if rec.Key.State == StateDeleted {
		return
	}
	c := Count{Version: rec.Digest.Version, Scheme: rec.Imported.Scheme}
	if m.census[c] += by; m.census[c] == 0 {
		delete(m.census, c)
	}
}

// owner returns the place of an owner, making one where there is none. It
// requires that mu is held.
func (m *MemoryStore) owner(id string) *account {
	a := m.owners[id]
	if a == nil {
		a = newAccount(id)
		m.owners[id] = a
	}
	return a
}

// present returns an owner as it is. It requires that mu is held.
func (m *MemoryStore) present(id string) *Owner {
	if a := m.owners[id]; a != nil {
		return a.state.Load()
	}
	return &Owner{ID: id, Epoch: 1}
}

// ByHandle implements [Store].
func (m *MemoryStore) ByHandle(ctx context.Context, handle string) (Record, error) {
	f, err := m.look(ctx, handle, nil)
	if err != nil {
		return Record{}, err
	}
	if !f.known {
		return Record{}, ErrNotFound
	}
	rec := *f.rec
	rec.Owner, rec.Key.LastUsedAt = *f.owner, f.lastUsed()
	return rec, nil
}

// look is ByHandle without its copies. Where there is no such record it finds
// the decoy, with like work.
func (m *MemoryStore) look(ctx context.Context, handle string, decoy *node) (found, error) {
	if err := ctx.Err(); err != nil {
		return found{}, err
	}
	if before := m.changes.Load(); before%2 == 0 {
		f := m.glimpse(handle, decoy)
		if m.changes.Load() == before {
			return f, nil
		}
	}
	// A Change came true meanwhile. Wait for all of it, so that nobody finds a part:
	// a record as it was before and its owner as it is after, or one record as it
	// is after and then another as it was before.
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.glimpse(handle, decoy), nil
}

func (m *MemoryStore) glimpse(handle string, decoy *node) found {
	n, rec := m.handles.find(handle)
	known := n != nil
	if !known {
		if n = decoy; n == nil {
			return found{}
		}
		rec = n.rec.Load()
		known = rec.Handle == handle // never: it is compared because a record would be
	}
	f := sight(rec, n.owner.state.Load(), n.used.Load())
	f.known = known
	return f
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
	keys := &m.keys
	if q.Owner != "" {
		a := m.owners[q.Owner]
		if a == nil {
			return nil, nil
		}
		keys = &a.keys
	}
	if q.Order == SoonestFirst {
		return soonestFirst(&q, keys.items), nil
	}
	return newestFirst(&q, keys.sorted()), nil
}

// Owner implements [Store].
func (m *MemoryStore) Owner(ctx context.Context, id string) (Owner, error) {
	if err := ctx.Err(); err != nil {
		return Owner{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return *m.present(id), nil
}

// Events implements [Store].
func (m *MemoryStore) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock() // not RLock, as in List
	defer m.mu.Unlock()
	if q.AnyOwner {
		return q.page(m.events.sorted()), nil
	}
	if a := m.owners[q.Owner]; a != nil {
		return q.page(a.events), nil
	}
	return nil, nil
}

// Census implements [Store].
func (m *MemoryStore) Census(ctx context.Context) ([]Count, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	counts := make([]Count, 0, len(m.census))
	for c, keys := range m.census {
		c.Keys = keys
		counts = append(counts, c)
	}
	return counts, nil
}

// Touch implements [Store].
func (m *MemoryStore) Touch(ctx context.Context, uses []Use) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, use := range uses {
		n := m.byID[use.ID]
		if n == nil {
			continue
		}
		n.touch(use.At)
		if use.Restamp == nil {
			continue
		}
		if rec := n.restamped(use.Restamp); rec != nil {
			m.replace(n, rec)
		}
	}
	return nil
}
