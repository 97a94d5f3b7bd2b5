package credits

import (
	"iter"
	"math"
	"time"
)

// A dueHeap keeps rows by the instant at which they are due, the earliest on
// top. A row knows its place, so that it can be moved and removed in place.
type dueHeap[R interface{ place() *int32 }] struct{ items []dueItem[R] }

type dueItem[R any] struct {
	at  int64 // microseconds
	row R
}

// set files row under the given instant, or takes it out when that is zero.
func (h *dueHeap[R]) set(row R, due time.Time) {
	at, place := int64(math.MaxInt64), row.place()
	i := int(*place) - 1
	switch {
	case !due.IsZero():
		at = due.UnixMicro()
	case i < 0:
		return
	}
	switch {
	case i < 0:
		h.items = append(h.items, dueItem[R]{})
		h.put(len(h.items)-1, dueItem[R]{at, row})
		h.up(len(h.items) - 1)
	case due.IsZero():
		last := len(h.items) - 1
		h.put(i, h.items[last])
		h.items[last] = dueItem[R]{}
		h.items = h.items[:last]
		*place = 0
		if i < last {
			h.up(i)
			h.down(i)
		}
	case h.items[i].at != at:
		h.items[i].at = at
		h.up(i)
		h.down(i)
	}
}

func (h *dueHeap[R]) put(i int, item dueItem[R]) {
	h.items[i] = item
	*item.row.place() = int32(i + 1)
}

func (h *dueHeap[R]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h.items[parent].at <= h.items[i].at {
			return
		}
		a, b := h.items[parent], h.items[i]
		h.put(parent, b)
		h.put(i, a)
		i = parent
	}
}

func (h *dueHeap[R]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if right := child + 1; right < len(h.items) && h.items[right].at < h.items[child].at {
			child = right
		}
		if h.items[i].at <= h.items[child].at {
			return
		}
		a, b := h.items[i], h.items[child]
		h.put(i, b)
		h.put(child, a)
		i = child
	}
}

// until yields the rows due at now, in any order.
func (h *dueHeap[R]) until(now time.Time) iter.Seq[R] {
	return func(yield func(R) bool) { h.walk(0, now.UnixMicro(), yield) }
}

func (h *dueHeap[R]) walk(i int, now int64, yield func(R) bool) bool {
	if i >= len(h.items) || h.items[i].at > now {
		return true
	}
	return yield(h.items[i].row) && h.walk(2*i+1, now, yield) && h.walk(2*i+2, now, yield)
}

// journalChunk is how many entries lie together.
const journalChunk = 256

// A memoryJournal is the entries of one account in chunks, so that adding one
// never copies the ones before.
type memoryJournal struct {
	chunks [][]Entry
	n      int
}

func (j *memoryJournal) append(entries []Entry) {
	for i := range entries {
		last := len(j.chunks) - 1
		if last < 0 || len(j.chunks[last]) == journalChunk {
			size := journalChunk
			if last < 0 {
				size = 8 // most accounts are small; this one chunk grows
			}
			j.chunks = append(j.chunks, make([]Entry, 0, size))
			last++
		}
		j.chunks[last] = append(j.chunks[last], entries[i])
		j.n++
	}
}

// at returns entry i, whose Seq is i+1.
func (j *memoryJournal) at(i int) *Entry { return &j.chunks[i/journalChunk][i%journalChunk] }

func (j *memoryJournal) query(q EntryQuery) []Entry {
	first, step, n := q.After, int64(1), int64(j.n)-q.After
	if q.Descending {
		first, step, n = q.After-2, -1, q.After-1
		if q.After == 0 || q.After > int64(j.n) {
			first, n = int64(j.n)-1, int64(j.n)
		}
	}
	if n = min(n, int64(q.Limit)); n <= 0 {
		return nil
	}
	list := make([]Entry, 0, n)
	for i := first; int64(len(list)) < n; i += step {
		list = append(list, *j.at(int(i)))
	}
	return list
}
