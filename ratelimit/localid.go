package ratelimit

import (
	"encoding/binary"

	"github.com/keytoll/keytoll/errors"
)

// newID returns an ID for what was taken here at a time. It holds the time, and
// they ascend: sixteen a microsecond, and ahead of the time when there are more.
func (l *local) newID(now int64) (id ID) {
	for {
		last := l.last.Load()
		next := max(last+1, uint64(min(max(now, 0), 1<<58))<<4)
		if l.last.CompareAndSwap(last, next) {
			binary.LittleEndian.PutUint64(id[:8], next^l.salt)
			binary.LittleEndian.PutUint64(id[8:], l.node)
			return id
		}
	}
}

// number returns what newID counted up, 0 for an ID of the store.
func (l *local) number(id ID) uint64 {
	if binary.LittleEndian.Uint64(id[8:]) != l.node {
		return 0
	}
	return binary.LittleEndian.Uint64(id[:8]) ^ l.salt
}

// takenAt returns the time that newID put into a number.
func takenAt(number uint64) int64 { return int64(number >> 4) }

// elsewhere reports whether id was given out by the policy of another node, or
// by that of an earlier process.
func (l *local) elsewhere(id ID) bool {
	half := binary.LittleEndian.Uint64(id[8:])
	n := l.number(id)
	return half&^0xffff == guardMark && (half != l.node || n == 0 || n > l.last.Load())
}

var errElsewhere error = &errors.Error{
	Code: errors.Invalid,
	Msg:  "this was taken by the policy of another process while the store failed; settle it there, or let it run out",
}
