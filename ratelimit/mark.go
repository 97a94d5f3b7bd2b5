package ratelimit

import "encoding/binary"

// Settled ids are remembered as bits, many to a slot, because nothing else
// bounds their number: whoever keeps having takes refunded adds one each time.
const (
	idsPerSlot = 128
	markUnit   = 7 // the end of a mark is kept in 128 µs, so that it reaches over two centuries
)

// nextID sets id to that of the shard's next decision: the shard and a sequence
// within it, and what tells this store's ids from another's.
func (m *MemoryStore) nextID(index int, id *ID) {
	seq := m.shards[index].seq + 1
	binary.LittleEndian.PutUint64(id[:8], (seq<<shardBits|uint64(index))^m.nonce[0])
	binary.LittleEndian.PutUint64(id[8:], m.nonce[1])
}

// freshID gives out nextID. The shard must be locked; its slots may move.
func (m *MemoryStore) freshID(index int, id *ID, now int64) {
	m.nextID(index, id)
	sh := &m.shards[index]
	if sh.seq++; sh.seq%tidyPeriod == 0 {
		m.tidy(sh, now-m.base)
	}
}

// origin returns the shard that gave out id, and the sequence within it: 0 for
// an id of another store.
func (m *MemoryStore) origin(id ID) (index int, seq uint64) {
	x := binary.LittleEndian.Uint64(id[:8]) ^ m.nonce[0]
	if binary.LittleEndian.Uint64(id[8:]) != m.nonce[1] {
		return 0, 0
	}
	return int(x % shardCount), x >> shardBits
}

// remember marks id as settled, at least until the time until, and reports
// whether it was not before. An id that the store never gave out counts as
// settled. The shard of the id's origin must be locked; its slots move.
func (m *MemoryStore) remember(id ID, until, now int64) (bool, error) {
	index, seq := m.origin(id)
	sh := &m.shards[index]
	if seq == 0 || seq > sh.seq {
		return false, nil
	}
	n := markName(seq)
	t := sh.table(n.id)
	at := t.find(n)
	if at < 0 {
		if t = m.roomForMarks(sh, n.id, now-m.base); t == nil {
			return false, ErrFull
		}
		at = t.add(slot{id: n.id, head: n.rest | kindMarks})
	}
	s := &t.slots[at]
	end := min(max(until-m.base, 0)>>markUnit+1, timeMask)
	s.head = s.head&^timeMask | max(s.head&timeMask, uint64(end))
	word, bit := markBit(seq)
	if s.body[word]&bit != 0 {
		return false, nil
	}
	s.body[word] |= bit
	return true, nil
}

// forgetMark undoes what remember did.
func (m *MemoryStore) forgetMark(id ID) {
	index, seq := m.origin(id)
	n := markName(seq)
	t := m.shards[index].table(n.id)
	if at := t.find(n); at >= 0 {
		word, bit := markBit(seq)
		t.slots[at].body[word] &^= bit
	}
}

// markName names the slot for the id of that sequence: spread, as the hash of a
// key is, over the tables, and told from others by the number itself.
func markName(seq uint64) name {
	block := seq / idsPerSlot
	return name{
		id:   block*0x9e3779b97f4a7c15&^(1<<32-1) | block<<1&(1<<32-1) | 1,
		rest: block >> 31 << (64 - restBits),
	}
}

func markBit(seq uint64) (word int, bit uint64) {
	i := seq % idsPerSlot
	return int(i / 64), 1 << (i % 64)
}

// roomForMarks is makeRoom for a slot of settled ids: the last eighth of the
// memory, and of a table that cannot grow any more, is kept for subjects.
func (m *MemoryStore) roomForMarks(sh *shard, id uint64, now int64) *table {
	t := sh.table(id)
	if m.free.Load()-growthBytes(len(t.slots)) >= m.bytes/8 {
		return m.makeRoom(sh, id, now)
	}
	t.sweep(shortSweep, now)
	if all := room(len(t.slots)); int(t.used) < all-(all+7)/8 {
		return t
	}
	return nil
}
