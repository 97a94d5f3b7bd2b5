package apikey

import (
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// A node is a key's place in a memory store. Records are replaced, never
// changed, so that they can be read without a lock.
type node struct {
	rec    atomic.Pointer[Record]
	used   atomic.Int64 // Key.LastUsedAt in microseconds since 1970, or never
	owner  *account
	moving bool // an update of the change at hand replaces the record; guarded by mu
}

const never = math.MinInt64

// lastUsed returns Key.LastUsedAt.
func (n *node) lastUsed() time.Time {
	if at := n.used.Load(); at != never {
		return time.UnixMicro(at).UTC()
	}
	return time.Time{}
}

// record returns what the node holds now.
func (n *node) record() Record {
	rec := *n.rec.Load()
	rec.Owner, rec.Key.LastUsedAt = *n.owner.state.Load(), n.lastUsed()
	return rec
}

// selectedBy reports whether q selects the node's record.
func (n *node) selectedBy(q *Query) bool {
	rec := n.rec.Load()
	return q.selects(&rec.Key, effective(rec, n.owner.state.Load()), n.lastUsed())
}

// touch moves the last use forward. It requires that mu is held.
func (n *node) touch(at time.Time) {
	if !at.IsZero() && at.UnixMicro() > n.used.Load() {
		n.used.Store(at.UnixMicro())
	}
}

// restamped returns the record that r makes of the node's, or nil where r does
// not fit.
func (n *node) restamped(r *Restamp) *Record {
	old := n.rec.Load()
	if old.Digest != r.Was || old.Imported != r.Imported {
		return nil
	}
	rec := *old
	rec.Digest, rec.Imported = r.Digest, Imported{}
	rec.Key.Version++
	return &rec
}

// stored returns a copy of rec as a database would give it back.
func stored(rec *Record) *Record {
	own := *rec
	k := &own.Key
	k.CreatedAt, k.SecretAt, k.ExpiresAt, k.Suspended = toMicros(k.CreatedAt), toMicros(k.SecretAt), toMicros(k.ExpiresAt), false
	own.Owner = Owner{} // the account's, at each reading
	return &own
}

// newestFirst returns what q selects of nodes, which are sorted oldest first.
func newestFirst(q *Query, nodes []*node) []Record {
	if !q.After.IsZero() {
		end, _ := slices.BinarySearchFunc(nodes, q.After, func(n *node, after Cursor) int {
			return q.Order.compare(after, q.Order.position(&n.rec.Load().Key))
		})
		nodes = nodes[:end]
	}
	var page []*node
	for i := len(nodes) - 1; i >= 0 && len(page) < q.Limit; i-- {
		if nodes[i].selectedBy(q) {
			page = append(page, nodes[i])
		}
	}
	return records(page)
}

// soonestFirst returns what q selects of nodes, sorted by expiry. It looks at all of
// them.
func soonestFirst(q *Query, nodes []*node) []Record {
	place := func(n *node) Cursor { return q.Order.position(&n.rec.Load().Key) }
	var matching []*node
	for _, n := range nodes {
		if n.selectedBy(q) && (q.After.IsZero() || q.Order.compare(place(n), q.After) > 0) {
			matching = append(matching, n)
		}
	}
	slices.SortFunc(matching, func(a, b *node) int { return q.Order.compare(place(a), place(b)) })
	return records(matching[:min(q.Limit, len(matching))])
}

// records returns what nodes hold now.
func records(nodes []*node) []Record {
	list := make([]Record, len(nodes))
	for i, n := range nodes {
		list[i] = n.record()
	}
	return list
}
