package ratelimit

import "math/bits"

// A table is an open-addressing hash table of cells, without pointers, so that
// the garbage collector never looks inside. Slots of one subject share w0 and
// so lie next to each other.
type table struct {
	slots []slot
	used  int // slots that are not empty
	hand  int // where the sweep goes on
}

type slot struct {
	w0, w1 uint64 // 128 bits of keyed hash: w0 of the key, w1 of the key and the rule's tag
	cell   Cell   // Expires is 0 when the slot is empty
}

const (
	slotBytes  = 48
	firstSlots = 8
	sweepSteps = 8 // slots looked at for each new one
)

func (t *table) home(w0 uint64) int {
	hi, _ := bits.Mul64(w0, uint64(len(t.slots)))
	return int(hi)
}

// find returns the index of the slot, or -1.
func (t *table) find(w0, w1 uint64) int {
	if len(t.slots) == 0 {
		return -1
	}
	for i := t.home(w0); ; {
		s := &t.slots[i]
		if s.w0 == w0 && s.w1 == w1 && s.cell.Expires != 0 {
			return i
		}
		if s.cell.Expires == 0 {
			return -1
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// add puts a slot that is not in the table, for which reserve made room.
func (t *table) add(s slot) {
	i := t.home(s.w0)
	for t.slots[i].cell.Expires != 0 {
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	t.slots[i] = s
	t.used++
}

// remove empties slot i and closes the gap: slots after it that could not be
// found any more move up.
func (t *table) remove(i int) {
	t.used--
	n := len(t.slots)
	for j := i; ; {
		if j++; j == n {
			j = 0
		}
		if t.slots[j].cell.Expires == 0 {
			break
		}
		// Slot j may fill the gap at i unless its home lies cyclically in (i, j].
		h := t.home(t.slots[j].w0)
		if inside := i < j && i < h && h <= j || i > j && (i < h || h <= j); !inside {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = slot{}
}

// reserve makes room for n more slots in at most limit slots, and reports
// whether there is any. It moves slots.
func (t *table) reserve(n, limit int, now int64) bool {
	t.sweep(sweepSteps*n, now)
	if t.used+n <= room(len(t.slots)) {
		return true
	}
	if size := min(limit, max(firstSlots, len(t.slots)+len(t.slots)/4)); size > len(t.slots) {
		t.grow(size, now)
	}
	for size := len(t.slots); t.used+n > room(size) && size < limit; size = len(t.slots) {
		t.grow(min(limit, 2*size), now)
	}
	if t.used+n > room(len(t.slots)) {
		t.sweep(16*sweepSteps, now)
	}
	return t.used+n <= room(len(t.slots))
}

// room is how many of size slots may be used, so that probing stays short.
func room(size int) int { return size - size/6 }

// sweep looks at the next steps slots and empties those that expired.
func (t *table) sweep(steps int, now int64) {
	for range min(steps, len(t.slots)) {
		if t.hand >= len(t.slots) {
			t.hand = 0
		}
		if e := t.slots[t.hand].cell.Expires; e != 0 && e <= now {
			t.remove(t.hand) // another slot may have moved here: look again
		} else {
			t.hand++
		}
	}
}

// grow moves the slots that have not expired into a table of size slots.
func (t *table) grow(size int, now int64) {
	old := t.slots
	t.slots, t.used, t.hand = make([]slot, size), 0, 0
	for i := range old {
		if old[i].cell.Expires > now {
			t.add(old[i])
		}
	}
}
