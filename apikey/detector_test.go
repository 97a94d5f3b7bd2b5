package apikey_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A watcher is a detector that does as it is told, and remembers what it saw.
type watcher struct {
	seen [][]apikey.Sighting
	find func(ctx context.Context, seen []apikey.Sighting, past apikey.Past) ([]apikey.Finding, error)
}

func (w *watcher) Detect(ctx context.Context, seen []apikey.Sighting, past apikey.Past) ([]apikey.Finding, error) {
	w.seen = append(w.seen, slices.Clone(seen))
	if w.find == nil {
		return nil, nil
	}
	return w.find(ctx, seen, past)
}

// use proves a key from addresses, one second after the other.
func (v vault) use(t testing.TB, issued apikey.Issued, addresses ...string) {
	t.Helper()
	for _, text := range addresses {
		o := &apikey.VerifyOptions{}
		if text != "" {
			o.IP = netip.MustParseAddr(text)
		}
		must(v.Verify(t.Context(), issued.Secret.Reveal(), o))(t)
		v.clock.advance(time.Second)
	}
}

func newWatched(t testing.TB, d apikey.Detector, o *apikey.Options) vault {
	t.Helper()
	v := vault{store: apikey.NewMemoryStore(), clock: newClock()}
	if o == nil {
		o = &apikey.Options{}
	}
	o.Now, o.Detector = v.clock.now, d
	v.Service = newService(t, v.store, nil, o)
	return v
}

func TestDetectorIsToldEachKeyAndAddressOnce(t *testing.T) {
	w := &watcher{}
	v := newWatched(t, w, nil)
	a, b := create(t, v.Service, apikey.Spec{Owner: "acct_1"}), create(t, v.Service, apikey.Spec{Owner: "acct_2"})
	if a.Key.ID > b.Key.ID {
		a, b = b, a
	}
	begin := v.clock.at
	v.use(t, b, "192.0.2.1")
	v.use(t, a, "2001:db8::1", "192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "")
	must(v.Disable(t.Context(), a.Key.ID))(t)
	_, _ = v.Verify(t.Context(), a.Secret.Reveal(), &apikey.VerifyOptions{IP: netip.MustParseAddr("192.0.2.66")}) // refused: not seen
	if err := v.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	want := []apikey.Sighting{
		{Key: a.Key.ID, Owner: a.Key.Owner, IP: netip.MustParseAddr("2001:db8::1"), Count: 2, First: at(1), Last: at(4)},
		{Key: a.Key.ID, Owner: a.Key.Owner, IP: netip.MustParseAddr("192.0.2.7"), Count: 2, First: at(2), Last: at(3)},
		{Key: b.Key.ID, Owner: b.Key.Owner, IP: netip.MustParseAddr("192.0.2.1"), Count: 1, First: at(0), Last: at(0)},
	}
	if len(w.seen) != 1 || !slices.Equal(w.seen[0], want) {
		t.Errorf("told %+v, want %+v", w.seen, want)
	}
	if err := v.Flush(t.Context()); err != nil || len(w.seen) != 1 {
		t.Errorf("with nothing to tell it is told again: %v", err)
	}
	v.use(t, b, "192.0.2.1")
	if err := v.Close(t.Context()); err != nil || len(w.seen) != 2 || w.seen[1][0].Count != 1 {
		t.Errorf("Close tells %+v, %v", w.seen[1:], err)
	}
}

func TestFindingsBecomeEventsOfTheOwner(t *testing.T) {
	w := &watcher{find: func(_ context.Context, seen []apikey.Sighting, _ apikey.Past) ([]apikey.Finding, error) {
		return []apikey.Finding{{
			Kind: apikey.EventUnusual, Key: seen[0].Key, IP: seen[0].IP, Note: "at night", Count: seen[0].Count,
			Changes: []apikey.FieldChange{{Field: "hour", Before: "9 to 17", After: "3"}},
		}}, nil
	}}
	v := newWatched(t, w, nil)
	issued := create(t, v.Service, apikey.Spec{Owner: "acct_9"})
	v.use(t, issued, "192.0.2.7")
	if err := v.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := v.events(t, apikey.EventUnusual)
	if len(events) != 1 || events[0].Owner != "acct_9" || events[0].Key != issued.Key.ID || events[0].Note != "at night" || events[0].Count != 1 ||
		events[0].Actor.IP != netip.MustParseAddr("192.0.2.7") || !events[0].At.Equal(v.clock.at) || len(events[0].Changes) != 1 {
		t.Errorf("told %+v", events)
	}
}

// Nothing a detector or a store does loses what was seen, or fails a Verify.
func TestFailedDetectionLosesNothing(t *testing.T) {
	down := errors.New("down")
	storeFails := false
	c := newClock()
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verb == "Apply" && storeFails {
			return down
		}
		return nil
	}}
	good := func(_ context.Context, seen []apikey.Sighting, _ apikey.Past) ([]apikey.Finding, error) {
		return []apikey.Finding{{Kind: apikey.EventUnusual, Key: seen[0].Key}}, nil
	}
	say := func(f apikey.Finding) func(context.Context, []apikey.Sighting, apikey.Past) ([]apikey.Finding, error) {
		return func(_ context.Context, seen []apikey.Sighting, _ apikey.Past) ([]apikey.Finding, error) {
			if f.Key == "" {
				f.Key = seen[0].Key
			}
			return []apikey.Finding{f}, nil
		}
	}
	w := &watcher{}
	v := vault{newService(t, store, nil, &apikey.Options{Now: c.now, Detector: w}), store.MemoryStore, c}
	issued := create(t, v.Service, apikey.Spec{})
	for name, tt := range map[string]struct {
		find func(context.Context, []apikey.Sighting, apikey.Past) ([]apikey.Finding, error)
		down bool
		want string
	}{
		"an error":      {func(context.Context, []apikey.Sighting, apikey.Past) ([]apikey.Finding, error) { return nil, down }, false, "down"},
		"a panic":       {func(context.Context, []apikey.Sighting, apikey.Past) ([]apikey.Finding, error) { panic("a hole") }, false, "a hole"},
		"a store":       {good, true, "down"},
		"a wrong kind":  {say(apikey.Finding{Kind: apikey.EventRevoked}), false, "EventNewPlace or EventUnusual"},
		"a strange key": {say(apikey.Finding{Kind: apikey.EventUnusual, Key: "key_other"}), false, "one of the sightings"},
		"a control":     {say(apikey.Finding{Kind: apikey.EventUnusual, Note: "a\x00b"}), false, "control characters"},
		"a long change": {say(apikey.Finding{Kind: apikey.EventUnusual, Changes: []apikey.FieldChange{{After: strings.Repeat("x", 501)}}}), false, "500 bytes"},
		"a count":       {say(apikey.Finding{Kind: apikey.EventUnusual, Count: -1}), false, "0 or more"},
	} {
		t.Run(name, func(t *testing.T) {
			w.seen = nil
			before := len(v.events(t, apikey.EventUnusual))
			v.use(t, issued, "192.0.2.1")
			w.find, storeFails = tt.find, tt.down
			if err := v.Flush(t.Context()); !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("Flush = %v, want one that says %s", err, tt.want)
			}
			v.use(t, issued, "192.0.2.1")
			w.find, storeFails = good, false
			if err := v.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			if len(w.seen) != 2 || w.seen[1][0].Count != 2 || !w.seen[1][0].First.Equal(w.seen[0][0].First) {
				t.Errorf("told again %+v, want both uses", w.seen)
			}
			if n := len(v.events(t, apikey.EventUnusual)) - before; n != 1 {
				t.Errorf("%d events, want 1", n)
			}
		})
	}
}

// A use that comes while others are told is not taken for them.
func TestSightingsInTheMeantimeAreTold(t *testing.T) {
	w := &watcher{}
	v := newWatched(t, w, nil)
	issued := create(t, v.Service, apikey.Spec{})
	v.use(t, issued, "192.0.2.1")
	w.find = func(context.Context, []apikey.Sighting, apikey.Past) ([]apikey.Finding, error) {
		w.find = nil
		v.use(t, issued, "192.0.2.1", "192.0.2.2")
		return nil, nil
	}
	for range 3 {
		if err := v.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.seen) != 2 || len(w.seen[1]) != 2 || w.seen[1][0].Count != 1 || w.seen[1][1].Count != 1 {
		t.Errorf("told %+v", w.seen)
	}
}

// Who holds one key and a network full of addresses takes no room from others.
func TestSightingsAreBounded(t *testing.T) {
	w := &watcher{}
	v := newWatched(t, w, &apikey.Options{MaxSightings: 300})
	greedy, other, late := create(t, v.Service, apikey.Spec{}), create(t, v.Service, apikey.Spec{}), create(t, v.Service, apikey.Spec{})
	addresses := func(n int) []string {
		texts := make([]string, n)
		for i := range texts {
			texts[i] = fmt.Sprintf("2001:db8::%x", i+1)
		}
		return texts
	}
	count := func() map[string]int {
		w.seen = nil
		if err := v.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		counts := make(map[string]int)
		for _, batch := range w.seen {
			for _, s := range batch {
				counts[s.Key]++
			}
		}
		return counts
	}
	v.use(t, greedy, addresses(1000)...)
	v.use(t, other, addresses(40)...)
	v.use(t, late, addresses(40)...)
	if got := count(); got[greedy.Key.ID] != 256 || got[other.Key.ID] != 40 || got[late.Key.ID] != 4 {
		t.Errorf("told of %v, want 256, 40 and what room was left", got)
	}
	v.use(t, late, addresses(40)...)
	if got := count(); got[late.Key.ID] != 40 {
		t.Errorf("after a write told of %v, want 40: there was room again", got)
	}
}

// Batches are bounded for detectors and stores.
func TestSightingsComeInBatches(t *testing.T) {
	w := &watcher{find: func(_ context.Context, seen []apikey.Sighting, _ apikey.Past) ([]apikey.Finding, error) {
		found := make([]apikey.Finding, 0, 2*len(seen))
		for _, s := range seen {
			f := apikey.Finding{Kind: apikey.EventUnusual, Key: s.Key}
			found = append(found, f, f)
		}
		clear(seen) // its own
		return found, nil
	}}
	most := 0
	c := newClock()
	store := &widest{MemoryStore: apikey.NewMemoryStore(), most: &most}
	v := vault{newService(t, store, nil, &apikey.Options{Now: c.now, Detector: w}), store.MemoryStore, c}
	for range 10 {
		issued := create(t, v.Service, apikey.Spec{})
		for i := range 250 {
			v.use(t, issued, fmt.Sprintf("10.0.0.%d", i))
		}
	}
	if err := v.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, batch := range w.seen {
		sizes = append(sizes, len(batch))
	}
	if !slices.Equal(sizes, []int{1000, 1000, 500}) || most != 1000 {
		t.Errorf("batches of %v sightings, of up to %d events", sizes, most)
	}
	if w.seen = nil; v.Flush(t.Context()) != nil || len(w.seen) != 0 {
		t.Error("what was told is told again")
	}
}

// A widest store notes the most events of one change.
type widest struct {
	*apikey.MemoryStore
	most *int
}

func (s *widest) Apply(ctx context.Context, c apikey.Change) error {
	*s.most = max(*s.most, len(c.Events))
	return s.MemoryStore.Apply(ctx, c)
}

func TestFlushEveryTellsTheDetectorAndWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []error
		w := &watcher{find: func(context.Context, []apikey.Sighting, apikey.Past) ([]apikey.Finding, error) { panic("a hole") }}
		s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{
			Detector: w, FlushEvery: 10 * time.Second, Failed: func(err error) { told = append(told, err) },
		})
		issued := create(t, s, apikey.Spec{})
		o := &apikey.VerifyOptions{IP: netip.MustParseAddr("192.0.2.1")}
		must(s.Verify(t.Context(), issued.Secret.Reveal(), o))(t)
		pass(11 * time.Second)
		if len(told) != 1 || !strings.Contains(told[0].Error(), "a hole") {
			t.Errorf("told %v, want the panic", told)
		}
		must(s.Verify(t.Context(), issued.Secret.Reveal(), o))(t)
		w.find = nil
		if err := s.Close(t.Context()); err != nil || w.seen[len(w.seen)-1][0].Count != 2 {
			t.Errorf("Close = %v after %+v", err, w.seen)
		}
	})
}

// A detector that does not return does not hold up those who have no time.
func TestFlushGivesUpOnAStuckDetector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, entered := make(chan struct{}), make(chan struct{})
		w := &watcher{find: func(context.Context, []apikey.Sighting, apikey.Past) ([]apikey.Finding, error) {
			close(entered)
			<-release
			return nil, nil
		}}
		s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Detector: w})
		issued := create(t, s, apikey.Spec{})
		o := &apikey.VerifyOptions{IP: netip.MustParseAddr("192.0.2.1")}
		must(s.Verify(t.Context(), issued.Secret.Reveal(), o))(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Flush(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Flush(ctx); errors.CodeOf(err) != errors.DeadlineExceeded {
			t.Errorf("Flush = %v, want its deadline", err)
		}
		must(s.Verify(t.Context(), issued.Secret.Reveal(), o))(t)
		close(release)
		wg.Wait()
	})
}

func TestSightingsAreSafeForConcurrentUse(t *testing.T) {
	var mu sync.Mutex
	counts := make(map[string]int64)
	w := &watcher{}
	w.find = func(_ context.Context, seen []apikey.Sighting, _ apikey.Past) ([]apikey.Finding, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range seen {
			counts[s.Key] += s.Count
		}
		return nil, nil
	}
	v := newWatched(t, w, nil)
	issued := create(t, v.Service, apikey.Spec{})
	var wg sync.WaitGroup
	const workers, each = 8, 300
	for i := range workers {
		wg.Go(func() {
			for n := range each {
				ip := netip.AddrFrom4([4]byte{10, 0, byte(i % 3), byte(n % 5)})
				if _, err := v.Verify(t.Context(), issued.Secret.Reveal(), &apikey.VerifyOptions{IP: ip}); err != nil {
					t.Error(err)
				}
				if n%50 == 0 {
					if err := v.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := v.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if counts[issued.Key.ID] != workers*each {
		t.Errorf("told of %d uses, want %d", counts[issued.Key.ID], workers*each)
	}
}

func TestRepeatedSightingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, d := range map[string]apikey.Detector{"with a detector": &watcher{}, "without": nil} {
		v := newWatched(t, d, nil)
		token := create(t, v.Service, apikey.Spec{}).Secret.Reveal()
		o := &apikey.VerifyOptions{IP: netip.MustParseAddr("2001:db8::1")}
		if n := testing.AllocsPerRun(1000, func() { _, _ = v.Verify(t.Context(), token, o) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
