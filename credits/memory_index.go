package credits

import (
	"container/heap"
	"math"
	"time"
)

// A dueHeap keeps rows by an instant at which something is due, and then by ID,
// the first on top. A row knows its place, so that it can be moved and removed
// in place.
type dueHeap[R dueRow[R]] struct{ items []dueItem[R] }

type dueRow[R any] interface {
	place() *int32 // in the heap, plus 1
	less(R) bool   // of two rows that are due together, which is first
}

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

func (h *dueHeap[R]) before(i, j int) bool {
	a, b := &h.items[i], &h.items[j]
	return a.at < b.at || a.at == b.at && a.row.less(b.row)
}

func (h *dueHeap[R]) swap(i, j int) {
	a, b := h.items[i], h.items[j]
	h.put(i, b)
	h.put(j, a)
}

func (h *dueHeap[R]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *dueHeap[R]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if right := child + 1; right < len(h.items) && h.before(right, child) {
			child = right
		}
		if !h.before(child, i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

// until returns the first rows that are due at now, in any order, at most limit
// when that is not 0, and whether there are more.
func (h *dueHeap[R]) until(now time.Time, limit int) (rows []R, more bool) {
	if len(h.items) == 0 || h.items[0].at > now.UnixMicro() {
		return nil, false
	}
	// What was taken out leaves its children to choose from: the edge is a heap
	// of places in the heap.
	edge := dueEdge[R]{of: h, at: []int{0}}
	for edge.Len() > 0 && h.items[edge.at[0]].at <= now.UnixMicro() {
		if limit > 0 && len(rows) == limit {
			return rows, true
		}
		i, _ := heap.Pop(&edge).(int)
		rows = append(rows, h.items[i].row)
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.items); child++ {
			heap.Push(&edge, child)
		}
	}
	return rows, false
}

// A dueEdge is places in a heap, the first one on top, for package heap.
type dueEdge[R dueRow[R]] struct {
	of *dueHeap[R]
	at []int
}

func (e *dueEdge[R]) Len() int           { return len(e.at) }
func (e *dueEdge[R]) Less(i, j int) bool { return e.of.before(e.at[i], e.at[j]) }
func (e *dueEdge[R]) Swap(i, j int)      { e.at[i], e.at[j] = e.at[j], e.at[i] }

// Push and Pop are for package heap alone.
func (e *dueEdge[R]) Push(x any) { i, _ := x.(int); e.at = append(e.at, i) }
func (e *dueEdge[R]) Pop() any {
	last := e.at[len(e.at)-1]
	e.at = e.at[:len(e.at)-1]
	return last
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
	q.After = max(q.After, 0)
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
