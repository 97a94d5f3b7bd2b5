package apikey_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// Kong keeps misses for ever and Unkey as long as keys, so that a key imported
// after a failed probe may be refused for long. Here a key made or announced
// works at once, and any other after NegativeTTL.
func TestKeyMadeAfterAProbeWorksAtOnce(t *testing.T) {
	f := newFormat(t, "gx", nil)
	token := must(newService(t, apikey.NewMemoryStore(), f, &apikey.Options{Rand: newSeeded()}).Create(t.Context(), apikey.Spec{Owner: "a"}))(t).Secret.Reveal()
	records := apikey.NewMemoryStore()
	c := newClock()
	store := &staged{Store: records}
	here := newService(t, store, f, &apikey.Options{Now: c.now, Rand: newSeeded(), Cache: &apikey.CacheOptions{Bound: time.Minute, NegativeTTL: 5 * time.Second}})
	if n := store.asked(func() { refused(t, here, apikey.ErrUnknown, token, token, token) }); n != 1 {
		t.Errorf("three probes asked the store %d times, want once", n)
	}
	there := newService(t, store, f, &apikey.Options{Now: c.now, Cache: &apikey.CacheOptions{Bound: time.Minute, NegativeTTL: 5 * time.Second}})
	refused(t, there, apikey.ErrUnknown, token)
	if issued := create(t, here, apikey.Spec{}); issued.Secret.Reveal() != token {
		t.Fatal("another token")
	}
	accepted(t, here, token)
	refused(t, there, apikey.ErrUnknown, token) // has heard nothing
	c.advance(5 * time.Second)
	accepted(t, there, token)
}

func TestNoNegativeTTL(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s, _ := cached(t, store, apikey.CacheOptions{NegativeTTL: -1})
	token := generate(t, s.Format(), "")
	if n := store.asked(func() { refused(t, s, apikey.ErrUnknown, token, token) }); n != 2 {
		t.Errorf("two probes asked the store %d times, want 2", n)
	}
}

// Scanners spray keys that do not exist. They take no room from those that do,
// and no memory without end.
func TestUnknownFloodTakesNoRoomFromKeys(t *testing.T) {
	flood := 1_000_000
	if testing.Short() || raceEnabled {
		flood = 50_000
	}
	store := &staged{Store: apikey.NewMemoryStore()}
	s, _ := cached(t, store, apikey.CacheOptions{MaxKeys: 1000})
	good := issueTo(t, s, 1000)
	accepted(t, s, good...)
	before := heap()
	token := []byte(guess(good[0]))
	for i := range flood {
		copy(token[3:], fmt.Sprintf("%016d", i))
		if _, err := s.Verify(t.Context(), string(token), nil); err == nil {
			t.Fatal("accepted")
		}
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("%d unknown keys leave %d bytes behind", flood, grown)
	}
	if n := store.asked(func() { accepted(t, s, good...) }); n != 0 {
		t.Errorf("%d of 1000 keys were evicted", n)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// As many keys as there is room for are all kept, however they fall; of more,
// those that are used stay.
func TestRoomForMaxKeys(t *testing.T) {
	for _, most := range []int{1, 2, 100, 5000} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			store := &staged{Store: apikey.NewMemoryStore()}
			s, _ := cached(t, store, apikey.CacheOptions{MaxKeys: most})
			tokens := issueTo(t, s, 3*most)
			accepted(t, s, tokens[:most]...)
			if n := store.asked(func() { accepted(t, s, tokens[:most]...) }); n != 0 {
				t.Errorf("%d of %d keys were not kept", n, most)
			}
			accepted(t, s, tokens...)
			kept := int64(3*most) - store.asked(func() {
				for _, token := range slices.Backward(tokens) { // the latest first: what is asked for now evicts
					accepted(t, s, token)
				}
			})
			if kept > int64(most) || kept < int64(most)/4 {
				t.Errorf("%d keys were kept, want at most %d, and most of them", kept, most)
			}
		})
	}
}

func TestKeysInUseStay(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s, _ := cached(t, store, apikey.CacheOptions{MaxKeys: 1000})
	hot, cold := issueTo(t, s, 100), issueTo(t, s, 20_000)
	accepted(t, s, hot...)
	asked := store.asked(func() {
		for i, token := range cold {
			accepted(t, s, token)
			if i%100 == 0 {
				accepted(t, s, hot...)
			}
		}
	}) - int64(len(cold))
	if asked > 0 {
		t.Errorf("keys in use were read again %d times", asked)
	}
}

// Who knows many handles and no secret must not crowd out the keys in use: a
// guess gives no second chance.
func TestGuessesDoNotCrowdOutKeysInUse(t *testing.T) {
	store := &staged{Store: apikey.NewMemoryStore()}
	s, _ := cached(t, store, apikey.CacheOptions{MaxKeys: 1000})
	hot, known := issueTo(t, s, 500), issueTo(t, s, 5000)
	accepted(t, s, hot...)
	asked := store.asked(func() {
		for i, token := range known {
			for range 3 {
				refused(t, s, apikey.ErrUnknown, guess(token))
			}
			if i%250 == 0 {
				accepted(t, s, hot...)
			}
		}
	}) - int64(len(known))
	if asked > 0 {
		t.Errorf("keys in use were read again %d times", asked)
	}
}

// Tombstones are misses: they take no room from keys either.
func TestTombstonesTakeNoRoomFromKeys(t *testing.T) {
	records := apikey.NewMemoryStore()
	store := &staged{Store: records}
	s, _ := cached(t, store, apikey.CacheOptions{MaxKeys: 100})
	elsewhere := newService(t, records, s.Format(), nil)
	var dead []string
	for range 1000 {
		issued := create(t, elsewhere, apikey.Spec{})
		dead = append(dead, issued.Secret.Reveal())
		if err := elsewhere.Delete(t.Context(), issued.Key.ID); err != nil {
			t.Fatal(err)
		}
	}
	good := issueTo(t, s, 100)
	accepted(t, s, good...)
	if n := store.asked(func() {
		refused(t, s, apikey.ErrUnknown, dead...)
		refused(t, s, apikey.ErrUnknown, dead...)
	}); n != 1000 {
		t.Errorf("1000 tombstones asked twice asked the store %d times", n)
	}
	if n := store.asked(func() { accepted(t, s, good...) }); n != 0 {
		t.Errorf("%d of 100 keys were evicted", n)
	}
}

// A cache hit counts as a use. Elsewhere hits returned before the tracker, or
// took the fill of the cache for the first use.
func TestHitsAreUses(t *testing.T) {
	records := apikey.NewMemoryStore()
	store := &staged{Store: records}
	s, c := cached(t, store, apikey.CacheOptions{Bound: time.Hour})
	issued := create(t, s, apikey.Spec{})
	refused(t, s, apikey.ErrUnknown, guess(issued.Secret.Reveal())) // fills the cache, and is no use
	flush := func() apikey.Key {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return must(records.ByID(t.Context(), issued.Key.ID))(t).Key
	}
	if k := flush(); !k.LastUsedAt.IsZero() {
		t.Errorf("never used, and last used %v", k.LastUsedAt)
	}
	accepted(t, s, issued.Secret.Reveal())
	if k := flush(); !k.LastUsedAt.Equal(c.at) {
		t.Errorf("used once at %v, and last used %v", c.at, k.LastUsedAt)
	}
	if n := store.asked(func() {
		for range 600 { // ten minutes
			c.advance(time.Second)
			accepted(t, s, issued.Secret.Reveal())
			if behind := c.at.Sub(must(s.Get(t.Context(), issued.Key.ID))(t).LastUsedAt); behind >= time.Minute {
				t.Fatalf("last used %v ago, and just now", behind)
			}
		}
	}); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
	if k := flush(); c.at.Sub(k.LastUsedAt) >= time.Minute {
		t.Errorf("last used %v, want %v to a minute", k.LastUsedAt, c.at)
	}
}

// A use that found no room to be noted is noted when there is some.
func TestHitWithoutRoomForItsUseIsNotedLater(t *testing.T) {
	c := newClock()
	records := apikey.NewMemoryStore()
	s := newService(t, &staged{Store: records}, nil, &apikey.Options{Now: c.now, MaxPending: 1, Cache: &apikey.CacheOptions{Bound: time.Hour}})
	tokens := issueTo(t, s, 2)
	accepted(t, s, tokens[0], tokens[1], tokens[1])
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Second)
	accepted(t, s, tokens[1])
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, rec := range state(t, records) {
		if rec.Key.LastUsedAt.IsZero() {
			t.Errorf("%s shows as never used", rec.Key.ID)
		}
	}
}

// A digest that was brought up to date elsewhere does not end the one that is
// kept: both prove the same text.
func TestRestampElsewhereBreaksNothing(t *testing.T) {
	records := apikey.NewMemoryStore()
	f := newFormat(t, "gx", nil)
	c := newClock()
	old := newService(t, records, f, nil)
	issued := create(t, old, apikey.Spec{})
	s := newService(t, &staged{Store: records}, f, &apikey.Options{Now: c.now, Peppers: []apikey.Pepper{pepper}, Cache: &apikey.CacheOptions{Bound: time.Minute}})
	token := issued.Secret.Reveal()
	accepted(t, s, token)
	was := must(records.ByID(t.Context(), issued.Key.ID))(t).Digest
	is := must(records.ByID(t.Context(), create(t, newService(t, records, f, &apikey.Options{Peppers: []apikey.Pepper{pepper}, Rand: newSeeded()}), apikey.Spec{}).Key.ID))(t)
	if was.Version != 0 || is.Digest.Version != 1 {
		t.Fatalf("digests of versions %d and %d", was.Version, is.Digest.Version)
	}
	again := newService(t, records, f, &apikey.Options{Peppers: []apikey.Pepper{pepper}})
	accepted(t, again, token)
	must(0, again.Close(t.Context()))(t)
	accepted(t, s, token)
	c.advance(time.Minute)
	accepted(t, s, token)
}
