package apikey

import "slices"

// An outcome is a Change that a memory store has looked at: what will be there if
// it comes true. The store's mu is held as long as there is one.
type outcome struct {
	*Change
	nodes []*node   // those that Update replaces, in its order
	recs  []*Record // what Update and then Insert will be stored as
}

// outcome returns what c would leave, or why c must be refused.
func (m *MemoryStore) outcome(c *Change) (*outcome, error) {
	o := &outcome{Change: c, nodes: make([]*node, 0, len(c.Update)), recs: make([]*Record, 0, len(c.Update)+len(c.Insert))}
	for i := range c.Update {
		n := m.byID[c.Update[i].Key.ID]
		if n == nil {
			return nil, ErrNotFound
		}
		old, rec := n.rec.Load(), stored(&c.Update[i])
		if old.Key.Version != rec.Key.Version-1 {
			return nil, ErrConflict
		}
		if holder, _ := m.handles.find(rec.Handle); holder != nil && holder != n {
			return nil, ErrExists
		}
		rec.Epoch, rec.Key.Owner, rec.Key.CreatedAt = old.Epoch, old.Key.Owner, old.Key.CreatedAt
		o.nodes, o.recs = append(o.nodes, n), append(o.recs, rec)
	}
	for i := range c.Insert {
		rec := stored(&c.Insert[i])
		if holder, _ := m.handles.find(rec.Handle); holder != nil && !o.frees(holder, rec.Handle) || m.byID[rec.Key.ID] != nil {
			return nil, ErrExists
		}
		if rec.Epoch == 0 {
			rec.Epoch = m.future(c, rec.Key.Owner).Epoch
		}
		o.recs = append(o.recs, rec)
	}
	if c.Owner != nil && m.present(c.Owner.ID).Version != c.Owner.Version-1 {
		return nil, ErrConflict
	}
	for _, n := range o.nodes {
		n.moving = true
	}
	defer func() {
		for _, n := range o.nodes {
			n.moving = false
		}
	}()
	if m.nameTaken(o) {
		return nil, ErrNameTaken
	}
	if m.overCap(o) {
		return nil, ErrKeyLimit
	}
	return o, nil
}

// frees reports whether an update gives n another handle than this.
func (o *outcome) frees(n *node, handle string) bool {
	i := slices.Index(o.nodes, n)
	return i >= 0 && o.recs[i].Handle != handle
}

// future returns an owner as c will leave it, events apart.
func (m *MemoryStore) future(c *Change, id string) *Owner {
	if c.Owner != nil && c.Owner.ID == id {
		return c.Owner
	}
	return m.present(id)
}

// nameTaken reports whether two records would have one label.
func (m *MemoryStore) nameTaken(o *outcome) bool {
	type place struct {
		owner string
		label
	}
	var taken map[place]bool
	for i, rec := range o.recs {
		if rec.Label == "" {
			continue
		}
		at := place{rec.Key.Owner, label{rec.Epoch, rec.Label}}
		if a := m.owners[at.owner]; a != nil {
			if holder := a.labels[at.label]; holder != nil && !holder.moving {
				return true
			}
		}
		if taken[at] {
			return true
		}
		if taken == nil && i+1 < len(o.recs) {
			taken = make(map[place]bool)
		}
		if taken != nil {
			taken[at] = true
		}
	}
	return false
}

// overCap reports whether more keys would count than the cap allows.
func (m *MemoryStore) overCap(o *outcome) bool {
	if o.Cap == nil {
		return false
	}
	count, owner := 0, m.future(o.Change, o.Cap.Owner)
	if a := m.owners[o.Cap.Owner]; a != nil {
		count = a.count(o.Cap, owner)
	}
	for _, rec := range o.recs {
		if o.Cap.counts(rec, owner) {
			count++
		}
	}
	return count > o.Cap.Most
}

// realize makes o come true.
func (m *MemoryStore) realize(o *outcome) {
	if o.Owner != nil {
		m.owner(o.Owner.ID).decide(*o.Owner)
	}
	for _, n := range o.nodes {
		n.unlabel() // all before any takes one: they may be swapped
	}
	for i, rec := range o.recs {
		if i < len(o.nodes) {
			m.replace(o.nodes[i], rec)
			o.nodes[i].relabel()
		} else {
			m.insert(rec, o.Insert[i-len(o.nodes)].Key.LastUsedAt)
		}
	}
	for i := range o.Events {
		m.events.add(m.owner(o.Events[i].Owner).append(o.Events[i]))
	}
	m.feed.send(o.Notices) // under mu, so that they go out in the order of the changes
}
