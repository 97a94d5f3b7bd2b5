package webhooktest

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// A model is what a store does, written as plainly as can be: every call looks at
// every row. Time is handed to it.
type model struct {
	endpoints  []webhook.Endpoint // by ID
	messages   []webhook.Message  // by publication
	deliveries []webhook.Delivery // by Seq
	attempts   []webhook.Attempt
	fanOut     map[string]int // deliveries that a message was filed as
}

func (m *model) endpoint(id string) *webhook.Endpoint {
	for i := range m.endpoints {
		if m.endpoints[i].ID == id {
			return &m.endpoints[i]
		}
	}
	return nil
}

func (m *model) delivery(endpoint, message string) *webhook.Delivery {
	for i := range m.deliveries {
		if d := &m.deliveries[i]; d.Endpoint == endpoint && d.Message == message {
			return d
		}
	}
	return nil
}

// publish returns what the store should. Deliveries get no Seq but their order.
func (m *model) publish(now time.Time, msg webhook.Message) (webhook.Publication, error) {
	for _, old := range m.messages {
		if old.ID != msg.ID {
			continue
		}
		if old.Account != msg.Account || old.Type != msg.Type || old.Endpoint != msg.Endpoint || old.ContentType != msg.ContentType || !bytes.Equal(old.Payload, msg.Payload) {
			return webhook.Publication{}, webhook.ErrIntent
		}
		return webhook.Publication{ID: old.ID, At: old.At, Deliveries: m.fanOut[old.ID], Replayed: true}, nil
	}
	if e := m.endpoint(msg.Endpoint); msg.Endpoint != "" && (e == nil || e.State == webhook.EndpointDeleted || e.Account != msg.Account) {
		return webhook.Publication{}, webhook.ErrNotFound
	}
	msg.At = now
	m.messages = append(m.messages, msg)
	n := 0
	for i := range m.endpoints {
		e := &m.endpoints[i]
		if e.Account != msg.Account || e.State == webhook.EndpointDeleted {
			continue
		}
		if msg.Endpoint == "" && e.Takes(msg.Type) || msg.Endpoint == e.ID {
			n++
			m.deliveries = append(m.deliveries, webhook.Delivery{
				Endpoint: e.ID, Message: msg.ID, Account: msg.Account, Type: msg.Type, State: pending, Due: now, CreatedAt: now,
			})
		}
	}
	m.fanOut[msg.ID] = n
	return webhook.Publication{ID: msg.ID, At: now, Deliveries: n}, nil
}

func (m *model) change(id string, fn func(e *webhook.Endpoint)) {
	e := m.endpoint(id)
	if e == nil {
		m.endpoints = append(m.endpoints, webhook.Endpoint{ID: id})
		slices.SortFunc(m.endpoints, func(a, b webhook.Endpoint) int { return strings.Compare(a.ID, b.ID) })
		e = m.endpoint(id)
	}
	fn(e)
}

// due is when time alone makes d one to hand out.
func due(d *webhook.Delivery) time.Time {
	if d.State == sending {
		return d.Lease
	}
	return d.Due
}

// waiting returns what e could hand out at some time, in that order.
func (m *model) waiting(e *webhook.Endpoint) []*webhook.Delivery {
	var list []*webhook.Delivery
	for i := range m.deliveries {
		if d := &m.deliveries[i]; d.Endpoint == e.ID && !d.State.Ended() {
			list = append(list, d)
		}
	}
	if e.Settings.Ordered {
		return list[:min(1, len(list))]
	}
	slices.SortStableFunc(list, func(a, b *webhook.Delivery) int { return due(a).Compare(due(b)) })
	return list
}

// running returns how many of e are in flight.
func (m *model) running(e *webhook.Endpoint, now time.Time) (n int) {
	for _, d := range m.deliveries {
		if d.Endpoint == e.ID && d.State == sending && d.Lease.After(now) {
			n++
		}
	}
	return n
}

// claim returns what a claim at now should hand out, and when the next may.
func (m *model) claim(now time.Time, c webhook.Claim) (list []webhook.Delivery, next time.Time) {
	begin := slices.IndexFunc(m.endpoints, func(e webhook.Endpoint) bool { return e.ID > c.After })
	for i := range m.endpoints {
		e := &m.endpoints[(max(begin, 0)+i)%len(m.endpoints)]
		n, room := 0, e.Room(now, m.running(e, now))
		for _, d := range m.waiting(e) {
			if n == room || len(list) == c.Limit || due(d).After(now) {
				break
			}
			d.State, d.Token, d.Lease = sending, c.Token, now.Add(c.Lease)
			d.Tries++
			d.Attempt++
			list = append(list, *d)
			n++
		}
		if n > 0 {
			e.Claimed(now, n)
		}
		if len(list) == c.Limit {
			return list, now
		}
		if at := m.next(e, now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return list, next
}

// next returns when time alone lets e hand out something: the first instant at
// which anything happens to it that finds it with room and something due.
func (m *model) next(e *webhook.Endpoint, now time.Time) time.Time {
	list := m.waiting(e)
	instants := []time.Time{e.ReadyAt()}
	for i := range m.deliveries {
		if d := &m.deliveries[i]; d.Endpoint == e.ID && !d.State.Ended() {
			instants = append(instants, due(d))
		}
	}
	slices.SortFunc(instants, time.Time.Compare)
	for _, t := range instants {
		if t.After(now) && e.Room(t, m.running(e, t)) > 0 && slices.ContainsFunc(list, func(d *webhook.Delivery) bool { return !due(d).After(t) }) {
			return t
		}
	}
	return time.Time{}
}

// settle returns which settlements are late, and writes the others.
func (m *model) settle(settlements []webhook.Settlement, fn func(late bool, d *webhook.Delivery, e *webhook.Endpoint)) {
	for _, s := range settlements {
		d := m.delivery(s.Endpoint, s.Message)
		if d == nil {
			continue
		}
		late := d.State != sending || d.Token != s.Token
		target := *d
		fn(late, &target, m.endpoint(s.Endpoint))
		if !late {
			*d = target
		}
		a := s.Attempt
		a.Endpoint, a.Message = s.Endpoint, s.Message
		there := slices.ContainsFunc(m.attempts, func(b webhook.Attempt) bool {
			return b.Endpoint == a.Endpoint && b.Message == a.Message && b.Number == a.Number
		})
		if a.Number != 0 && !there {
			m.attempts = append(m.attempts, a)
		}
	}
}

// move returns those that should be moved. Instants are written by the caller, who
// has to ask the store for them.
func (m *model) move(now time.Time, v webhook.Move) []*webhook.Delivery {
	var list []*webhook.Delivery
	for i := range m.deliveries {
		d := &m.deliveries[i]
		switch {
		case len(list) == v.Limit, d.Endpoint != v.Endpoint, v.Message != "" && d.Message != v.Message, d.CreatedAt.Before(v.Since), !slices.Contains(v.From, d.State):
		case v.To == pending && d.State == pending && !d.Due.After(now):
		default:
			list = append(list, d)
		}
	}
	return list
}

// prune returns how many messages should be removed, and removes them.
func (m *model) prune(before time.Time, limit int) int {
	n := 0
	for _, msg := range slices.Clone(m.messages) {
		if n == limit || !msg.At.Before(before) {
			continue
		}
		of := func(d webhook.Delivery) bool { return d.Message == msg.ID }
		if slices.ContainsFunc(m.deliveries, func(d webhook.Delivery) bool {
			return of(d) && !d.State.Ended() && m.endpoint(d.Endpoint).State != webhook.EndpointDeleted
		}) {
			continue
		}
		n++
		m.messages = slices.DeleteFunc(m.messages, func(o webhook.Message) bool { return o.ID == msg.ID })
		m.deliveries = slices.DeleteFunc(m.deliveries, of)
		m.attempts = slices.DeleteFunc(m.attempts, func(a webhook.Attempt) bool { return a.Message == msg.ID })
	}
	m.endpoints = slices.DeleteFunc(m.endpoints, func(e webhook.Endpoint) bool {
		return e.State == webhook.EndpointDeleted && !slices.ContainsFunc(m.deliveries, func(d webhook.Delivery) bool { return d.Endpoint == e.ID })
	})
	return n
}

// sorted returns the attempts of one delivery in the order of Number.
func (m *model) sorted(endpoint, message string) []webhook.Attempt {
	var list []webhook.Attempt
	for _, a := range m.attempts {
		if a.Endpoint == endpoint && a.Message == message {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b webhook.Attempt) int { return cmp.Compare(a.Number, b.Number) })
	return list
}

// sameErr reports whether got is what the model wants.
func sameErr(got, want error) bool {
	if want == nil {
		return got == nil
	}
	return errors.Is(got, want)
}
