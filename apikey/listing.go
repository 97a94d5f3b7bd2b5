package apikey

import "slices"

// A listing is things sorted by an order, when they are read. What comes is
// mostly the newest, or nearly so where several come at once, so it mostly stays
// sorted. The store's mu guards it.
type listing[T any] struct {
	order    func(a, b T) int
	items    []T
	unsorted bool
}

// near is how far from the end an item is put in its place at once: further than
// a goroutine falls back that is suspended between the clock and the store. One
// that belongs further down waits, at the end, to be sorted in with its like.
const near = 1 << 12

func (l *listing[T]) add(item T) {
	at := len(l.items)
	if !l.unsorted && at > 0 && l.order(l.items[at-1], item) > 0 {
		from := max(0, at-near)
		place, _ := slices.BinarySearchFunc(l.items[from:], item, l.order)
		if l.unsorted = place == 0 && from > 0; !l.unsorted {
			at = from + place
		}
	}
	l.items = slices.Insert(l.items, at, item)
}

// sorted returns all items in order.
func (l *listing[T]) sorted() []T {
	if l.unsorted {
		slices.SortFunc(l.items, l.order)
		l.unsorted = false
	}
	return l.items
}
