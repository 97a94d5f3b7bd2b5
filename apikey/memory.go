package apikey

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// A MemoryStore keeps records in this process and forgets them with it. It is
// the reference reading of the [Store] contract, the store of tests and of
// programs that create their keys at start-up. It is safe for concurrent use
// and holds about 1 KB for each key, tombstones included; it has no bound.
type MemoryStore struct {
	mu       sync.RWMutex
	byID     map[string]*Record
	byHandle map[string]*Record
	all      listing
	byOwner  map[string]*listing
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{
		byID:     make(map[string]*Record),
		byHandle: make(map[string]*Record),
		byOwner:  make(map[string]*listing),
	}
}

// Apply implements [Store].
func (m *MemoryStore) Apply(ctx context.Context, c Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range c.Insert {
		if m.byID[c.Insert[i].Key.ID] != nil || m.byHandle[c.Insert[i].Handle] != nil {
			return ErrExists
		}
	}
	for i := range c.Update {
		old := m.byID[c.Update[i].Key.ID]
		switch {
		case old == nil:
			return ErrNotFound
		case old.Key.Version != c.Update[i].Key.Version-1:
			return ErrConflict
		}
		if holder := m.byHandle[c.Update[i].Handle]; holder != nil && holder != old {
			return ErrExists
		}
	}
	for i := range c.Insert {
		m.insert(c.Insert[i])
	}
	for i := range c.Update {
		m.update(c.Update[i])
	}
	return nil
}

// insert requires that m.mu is held, and that ID and handle are free.
func (m *MemoryStore) insert(rec Record) {
	kept := new(rec)
	kept.normalize()
	m.byID[kept.Key.ID] = kept
	m.byHandle[kept.Handle] = kept
	m.all.add(kept)
	owned := m.byOwner[kept.Key.Owner]
	if owned == nil {
		owned = new(listing)
		m.byOwner[kept.Key.Owner] = owned
	}
	owned.add(kept)
}

// update requires that m.mu is held, and that the record is there.
func (m *MemoryStore) update(rec Record) {
	kept := m.byID[rec.Key.ID]
	rec.Key.LastUsedAt = kept.Key.LastUsedAt
	rec.normalize()
	if rec.Handle != kept.Handle {
		delete(m.byHandle, kept.Handle)
		m.byHandle[rec.Handle] = kept
	}
	moved := !rec.Key.CreatedAt.Equal(kept.Key.CreatedAt)
	owner := kept.Key.Owner
	*kept = rec
	if moved {
		m.all.unsorted = true
		m.byOwner[owner].unsorted = true
	}
	if rec.Key.Owner != owner {
		m.byOwner[owner].remove(kept)
		owned := m.byOwner[rec.Key.Owner]
		if owned == nil {
			owned = new(listing)
			m.byOwner[rec.Key.Owner] = owned
		}
		owned.add(kept)
	}
}

// normalize brings the record to what a database would give back, and lets go
// of memory shared with the caller's text.
func (r *Record) normalize() {
	r.Handle = strings.Clone(r.Handle)
	for _, at := range []*time.Time{&r.Key.CreatedAt, &r.Key.ExpiresAt, &r.Key.LastUsedAt} {
		if !at.IsZero() {
			*at = at.UTC().Truncate(time.Microsecond)
		}
	}
}

// ByHandle implements [Store].
func (m *MemoryStore) ByHandle(ctx context.Context, handle string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if rec := m.byHandle[handle]; rec != nil {
		return *rec, nil
	}
	return Record{}, ErrNotFound
}

// ByID implements [Store].
func (m *MemoryStore) ByID(ctx context.Context, id string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if rec := m.byID[id]; rec != nil {
		return *rec, nil
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
	from := &m.all
	if q.Owner != "" {
		from = m.byOwner[q.Owner]
	}
	return from.page(&q), nil
}

// Touch implements [Store].
func (m *MemoryStore) Touch(ctx context.Context, uses []Use) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, use := range uses {
		if rec := m.byID[use.ID]; rec != nil && use.At.After(rec.Key.LastUsedAt) {
			rec.Key.LastUsedAt = use.At.UTC().Truncate(time.Microsecond)
		}
	}
	return nil
}

// A listing is a set of records that is sorted, oldest first, when it is read.
// New records are mostly the newest, so it mostly stays sorted.
type listing struct {
	records  []*Record
	unsorted bool
}

func (l *listing) add(r *Record) {
	if n := len(l.records); n > 0 && oldestFirst(l.records[n-1], r) > 0 {
		l.unsorted = true
	}
	l.records = append(l.records, r)
}

func (l *listing) remove(r *Record) {
	l.records = slices.DeleteFunc(l.records, func(o *Record) bool { return o == r })
}

// page returns what q selects, newest first. A nil listing is empty.
func (l *listing) page(q *Query) []Record {
	if l == nil {
		return nil
	}
	if l.unsorted {
		slices.SortFunc(l.records, oldestFirst)
		l.unsorted = false
	}
	end := len(l.records)
	if !q.After.IsZero() {
		after := &Record{Key: Key{CreatedAt: q.After.CreatedAt, ID: q.After.ID}}
		end, _ = slices.BinarySearchFunc(l.records, after, oldestFirst)
	}
	var page []Record
	for i := end - 1; i >= 0 && len(page) < q.Limit; i-- {
		if q.Selects(&l.records[i].Key) {
			page = append(page, *l.records[i])
		}
	}
	return page
}

func oldestFirst(a, b *Record) int {
	if d := a.Key.CreatedAt.Compare(b.Key.CreatedAt); d != 0 {
		return d
	}
	return cmp.Compare(a.Key.ID, b.Key.ID)
}
