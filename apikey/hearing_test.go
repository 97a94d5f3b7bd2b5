package apikey_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A staged feed is one whose line a test plays. Each Listen sends itself to
// lines.
type stagedFeed struct {
	lossless bool
	lines    chan *line

	mu        sync.Mutex
	announced []apikey.Notice
	fail      error
}

type line struct {
	apikey.Listener
	cut chan error
}

func newStagedFeed(lossless bool) *stagedFeed {
	return &stagedFeed{lossless: lossless, lines: make(chan *line)}
}

func (f *stagedFeed) Listen(ctx context.Context, l apikey.Listener) error {
	own := &line{l, make(chan error)}
	select {
	case f.lines <- own:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-own.cut:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *stagedFeed) Announce(ctx context.Context, notices []apikey.Notice) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.announced = append(f.announced, notices...)
	return f.fail
}

func (f *stagedFeed) Lossless() bool { return f.lossless }

// pass moves the clock of a bubble on, and waits until all has been done that
// was due by then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// A fleet is two services over one store with one staged feed, which the second
// listens to.
type fleet struct {
	here  *apikey.Service // changes keys; keeps nothing
	there *apikey.Service
	store *staged // of there
	feed  *stagedFeed
	told  []error
}

func newFleet(t *testing.T, o apikey.CacheOptions) *fleet {
	t.Helper()
	records := apikey.NewMemoryStore()
	f := &fleet{store: &staged{Store: records}, feed: newStagedFeed(o.MaxAge > o.Bound)}
	if o.Bound == 0 {
		o.Bound = 10 * time.Second
	}
	o.Feed = f.feed
	format := newFormat(t, "gx", &apikey.FormatOptions{NoChecksum: true})
	f.here = newService(t, records, format, nil)
	f.there = newService(t, f.store, format, &apikey.Options{Cache: &o, Failed: func(err error) { f.told = append(f.told, err) }})
	t.Cleanup(func() {
		if err := f.there.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// asks fails the test unless as many verifications of token as are made ask the
// store so often.
func (f *fleet) asks(t *testing.T, want int64, token string) {
	t.Helper()
	if n := f.store.asked(func() { accepted(t, f.there, token, token, token) }); n != want {
		t.Errorf("three verifications asked the store %d times, want %d", n, want)
	}
}

// What is kept is trusted only while the feed is heard: not before, not when it
// has been silent for the bound, and not what was kept before a silence.
func TestNothingIsKeptWhileTheFeedIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, apikey.CacheOptions{Bound: 10 * time.Second, MaxAge: time.Hour})
		token := issueTo(t, f.here, 1)[0]
		f.asks(t, 3, token)
		l := <-f.feed.lines
		f.asks(t, 3, token) // subscribed, and not heard yet
		l.Alive(l.Now())
		f.asks(t, 1, token)
		pass(10*time.Second - 1)
		f.asks(t, 0, token)
		pass(1)
		f.asks(t, 3, token)
		l.Alive(l.Now())
		f.asks(t, 1, token) // what was kept before is gone
		pass(5 * time.Second)
		l.Alive(l.Now().Add(-4 * time.Second)) // all that it proves is what was heard by then
		pass(6*time.Second - 1)
		f.asks(t, 0, token)
		pass(1)
		f.asks(t, 3, token)
		l.Alive(l.Now().Add(time.Hour)) // says nothing
		f.asks(t, 3, token)
	})
}

func TestWhileHeardKeysAreKeptForMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, apikey.CacheOptions{Bound: 10 * time.Second, MaxAge: time.Minute})
		token := issueTo(t, f.here, 1)[0]
		l := <-f.feed.lines
		l.Alive(l.Now())
		f.asks(t, 1, token)
		for range 59 {
			pass(time.Second)
			l.Alive(l.Now())
			f.asks(t, 0, token)
		}
		pass(time.Second)
		l.Alive(l.Now())
		f.asks(t, 1, token)
	})
}

func TestNoticeIsFeltAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, apikey.CacheOptions{Bound: 10 * time.Second, MaxAge: time.Hour})
		l := <-f.feed.lines
		l.Alive(l.Now())
		issued, other := create(t, f.here, apikey.Spec{Owner: "a"}), create(t, f.here, apikey.Spec{Owner: "b"})
		token := issued.Secret.Reveal()
		handle := must(f.store.ByID(t.Context(), issued.Key.ID))(t).Handle
		accepted(t, f.there, token, other.Secret.Reveal())
		must(f.here.Disable(t.Context(), issued.Key.ID))(t)
		accepted(t, f.there, token)
		l.Heard(apikey.Notice{Handle: handle})
		refused(t, f.there, apikey.ErrDisabled, token)
		must(f.here.Enable(t.Context(), issued.Key.ID))(t)
		l.Heard(apikey.Notice{Handle: handle})
		accepted(t, f.there, token)
		must(f.here.SuspendOwner(t.Context(), "a", ""))(t)
		l.Heard(apikey.Notice{Owner: "a"})
		refused(t, f.there, apikey.ErrSuspended, token)
		must(f.here.RestoreOwner(t.Context(), "a", ""))(t)
		l.Heard(apikey.Notice{Owner: "a"})
		accepted(t, f.there, token)
		if n := f.store.asked(func() { accepted(t, f.there, other.Secret.Reveal()) }); n != 0 {
			t.Error("a notice of one owner's key took another's")
		}
		unknown := generate(t, f.there.Format(), "")
		refused(t, f.there, apikey.ErrUnknown, unknown)
		l.Heard(apikey.Notice{Handle: unknown[len("gx_") : len("gx_")+16]})
		if n := f.store.asked(func() { refused(t, f.there, apikey.ErrUnknown, unknown) }); n != 1 {
			t.Error("a handle that was announced is not looked up")
		}
		l.Heard(apikey.Notice{}) // says nothing
	})
}

// A notice that comes during a read fences it, as a change made here does.
func TestNoticeFencesAReadUnderWay(t *testing.T) {
	for _, what := range []string{"handle", "owner", "silence", "new line"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, apikey.CacheOptions{Bound: 10 * time.Second, MaxAge: time.Hour})
				l := <-f.feed.lines
				l.Alive(l.Now())
				issued := create(t, f.here, apikey.Spec{})
				g := newGate()
				f.store.after = g.pass
				early := verifying(t.Context(), f.there, issued.Secret.Reveal())
				<-g.reached
				f.store.after = nil
				must(f.here.Revoke(t.Context(), issued.Key.ID, ""))(t)
				switch what {
				case "handle":
					l.Heard(apikey.Notice{Handle: must(f.store.ByID(t.Context(), issued.Key.ID))(t).Handle})
				case "owner":
					l.Heard(apikey.Notice{Owner: issued.Key.Owner})
				case "silence":
					pass(time.Minute)
					l.Alive(l.Now())
				case "new line":
					l.cut <- errors.New("cut")
					l = <-f.feed.lines
					l.Alive(l.Now())
				}
				close(g.open)
				if err := <-early; err != nil {
					t.Errorf("who came before: %v", err)
				}
				refused(t, f.there, apikey.ErrRevoked, issued.Secret.Reveal())
			})
		})
	}
}

// When the line breaks all is forgotten at once, the host is told, and listening
// begins anew, sooner at first and never later than in five seconds.
func TestBrokenLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, apikey.CacheOptions{Bound: 10 * time.Second, MaxAge: time.Hour})
		token := issueTo(t, f.here, 1)[0]
		l := <-f.feed.lines
		l.Alive(l.Now())
		f.asks(t, 1, token)
		cut := errors.New("cut")
		l.cut <- cut
		synctest.Wait()
		f.asks(t, 3, token)
		if len(f.told) != 1 || !errors.Is(f.told[0], cut) || errors.CodeOf(f.told[0]) != errors.Unavailable {
			t.Errorf("told %v, want the error of the feed, unavailable", f.told)
		}
		l.Alive(l.Now()) // of a line that is no more
		f.asks(t, 3, token)
		waits := []time.Duration{}
		for range 20 {
			began := time.Now()
			l = <-f.feed.lines
			waits = append(waits, time.Since(began))
			l.cut <- nil
			synctest.Wait()
		}
		for i, wait := range waits {
			if most := min(50*time.Millisecond<<i, 5*time.Second); wait < most/2 || wait > most {
				t.Errorf("attempt %d came after %v, want %v to %v", i, wait, most/2, most)
			}
		}
		if len(f.told) != 21 {
			t.Errorf("told of %d failures, want 21", len(f.told))
		}
		l = <-f.feed.lines
		l.Alive(l.Now())
		f.asks(t, 1, token)
		l.cut <- cut
		began := time.Now()
		<-f.feed.lines
		if wait := time.Since(began); wait > 50*time.Millisecond {
			t.Errorf("after a good line the first attempt came after %v", wait)
		}
	})
}

func TestCloseEndsListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, apikey.CacheOptions{Bound: 10 * time.Second, MaxAge: time.Hour})
		token := issueTo(t, f.here, 1)[0]
		l := <-f.feed.lines
		l.Alive(l.Now())
		f.asks(t, 1, token)
		for range 2 {
			if err := f.there.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		f.asks(t, 3, token) // still answers, and keeps nothing
		if len(f.told) != 0 {
			t.Errorf("told %v of an end that was asked for", f.told)
		}
	}) // fails if the goroutine were still there
}

// What a service changes it announces: each handle, and each owner.
func TestChangesAreAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, apikey.CacheOptions{})
		handle := func(id string) apikey.Notice {
			return apikey.Notice{Handle: must(f.store.ByID(t.Context(), id))(t).Handle}
		}
		sent := func(what string, want ...apikey.Notice) {
			t.Helper()
			f.feed.mu.Lock()
			defer f.feed.mu.Unlock()
			got := map[apikey.Notice]int{}
			for _, n := range f.feed.announced {
				got[n]++
			}
			for _, n := range want {
				if got[n] != 1 {
					t.Errorf("%s: announced %v, want %v once", what, f.feed.announced, n)
				}
			}
			if len(want) != len(f.feed.announced) {
				t.Errorf("%s: announced %v, want %v", what, f.feed.announced, want)
			}
			f.feed.announced = nil
		}
		issued := create(t, f.there, apikey.Spec{Owner: "a"})
		sent("Create", handle(issued.Key.ID))
		must(f.there.Disable(t.Context(), issued.Key.ID))(t)
		sent("Disable", handle(issued.Key.ID))
		must(f.there.Enable(t.Context(), issued.Key.ID))(t)
		sent("Enable", handle(issued.Key.ID))
		before := handle(issued.Key.ID)
		must(f.there.Regenerate(t.Context(), issued.Key.ID))(t)
		sent("Regenerate", before, handle(issued.Key.ID))
		heir := must(f.there.Rotate(t.Context(), issued.Key.ID, time.Hour))(t)
		sent("Rotate", handle(issued.Key.ID), handle(heir.Key.ID))
		must(f.there.RevokeOwner(t.Context(), "a", ""))(t)
		sent("RevokeOwner", apikey.Notice{Owner: "a"})
		if _, err := f.there.Update(t.Context(), heir.Key.ID, apikey.Changes{Name: new("x")}); err == nil {
			t.Error("a revoked key was renamed")
		}
		sent("what was refused")
	})
}

// A change is made when the store says so. That it cannot be announced is told
// to the host, and Bound holds nonetheless; that the caller gave up stops no
// announcement.
func TestAnnouncementThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, apikey.CacheOptions{})
		issued := create(t, f.there, apikey.Spec{})
		f.feed.fail = errors.New("cut")
		must(f.there.Disable(t.Context(), issued.Key.ID))(t)
		if len(f.told) != 1 || !errors.Is(f.told[0], f.feed.fail) {
			t.Errorf("told %v, want the error of the feed", f.told)
		}
		f.feed.fail, f.feed.announced = nil, nil
		ctx, cancel := context.WithCancel(t.Context())
		lost := errors.New("connection reset")
		f.store.apply = func(commit func() error) error {
			cancel()
			return lost // it may have come true
		}
		if _, err := f.there.Enable(ctx, issued.Key.ID); !errors.Is(err, lost) {
			t.Errorf("Enable = %v", err)
		}
		if len(f.feed.announced) != 1 {
			t.Errorf("a change that may have come true: announced %v, want its key", f.feed.announced)
		}
	})
}

// Two services over one store that is its own feed: what one changes the other
// hears of, though each keeps keys for an hour.
func TestTwoServicesOverOneStore(t *testing.T) {
	for name, feed := range map[string]func(*apikey.MemoryStore) (apikey.Feed, time.Duration){
		"store": func(m *apikey.MemoryStore) (apikey.Feed, time.Duration) { return m, time.Hour },
		"feed beside": func(*apikey.MemoryStore) (apikey.Feed, time.Duration) {
			return new(apikey.MemoryFeed), 10 * time.Second
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				records := apikey.NewMemoryStore()
				store := &staged{Store: records}
				via, age := feed(records)
				o := func() *apikey.Options {
					return &apikey.Options{Cache: &apikey.CacheOptions{Bound: 10 * time.Second, MaxAge: age, Feed: via}}
				}
				a, b := newService(t, store, nil, o()), newService(t, store, nil, o())
				synctest.Wait()
				issued := create(t, a, apikey.Spec{Owner: "o"})
				token, id := issued.Secret.Reveal(), issued.Key.ID
				synctest.Wait() // both have heard of it: a notice would take away what is kept
				for _, s := range []*apikey.Service{a, b} {
					accepted(t, s, token)
					if n := store.asked(func() { accepted(t, s, token) }); n != 0 {
						t.Error("nothing is kept")
					}
				}
				for _, step := range []struct {
					by, at *apikey.Service
					do     func(*apikey.Service) error
					want   error
				}{
					{a, b, func(s *apikey.Service) error { _, err := s.Disable(t.Context(), id); return err }, apikey.ErrDisabled},
					{b, a, func(s *apikey.Service) error { _, err := s.Enable(t.Context(), id); return err }, nil},
					{b, a, func(s *apikey.Service) error { _, err := s.SuspendOwner(t.Context(), "o", ""); return err }, apikey.ErrSuspended},
					{a, b, func(s *apikey.Service) error { _, err := s.RestoreOwner(t.Context(), "o", ""); return err }, nil},
					{a, b, func(s *apikey.Service) error { _, err := s.Revoke(t.Context(), id, ""); return err }, apikey.ErrRevoked},
				} {
					if err := step.do(step.by); err != nil {
						t.Fatal(err)
					}
					refused(t, step.by, step.want, token)
					synctest.Wait() // heard
					refused(t, step.at, step.want, token)
				}
				for _, s := range []*apikey.Service{a, b} {
					must(0, s.Close(t.Context()))(t)
				}
			})
		})
	}
}
