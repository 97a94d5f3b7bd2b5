package webhook

import (
	"container/heap"
	"context"
	"slices"
	"strings"
	"time"
)

// A memoryQueue holds the endpoints that have something waiting, so that a claim
// looks at no others.
type memoryQueue struct {
	sorted []*memoryEndpoint // by ID
	fresh  []*memoryEndpoint // in no order, not among sorted
	idle   int               // those in both for which nothing waits any more
}

// add takes e in, for which something waits that did not before.
func (q *memoryQueue) add(e *memoryEndpoint) {
	if e.queued {
		q.idle--
		return
	}
	e.queued = true
	q.fresh = append(q.fresh, e)
}

// tidy drops idle endpoints when they are most, and sorts in the fresh ones.
func (q *memoryQueue) tidy() {
	idle := func(e *memoryEndpoint) bool {
		e.queued = e.waiting.Len() > 0
		return !e.queued
	}
	if q.idle > (len(q.sorted)+len(q.fresh))/2 {
		q.sorted, q.fresh, q.idle = slices.DeleteFunc(q.sorted, idle), slices.DeleteFunc(q.fresh, idle), 0
	}
	slices.SortFunc(q.fresh, func(a, b *memoryEndpoint) int { return strings.Compare(a.row.ID, b.row.ID) })
	n := len(q.sorted)
	q.sorted = append(q.sorted, q.fresh...)
	for k := len(q.fresh); k > 0; k-- {
		i, _ := find(q.sorted[:n], q.fresh[k-1].row.ID)
		copy(q.sorted[i+k:], q.sorted[i:n])
		q.sorted[i+k-1] = q.fresh[k-1]
		n = i
	}
	clear(q.fresh)
	q.fresh = q.fresh[:0]
}

// wakes is when something happens to d by time alone.
func (d *memoryDelivery) wakes() time.Time {
	if d.State == DeliverySending {
		return d.Lease
	}
	return d.Due
}

// place puts d where its state and its instants belong, after they changed. It
// requires s.mu.
func (s *MemoryStore) place(d *memoryDelivery) {
	e := d.endpoint
	before := e.waiting.Len()
	e.waiting.keep(d, !d.State.Ended() && !d.gone)
	e.inFlight.keep(d, d.State == DeliverySending && !d.gone)
	switch after := e.waiting.Len(); {
	case before == 0 && after > 0:
		s.queue.add(e)
	case before > 0 && after == 0:
		s.queue.idle++
	}
	if !d.State.Ended() && !d.gone && e.ended > 0 && d.Seq <= e.rows[e.ended-1].Seq {
		e.ended = e.at(d.Seq)
	}
}

// running returns how many attempts are in flight. It requires s.mu.
func (e *memoryEndpoint) running(now time.Time) int {
	for e.inFlight.Len() > 0 && !e.inFlight.rows[0].Lease.After(now) {
		heap.Pop(&e.inFlight)
	}
	return e.inFlight.Len()
}

// first returns the delivery that is to be handed out first, due or not, or nil.
// It requires s.mu.
func (e *memoryEndpoint) first() *memoryDelivery {
	if e.waiting.Len() == 0 {
		return nil
	}
	if !e.row.Settings.Ordered {
		return e.waiting.rows[0]
	}
	for e.rows[e.ended].gone || e.rows[e.ended].State.Ended() {
		e.ended++
	}
	return e.rows[e.ended]
}

// Claim implements [Store].
func (s *MemoryStore) Claim(ctx context.Context, c Claim) (Claims, error) {
	if err := s.enter(ctx, "Claim"); err != nil {
		return Claims{}, err
	}
	defer s.mu.Unlock()
	s.queue.tidy()
	out := Claims{Now: s.now()}
	list := s.queue.sorted
	begin, ok := find(list, c.After)
	if ok {
		begin++
	}
	for i := range list {
		e := list[(begin+i)%len(list)]
		if e.waiting.Len() == 0 {
			continue
		}
		out.Last = e.row.ID
		s.claim(e, c, &out)
		if len(out.Deliveries) >= c.Limit {
			out.Next = out.Now
			return out, nil
		}
		if next := e.next(out.Now); !next.IsZero() && (out.Next.IsZero() || next.Before(out.Next)) {
			out.Next = next
		}
	}
	return out, nil
}

// claim hands out what e has due and room for. It requires s.mu.
func (s *MemoryStore) claim(e *memoryEndpoint, c Claim, out *Claims) {
	now, first := out.Now, len(out.Deliveries)
	room := min(e.row.Room(now, e.running(now)), c.Limit-first)
	for range room {
		d := e.first()
		if d == nil || d.wakes().After(now) {
			break
		}
		d.State, d.Token, d.Lease = DeliverySending, c.Token, now.Add(c.Lease)
		d.Tries++
		d.Attempt++
		s.place(d)
		out.Deliveries = append(out.Deliveries, Claimed{Delivery: d.Delivery, Message: d.message.row})
	}
	n := len(out.Deliveries) - first
	if n == 0 {
		return
	}
	row := *e.row
	row.Claimed(now, n)
	if row.Health != e.row.Health {
		e.row = &row
	}
	for i := range out.Deliveries[first:] {
		out.Deliveries[first+i].Endpoint = e.row
	}
}

// next returns when time alone lets e hand out something else; zero for never. It
// requires s.mu.
func (e *memoryEndpoint) next(now time.Time) time.Time {
	d := e.first()
	if d == nil || e.row.State != EndpointActive {
		return time.Time{}
	}
	next := later(d.wakes(), e.row.ReadyAt())
	if !next.After(now) && e.running(now) > 0 {
		return e.inFlight.rows[0].Lease // no room before
	}
	return next
}

// Settle implements [Store].
func (s *MemoryStore) Settle(ctx context.Context, settlements []Settlement, fn func(now time.Time, cases []Case) error) error {
	if err := s.enter(ctx, "Settle"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	var (
		cases     = make([]Case, 0, len(settlements))
		rows      = make([]*memoryDelivery, 0, len(settlements))
		endpoints = map[*memoryEndpoint]*Endpoint{}
	)
	for i := range settlements {
		c := &settlements[i]
		d := s.delivery(c.Endpoint, c.Message)
		if d == nil {
			continue
		}
		if endpoints[d.endpoint] == nil {
			endpoints[d.endpoint] = new(d.endpoint.row.clone())
		}
		rows = append(rows, d)
		cases = append(cases, Case{
			Settlement: c, Endpoint: endpoints[d.endpoint], Delivery: d.Delivery,
			Late: d.State != DeliverySending || d.Token != c.Token,
		})
	}
	if len(cases) == 0 {
		return nil
	}
	decided := slices.Clone(cases)
	if err := fn(s.now(), decided); err != nil {
		return err
	}
	for i, d := range rows {
		if !cases[i].Late {
			s.decide(d, &decided[i].Delivery)
		}
		s.note(d, cases[i].Settlement)
	}
	for e, row := range endpoints {
		row.ID = e.row.ID
		s.write(e, *row)
	}
	return nil
}

// decide writes what became of d. It requires s.mu.
func (s *MemoryStore) decide(d *memoryDelivery, to *Delivery) {
	d.State, d.Due, d.Tries, d.Attempt, d.Token, d.Lease = to.State, to.Due, to.Tries, to.Attempt, to.Token, to.Lease
	d.Failure, d.Manual, d.EndedAt = to.Failure, to.Manual, to.EndedAt
	s.place(d)
}

// note files the attempt of c, if there is one and it is not there yet. It requires
// s.mu.
func (s *MemoryStore) note(d *memoryDelivery, c *Settlement) {
	if c.Attempt.Number == 0 {
		return
	}
	i, ok := slices.BinarySearchFunc(d.attempts, c.Attempt.Number, func(a Attempt, n int) int { return a.Number - n })
	if ok {
		return
	}
	a := c.Attempt
	a.Endpoint, a.Message, a.Body = d.Endpoint, d.Message, slices.Clone(a.Body)
	d.attempts = slices.Insert(d.attempts, i, a)
	s.bytes += a.size()
}

// A memoryHeap holds deliveries, the one that wakes first on top and of equal ones
// that of the least Seq.
type memoryHeap struct {
	rows []*memoryDelivery
	slot int // of their pos
}

// keep takes d in, puts it right, or throws it out.
func (h *memoryHeap) keep(d *memoryDelivery, in bool) {
	switch i := d.pos[h.slot]; {
	case in && i >= 0:
		heap.Fix(h, i)
	case in:
		heap.Push(h, d)
	case i >= 0:
		heap.Remove(h, i)
	}
}

// Len implements heap.Interface.
func (h *memoryHeap) Len() int { return len(h.rows) }

// Less implements heap.Interface.
func (h *memoryHeap) Less(i, j int) bool {
	a, b := h.rows[i], h.rows[j]
	if c := a.wakes().Compare(b.wakes()); c != 0 {
		return c < 0
	}
	return a.Seq < b.Seq
}

// Swap implements heap.Interface.
func (h *memoryHeap) Swap(i, j int) {
	h.rows[i], h.rows[j] = h.rows[j], h.rows[i]
	h.rows[i].pos[h.slot], h.rows[j].pos[h.slot] = i, j
}

// Push implements heap.Interface.
func (h *memoryHeap) Push(x any) {
	d := x.(*memoryDelivery) //nolint:forcetypeassert // heap.Push is only ever given *memoryDelivery
	d.pos[h.slot] = len(h.rows)
	h.rows = append(h.rows, d)
}

// Pop implements heap.Interface.
func (h *memoryHeap) Pop() any {
	n := len(h.rows) - 1
	d := h.rows[n]
	h.rows[n], h.rows = nil, h.rows[:n]
	d.pos[h.slot] = -1
	return d
}
