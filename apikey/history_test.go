package apikey_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// storied returns a store with eight events of owner "a" and some of others.
func storied(t testing.TB, c *clock) apikey.Store {
	t.Helper()
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{Owner: "a"})
	for i := range 7 {
		c.advance(time.Second)
		create(t, s, apikey.Spec{Owner: "b c"})
		must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new(fmt.Sprint(i))}))(t)
	}
	return store
}

func TestEventsPage(t *testing.T) {
	c := newClock()
	s := newService(t, storied(t, c), nil, nil)
	for name, tt := range map[string]struct {
		q    apikey.EventQuery
		want string
	}{
		"newest first":   {apikey.EventQuery{Owner: "a"}, "a8 a7 a6 a5 a4 a3 a2 a1"},
		"pages of three": {apikey.EventQuery{Owner: "a", Limit: 3}, "a8 a7 a6 a5 a4 a3 a2 a1"},
		"pages of four":  {apikey.EventQuery{Owner: "a", Limit: 4, OldestFirst: true}, "a1 a2 a3 a4 a5 a6 a7 a8"},
		"of a kind":      {apikey.EventQuery{Owner: "a", Kind: apikey.EventCreated}, "a1"},
		"until":          {apikey.EventQuery{Owner: "a", Until: c.at.Add(-5 * time.Second)}, "a2 a1"},
		"everybody":      {apikey.EventQuery{AnyOwner: true, Limit: 5, Kind: apikey.EventCreated, OldestFirst: true}, "a1 b c1 b c2 b c3 b c4 b c5 b c6 b c7"},
		"nobody":         {apikey.EventQuery{Owner: "x"}, ""},
	} {
		var got []string
		for q := tt.q; ; {
			page := must(s.Events(t.Context(), q))(t)
			for _, e := range page.Events {
				got = append(got, fmt.Sprint(e.Owner, e.Seq))
			}
			if page.Next.IsZero() {
				break
			}
			text := must(page.Next.MarshalText())(t) // as through a client
			if err := q.After.UnmarshalText(text); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Forgetting the owner must not list everybody's events.
func TestEventsRefuse(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	for want, q := range map[string]apikey.EventQuery{
		`owner "" with AnyOwner false`:  {},
		`owner "a" with AnyOwner true`:  {Owner: "a", AnyOwner: true},
		"limit is 1001; give 1 to 1000": {Owner: "a", Limit: 1001},
		"limit is -1; give 1 to 1000":   {Owner: "a", Limit: -1},
	} {
		if _, err := s.Events(t.Context(), q); errors.CodeOf(err) != errors.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want invalid with %q", err, want)
		}
	}
}

func TestEventCursorText(t *testing.T) {
	for _, c := range []apikey.EventCursor{
		{}, {At: time.UnixMicro(-5).UTC(), Owner: "", Seq: 1}, {At: time.UnixMicro(1772366400123456).UTC(), Owner: "acct 4 2", Seq: 1 << 60},
	} {
		var back apikey.EventCursor
		if err := back.UnmarshalText([]byte(c.String())); err != nil || back != c {
			t.Errorf("%+v comes back as %+v, %v", c, back, err)
		}
	}
	good := apikey.EventCursor{At: time.UnixMicro(7).UTC(), Owner: "a", Seq: 1}
	for _, text := range []string{"x", good.String() + "=", good.String()[1:], "MSAx", "MDEgMSBh", strings.Repeat("A", 600), " " + good.String()} {
		back := good
		if err := back.UnmarshalText([]byte(text)); errors.CodeOf(err) != errors.Invalid || back != good {
			t.Errorf("%.20q is read as %+v, %v", text, back, err)
		}
	}
}

func TestCheckpointText(t *testing.T) {
	for _, c := range []apikey.Checkpoint{{}, {Owner: "acct 4 2", Seq: 12, Sum: [32]byte{1, 2, 255}}} {
		var back apikey.Checkpoint
		if err := back.UnmarshalText([]byte(c.String())); err != nil || back != c {
			t.Errorf("%q comes back as %+v, %v", c, back, err)
		}
	}
	for _, text := range []string{"", "1", "1 aa a", "-1 " + strings.Repeat("0", 64) + " a", "01 " + strings.Repeat("0", 64) + " a", "1 " + strings.Repeat("A", 64) + " a", "1 " + strings.Repeat("0", 64) + " \x00"} {
		var back apikey.Checkpoint
		if err := back.UnmarshalText([]byte(text)); errors.CodeOf(err) != errors.Invalid || back != (apikey.Checkpoint{}) {
			t.Errorf("%.20q is read as %+v, %v", text, back, err)
		}
	}
}

// relink computes the sums of a chain anew, as one who can write to the store could.
func relink(events []apikey.Event) []apikey.Event {
	var sum [32]byte
	for i := range events {
		sum = events[i].Link(sum)
		events[i].Sum = sum
	}
	return events
}

func TestVerifyEventsFindsWhatWasDoneToThem(t *testing.T) {
	c := newClock()
	store := storied(t, c)
	noted := must(newService(t, store, nil, nil).VerifyEvents(t.Context(), "a", nil))(t)
	if noted.Seq != 8 || noted.Owner != "a" || noted.Sum == [32]byte{} {
		t.Fatalf("checkpoint %+v", noted)
	}
	alter := func(events []apikey.Event) []apikey.Event { events[3].Note = "nothing to see"; return events }
	headOf := func(events []apikey.Event) func(*apikey.Owner) { // of whoever rewrites everything
		return func(o *apikey.Owner) {
			rest := relink(events)
			o.Events, o.Head = int64(len(rest)), rest[len(rest)-1].Sum
		}
	}
	all := must(newService(t, store, nil, nil).Events(t.Context(), apikey.EventQuery{Owner: "a", OldestFirst: true}))(t).Events
	for name, tt := range map[string]struct {
		forger forger
		since  *apikey.Checkpoint
		want   string
	}{
		"nothing":              {forger{}, nil, ""},
		"nothing, since then":  {forger{}, &noted, ""},
		"a note altered":       {forger{events: alter}, nil, "event 4, or its sum, was altered"},
		"a value altered":      {forger{events: func(e []apikey.Event) []apikey.Event { e[1].Changes[0].After = "x"; return e }}, nil, "event 2, or"},
		"an actor altered":     {forger{events: func(e []apikey.Event) []apikey.Event { e[1].Actor.ID = "somebody else"; return e }}, nil, "event 2, or"},
		"a time altered":       {forger{events: func(e []apikey.Event) []apikey.Event { e[7].At = e[7].At.Add(time.Microsecond); return e }}, nil, "event 8, or"},
		"a sum altered":        {forger{events: func(e []apikey.Event) []apikey.Event { e[5].Sum[0]++; return e }}, nil, "event 6, or"},
		"of another owner":     {forger{events: func(e []apikey.Event) []apikey.Event { e[5].Owner = "b"; return e }}, nil, "event 6 is one of another"},
		"the first missing":    {forger{events: func(e []apikey.Event) []apikey.Event { return e[1:] }}, nil, "event 1 is missing"},
		"one missing":          {forger{events: func(e []apikey.Event) []apikey.Event { return slices.Delete(e, 4, 5) }}, nil, "event 5 is missing: event 6 stands"},
		"one twice":            {forger{events: func(e []apikey.Event) []apikey.Event { return slices.Insert(e, 4, e[3]) }}, nil, "event 4 stands where event 5 should"},
		"places swapped":       {forger{events: func(e []apikey.Event) []apikey.Event { e[2], e[3] = e[3], e[2]; return e }}, nil, "event 3 is missing: event 4 stands"},
		"numbers swapped":      {forger{events: func(e []apikey.Event) []apikey.Event { e[2], e[3] = e[3], e[2]; e[2].Seq, e[3].Seq = 3, 4; return e }}, nil, "event 3, or"},
		"cut off":              {forger{events: func(e []apikey.Event) []apikey.Event { return e[:5] }}, nil, "events 6 to 8 are missing at the end"},
		"all gone":             {forger{events: func([]apikey.Event) []apikey.Event { return nil }}, nil, "events 1 to 8 are missing"},
		"cut off, counted":     {forger{events: func(e []apikey.Event) []apikey.Event { return e[:5] }, owner: func(o *apikey.Owner) { o.Events = 5 }}, nil, "event 5 is not the one"},
		"added":                {forger{owner: func(o *apikey.Owner) { o.Events, o.Head = 7, all[6].Sum }}, nil, "event 8 is there, and the owner's record counts 7"},
		"head altered":         {forger{owner: func(o *apikey.Owner) { o.Head[31]++ }}, nil, "event 8 is not the one"},
		"head without events":  {forger{events: func([]apikey.Event) []apikey.Event { return nil }, owner: func(o *apikey.Owner) { o.Events = 0 }}, nil, "event 0 is not the one"},
		"rewritten":            {forger{events: func(e []apikey.Event) []apikey.Event { return relink(alter(e)) }, owner: headOf(alter(slices.Clone(all)))}, nil, ""},
		"rewritten, since":     {forger{events: func(e []apikey.Event) []apikey.Event { return relink(alter(e)) }, owner: headOf(alter(slices.Clone(all)))}, &noted, "the events up to 8 were rewritten"},
		"cut and relinked":     {forger{events: func(e []apikey.Event) []apikey.Event { return relink(e[:6]) }, owner: headOf(slices.Clone(all[:6]))}, &noted, "there are 6 events, and there were 8"},
		"checkpoint of others": {forger{}, &apikey.Checkpoint{Owner: "b c", Seq: 1}, "of owner"},
	} {
		tt.forger.Store = store
		s := newService(t, &tt.forger, nil, nil)
		got, err := s.VerifyEvents(t.Context(), "a", tt.since)
		switch {
		case tt.want == "":
			if err != nil || got.Seq != 8 {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		case tt.since != nil && tt.since.Owner != "a":
			if errors.CodeOf(err) != errors.Invalid {
				t.Errorf("%s: %v, want invalid", name, err)
			}
		case errors.CodeOf(err) != errors.Corrupt || !strings.Contains(err.Error(), tt.want):
			t.Errorf("%s: %v, want corrupt with %q", name, err, tt.want)
		}
	}
}

func TestVerifyEventsWhileMoreAreWritten(t *testing.T) {
	c := newClock()
	store := storied(t, c)
	writer := newService(t, store, nil, nil)
	grows := &forger{Store: store, owner: func(*apikey.Owner) { create(t, writer, apikey.Spec{Owner: "a"}) }}
	s := newService(t, grows, nil, nil)
	for range 3 {
		if _, err := s.VerifyEvents(t.Context(), "a", nil); err != nil {
			t.Error(err)
		}
	}
	if got, err := s.VerifyEvents(t.Context(), "nobody", nil); err != nil || got != (apikey.Checkpoint{Owner: "nobody"}) {
		t.Errorf("of nobody: %+v, %v", got, err)
	}
}

// A chain of more than one page.
func TestVerifyEventsReadsLongChains(t *testing.T) {
	store := apikey.NewMemoryStore()
	events := make([]apikey.Event, 2500)
	for i := range events {
		events[i] = apikey.Event{Owner: "a", At: time.UnixMicro(int64(i) + 1), Kind: apikey.EventRenamed}
	}
	for chunk := range slices.Chunk(events, 1000) {
		if err := store.Apply(t.Context(), apikey.Change{Events: chunk}); err != nil {
			t.Fatal(err)
		}
	}
	s := newService(t, store, nil, nil)
	if at, err := s.VerifyEvents(t.Context(), "a", nil); err != nil || at.Seq != 2500 {
		t.Errorf("%+v, %v", at, err)
	}
}
