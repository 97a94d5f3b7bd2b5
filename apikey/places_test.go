package apikey_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// country is the second byte of an IPv4 address, and no place for others.
func country(ip netip.Addr) (string, bool) {
	if !ip.Is4() {
		return "", false
	}
	return fmt.Sprint("country ", ip.As4()[1]), true
}

// flights returns the places told of, "before > place", oldest first.
func (v vault) flights(t testing.TB) []string {
	t.Helper()
	var told []string
	for _, e := range v.events(t, apikey.EventNewPlace) {
		if len(e.Changes) != 1 || e.Changes[0].Field != "place" || e.Changes[0].After != e.Note {
			t.Errorf("event %+v", e)
			continue
		}
		told = append(told, strings.ReplaceAll(e.Changes[0].Before+" > "+e.Note, "country ", ""))
	}
	return told
}

func (v vault) flush(t testing.TB) {
	t.Helper()
	if err := v.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func places(t testing.TB, o *apikey.PlacesOptions) *apikey.Places {
	t.Helper()
	return must(apikey.NewPlaces(country, o))(t)
}

func TestNewPlaceIsToldOnce(t *testing.T) {
	v := newWatched(t, places(t, nil), nil)
	issued := create(t, v.Service, apikey.Spec{})
	v.use(t, issued, "10.1.0.1", "10.1.0.2", "10.1.0.1", "2001:db8::1", "")
	v.flush(t)
	if got := v.flights(t); !slices.Equal(got, []string{" > 1"}) {
		t.Fatalf("first told %q, want where the key began", got)
	}
	if e := v.events(t, apikey.EventNewPlace)[0]; e.Count != 3 || e.Actor.IP != netip.MustParseAddr("10.1.0.1") || e.Owner != "acct_1" || e.Key != issued.Key.ID {
		t.Errorf("event %+v", e)
	}
	v.use(t, issued, "10.2.0.1", "10.1.0.9", "10.3.0.1", "10.2.0.2")
	v.flush(t)
	v.use(t, issued, "10.3.0.1", "10.2.0.1", "10.1.0.1")
	v.flush(t)
	if got := v.flights(t); !slices.Equal(got, []string{" > 1", "1 > 2", "2 > 3"}) {
		t.Errorf("told %q", got)
	}
}

// A restart, or a second process, does not alarm anew.
func TestPlacesSurviveARestart(t *testing.T) {
	v := newWatched(t, places(t, nil), nil)
	issued := create(t, v.Service, apikey.Spec{})
	v.use(t, issued, "10.1.0.1", "10.2.0.1")
	v.flush(t)
	v.Service = newService(t, v.store, nil, &apikey.Options{Now: v.clock.now, Detector: places(t, nil)})
	v.use(t, issued, "10.2.0.1", "10.1.0.1", "10.3.0.1")
	v.flush(t)
	if got := v.flights(t); !slices.Equal(got, []string{" > 1", "1 > 2", "2 > 3"}) {
		t.Errorf("told %q", got)
	}
}

func TestNewPlaceThatCouldNotBeWrittenIsToldLater(t *testing.T) {
	down := errors.New("down")
	verbs := map[string]bool{}
	c := newClock()
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verbs[verb] {
			return down
		}
		return nil
	}}
	v := vault{newService(t, &forgetful{store, verbs}, nil, &apikey.Options{Now: c.now, Detector: places(t, nil)}), store.MemoryStore, c}
	issued := create(t, v.Service, apikey.Spec{})
	v.use(t, issued, "10.1.0.1")
	for _, verb := range []string{"Apply", "Events"} {
		clear(verbs)
		verbs[verb] = true
		if err := v.Flush(t.Context()); !errors.Is(err, down) || errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("without %s: Flush = %v, want unavailable", verb, err)
		}
	}
	clear(verbs)
	v.flush(t)
	v.flush(t)
	if got := v.flights(t); !slices.Equal(got, []string{" > 1"}) {
		t.Errorf("told %q", got)
	}
}

// A forgetful store may fail to list events.
type forgetful struct {
	*scripted
	verbs map[string]bool
}

func (s *forgetful) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	if err := s.before("Events"); err != nil {
		return nil, err
	}
	return s.scripted.Events(ctx, q)
}

func TestPlacesOfAKeyAreBounded(t *testing.T) {
	v := newWatched(t, places(t, &apikey.PlacesOptions{MostPlaces: 3}), nil)
	issued := create(t, v.Service, apikey.Spec{})
	for i := range 10 {
		v.use(t, issued, fmt.Sprintf("10.%d.0.1", i), fmt.Sprintf("10.%d.0.1", 100+i))
		v.flush(t)
	}
	if got := v.flights(t); !slices.Equal(got, []string{" > 0", "0 > 100", "100 > 1"}) {
		t.Errorf("told %q, want three", got)
	}
}

// The memory is bounded; what it drops is asked of the store, which is not asked
// for what the memory has.
func TestKeysInMemoryAreBounded(t *testing.T) {
	asked := 0
	store := &historian{MemoryStore: apikey.NewMemoryStore(), asked: &asked}
	c := newClock()
	v := vault{newService(t, store, nil, &apikey.Options{Now: c.now, Detector: places(t, &apikey.PlacesOptions{MostKeys: 2})}), store.MemoryStore, c}
	var keys []apikey.Issued
	for range 3 {
		keys = append(keys, create(t, v.Service, apikey.Spec{}))
	}
	visit := func(keys ...apikey.Issued) int {
		asked = 0
		for _, k := range keys {
			v.use(t, k, "10.1.0.1")
			v.flush(t)
		}
		return asked
	}
	visit(keys...)
	if visit(keys[0], keys[0]); visit(keys[0], keys[0], keys[0]) != 0 {
		t.Errorf("the store was asked %d times for what is in memory", asked)
	}
	if n := visit(keys...); n == 0 || n > 3 {
		t.Errorf("the store was asked %d times, want 1 to 3", n)
	}
	if got := v.flights(t); len(got) != 3 {
		t.Errorf("told %q, want each key's first", got)
	}
}

type historian struct {
	*apikey.MemoryStore
	asked *int
}

func (s *historian) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	*s.asked++
	return s.MemoryStore.Events(ctx, q)
}

// What cannot stand in an event is no place, and does not hold up the others.
func TestStrangePlacesAreNone(t *testing.T) {
	texts := map[byte]string{1: "", 2: "a\x00b", 3: strings.Repeat("x", 256), 4: "\xff", 5: "Köln"}
	d := must(apikey.NewPlaces(func(ip netip.Addr) (string, bool) { return texts[ip.As4()[1]], true }, nil))(t)
	v := newWatched(t, d, nil)
	issued := create(t, v.Service, apikey.Spec{})
	v.use(t, issued, "10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1", "10.5.0.1")
	v.flush(t)
	if got := v.flights(t); !slices.Equal(got, []string{" > Köln"}) {
		t.Errorf("told %q", got)
	}
}

// Keys are told apart, also where one owner has many.
func TestPlacesAreOfOneKey(t *testing.T) {
	v := newWatched(t, places(t, nil), nil)
	a, b := create(t, v.Service, apikey.Spec{}), create(t, v.Service, apikey.Spec{})
	v.use(t, a, "10.1.0.1")
	v.use(t, b, "10.2.0.1")
	v.flush(t)
	v.clock.advance(time.Hour)
	v.use(t, a, "10.2.0.1")
	v.flush(t)
	got := v.flights(t)
	slices.Sort(got)
	if !slices.Equal(got, []string{" > 1", " > 2", "1 > 2"}) {
		t.Errorf("told %q", got)
	}
}

func TestPlacesOptionsAreChecked(t *testing.T) {
	_, err := apikey.NewPlaces(nil, &apikey.PlacesOptions{MostPlaces: 501, MostKeys: -1})
	for _, part := range []string{"resolve is nil", "MostPlaces is 501", "MostKeys is -1"} {
		if errors.CodeOf(err) != errors.Invalid || !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("%v does not say %s", err, part)
		}
	}
}
