package apikey

import (
	"context"
	"math"
	"slices"
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
	feed     MemoryFeed

	mu     sync.RWMutex
	byID   map[string]*node
	all    listing
	owners map[string]*account
}

var _ Store = (*MemoryStore)(nil)

// A node is a key's place. Records are replaced, never changed, so that they
// can be read without a lock.
type node struct {
	rec   atomic.Pointer[Record]
	used  atomic.Int64 // Key.LastUsedAt in microseconds since 1970, or never
	owner *account
}

// An account is what the store keeps of one owner.
type account struct {
	state  atomic.Pointer[Owner] // replaced, never changed
	keys   listing
	labels map[label]*node
	events []Event
}

// A label is taken once.
type label struct {
	epoch int64
	text  string
}

const never = math.MinInt64

// record returns what the node holds now.
func (n *node) record() Record {
	rec := *n.rec.Load()
	rec.Owner = *n.owner.state.Load()
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

// restamp requires that mu is held.
func (n *node) restamp(r *Restamp) {
	if r == nil {
		return
	}
	rec := *n.rec.Load()
	if rec.Digest != r.Was || rec.Imported != r.Imported {
		return
	}
	rec.Digest, rec.Imported = r.Digest, Imported{}
	rec.Key.Version++
	n.rec.Store(&rec)
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	m := &MemoryStore{byID: make(map[string]*node), owners: make(map[string]*account)}
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
	if c.Owner != nil {
		m.decide(*c.Owner)
	}
	for i := range c.Update {
		m.unlabel(c.Update[i].Key.ID)
	}
	for i := range c.Update {
		m.update(c.Update[i])
	}
	for i := range c.Insert {
		m.insert(c.Insert[i])
	}
	for i := range c.Events {
		m.owner(c.Events[i].Owner).append(c.Events[i])
	}
	m.feed.send(c.Notices) // under mu, so that they go out in the order of the changes
	return nil
}

// refusal says why c may not come true. It requires that mu is held.
func (m *MemoryStore) refusal(c *Change) error {
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
	for i := range c.Insert {
		if m.byID[c.Insert[i].Key.ID] != nil || m.handles.find(c.Insert[i].Handle) != nil {
			return ErrExists
		}
	}
	if c.Owner != nil && m.present(c.Owner.ID).Version != c.Owner.Version-1 {
		return ErrConflict
	}
	if m.nameTaken(c) {
		return ErrNameTaken
	}
	return m.overCap(c)
}

// after returns what the records of c will be, by ID.
func (m *MemoryStore) after(c *Change) map[string]Record {
	after := make(map[string]Record, len(c.Update)+len(c.Insert))
	for i := range c.Update {
		rec := c.Update[i]
		rec.Epoch = m.byID[rec.Key.ID].rec.Load().Epoch
		after[rec.Key.ID] = rec
	}
	for i := range c.Insert {
		rec := c.Insert[i]
		if rec.Epoch == 0 {
			rec.Epoch = m.future(c, rec.Key.Owner).Epoch
		}
		after[rec.Key.ID] = rec
	}
	return after
}

// future returns an owner as it will be after c.
func (m *MemoryStore) future(c *Change, id string) Owner {
	if c.Owner != nil && c.Owner.ID == id {
		return *c.Owner
	}
	return m.present(id)
}

func (m *MemoryStore) nameTaken(c *Change) bool {
	type place struct {
		owner string
		label
	}
	after, taken := m.after(c), make(map[place]bool)
	for id, rec := range after {
		if rec.Label == "" {
			continue
		}
		at := place{rec.Key.Owner, label{rec.Epoch, rec.Label}}
		if taken[at] {
			return true
		}
		taken[at] = true
		if o := m.owners[rec.Key.Owner]; o != nil {
			holder := o.labels[at.label]
			if holder == nil {
				continue
			}
			other := holder.rec.Load().Key.ID
			if _, moves := after[other]; other != id && !moves {
				return true
			}
		}
	}
	return false
}

func (m *MemoryStore) overCap(c *Change) error {
	if c.Cap == nil {
		return nil
	}
	after, owner := m.after(c), m.future(c, c.Cap.Owner)
	if o := m.owners[c.Cap.Owner]; o != nil {
		for _, n := range o.keys.nodes {
			rec := n.record()
			if _, changes := after[rec.Key.ID]; !changes {
				after[rec.Key.ID] = rec
			}
		}
	}
	count := 0
	for _, rec := range after {
		rec.Owner = owner
		if c.Cap.Counts(&rec) {
			count++
		}
	}
	if count > c.Cap.Most {
		return ErrKeyLimit
	}
	return nil
}

// decide replaces what was decided about an owner, the chain of events apart.
func (m *MemoryStore) decide(o Owner) {
	a := m.owner(o.ID)
	o.Events, o.Head = a.state.Load().Events, a.state.Load().Head
	o.ChangedAt = toMicros(o.ChangedAt)
	a.state.Store(&o)
}

// unlabel frees the label of a record that is about to be replaced.
func (m *MemoryStore) unlabel(id string) {
	n := m.byID[id]
	old := n.rec.Load()
	if old.Label != "" {
		delete(n.owner.labels, label{old.Epoch, old.Label})
	}
}

func (n *node) relabel() {
	if rec := n.rec.Load(); rec.Label != "" {
		n.owner.labels[label{rec.Epoch, rec.Label}] = n
	}
}

// insert requires that mu is held, and that ID and handle are free.
func (m *MemoryStore) insert(rec Record) {
	n := &node{owner: m.owner(rec.Key.Owner)}
	if rec.Epoch == 0 {
		rec.Epoch = n.owner.state.Load().Epoch
	}
	n.used.Store(never)
	n.touch(rec.Key.LastUsedAt)
	n.rec.Store(stored(rec))
	m.byID[rec.Key.ID] = n
	m.handles.add(n)
	m.all.add(n)
	n.owner.keys.add(n)
	n.relabel()
}

// update requires that mu is held, that the record is there and its handle is
// free or its own.
func (m *MemoryStore) update(rec Record) {
	n := m.byID[rec.Key.ID]
	old := n.rec.Load()
	rec.Epoch, rec.Key.Owner, rec.Key.CreatedAt = old.Epoch, old.Key.Owner, old.Key.CreatedAt
	n.rec.Store(stored(rec))
	if rec.Handle != old.Handle {
		m.handles.add(n)
	}
	n.relabel()
}

// owner returns the place of an owner. It requires that mu is held.
func (m *MemoryStore) owner(id string) *account {
	a := m.owners[id]
	if a == nil {
		a = &account{labels: make(map[label]*node)}
		a.state.Store(&Owner{ID: id, Epoch: 1})
		m.owners[id] = a
	}
	return a
}

// present returns an owner as it is. It requires that mu is held.
func (m *MemoryStore) present(id string) Owner {
	if a := m.owners[id]; a != nil {
		return *a.state.Load()
	}
	return Owner{ID: id, Epoch: 1}
}

// append chains an event to the ones before.
func (a *account) append(e Event) {
	o := *a.state.Load()
	o.Events++
	e.Seq, e.At, e.Changes = o.Events, toMicros(e.At), slices.Clone(e.Changes)
	e.Sum = e.Link(o.Head)
	o.Head = e.Sum
	a.events = append(a.events, e)
	a.state.Store(&o)
}

// stored brings rec to what a database would give back.
func stored(rec Record) *Record {
	k := &rec.Key
	k.CreatedAt, k.SecretAt, k.ExpiresAt, k.Suspended = toMicros(k.CreatedAt), toMicros(k.SecretAt), toMicros(k.ExpiresAt), false
	rec.Sealed = slices.Clone(rec.Sealed)
	return &rec
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
	// A look-up that begins while a Change comes true waits for all of it: so
	// nobody finds one record as it is after the change and then another as it
	// was before.
	if m.changing.Load() {
		m.mu.RLock()
		defer m.mu.RUnlock()
	}
	n := m.handles.find(handle)
	if n == nil {
		if n = decoy; n == nil {
			return found{}, nil
		}
	}
	f := found{rec: n.rec.Load(), owner: n.owner.state.Load(), used: n.used.Load()}
	f.known = f.rec.Handle == handle // else it is the decoy, or changed since it was found
	return f, nil
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
	if a := m.owners[q.Owner]; a != nil {
		return a.keys.page(&q), nil
	}
	return nil, nil
}

// Owner implements [Store].
func (m *MemoryStore) Owner(ctx context.Context, id string) (Owner, error) {
	if err := ctx.Err(); err != nil {
		return Owner{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.present(id), nil
}

// Events implements [Store].
func (m *MemoryStore) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var selected []Event
	for id, a := range m.owners {
		if !q.AnyOwner && id != q.Owner {
			continue
		}
		for i := range a.events {
			if q.Selects(&a.events[i]) {
				selected = append(selected, a.events[i])
			}
		}
	}
	slices.SortFunc(selected, q.compare)
	selected = selected[:min(q.Limit, len(selected))]
	for i := range selected {
		selected[i].Changes = slices.Clone(selected[i].Changes)
	}
	return selected, nil
}

// Census implements [Store].
func (m *MemoryStore) Census(ctx context.Context) ([]Count, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	keys := make(map[Count]int64)
	for _, n := range m.byID {
		if rec := n.rec.Load(); rec.Key.State != StateDeleted {
			keys[Count{Version: rec.Digest.Version, Scheme: rec.Imported.Scheme}]++
		}
	}
	counts := make([]Count, 0, len(keys))
	for c, n := range keys {
		c.Keys = n
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
		if n := m.byID[use.ID]; n != nil {
			n.touch(use.At)
			n.restamp(use.Restamp)
		}
	}
	return nil
}
