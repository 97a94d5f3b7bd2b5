package apikeytest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// of returns a query for one owner's events.
func of(owner string) apikey.EventQuery { return apikey.EventQuery{Owner: owner, Limit: 100} }

// selected returns nil if q selects the events with these notes.
func selected(ctx context.Context, s apikey.Store, q apikey.EventQuery, notes ...int) error {
	got, err := s.Events(ctx, q)
	if err != nil {
		return fmt.Errorf("Events(%+v): %w", q, err)
	}
	var is, should []string
	for _, e := range got {
		is = append(is, e.Note)
	}
	for _, n := range notes {
		should = append(should, event("", n).Note)
	}
	if !slices.Equal(is, should) {
		return fmt.Errorf("Events(%+v) = %q, want %q", q, is, should)
	}
	return nil
}

var eventQueryChecks = []check{
	{"events of one owner are newest first, or oldest first, by Seq", func(ctx context.Context, s apikey.Store) error {
		early := event("o", 4)
		early.At = begin.Add(-time.Hour)
		if err := apply(ctx, s, events(event("o", 2), event("p", 3), early, event("o", 1))); err != nil {
			return err
		}
		few, oldest := of("o"), of("o")
		few.Limit, oldest.OldestFirst = 2, true
		return errors.Join(
			selected(ctx, s, of("o"), 1, 4, 2), selected(ctx, s, few, 1, 4), selected(ctx, s, oldest, 2, 4, 1), selected(ctx, s, of("p"), 3),
		)
	}},
	{"a query of events that selects none is empty", func(ctx context.Context, s apikey.Store) error {
		anybody := apikey.EventQuery{AnyOwner: true, Limit: 10}
		return errors.Join(
			selected(ctx, s, of("o")), selected(ctx, s, anybody), selected(ctx, s, of("")),
			apply(ctx, s, events(event("o", 1))), selected(ctx, s, of("p")), selected(ctx, s, of("")),
		)
	}},
	{"events of any owner are sorted by At, then owner, then Seq", func(ctx context.Context, s apikey.Store) error {
		at := func(owner string, n int, at time.Duration) apikey.Event {
			e := event(owner, n)
			e.At = begin.Add(at)
			return e
		}
		if err := apply(ctx, s, events(
			at("b", 1, 0), at("a", 2, 0), at("B", 3, 0), at("b", 4, 0), at("a", 5, time.Microsecond), at("", 6, 0), at("\u00e4", 7, 0), at("b", 8, -time.Second),
		)); err != nil {
			return err
		}
		anyone, oldest := apikey.EventQuery{AnyOwner: true, Limit: 100}, apikey.EventQuery{AnyOwner: true, OldestFirst: true, Limit: 100}
		named := anyone
		named.Owner = "a" // means nothing beside AnyOwner
		return errors.Join(
			selected(ctx, s, oldest, 8, 6, 3, 2, 1, 4, 7, 5), selected(ctx, s, anyone, 5, 7, 4, 1, 2, 3, 6, 8), selected(ctx, s, named, 5, 7, 4, 1, 2, 3, 6, 8),
		)
	}},
	{"a query selects events by owner, key and kind, byte by byte", func(ctx context.Context, s apikey.Store) error {
		var list []apikey.Event
		for i, text := range odd {
			e := event("o"+text, i)
			e.Key, e.Kind = "k"+text, apikey.EventKind("e"+text)
			list = append(list, e)
		}
		if err := apply(ctx, s, events(list...)); err != nil {
			return err
		}
		var faults []error
		for i, text := range odd {
			key, kind := apikey.EventQuery{AnyOwner: true, Key: "k" + text, Limit: 10}, apikey.EventQuery{AnyOwner: true, Kind: apikey.EventKind("e" + text), Limit: 10}
			faults = append(faults, selected(ctx, s, of("o"+text), i), selected(ctx, s, key, i), selected(ctx, s, kind, i))
		}
		return errors.Join(faults...)
	}},
	{"a query with Until leaves out events of that instant and later", func(ctx context.Context, s apikey.Store) error {
		late := event("o", 9)
		late.At = begin.Add(-time.Hour)
		err := apply(ctx, s, events(event("o", 1), event("o", 2), event("p", 2), event("o", 3), late))
		q, anyone := of("o"), apikey.EventQuery{AnyOwner: true, Limit: 10}
		q.Until, anyone.Until = begin.Add(2*time.Microsecond), begin.Add(3*time.Microsecond)
		return errors.Join(err, selected(ctx, s, q, 9, 1), selected(ctx, s, anyone, 2, 2, 1, 9))
	}},
	{"a query selects the events that EventQuery.Selects says, whatever its conditions", eventModel},
	{"pages of events bring each once, in either direction, also where instants are equal", func(ctx context.Context, s apikey.Store) error {
		return eventsPaged(ctx, s, func(int) error { return nil })
	}},
	{"pages of events never repeat or skip one while others come", func(ctx context.Context, s apikey.Store) error {
		return eventsPaged(ctx, s, func(page int) error {
			early, late := event("o", 5000+page), event("q", 6000+page)
			early.At, late.At = begin.Add(-time.Hour), begin.Add(time.Hour)
			return apply(ctx, s, events(early, late, event("o", 7000+page)))
		})
	}},
	{"a page of events follows a position where none is", func(ctx context.Context, s apikey.Store) error {
		err := apply(ctx, s, events(event("b", 2), event("b", 4), event("b", 6)))
		one, anyone := of("b"), apikey.EventQuery{AnyOwner: true, Limit: 10}
		one.After = apikey.EventCursor{Seq: 3} // of one owner, Seq alone
		up := one
		up.OldestFirst, up.After.Seq = true, 2
		end := one
		end.After.Seq = 1
		anyone.After = apikey.EventCursor{At: event("b", 4).At, Owner: "a", Seq: 100}
		forward := anyone
		forward.OldestFirst = true
		between := anyone
		between.After = apikey.EventCursor{At: event("b", 5).At, Owner: "b", Seq: 1}
		return errors.Join(err,
			selected(ctx, s, one, 4, 2), selected(ctx, s, up, 6), selected(ctx, s, end),
			selected(ctx, s, anyone, 2), selected(ctx, s, forward, 4, 6), selected(ctx, s, between, 4, 2),
		)
	}},
}

// eventModel compares random queries with what Selects says.
func eventModel(ctx context.Context, s apikey.Store) error {
	const seed = 21
	r := rand.New(rand.NewPCG(seed, seed))
	owners, keys := []string{"", "o", "p"}, []string{"", "k", "l"}
	kinds := []apikey.EventKind{apikey.EventCreated, apikey.EventRevoked}
	var stored []apikey.Event
	next := map[string]int64{}
	for n := range 80 {
		e := event(oneOf(r, owners), n)
		e.At, e.Key, e.Kind = begin.Add(time.Duration(r.IntN(6))*time.Second), oneOf(r, keys), oneOf(r, kinds)
		next[e.Owner]++
		e.Seq = next[e.Owner]
		stored = append(stored, e)
	}
	for batch := range slices.Chunk(stored, 10) {
		if err := apply(ctx, s, events(batch...)); err != nil {
			return err
		}
	}
	for step := range 80 {
		q := apikey.EventQuery{Owner: oneOf(r, owners), AnyOwner: r.IntN(2) == 0, OldestFirst: r.IntN(2) == 0, Limit: oneOf(r, []int{1, 7, 100})}
		if r.IntN(2) == 0 {
			q.Key = oneOf(r, keys)
		}
		if r.IntN(2) == 0 {
			q.Kind = oneOf(r, kinds)
		}
		if r.IntN(3) == 0 {
			q.Until = begin.Add(time.Duration(r.IntN(7)) * time.Second)
		}
		if r.IntN(2) == 0 {
			at := oneOf(r, stored)
			q.After = apikey.EventCursor{At: at.At, Owner: at.Owner, Seq: at.Seq}
		}
		var should []int
		for _, e := range sortedEvents(&q, stored) {
			if q.Selects(&e) && len(should) < q.Limit {
				should = append(should, int(e.Count)-1)
			}
		}
		if err := selected(ctx, s, q, should...); err != nil {
			return fmt.Errorf("seed %d, query %d: %w", seed, step, err)
		}
	}
	return nil
}

// sortedEvents returns list in the order of q.
func sortedEvents(q *apikey.EventQuery, list []apikey.Event) []apikey.Event {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b apikey.Event) int {
		if !q.OldestFirst {
			a, b = b, a
		}
		if !q.AnyOwner {
			return cmp.Compare(a.Seq, b.Seq)
		}
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Seq, b.Seq))
	})
	return list
}

func oneOf[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// eventsPaged reads the events of one owner and of all, in both directions, in
// pages of 4, and calls between after each page.
func eventsPaged(ctx context.Context, s apikey.Store, between func(page int) error) error {
	var list []apikey.Event
	for n := range 24 {
		e := event([]string{"o", "p", "o"}[n%3], n)
		e.At = begin.Add(time.Duration(n/5) * time.Second)
		list = append(list, e)
	}
	if err := apply(ctx, s, events(list...)); err != nil {
		return err
	}
	calls := 0
	for _, q := range []apikey.EventQuery{
		{Owner: "o"}, {Owner: "o", OldestFirst: true}, {AnyOwner: true}, {AnyOwner: true, OldestFirst: true},
	} {
		q.Limit = 4
		var got, should []string
		for page := 0; ; page++ {
			events, err := s.Events(ctx, q)
			if err != nil {
				return err
			}
			for _, e := range events {
				if e.Count <= 24 {
					got = append(got, e.Note)
				}
				q.After = apikey.EventCursor{At: e.At, Owner: e.Owner, Seq: e.Seq}
			}
			if len(events) < q.Limit {
				break
			}
			if page > 100 {
				return errors.New("paging does not end")
			}
			if page < 5 {
				calls++
				if err := between(calls); err != nil {
					return err
				}
			}
		}
		for _, e := range sortedByGiving(&q, list) {
			should = append(should, e.Note)
		}
		if !slices.Equal(got, should) {
			return fmt.Errorf("pages of %+v bring %q, want %q", q, got, should)
		}
	}
	return nil
}

// sortedByGiving returns those of list that q is about, in its order, where
// list is in the order of Seq.
func sortedByGiving(q *apikey.EventQuery, list []apikey.Event) []apikey.Event {
	var of []apikey.Event
	for i, e := range list {
		if e.Seq = int64(i); q.AnyOwner || e.Owner == q.Owner {
			of = append(of, e)
		}
	}
	return sortedEvents(q, of)
}
