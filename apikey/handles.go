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
	slots atomic.Pointer[[]atomic.Pointer[node]] // a power of two of them
	taken int                                    // slots that are filled; for add alone
}

func (t *handleTable) init() {
	t.seed = maphash.MakeSeed()
	t.slots.Store(new(make([]atomic.Pointer[node], 64)))
}

// find returns the node whose record has this handle, or nil.
func (t *handleTable) find(handle string) *node {
	slots := *t.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := maphash.String(t.seed, handle); ; i++ {
		n := slots[i&mask].Load()
		if n == nil || n.rec.Load().Handle == handle {
			return n
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

// grown returns a table of twice the size with the nodes of slots, each once.
func (t *handleTable) grown(slots []atomic.Pointer[node]) []atomic.Pointer[node] {
	bigger := make([]atomic.Pointer[node], 2*len(slots))
	t.taken = 1 // the one that add is about to place
	for i := range slots {
		if n := slots[i].Load(); n != nil && t.place(bigger, n) {
			t.taken++
		}
	}
	return bigger
}

// place fills a slot with n and reports whether it did: n may have one already.
func (t *handleTable) place(slots []atomic.Pointer[node], n *node) bool {
	mask := uint64(len(slots) - 1)
	for i := maphash.String(t.seed, n.rec.Load().Handle); ; i++ {
		switch slots[i&mask].Load() {
		case n:
			return false
		case nil:
			slots[i&mask].Store(n)
			return true
		}
	}
}
