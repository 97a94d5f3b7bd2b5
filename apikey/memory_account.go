package apikey

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// An account is what a memory store keeps of one owner. The store's mu guards
// it, but for the state, which look-ups read without.
type account struct {
	state  atomic.Pointer[Owner] // replaced, never changed
	keys   listing[*node]
	labels map[label]*node
	events []*Event // in the order of their Seq
}

// A label is taken once.
type label struct {
	epoch int64
	text  string
}

func newAccount(id string) *account {
	a := &account{keys: listing[*node]{order: oldestKey}, labels: make(map[label]*node)}
	a.state.Store(&Owner{ID: id, Epoch: 1})
	return a
}

// decide replaces what was decided about the owner, the chain of events apart.
func (a *account) decide(o Owner) {
	is := a.state.Load()
	o.Events, o.Head, o.ChangedAt = is.Events, is.Head, toMicros(o.ChangedAt)
	a.state.Store(&o)
}

// append chains a copy of e to the events before, and returns it.
func (a *account) append(e Event) *Event {
	o := *a.state.Load()
	o.Events++
	e.Seq, e.At, e.Changes = o.Events, toMicros(e.At), slices.Clone(e.Changes)
	e.Sum = e.Link(o.Head)
	o.Head = e.Sum
	a.events = append(a.events, &e)
	a.state.Store(&o)
	return &e
}

// count returns how many keys of the owner count under c, but those that the
// change at hand replaces.
func (a *account) count(c *Cap, owner *Owner) int {
	count := 0
	for _, n := range a.keys.items {
		if !n.moving && c.counts(n.rec.Load(), owner) {
			count++
		}
	}
	return count
}

// unlabel frees the label of a record that is about to be replaced.
func (n *node) unlabel() {
	if rec := n.rec.Load(); rec.Label != "" {
		delete(n.owner.labels, label{rec.Epoch, rec.Label})
	}
}

// relabel takes the label of the record that the node has now.
func (n *node) relabel() {
	if rec := n.rec.Load(); rec.Label != "" {
		n.owner.labels[label{rec.Epoch, rec.Label}] = n
	}
}

func oldestKey(a, b *node) int {
	x, y := &a.rec.Load().Key, &b.rec.Load().Key
	return cmp.Or(x.CreatedAt.Compare(y.CreatedAt), cmp.Compare(x.ID, y.ID))
}

// page returns what q selects of events, which are sorted oldest first, in the
// order that q asks for reversed or not.
func (q *EventQuery) page(events []*Event) []Event {
	if !q.After.IsZero() {
		after := &Event{At: q.After.At, Owner: q.After.Owner, Seq: q.After.Seq}
		i, there := slices.BinarySearchFunc(events, after, q.oldest)
		switch {
		case !q.OldestFirst:
			events = events[:i]
		case there:
			events = events[i+1:]
		default:
			events = events[i:]
		}
	}
	var page []Event
	for i := range events {
		e := events[i]
		if !q.OldestFirst {
			e = events[len(events)-1-i]
		}
		if len(page) == q.Limit {
			break
		}
		if q.Selects(e) {
			own := *e
			own.Changes = slices.Clone(e.Changes)
			page = append(page, own)
		}
	}
	return page
}
