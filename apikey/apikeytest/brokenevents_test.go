package apikeytest

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func eventFaults() []fault {
	came, given := map[string]apikey.Event{}, map[string][]apikey.FieldChange{} // by Note
	return []fault{
		{"keeps 32 bits of a count", caught("events come back as they were given"), broken{
			event: func(e *apikey.Event) { e.Count = int64(int32(e.Count)) },
		}},
		{"keeps events to the millisecond", caught("events come back as they were given"), broken{
			event: func(e *apikey.Event) { e.At = e.At.Truncate(time.Millisecond) },
		}},
		{"keeps 64 changes of fields", caught("events come back as they were given"), broken{
			event: func(e *apikey.Event) { e.Changes = e.Changes[:min(len(e.Changes), 64)] },
		}},
		{"has an address where there is none", caught("an event with nothing in it"), broken{
			event: func(e *apikey.Event) {
				if !e.Actor.IP.IsValid() {
					e.Actor.IP = netip.IPv6Unspecified()
				}
			},
		}},
		{"drops the zone of an address", caught("the addresses of actors"), broken{
			event: func(e *apikey.Event) { e.Actor.IP = e.Actor.IP.WithZone("") },
		}},
		{"takes an address out of its dress", caught("the addresses of actors"), broken{
			event: func(e *apikey.Event) { e.Actor.IP = e.Actor.IP.Unmap() },
		}},
		{"escapes text in JSON and leaves it so", caught("the text of events"), broken{
			event: func(e *apikey.Event) {
				for i := range e.Changes {
					e.Changes[i].Before = strings.ReplaceAll(e.Changes[i].Before, "<", `\u003c`)
				}
			},
		}},
		{"trims notes", caught("the text of events"), broken{event: func(e *apikey.Event) { e.Note = strings.TrimSpace(e.Note) }}},
		{"writes events in the wrong order", caught("events are numbered for each owner"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) { slices.Reverse(c.Events) },
		}},
		{"does not chain", caught("events are numbered for each owner", "events come back as they were given"), broken{
			event: func(e *apikey.Event) { e.Sum = e.Link([32]byte{}) },
		}},
		{"keeps no head", caught("events are numbered for each owner"), broken{
			owner: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Owner, error) {
				o, err := m.Owner(ctx, id)
				o.Head = [32]byte{}
				return o, err
			},
		}},
		{"keeps the number that an event came with", caught("Seq and Sum that an event came with"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				for _, e := range c.Events {
					came[e.Note] = e
				}
			},
			event: func(e *apikey.Event) { e.Seq = cmp.Or(came[e.Note].Seq, e.Seq) },
		}},
		{"decides about an owner to write of it", caught("events need no key"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				for _, e := range c.Events {
					if o, _ := m.Owner(context.Background(), e.Owner); c.Owner == nil && o.Version == 0 {
						c.Owner = &apikey.Owner{ID: e.Owner, Epoch: 1, Version: 1}
					}
				}
			},
		}},
		{"writes of nobody in particular nothing", caught("the empty owner has events"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				c.Events = slices.DeleteFunc(c.Events, func(e apikey.Event) bool { return e.Owner == "" })
			},
		}},
		{"writes as many events as one statement takes", caught("a change brings up to a thousand events"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				if len(c.Events) > 999 {
					return errors.New("too many SQL variables")
				}
				return m.Apply(ctx, c)
			},
		}},
		{"keeps the caller's events", caught("a store keeps its own copy of events"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				for _, e := range c.Events {
					given[e.Note] = e.Changes
				}
				return m.Apply(ctx, c)
			},
			event: func(e *apikey.Event) { e.Changes = given[e.Note] },
		}},
		{"leaves a gap", caught("concurrent changes of one owner"), broken{
			event: func(e *apikey.Event) {
				if e.Seq > 20 {
					e.Seq++
				}
			},
		}},
		{"mixes the events of changes", caught("concurrent changes of one owner"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				if len(c.Events) != 3 {
					return m.Apply(ctx, c)
				}
				err := m.Apply(ctx, events(c.Events[2]))
				return errors.Join(err, m.Apply(ctx, events(c.Events[:2]...)))
			},
		}},
		{"writes events afterwards", caught("an event and the change that it tells of"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				late := events(c.Events...)
				c.Events = nil
				if err := m.Apply(ctx, c); err != nil {
					return err
				}
				gap()
				return m.Apply(ctx, late)
			},
		}},
	}
}

// eventsBy returns an Events that selects and sorts otherwise.
func eventsBy(selects func(q *apikey.EventQuery, e *apikey.Event) bool, less func(q *apikey.EventQuery, a, b apikey.Event) int) func(*apikey.MemoryStore, context.Context, apikey.EventQuery) ([]apikey.Event, error) {
	return func(m *apikey.MemoryStore, ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
		all, err := m.Events(ctx, apikey.EventQuery{AnyOwner: true, Limit: 1 << 20})
		all = slices.DeleteFunc(all, func(e apikey.Event) bool { return !selects(&q, &e) })
		slices.SortStableFunc(all, func(a, b apikey.Event) int {
			if !q.OldestFirst {
				a, b = b, a
			}
			return less(&q, a, b)
		})
		return all[:min(len(all), q.Limit)], err
	}
}

func selectsWell(q *apikey.EventQuery, e *apikey.Event) bool { return q.Selects(e) }

func eventQueryFaults() []fault {
	told := map[apikey.EventQuery]int{} // how many events of a query
	return []fault{
		{"sorts events by instant alone", caught("events of one owner are newest first"), broken{
			events: eventsBy(selectsWell, func(_ *apikey.EventQuery, a, b apikey.Event) int { return a.At.Compare(b.At) }),
		}},
		{"knows one direction", caught("events of one owner are newest first", "events of any owner are sorted"), broken{
			eventQuery: func(q *apikey.EventQuery) { q.OldestFirst = true },
		}},
		{"does not find events of nobody", caught("a query of events that selects none"), broken{
			events: func(m *apikey.MemoryStore, ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
				list, err := m.Events(ctx, q)
				if err == nil && len(list) == 0 {
					return nil, apikey.ErrNotFound
				}
				return list, err
			},
		}},
		{"sorts by Seq before it sorts by owner", caught("events of any owner are sorted"), broken{
			events: eventsBy(selectsWell, func(_ *apikey.EventQuery, a, b apikey.Event) int {
				return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Owner, b.Owner))
			}),
		}},
		{"sorts owners as a dictionary does", caught("events of any owner are sorted"), broken{
			events: eventsBy(selectsWell, func(_ *apikey.EventQuery, a, b apikey.Event) int {
				return cmp.Or(a.At.Compare(b.At), cmp.Compare(strings.ToLower(a.Owner), strings.ToLower(b.Owner)), cmp.Compare(a.Seq, b.Seq))
			}),
		}},
		{"takes any owner but the one named", caught("events of any owner are sorted"), broken{
			eventQuery: func(q *apikey.EventQuery) { q.AnyOwner = q.AnyOwner && q.Owner == "" },
		}},
		{"ignores the key", caught("a query selects events by owner, key and kind", "a query selects the events that EventQuery.Selects says"), broken{
			eventQuery: func(q *apikey.EventQuery) { q.Key = "" },
		}},
		{"ignores the kind", caught("a query selects events by owner, key and kind", "a query selects the events that EventQuery.Selects says"), broken{
			eventQuery: func(q *apikey.EventQuery) { q.Kind = "" },
		}},
		{"includes the last instant", caught("a query with Until"), broken{
			eventQuery: func(q *apikey.EventQuery) {
				if !q.Until.IsZero() {
					q.Until = q.Until.Add(time.Microsecond)
				}
			},
		}},
		{"filters events after the limit", caught("a query selects the events that EventQuery.Selects says"), broken{
			events: func(m *apikey.MemoryStore, ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
				wide := q
				wide.Key, wide.Kind = "", ""
				list, err := m.Events(ctx, wide)
				return slices.DeleteFunc(list, func(e apikey.Event) bool { return !q.Selects(&e) }), err
			},
		}},
		{"pages by instant alone", caught("pages of events bring each once"), broken{
			eventQuery: func(q *apikey.EventQuery) {
				if q.AnyOwner {
					q.After.Owner, q.After.Seq = "", 0
				}
			},
		}},
		{"repeats the last of a page", caught("pages of events bring each once", "a page of events follows"), broken{
			eventQuery: func(q *apikey.EventQuery) {
				if q.After.Seq > 0 && q.OldestFirst {
					q.After.Seq--
				} else if q.After.Seq > 0 {
					q.After.Seq++
				}
			},
		}},
		{"pages by counting", caught("pages of events never repeat or skip"), broken{
			events: func(m *apikey.MemoryStore, ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
				whole, limit := q, q.Limit
				whole.After, whole.Limit = apikey.EventCursor{}, 1000
				list, err := m.Events(ctx, whole)
				if q.After.IsZero() {
					told[whole] = 0
				}
				list = list[min(told[whole], len(list)):]
				list = list[:min(limit, len(list))]
				told[whole] += len(list)
				return list, err
			},
		}},
		{"pages from an event alone", caught("a page of events follows"), broken{
			events: func(m *apikey.MemoryStore, ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
				all, err := m.Events(ctx, apikey.EventQuery{AnyOwner: true, Limit: 1000})
				if !q.After.IsZero() && !slices.ContainsFunc(all, func(e apikey.Event) bool { return e.Seq == q.After.Seq && e.Owner == q.After.Owner }) {
					return nil, err
				}
				return m.Events(ctx, q)
			},
		}},
	}
}
