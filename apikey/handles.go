package apikey

import (
	"hash/maphash"
	"sync/atomic"
)

// A handleTable finds nodes by handle. Any number of goroutines may call find
// while one, at a time, calls add.
//
// It is an open-addressing table that is never more than half full. Slots are
// only ever filled, so a probe that meets an empty one may stop. A node whose
// handle changed is added again; its old slot no longer answers, because its
// record no longer has that handle, and goes with the next growth.
type handleTable struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]slot] // a power of two of them
	taken int                    // slots that are filled; for add alone
}

// A slot is filled once: the hash first, so that whoever sees the node sees the
// hash too. The hash spares a probe from reading the records of other handles.
type slot struct {
	hash atomic.Uint64
	node atomic.Pointer[node]
}

func (t *handleTable) init() {
	t.seed = maphash.MakeSeed()
	t.slots.Store(new(make([]slot, 64)))
}

// find returns the node whose record has this handle, with that record, or nil.
func (t *handleTable) find(handle string) (*node, *Record) {
	slots := *t.slots.Load()
	mask := uint64(len(slots) - 1)
	hash := maphash.String(t.seed, handle)
	for i := hash; ; i++ {
		s := &slots[i&mask]
		n := s.node.Load()
		if n == nil {
			return nil, nil
		}
		if s.hash.Load() == hash {
			if rec := n.rec.Load(); rec.Handle == handle {
				return n, rec
			}
		}
	}
}

// add makes n be found under its record's handle.
func (t *handleTable) add(n *node) {
	slots := *t.slots.Load()
	if t.taken++; t.taken <= len(slots)/2 {
		t.place(slots, n)
		return
	}
	bigger := t.grown(slots)
	t.place(bigger, n)
	t.slots.Store(&bigger)
}

// grown returns a table with the nodes of slots under their present handles,
// of a size that leaves it at most a quarter full.
func (t *handleTable) grown(slots []slot) []slot {
	var live []*node
	for i := range slots {
		n := slots[i].node.Load()
		if n != nil && slots[i].hash.Load() == maphash.String(t.seed, n.rec.Load().Handle) {
			live = append(live, n)
		}
	}
	size := len(slots)
	if len(live) >= size/4 {
		size *= 2
	}
	bigger := make([]slot, size)
	for _, n := range live {
		t.place(bigger, n)
	}
	t.taken = len(live) + 1 // with the one that add is about to place
	return bigger
}

// place fills a slot with n under its present handle, unless it has one.
func (t *handleTable) place(slots []slot, n *node) {
	mask := uint64(len(slots) - 1)
	hash := maphash.String(t.seed, n.rec.Load().Handle)
	for i := hash; ; i++ {
		s := &slots[i&mask]
		switch other := s.node.Load(); {
		case other == n && s.hash.Load() == hash:
			return
		case other == nil:
			s.hash.Store(hash)
			s.node.Store(n)
			return
		}
	}
}
