package ratelimit

import "encoding/binary"

// Refunded ids are remembered as bits, many to a slot, because nothing else
// bounds their number: whoever keeps having takes refunded adds one each time.
const idsPerSlot = 3 * 64 // the three words of a cell

// id returns a fresh id of the shard, which must be locked: the shard and a
// sequence within it, and what tells this store's ids from another's.
func (m *MemoryStore) id(sh *shard, index int) (id ID) {
	sh.seq++
	binary.LittleEndian.PutUint64(id[:8], (sh.seq*shardCount+uint64(index))^m.nonce[0])
	binary.LittleEndian.PutUint64(id[8:], m.nonce[1])
	return id
}

// origin returns the shard that gave out id, and the sequence within it: 0 for
// an id of another store.
func (m *MemoryStore) origin(id ID) (index int, seq uint64) {
	x := binary.LittleEndian.Uint64(id[:8]) ^ m.nonce[0]
	if binary.LittleEndian.Uint64(id[8:]) != m.nonce[1] {
		return 0, 0
	}
	return int(x % shardCount), x / shardCount
}

// remember marks id as refunded, at least until the time until, and reports
// whether it was not before. An id that the store never gave out counts as
// refunded. The shard of the id's origin must be locked; its slots move.
func (m *MemoryStore) remember(id ID, until, now int64) (bool, error) {
	index, seq := m.origin(id)
	sh := &m.shards[index]
	if seq == 0 || seq > sh.seq {
		return false, nil
	}
	tab := &sh.tab
	w0, w1 := seq/idsPerSlot*0x9e3779b97f4a7c15, m.nonce[1] // spread, as the hash of a key is
	at := tab.find(w0, w1)
	if at < 0 {
		// The last eighth of the room, rounded up, is kept for subjects.
		all := room(m.slots)
		most := all - (all+7)/8
		if tab.used >= most {
			tab.sweep(16*sweepSteps, now)
		}
		if tab.used >= most || !tab.reserve(1, m.slots, now) {
			return false, ErrFull
		}
		tab.add(slot{w0, w1, Cell{Expires: until}})
		at = tab.find(w0, w1)
	}
	c := &tab.slots[at].cell
	c.Expires = max(c.Expires, until)
	return c.mark(uint(seq % idsPerSlot)), nil
}

// mark sets one of the bits that a cell of refunded ids holds, and reports
// whether it was clear.
func (c *Cell) mark(bit uint) bool {
	word := [...]*int64{&c.At, &c.Used, &c.Part}[bit/64]
	was := *word
	*word |= 1 << (bit % 64)
	return *word != was
}
