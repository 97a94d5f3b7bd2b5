package ratelimit

import "slices"

// A table is an open-addressing hash table with linear probing. It stays so
// small that moving or sweeping all of it is a bounded step, and shares its
// shard with others. Slots are without pointers, so that the garbage collector
// never looks inside, and those of one subject lie next to each other.
type table struct {
	slots []slot
	used  int32        // slots that are not empty
	depth uint8        // how many leading bits of the id all its slots share
	of    *MemoryStore // whose memory it takes
	wide  []wide
	spare int32 // index of the first unused wide and one more; 0: none
	hand  int32 // where a short sweep goes on
}

const (
	tableBytes = 80   // of the struct, as it is allocated
	firstSlots = 4    // of a table that gets its first state
	mostSlots  = 4096 // 128 KiB; a small store has smaller tables
	leastSlots = 128  // to which every table can grow: room for a subject of MaxOps
	shortSweep = 128
)

// room is how many of size slots may be used, so that probing stays short and
// ends.
func room(size int) int { return size - max(size*3/16, 1) }

// home returns the slot where the search for an id begins. The bits that the
// table's slots share are left out.
func (t *table) home(id uint64) int {
	return int(uint64(uint32(id>>32)<<t.depth) * uint64(len(t.slots)) >> 32)
}

// find returns the index of the slot, or -1.
func (t *table) find(n name) int {
	if t.used == 0 {
		return -1
	}
	for i := t.home(n.id); ; {
		s := &t.slots[i]
		if s.is(n) {
			return i
		}
		if s.id == 0 {
			return -1
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// add puts a slot that is not in the table, which must have room for it, and
// returns its index.
func (t *table) add(s slot) int {
	i := t.home(s.id)
	for t.slots[i].id != 0 {
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	t.slots[i] = s
	t.used++
	return i
}

// remove empties slot i and closes the gap: slots after it that could not be
// found any more move up.
func (t *table) remove(i int) {
	if s := &t.slots[i]; s.kind() == kindWide {
		t.narrow(s)
	}
	t.used--
	n := len(t.slots)
	for j := i; ; {
		if j++; j == n {
			j = 0
		}
		if t.slots[j].id == 0 {
			break
		}
		// Slot j may fill the gap at i unless its home lies cyclically in (i, j].
		h := t.home(t.slots[j].id)
		if inside := i < j && i < h && h <= j || i > j && (i < h || h <= j); !inside {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = slot{}
}

// cell returns the cell in slot i.
func (t *table) cell(i int) Cell {
	s := &t.slots[i]
	if s.kind() == kindWide {
		return t.wide[s.body[0]].cell
	}
	return s.cell(t.of.base)
}

// setCell makes c the cell in slot i, and reports whether there was room for it.
// It is sure of room when told so.
func (t *table) setCell(i int, c Cell, sure bool) bool {
	s := &t.slots[i]
	if s.kind() == kindWide {
		was := *s
		if s.pack(c, t.of.base) {
			t.narrow(&was)
			return true
		}
	} else if s.pack(c, t.of.base) {
		return true
	}
	w := t.widen(i, sure)
	if w == nil {
		return false
	}
	w.cell, w.ends = c, c.Expires-t.of.base
	return true
}

// widen returns the wide state of slot i, an empty one if it had none, or nil
// when there is no room for that.
func (t *table) widen(i int, sure bool) *wide {
	s := &t.slots[i]
	if s.kind() == kindWide {
		return &t.wide[s.body[0]]
	}
	at := int(t.spare) - 1
	switch {
	case at >= 0:
		t.spare = int32(t.wide[at].ends)
	case !t.roomForWide(sure):
		return nil
	default:
		at = len(t.wide)
		t.wide = t.wide[:at+1]
	}
	t.wide[at] = wide{}
	s.head = s.head&restMask | kindWide
	s.body = [2]uint64{uint64(at), 0}
	return &t.wide[at]
}

// roomForWide makes t.wide longer than it is full.
func (t *table) roomForWide(sure bool) bool {
	n := len(t.wide)
	if n < cap(t.wide) {
		return true
	}
	longer, ok := alloc[wide](t.of, n+max(n/4, 1), wideBytes, sure)
	if ok {
		t.of.free.Add(int64(n) * wideBytes)
		t.wide = append(longer, t.wide...)
	}
	return ok
}

// narrow frees the wide state of a slot.
func (t *table) narrow(s *slot) {
	at := s.body[0]
	t.of.free.Add(int64(cap(t.wide[at].entries)) * entryBytes)
	t.wide[at] = wide{ends: int64(t.spare)}
	t.spare = int32(at) + 1
}

// ends returns the time from which slot i is as good as empty.
func (t *table) ends(i int) int64 {
	if s := &t.slots[i]; s.kind() != kindWide {
		return s.ends()
	}
	return t.wide[t.slots[i].body[0]].ends
}

// sweep looks at the next steps slots and empties those that have ended at a
// time that counts from the store's start. Emptying one is a step too, so that
// all of a small table takes up to twice its slots.
func (t *table) sweep(steps int, now int64) {
	for range min(steps, 2*len(t.slots)) {
		if int(t.hand) >= len(t.slots) {
			t.hand = 0
		}
		if t.slots[t.hand].id != 0 && t.ends(int(t.hand)) <= now {
			t.remove(int(t.hand)) // another slot may have moved here: look again
		} else {
			t.hand++
		}
	}
}

// newTable returns an empty table with that many slots and wide states, or nil
// when the store has no memory for it.
func (m *MemoryStore) newTable(depth uint8, slots, wides int) *table {
	t := &table{of: m, depth: depth}
	var ok bool
	if t.slots, ok = alloc[slot](m, slots, slotBytes, false); !ok {
		return nil
	}
	t.slots = t.slots[:cap(t.slots)]
	if wides > 0 {
		if t.wide, ok = alloc[wide](m, wides, wideBytes, false); !ok {
			t.discard()
			return nil
		}
	}
	return t
}

// sizeFor is how many slots n states get in a table of their own.
func sizeFor(n int) int { return max(n+n*3/8, firstSlots) }

// count returns how many slots and wide states have an id with that bit, or any
// when bit is 0.
func (t *table) count(bit uint64) (slots, wides int) {
	for i := range t.slots {
		if s := &t.slots[i]; s.id != 0 && s.id&bit == bit {
			slots++
			if s.kind() == kindWide {
				wides++
			}
		}
	}
	return slots, wides
}

// move puts slot i into another table, which must have room for it.
func (t *table) move(i int, to *table) {
	s := t.slots[i]
	if s.kind() != kindWide {
		to.add(s)
		return
	}
	old := s.body[0]
	s.head &^= kindMask // the index is of the old table
	*to.widen(to.add(s), false) = t.wide[old]
}

// rebuild gives the table another number of slots, and reports whether there
// was memory for it.
func (t *table) rebuild(size int) bool {
	_, wides := t.count(0)
	next := t.of.newTable(t.depth, size, wides)
	if next == nil {
		return false
	}
	for i := range t.slots {
		if t.slots[i].id != 0 {
			t.move(i, next)
		}
	}
	t.discard()
	*t = *next
	return true
}

// discard gives back the memory of a table whose slots were moved.
func (t *table) discard() {
	t.of.free.Add(int64(cap(t.slots))*slotBytes + int64(cap(t.wide))*wideBytes)
	*t = table{of: t.of, depth: t.depth}
}

// alloc returns an empty slice for at least n elements, of that many bytes each,
// or nothing when the store has no memory for it, unless it must be.
func alloc[E any](m *MemoryStore, n, bytes int, sure bool) ([]E, bool) {
	most := int64(n+n/4+1) * int64(bytes) // the allocator rounds up
	if m.free.Add(-most) < 0 && !sure {
		m.free.Add(most)
		return nil, false
	}
	s := slices.Grow[[]E](nil, n)
	m.free.Add(most - int64(cap(s))*int64(bytes))
	return s, true
}
