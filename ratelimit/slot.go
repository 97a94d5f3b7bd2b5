package ratelimit

// A slot holds the state of one subject under one limit in 32 bytes: 80 bits of
// what names it, and a cell in the other 176 where its numbers are not larger
// than they mostly are.
type slot struct {
	id   uint64 // 32 bits of the subject, by which the slot is found, and 32 more of subject and limit; 0: empty
	head uint64 // 16 more of subject and limit, 2 of kind, 46 of time: see the kinds
	body [2]uint64
}

const slotBytes = 32

// What a slot holds, by the two bits of kind in its head.
const (
	kindPlain = uint64(iota) << timeBits // a cell; the time is its At
	kindSince                            // the same, with Part as the distance back from At: the start of a window
	kindWide                             // body[0] is the index of the table's wide state
	kindMarks                            // body has refunded ids; the time is their end, in units of 1<<markUnit
	kindMask  = uint64(3) << timeBits
)

// The widths of a cell's numbers. Times count from the store's start: At for
// two years, Expires for one after At, Part and Used up to 3.5e13 and 2.7e11.
// A cell with a larger number becomes a wide one, as does any with a negative
// one, such as an overdrawn bucket's.
const (
	timeBits = 46
	restBits = 16 // of the name, in head
	spanBits = 45
	partBits = 45
	usedBits = 2 * halfBits
	halfBits = 64 - spanBits

	timeMask = 1<<timeBits - 1
	halfMask = 1<<halfBits - 1
	restMask = uint64(1<<restBits-1) << (64 - restBits)
)

func (s *slot) is(n name) bool { return s.id == n.id && s.head&restMask == n.rest }

func (s *slot) kind() uint64 { return s.head & kindMask }

// pack makes c the slot's cell, unless it is too large for that. All arithmetic
// wraps around, forth here and back in cell, so whatever fits is kept exactly.
func (s *slot) pack(c Cell, base int64) bool {
	at, span, used := uint64(c.At-base), uint64(c.Expires-c.At), uint64(c.Used)
	kind, part := kindPlain, uint64(c.Part)
	if part>>partBits != 0 {
		kind, part = kindSince, uint64(c.At-c.Part)
	}
	if at>>timeBits|span>>spanBits|part>>partBits|used>>usedBits != 0 {
		return false
	}
	s.head = s.head&restMask | kind | at
	s.body = [2]uint64{span<<halfBits | used>>halfBits, part<<halfBits | used&halfMask}
	return true
}

// cell returns what pack was given.
func (s *slot) cell(base int64) Cell {
	at, part := base+int64(s.head&timeMask), int64(s.body[1]>>halfBits)
	if s.kind() == kindSince {
		part = at - part
	}
	return Cell{
		At:      at,
		Used:    int64(s.body[0]&halfMask<<halfBits | s.body[1]&halfMask),
		Part:    part,
		Expires: at + int64(s.body[0]>>halfBits),
	}
}

// ends returns the time, counted from the store's start, from which a slot that
// is not wide is as good as empty.
func (s *slot) ends() int64 {
	if s.kind() == kindMarks {
		return int64(s.head&timeMask) << markUnit
	}
	return int64(s.head&timeMask) + int64(s.body[0]>>halfBits)
}

// A wide is a state that does not fit into a slot: a cell with large numbers, or
// a log.
type wide struct {
	cell    Cell // of a log, At alone
	entries []Entry
	ends    int64 // as of a slot; of an unused wide, the index of the next unused one and one more
}

const (
	wideBytes  = 64
	entryBytes = 32
)
