package webhook

import (
	"bytes"
	"context"
	"slices"
	"sort"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Endpoints implements [Store].
func (s *MemoryStore) Endpoints(ctx context.Context, q EndpointQuery) ([]Endpoint, error) {
	if err := s.enter(ctx, "Endpoints"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	list := s.ordered
	if q.Account != "" {
		list = s.accounts[q.Account]
	}
	if q.ID != "" {
		list = nil
		if e := s.endpoints[q.ID]; e != nil && (q.Account == "" || q.Account == e.row.Account) {
			list = []*memoryEndpoint{e}
		}
	}
	begin, ok := find(list, q.After)
	if ok {
		begin++
	}
	var out []Endpoint
	for _, e := range list[begin:] {
		if len(out) >= q.Limit {
			break
		}
		if e.row.State != EndpointDeleted || q.ID != "" {
			out = append(out, e.row.clone())
		}
	}
	return out, nil
}

// Move implements [Store].
func (s *MemoryStore) Move(ctx context.Context, m Move) (int, error) {
	if err := s.enter(ctx, "Move"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	now, n := s.now(), 0
	for _, d := range s.movable(m) {
		if n >= m.Limit {
			break
		}
		if d.gone || d.CreatedAt.Before(m.Since) || !slices.Contains(m.From, d.State) {
			continue
		}
		to := d.Delivery
		if to.State = m.To; m.To == DeliveryPending {
			if d.State == DeliveryPending && !d.Due.After(now) {
				continue
			}
			to.Due, to.Attempt, to.Failure, to.EndedAt, to.Manual = now, 0, 0, time.Time{}, m.Manual
		} else {
			to.EndedAt = now
		}
		s.decide(d, &to)
		n++
	}
	return n, nil
}

// movable returns the deliveries that m may move, and others, in ascending order of
// Seq. It requires s.mu.
func (s *MemoryStore) movable(m Move) []*memoryDelivery {
	if m.Message != "" {
		if d := s.delivery(m.Endpoint, m.Message); d != nil {
			return []*memoryDelivery{d}
		}
		return nil
	}
	e := s.endpoints[m.Endpoint]
	if e == nil {
		return nil
	}
	begin := sort.Search(len(e.rows), func(i int) bool { return !e.rows[i].CreatedAt.Before(m.Since) })
	if !slices.ContainsFunc(m.From, DeliveryState.Ended) {
		begin = max(begin, e.ended)
	}
	return e.rows[begin:]
}

// Deliveries implements [Store].
func (s *MemoryStore) Deliveries(ctx context.Context, q DeliveryQuery) ([]Delivery, error) {
	if err := s.enter(ctx, "Deliveries"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var list []*memoryDelivery // by Seq
	switch e, m := s.endpoints[q.Endpoint], s.messages[q.Message]; {
	case q.Endpoint != "" && q.Message != "":
		if d := s.delivery(q.Endpoint, q.Message); d != nil {
			list = []*memoryDelivery{d}
		}
	case e != nil:
		list = e.rows
		if q.Before != 0 {
			list = list[:e.at(q.Before)]
		}
	case m != nil:
		list = m.deliveries
	}
	var out []Delivery
	for _, d := range slices.Backward(list) {
		if len(out) >= q.Limit {
			break
		}
		if !d.gone && (q.Before == 0 || d.Seq < q.Before) && (len(q.States) == 0 || slices.Contains(q.States, d.State)) {
			out = append(out, d.Delivery)
		}
	}
	return out, nil
}

// Attempts implements [Store].
func (s *MemoryStore) Attempts(ctx context.Context, endpoint, message string, after, limit int) ([]Attempt, error) {
	if err := s.enter(ctx, "Attempts"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	d := s.delivery(endpoint, message)
	if d == nil {
		return nil, nil
	}
	begin := sort.Search(len(d.attempts), func(i int) bool { return d.attempts[i].Number > after })
	out := slices.Clone(d.attempts[begin:min(begin+limit, len(d.attempts))])
	for i := range out {
		out[i].Body = bytes.Clone(out[i].Body)
	}
	return out, nil
}

// Message implements [Store].
func (s *MemoryStore) Message(ctx context.Context, id string) (Message, error) {
	if err := s.enter(ctx, "Message"); err != nil {
		return Message{}, err
	}
	defer s.mu.Unlock()
	m := s.messages[id]
	if m == nil {
		return Message{}, errors.Wrap("webhook.MemoryStore.Message", ErrNotFound)
	}
	out := *m.row
	out.Payload = bytes.Clone(out.Payload)
	return out, nil
}

// Prune implements [Store].
func (s *MemoryStore) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.enter(ctx, "Prune"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	n := 0
	for i, m := range s.history {
		if m == nil {
			continue
		}
		if n >= limit || !m.row.At.Before(before) {
			break
		}
		if m.ended() {
			s.forget(m)
			s.history[i] = nil
			s.pruned++
			n++
		}
	}
	if s.pruned > len(s.history)/2 {
		s.history = slices.DeleteFunc(s.history, func(m *memoryMessage) bool { return m == nil })
		s.pruned = 0
	}
	for e := range s.deleted {
		if e.removed == len(e.rows) {
			delete(s.deleted, e)
			delete(s.endpoints, e.row.ID)
			s.ordered = remove(s.ordered, e)
		}
	}
	return n, nil
}

// ended reports whether nothing is to become of m any more.
func (m *memoryMessage) ended() bool {
	return !slices.ContainsFunc(m.deliveries, func(d *memoryDelivery) bool {
		return !d.State.Ended() && d.endpoint.row.State != EndpointDeleted
	})
}

// forget drops m with its deliveries and attempts. It requires s.mu.
func (s *MemoryStore) forget(m *memoryMessage) {
	delete(s.messages, m.row.ID)
	s.bytes -= m.size()
	for _, d := range m.deliveries {
		for i := range d.attempts {
			s.bytes -= d.attempts[i].size()
		}
		d.gone = true
		s.place(d)
		d.endpoint.dropped()
		d.message, d.attempts = nil, nil
	}
}

// dropped counts one more row that is gone, and drops such rows when they are
// most. It requires the store's mutex.
func (e *memoryEndpoint) dropped() {
	if e.removed++; e.removed <= len(e.rows)/2 {
		return
	}
	for _, d := range e.rows[:e.ended] {
		if d.gone {
			e.ended--
		}
	}
	e.rows = slices.DeleteFunc(e.rows, func(d *memoryDelivery) bool { return d.gone })
	e.removed = 0
}
