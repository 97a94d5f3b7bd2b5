package apikeytest

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// event returns the n-th event, with every field set and none like that of
// another. Higher n are newer.
func event(owner string, n int) apikey.Event {
	return apikey.Event{
		Owner: owner, At: begin.Add(time.Duration(n) * time.Microsecond),
		Kind: apikey.EventKind(fmt.Sprintf("key.kind_%d", n)), Key: fmt.Sprintf("key_%d", n),
		Actor: apikey.Actor{ID: fmt.Sprintf("user_%d", n), IP: netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})},
		Changes: []apikey.FieldChange{
			{Field: "name", Before: fmt.Sprintf("before %d", n), After: fmt.Sprintf("after %d", n)},
			{Field: fmt.Sprintf("field_%d", n), Before: "", After: "1"},
		},
		Note: fmt.Sprintf("note %d", n), Count: int64(n) + 1,
	}
}

func events(list ...apikey.Event) apikey.Change { return apikey.Change{Events: list} }

// recorded returns nil if the events of owner are exactly these, numbered from
// 1, each with the Sum of its place, and the last as the owner's Head.
func recorded(ctx context.Context, s apikey.Store, owner string, list ...apikey.Event) error {
	got, err := s.Events(ctx, apikey.EventQuery{Owner: owner, OldestFirst: true, Limit: 1000})
	if err != nil {
		return fmt.Errorf("Events of %q: %w", owner, err)
	}
	if len(got) != len(list) {
		return fmt.Errorf("%d events of %q, want %d", len(got), owner, len(list))
	}
	var head [32]byte
	for i, e := range list {
		e.Seq = int64(i) + 1
		e.Sum = e.Link(head)
		head = e.Sum
		if err := sameEvent(got[i], e); err != nil {
			return err
		}
	}
	o, err := s.Owner(ctx, owner)
	if err == nil && (o.Events != int64(len(list)) || o.Head != head) {
		err = fmt.Errorf("the owner has %d events and the head %x, want %d and %x", o.Events, o.Head, len(list), head)
	}
	return err
}

func sameEvent(got, e apikey.Event) error {
	if !got.At.Equal(e.At) || got.At.Location() != time.UTC {
		return fmt.Errorf("event %d of %q is of %v, want %v", e.Seq, e.Owner, got.At, e.At.UTC())
	}
	is, should := got, e
	is.At, is.Changes, should.Changes = should.At, append([]apikey.FieldChange{}, got.Changes...), append([]apikey.FieldChange{}, e.Changes...)
	if !reflect.DeepEqual(is, should) {
		return fmt.Errorf("event %d is\n\t%+v, want\n\t%+v", e.Seq, is, should)
	}
	return nil
}

var eventChecks = []check{
	{"events come back as they were given", func(ctx context.Context, s apikey.Store) error {
		most, least := event("o", 2), event("o", 3)
		most.Count, least.Count = math.MaxInt64, math.MinInt64
		zoned := event("o", 4)
		zoned.At = zoned.At.In(time.FixedZone("east", 9*3600))
		many := event("o", 5)
		many.Changes = nil
		for n := range 100 {
			many.Changes = append(many.Changes, apikey.FieldChange{Field: "scopes", Before: fmt.Sprint(n), After: fmt.Sprint(n + 1)})
		}
		list := []apikey.Event{event("o", 1), most, least, zoned, many}
		return errors.Join(apply(ctx, s, events(list...)), recorded(ctx, s, "o", list...))
	}},
	{"an event with nothing in it comes back so", func(ctx context.Context, s apikey.Store) error {
		nothing := apikey.Event{Owner: "o", At: begin, Kind: apikey.EventCreated}
		return errors.Join(apply(ctx, s, events(nothing)), recorded(ctx, s, "o", nothing))
	}},
	{"the addresses of actors come back as they were given", func(ctx context.Context, s apikey.Store) error {
		var list []apikey.Event
		for i, text := range []string{
			"203.0.113.7", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::7", "2001:db8:0:0:1::", "::ffff:10.0.0.1",
			"fe80::1%eth0", "fe80::1%0", "fe80::1%a b'\"\\", "::ffff:10.0.0.1%eth0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		} {
			e := event("o", i)
			var err error
			if e.Actor.IP, err = netip.ParseAddr(text); err != nil {
				return err
			}
			list = append(list, e)
		}
		return errors.Join(apply(ctx, s, events(list...)), recorded(ctx, s, "o", list...))
	}},
	{"the text of events comes back byte by byte", func(ctx context.Context, s apikey.Store) error {
		var list []apikey.Event
		for i, text := range odd {
			e := event("o"+text, i)
			e.Kind, e.Key, e.Actor.ID, e.Note = apikey.EventKind("k"+text), text, text, text
			e.Changes = []apikey.FieldChange{{Field: text, Before: text, After: "a" + text}, {Field: "metadata", Before: `{"a":"<&>"}`, After: "{}"}}
			list = append(list, e)
		}
		if err := apply(ctx, s, events(list...)); err != nil {
			return err
		}
		var faults []error
		for _, e := range list {
			faults = append(faults, recorded(ctx, s, e.Owner, e))
		}
		return errors.Join(faults...)
	}},
	{"events are numbered for each owner, in the order of the change, and chained", func(ctx context.Context, s apikey.Store) error {
		var of [2][]apikey.Event
		for n := range 12 {
			var c apikey.Change
			for i := range n%4 + 1 {
				e := event([]string{"o", "p"}[(n+i)%2], 100*n+i)
				e.At = e.At.Add(-time.Duration(n) * time.Hour) // a clock that goes back changes no order
				c.Events = append(c.Events, e)
				of[(n+i)%2] = append(of[(n+i)%2], e)
			}
			if err := errors.Join(apply(ctx, s, c), recorded(ctx, s, "o", of[0]...), recorded(ctx, s, "p", of[1]...)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"Seq and Sum that an event came with mean nothing", func(ctx context.Context, s apikey.Store) error {
		one, two := event("o", 1), event("o", 2)
		one.Seq, one.Sum[0], two.Seq = 99, 99, 1
		return errors.Join(apply(ctx, s, events(one, two)), recorded(ctx, s, "o", event("o", 1), event("o", 2)))
	}},
	{"events need no key and no decision to be there, and leave none behind", func(ctx context.Context, s apikey.Store) error {
		err := errors.Join(apply(ctx, s, events(event("o", 1))), recorded(ctx, s, "o", event("o", 1)), decided(ctx, s, apikey.Owner{ID: "o", Epoch: 1}))
		err = errors.Join(err, listed(ctx, s, everything(10)), decide(ctx, s, owner("o", 1)))
		o := owner("o", 2)
		c := apikey.Change{Owner: &o, Events: []apikey.Event{event("o", 2)}}
		return errors.Join(err, recorded(ctx, s, "o", event("o", 1)), apply(ctx, s, c), recorded(ctx, s, "o", event("o", 1), event("o", 2)), decided(ctx, s, o))
	}},
	{"the empty owner has events like any other", func(ctx context.Context, s apikey.Store) error {
		return errors.Join(
			apply(ctx, s, events(event("", 1), event("o", 2), event("", 3))),
			recorded(ctx, s, "", event("", 1), event("", 3)), recorded(ctx, s, "o", event("o", 2)),
		)
	}},
	{"a change brings up to a thousand events", func(ctx context.Context, s apikey.Store) error {
		var list []apikey.Event
		for n := range 1000 {
			list = append(list, event("o", n))
		}
		return errors.Join(apply(ctx, s, events(list...)), recorded(ctx, s, "o", list...))
	}},
	{"a store keeps its own copy of events", func(ctx context.Context, s apikey.Store) error {
		given := []apikey.Event{event("o", 1)}
		if err := apply(ctx, s, events(given...)); err != nil {
			return err
		}
		given[0].Changes[0].Before = "forged"
		for range 2 {
			got, err := s.Events(ctx, apikey.EventQuery{Owner: "o", Limit: 10})
			if err != nil || len(got) != 1 || len(got[0].Changes) != 2 {
				return fmt.Errorf("Events = %+v, %v", got, err)
			}
			got[0].Changes[0].After, got[0].Note = "forged", "forged"
		}
		return recorded(ctx, s, "o", event("o", 1))
	}},
	{"concurrent changes of one owner number their events without a gap", func(ctx context.Context, s apikey.Store) error {
		const each = 3
		faults := make([]error, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				for n := range each {
					at := 100*i + 10*n
					if faults[i] = apply(ctx, s, events(event("o", at), event("p", at+1), event("o", at+2))); faults[i] != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		got, err := s.Events(ctx, apikey.EventQuery{Owner: "o", OldestFirst: true, Limit: 1000})
		if err := errors.Join(append(faults, err)...); err != nil {
			return err
		}
		for i := range got { // what recorded compares with is what it found, in the order it was numbered
			got[i].Seq, got[i].Sum = 0, [32]byte{}
			if i%2 == 1 && got[i].Note != event("o", int(got[i-1].Count)+1).Note {
				return fmt.Errorf("events %d and %d, of one change, are %q and %q", i, i+1, got[i-1].Note, got[i].Note)
			}
		}
		if len(got) != racers*each*2 {
			return fmt.Errorf("%d events, want %d", len(got), racers*each*2)
		}
		return recorded(ctx, s, "o", got...)
	}},
	{"an event and the change that it tells of are seen together", eventAndChange},
}

// eventAndChange changes a record with an event each time. Whoever sees the one
// must then see the other.
func eventAndChange(ctx context.Context, s apikey.Store) error {
	rec := bare(1)
	if err := insert(ctx, s, rec); err != nil {
		return err
	}
	return meanwhile(func() error {
		for n := range 60 {
			rec = next(rec)
			if err := apply(ctx, s, apikey.Change{Update: []apikey.Record{rec}, Events: []apikey.Event{event("o", n)}}); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		first, err := s.ByHandle(ctx, bare(1).Handle)
		o, err2 := s.Owner(ctx, "o")
		newest, err3 := s.Events(ctx, apikey.EventQuery{Owner: "o", Limit: 1})
		second, err4 := s.ByID(ctx, bare(1).Key.ID)
		if err := errors.Join(err, err2, err3, err4); err != nil {
			return err
		}
		var seq int64
		if len(newest) == 1 {
			seq = newest[0].Seq
		}
		if o.Events < first.Key.Version-1 || seq < o.Events || second.Key.Version-1 < seq {
			return fmt.Errorf("read one after the other: version %d, %d events, the newest is %d, version %d", first.Key.Version, o.Events, seq, second.Key.Version)
		}
		return nil
	})
}
