package apikey

import (
	"cmp"
	"slices"
)

// A listing is the nodes of a memory store, or of one owner, sorted oldest
// first when it is read. New keys are the newest, or nearly so where several are
// made at once, so it mostly stays sorted. The store's mu guards it.
type listing struct {
	nodes    []*node
	unsorted bool
}

// near is how far from the end a node is put in its place at once: further than
// a goroutine falls back that is suspended between the clock and the store. One
// that belongs further down waits, at the end, to be sorted in with its like.
const near = 1 << 12

func (l *listing) add(n *node) {
	at := len(l.nodes)
	if !l.unsorted && at > 0 && oldestFirst(l.nodes[at-1], n) > 0 {
		from := max(0, at-near)
		place, _ := slices.BinarySearchFunc(l.nodes[from:], n, oldestFirst)
		if l.unsorted = place == 0 && from > 0; !l.unsorted {
			at = from + place
		}
	}
	l.nodes = slices.Insert(l.nodes, at, n)
}

// page returns what q selects, in its order.
func (l *listing) page(q *Query) []Record {
	if l.unsorted {
		slices.SortFunc(l.nodes, oldestFirst)
		l.unsorted = false
	}
	if q.Order == SoonestFirst {
		return l.soonest(q)
	}
	end := len(l.nodes)
	if !q.After.IsZero() {
		end, _ = slices.BinarySearchFunc(l.nodes, q.After, func(n *node, after Cursor) int {
			return q.Order.compare(after, q.Order.position(&n.rec.Load().Key))
		})
	}
	var page []Record
	for i := end - 1; i >= 0 && len(page) < q.Limit; i-- {
		if rec := l.nodes[i].record(); q.Selects(&rec) {
			page = append(page, rec)
		}
	}
	return page
}

// soonest returns what q selects, sorted by expiry.
func (l *listing) soonest(q *Query) []Record {
	var page []Record
	for _, n := range l.nodes {
		rec := n.record()
		if q.Selects(&rec) && (q.After.IsZero() || q.Order.compare(q.Order.position(&rec.Key), q.After) > 0) {
			page = append(page, rec)
		}
	}
	slices.SortFunc(page, func(a, b Record) int {
		return q.Order.compare(q.Order.position(&a.Key), q.Order.position(&b.Key))
	})
	return page[:min(q.Limit, len(page))]
}

func oldestFirst(a, b *node) int {
	x, y := &a.rec.Load().Key, &b.rec.Load().Key
	if d := x.CreatedAt.Compare(y.CreatedAt); d != 0 {
		return d
	}
	return cmp.Compare(x.ID, y.ID)
}
