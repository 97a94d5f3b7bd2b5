package ratelimit

import (
	"math/bits"
	"sync"
)

// A shard is the part of a store that one lock guards. Its states lie in tables
// of a bounded size, found by the leading bits of their ids: a table that has
// no more room splits in two, as in extendible hashing.
type shard struct {
	mu    sync.Mutex
	depth uint8    // how many bits of an id index tables
	hand  uint32   // where tidying goes on
	full  uint32   // how often there was no room
	seq   uint64   // of the decisions that started in this shard
	dir   []*table // 1<<depth, some of them several times

	_ [8]byte // 64 in all: a cache line for each lock
}

const (
	mostDepth  = 24
	tidyPeriod = 8192 // decisions from one tidying step of a shard to the next

	shardBytes   = 64
	pointerBytes = 8
)

// table returns the table of an id.
func (sh *shard) table(id uint64) *table { return sh.dir[id>>(64-sh.depth)] }

// makeRoom returns the table of an id when it has room for one more slot, after
// making some if need be, or nil when there is none. It moves slots.
func (m *MemoryStore) makeRoom(sh *shard, id uint64, now int64) *table {
	t := sh.table(id)
	most := room(len(t.slots))
	if int(t.used) < most {
		return t
	}
	if m.free.Load() > growthBytes(len(t.slots)) {
		t.sweep(len(t.slots), now)
		if int(t.used) < most*7/8 {
			return t
		}
		if m.enlarge(sh, id) {
			return sh.table(id)
		}
	}
	t.sweep(shortSweep, now)
	if int(t.used) < most {
		return t
	}
	if sh.full++; sh.full%16 == 0 {
		m.tidy(sh, now)
	}
	return nil
}

// growthBytes is what a table of that many slots takes, at most and beside the
// old one, to be enlarged or split.
func growthBytes(slots int) int64 { return int64(slots+slots/2+2*firstSlots) * slotBytes }

// enlarge gives the table of an id more room, and reports whether it could.
func (m *MemoryStore) enlarge(sh *shard, id uint64) bool {
	t := sh.table(id)
	if n := len(t.slots); n < m.most {
		return t.rebuild(min(n+max(n/8, firstSlots), m.most))
	}
	return m.split(sh, id)
}

// split distributes the slots of an id's table over two, and reports whether it
// could. All slots of one subject stay together.
func (m *MemoryStore) split(sh *shard, id uint64) bool {
	t := sh.table(id)
	bit := uint64(1) << (63 - t.depth)
	n, wides := t.count(0)
	nhi, wideshi := t.count(bit)
	if nhi == 0 || nhi == n || t.depth == mostDepth || t.depth == sh.depth && !m.deepen(sh) {
		return false
	}
	lo := m.newTable(t.depth+1, sizeFor(n-nhi), wides-wideshi)
	if lo == nil {
		return false
	}
	hi := m.newTable(t.depth+1, sizeFor(nhi), wideshi)
	if hi == nil {
		lo.discard()
		return false
	}
	for i := range t.slots {
		switch s := &t.slots[i]; {
		case s.id == 0:
		case s.id&bit == 0:
			t.move(i, lo)
		default:
			t.move(i, hi)
		}
	}
	t.discard()
	*t = *lo
	upper := sh.span(id|bit, t.depth)
	for i := range upper {
		upper[i] = hi
	}
	m.free.Add(-tableBytes)
	return true
}

// span returns the part of dir that ids share which have their first depth bits
// in common with id.
func (sh *shard) span(id uint64, depth uint8) []*table {
	n := 1 << (sh.depth - depth)
	i := int(id>>(64-sh.depth)) &^ (n - 1)
	return sh.dir[i : i+n]
}

// deepen doubles dir, and reports whether there was memory for it.
func (m *MemoryStore) deepen(sh *shard) bool {
	dir, ok := alloc[*table](m, 2*len(sh.dir), pointerBytes, false)
	if !ok {
		return false
	}
	for _, t := range sh.dir {
		dir = append(dir, t, t)
	}
	m.free.Add(int64(cap(sh.dir)) * pointerBytes)
	sh.dir = dir
	sh.depth++
	return true
}

// tidy empties what has ended in the shard's next table, and gives back memory
// that the table does not need any more.
func (m *MemoryStore) tidy(sh *shard, now int64) {
	sh.hand++
	id := bits.Reverse64(uint64(sh.hand)) // whose leading bits visit all of dir
	t := sh.table(id)
	t.sweep(len(t.slots), now)
	switch size := sizeFor(int(t.used)); {
	case t.depth > 0 && m.merge(sh, id):
	case t.used == 0:
		t.discard()
	case size < len(t.slots)*5/8:
		t.rebuild(size)
	}
}

// merge puts the slots of an id's table and of its other half into one table,
// and reports whether both were empty enough.
func (m *MemoryStore) merge(sh *shard, id uint64) bool {
	t := sh.table(id)
	other := sh.table(id ^ 1<<(64-t.depth))
	n := int(t.used + other.used)
	if other.depth != t.depth || sizeFor(n) > m.most/2 {
		return false
	}
	_, wides := t.count(0)
	_, more := other.count(0)
	next := m.newTable(t.depth-1, sizeFor(n), wides+more)
	if next == nil {
		return false
	}
	for _, from := range []*table{t, other} {
		for i := range from.slots {
			if from.slots[i].id != 0 {
				from.move(i, next)
			}
		}
		from.discard()
	}
	span := sh.span(id, next.depth)
	for i := range span {
		span[i] = next
	}
	m.free.Add(tableBytes)
	for m.flatten(sh) {
	}
	return true
}

// flatten halves dir if every table is in it twice.
func (m *MemoryStore) flatten(sh *shard) bool {
	if sh.depth == 0 {
		return false
	}
	for i := 0; i < len(sh.dir); i += 2 {
		if sh.dir[i] != sh.dir[i+1] {
			return false
		}
	}
	dir, ok := alloc[*table](m, len(sh.dir)/2, pointerBytes, false)
	if !ok {
		return false
	}
	for i := 0; i < len(sh.dir); i += 2 {
		dir = append(dir, sh.dir[i])
	}
	m.free.Add(int64(cap(sh.dir)) * pointerBytes)
	sh.dir = dir
	sh.depth--
	return true
}
