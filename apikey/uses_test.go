package apikey_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A key that is used once shows as used: nothing is taken as its first use but
// the use itself.
func TestSingleUseIsRecorded(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{})
	must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	used := c.at
	c.advance(time.Hour)
	if k := must(s.Get(t.Context(), issued.Key.ID))(t); !k.LastUsedAt.Equal(used) {
		t.Errorf("before the flush: last used %v, want %v", k.LastUsedAt, used)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec := must(store.ByID(t.Context(), issued.Key.ID))(t); !rec.Key.LastUsedAt.Equal(used) || rec.Key.Version != 1 {
		t.Errorf("stored: last used %v, version %d; want %v, 1", rec.Key.LastUsedAt, rec.Key.Version, used)
	}
}

func TestUsesAreWrittenAtMostOncePerInterval(t *testing.T) {
	c := newClock()
	touches := 0
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verb == "Touch" {
			touches++
		}
		return nil
	}}
	s := newService(t, store, nil, &apikey.Options{Now: c.now, LastUsedEvery: time.Minute})
	issued := create(t, s, apikey.Spec{})
	for range 600 { // ten minutes
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.advance(time.Second)
	}
	if touches != 10 {
		t.Errorf("%d writes in ten minutes, want 10", touches)
	}
}

// A clock set back must not set LastUsedAt back.
func TestLastUsedNeverMovesBack(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, &apikey.Options{Now: c.now, LastUsedEvery: time.Microsecond})
	issued := create(t, s, apikey.Spec{})
	latest := c.at
	for _, d := range []time.Duration{0, -time.Hour, -time.Second} {
		c.at = latest.Add(d)
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
		if d == -time.Hour {
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k := must(s.Get(t.Context(), issued.Key.ID))(t); !k.LastUsedAt.Equal(latest) {
		t.Errorf("last used %v, want %v", k.LastUsedAt, latest)
	}
}

func TestFailedFlushLosesNothing(t *testing.T) {
	c := newClock()
	down := errors.New("down")
	calls, failFrom := 0, 2
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verb == "Touch" {
			if calls++; calls >= failFrom {
				return down
			}
		}
		return nil
	}}
	s := newService(t, store, nil, &apikey.Options{Now: c.now})
	var issued []apikey.Issued
	for range 2500 {
		one := create(t, s, apikey.Spec{})
		must(s.Verify(t.Context(), one.Secret.Reveal(), nil))(t)
		issued = append(issued, one)
	}
	if err := s.Close(t.Context()); !errors.Is(err, down) || errors.CodeOf(err) != errors.Unavailable {
		t.Fatalf("Close = %v, want unavailable", err)
	}
	failFrom = 1000
	for range 2 { // Close may be called again
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, one := range issued {
		if rec := must(store.MemoryStore.ByID(t.Context(), one.Key.ID))(t); !rec.Key.LastUsedAt.Equal(c.at) {
			t.Fatalf("key %d: last used %v, want %v", i, rec.Key.LastUsedAt, c.at)
		}
	}
}

// Pending uses are bounded, and guesses take no room at all.
func TestPendingUsesAreBounded(t *testing.T) {
	store := &counting{MemoryStore: apikey.NewMemoryStore()}
	s := newService(t, store, nil, &apikey.Options{MaxPending: 160})
	for range 2000 {
		must(s.Verify(t.Context(), create(t, s, apikey.Spec{}).Secret.Reveal(), nil))(t)
		_, _ = s.Verify(t.Context(), generate(t, s.Format(), ""), nil)
	}
	for _, want := range []int{160, 160} { // the write made room for no more
		if err := s.Flush(t.Context()); err != nil || store.uses != want {
			t.Errorf("%d uses written, %v; want %d", store.uses, err, want)
		}
	}
	for range 200 {
		must(s.Verify(t.Context(), create(t, s, apikey.Spec{}).Secret.Reveal(), nil))(t)
	}
	if err := s.Flush(t.Context()); err != nil || store.uses != 320 {
		t.Errorf("%d uses written, %v; want 320", store.uses, err)
	}
}

// A use that is being written is not yet forgotten: it shows, a store that
// panics does not lose it, and a later use in the meantime is not taken for it.
func TestUsesStayNotedUntilWritten(t *testing.T) {
	c := newClock()
	c.at = time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC) // a clock can be anywhere
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{})
	shown := func() time.Time { return must(s.Get(t.Context(), issued.Key.ID))(t).LastUsedAt }
	during := func(call func()) {
		store.before = func(verb string) error {
			if verb == "Touch" {
				call()
			}
			return nil
		}
	}
	first, second := c.at, c.at.Add(time.Second)
	must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)

	during(func() { panic("the driver's fault") })
	func() {
		defer func() { _ = recover() }()
		_ = s.Flush(t.Context())
	}()
	if got := shown(); !got.Equal(first) {
		t.Errorf("after a panic: last used %v, want %v", got, first)
	}
	during(func() {
		if got := shown(); !got.Equal(first) {
			t.Errorf("while it is written: last used %v, want %v", got, first)
		}
		c.at = second
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	})
	for _, want := range []time.Time{first, second} {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		rec := must(store.MemoryStore.ByID(t.Context(), issued.Key.ID))(t)
		if !rec.Key.LastUsedAt.Equal(want) || !shown().Equal(second) {
			t.Errorf("stored %v, shown %v; want %v, %v", rec.Key.LastUsedAt, shown(), want, second)
		}
		during(func() {})
	}
}

type counting struct {
	*apikey.MemoryStore
	uses int
}

func (c *counting) Touch(ctx context.Context, uses []apikey.Use) error {
	c.uses += len(uses)
	return c.MemoryStore.Touch(ctx, uses)
}

func TestFlushEveryWritesInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := apikey.NewMemoryStore()
		fail := errors.New("down")
		var told []error
		var healthy atomic.Bool
		s := newService(t, &scripted{store, func(verb string) error {
			if verb == "Touch" && !healthy.Load() {
				return fail
			}
			return nil
		}}, nil, &apikey.Options{FlushEvery: 10 * time.Second, Failed: func(err error) { told = append(told, err) }})
		issued := create(t, s, apikey.Spec{})
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
		used := time.Now().UTC()
		pass(11 * time.Second)
		if len(told) != 1 || !errors.Is(told[0], fail) || errors.CodeOf(told[0]) != errors.Unavailable {
			t.Errorf("told %v, want one failure, unavailable", told)
		}
		healthy.Store(true)
		pass(10 * time.Second)
		if rec := must(store.ByID(t.Context(), issued.Key.ID))(t); !rec.Key.LastUsedAt.Equal(used) {
			t.Errorf("last used %v, want %v", rec.Key.LastUsedAt, used)
		}
		for range 2 {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t) // still answers
	}) // fails if the goroutine were still there
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, release := make(chan struct{}), make(chan struct{})
		store := &stuck{apikey.NewMemoryStore(), entered, release}
		s := newService(t, store, nil, &apikey.Options{FlushEvery: time.Second})
		must(s.Verify(t.Context(), create(t, s, apikey.Spec{}).Secret.Reveal(), nil))(t)
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Close(ctx); errors.CodeOf(err) != errors.DeadlineExceeded {
			t.Errorf("Close = %v, want its deadline", err)
		}
		close(release)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A stuck store does not heed its context in Touch until it is released.
type stuck struct {
	*apikey.MemoryStore
	entered, release chan struct{}
}

func (s *stuck) Touch(ctx context.Context, uses []apikey.Use) error {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.release
	return s.MemoryStore.Touch(ctx, uses)
}

func TestServiceIsSafeForConcurrentUse(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Peppers: []apikey.Pepper{pepper}, LastUsedEvery: time.Microsecond})
	issued := create(t, s, apikey.Spec{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 50 {
				k, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil)
				if err != nil || k.ID != issued.Key.ID {
					t.Errorf("Verify = %+v, %v", k, err)
				}
				if _, err := s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new(fmt.Sprintf("%d/%d", i, n))}); err != nil && !errors.Is(err, apikey.ErrConflict) {
					t.Errorf("Update: %v", err)
				}
				if err := s.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := s.List(t.Context(), apikey.Query{Owner: "acct_1"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
