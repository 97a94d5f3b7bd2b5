package apikeytest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A brokenFeed is a memory feed with one fault. Nil fields are sound.
type brokenFeed struct {
	apikey.Feed
	announce func(f apikey.Feed, ctx context.Context, notices []apikey.Notice) error
	listen   func(f apikey.Feed, ctx context.Context, l apikey.Listener) error
}

func (b *brokenFeed) Announce(ctx context.Context, notices []apikey.Notice) error {
	if b.announce != nil {
		return b.announce(b.Feed, ctx, notices)
	}
	return b.Feed.Announce(ctx, notices)
}

func (b *brokenFeed) Listen(ctx context.Context, l apikey.Listener) error {
	if b.listen != nil {
		return b.listen(b.Feed, ctx, l)
	}
	return b.Feed.Listen(ctx, l)
}

// heard returns a Listen that tells notices otherwise.
func heard(tell func(l apikey.Listener, n apikey.Notice)) func(apikey.Feed, context.Context, apikey.Listener) error {
	return func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
		sound := l
		sound.Heard = func(n apikey.Notice) { tell(l, n) }
		return f.Listen(ctx, sound)
	}
}

// alive returns a Listen that tells Alive otherwise.
func alive(tell func(l apikey.Listener, at time.Time)) func(apikey.Feed, context.Context, apikey.Listener) error {
	return func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
		sound := l
		sound.Alive = func(at time.Time) { tell(l, at) }
		return f.Listen(ctx, sound)
	}
}

// pause lets the time of a test's bubble pass.
func pause(d time.Duration) {
	<-time.After(d)
}

type feedFault struct {
	name   string
	caught []string
	feed   brokenFeed
}

func feedFaults() []feedFault {
	var held []apikey.Notice
	var mu sync.Mutex
	ends := false
	telling := make(chan struct{}, 1)
	return []feedFault{
		{"says nothing", caught("what is announced is heard", "Listen begins anew"), brokenFeed{
			announce: func(apikey.Feed, context.Context, []apikey.Notice) error { return nil },
		}},
		{"spares the sender", caught("what is announced is heard"), brokenFeed{ // and all others at its end
			listen: func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
				first := true
				return heard(func(l apikey.Listener, n apikey.Notice) {
					if !first {
						l.Heard(n)
					}
					first = false
				})(f, ctx, l)
			},
		}},
		{"sends a call backwards", caught("notices are heard in the order"), brokenFeed{
			announce: func(f apikey.Feed, ctx context.Context, notices []apikey.Notice) error {
				notices = slices.Clone(notices)
				slices.Reverse(notices)
				return f.Announce(ctx, notices)
			},
		}},
		{"sends the call before last", caught("notices are heard in the order", "everything announced before"), brokenFeed{
			announce: func(f apikey.Feed, ctx context.Context, notices []apikey.Notice) error {
				mu.Lock()
				notices, held = held, slices.Clone(notices)
				mu.Unlock()
				return f.Announce(ctx, notices)
			},
		}},
		{"cuts a message that is too long", caught("a thousand notices go in one call"), brokenFeed{
			announce: func(f apikey.Feed, ctx context.Context, notices []apikey.Notice) error {
				return f.Announce(ctx, notices[:min(len(notices), 100)])
			},
		}},
		{"cuts owners that are too long", caught("a thousand notices go in one call"), brokenFeed{
			listen: heard(func(l apikey.Listener, n apikey.Notice) {
				n.Owner = n.Owner[:min(len(n.Owner), 200)]
				l.Heard(n)
			}),
		}},
		{"separates by commas", caught("handles and owners are heard byte by byte"), brokenFeed{
			listen: heard(func(l apikey.Listener, n apikey.Notice) {
				for part := range strings.SplitSeq(n.Handle, ",") {
					l.Heard(apikey.Notice{Handle: part, Owner: n.Owner})
				}
			}),
		}},
		{"takes an owner for a handle", caught("handles and owners are heard byte by byte"), brokenFeed{
			listen: heard(func(l apikey.Listener, n apikey.Notice) { l.Heard(apikey.Notice{Handle: n.Handle + n.Owner}) }),
		}},
		{"cannot send nothing", caught("a call without notices succeeds"), brokenFeed{
			announce: func(f apikey.Feed, ctx context.Context, notices []apikey.Notice) error {
				if len(notices) == 0 {
					return errors.New("empty payload")
				}
				return f.Announce(ctx, notices)
			},
		}},
		{"waits for listeners", caught("sending does not wait"), brokenFeed{
			announce: func(f apikey.Feed, ctx context.Context, notices []apikey.Notice) error {
				if err := f.Announce(ctx, notices); err != nil {
					return err
				}
				pause(time.Millisecond)
				select {
				case telling <- struct{}{}: // a channel, not a mutex: the bubble sees who waits
					<-telling
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			},
			listen: func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
				return heard(func(l apikey.Listener, n apikey.Notice) {
					telling <- struct{}{}
					l.Heard(n)
					<-telling
				})(f, ctx, l)
			},
		}},
		{"deals notices out", caught("listeners at one end each hear all"), brokenFeed{
			listen: heard(func(l apikey.Listener, n apikey.Notice) {
				mu.Lock()
				seen := slices.Contains(held, n)
				held = append(held, n)
				mu.Unlock()
				if !seen {
					l.Heard(n)
				}
			}),
		}},
		{"takes silence for proof", caught("everything announced before"), brokenFeed{
			listen: func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
				sound := l
				sound.Heard = func(n apikey.Notice) {
					l.Alive(l.Now())
					l.Heard(n)
				}
				return f.Listen(ctx, sound)
			},
		}},
		{"reads the clock too late", caught("everything announced before"), brokenFeed{
			listen: alive(func(l apikey.Listener, _ time.Time) {
				pause(time.Millisecond)
				l.Alive(l.Now())
			}),
			announce: func(f apikey.Feed, ctx context.Context, notices []apikey.Notice) error {
				pause(300 * time.Microsecond)
				return f.Announce(ctx, notices)
			},
		}},
		{"is alive once", caught("Alive is told again and again"), brokenFeed{
			listen: func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
				once := sync.OnceFunc(func() { l.Alive(l.Now()) })
				return alive(func(apikey.Listener, time.Time) { once() })(f, ctx, l)
			},
		}},
		{"is alive every few seconds", caught("Alive is told again and again"), brokenFeed{
			listen: alive(func(l apikey.Listener, at time.Time) {
				l.Alive(at)
				pause(2 * time.Second)
			}),
		}},
		{"is alive at one instant", caught("Alive is told again and again"), brokenFeed{
			listen: alive(func(l apikey.Listener, _ time.Time) { l.Alive(longAgo) }),
		}},
		{"follows the clock back", caught("Alive is never told an instant before"), brokenFeed{
			listen: heard(func(l apikey.Listener, n apikey.Notice) {
				l.Heard(n)
				l.Alive(l.Now())
			}),
		}},
		{"ends with an error of its own", caught("Listen returns the context's error"), brokenFeed{
			listen: func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
				return errors.New(f.Listen(ctx, l).Error())
			},
		}},
		{"ends without an error", caught("Listen returns the context's error"), brokenFeed{
			listen: func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
				_ = f.Listen(ctx, l)
				return nil
			},
		}},
		{"does not end", caught("Listen returns the context's error"), brokenFeed{
			listen: func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
				err := f.Listen(ctx, l)
				pause(time.Hour)
				return err
			},
		}},
		{"does not end before all is told", caught("Listen can be ended from within"), brokenFeed{
			listen: heard(func(l apikey.Listener, n apikey.Notice) {
				l.Heard(n)
				pause(time.Hour)
			}),
		}},
		{"tells what comes after the end", caught("Listen tells nothing after it returned"), brokenFeed{
			listen: func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
				done := make(chan struct{})
				go func() {
					defer close(done)
					late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
					defer cancel()
					_ = f.Listen(late, l)
				}()
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-done:
					return ctx.Err()
				}
			},
		}},
		{"listens once", caught("Listen begins anew"), brokenFeed{
			listen: func(f apikey.Feed, ctx context.Context, l apikey.Listener) error {
				mu.Lock()
				defer mu.Unlock()
				if ends {
					return errors.New("closed")
				}
				mu.Unlock()
				err := f.Listen(ctx, l)
				mu.Lock()
				ends = true
				return err
			},
		}},
		{"sends whatever the context", caught("a call whose context is over"), brokenFeed{
			announce: func(f apikey.Feed, ctx context.Context, notices []apikey.Notice) error {
				return f.Announce(context.WithoutCancel(ctx), notices)
			},
		}},
		{"tells two things at once", caught("what is announced is heard"), brokenFeed{
			listen: heard(func(l apikey.Listener, n apikey.Notice) {
				var wg sync.WaitGroup
				for range 2 {
					wg.Go(func() { l.Heard(n) })
				}
				wg.Wait()
			}),
		}},
	}
}

// A brokenOwn is a memory store whose feed has one fault.
type brokenOwn struct {
	*apikey.MemoryStore
	apply    func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error
	announce func(m *apikey.MemoryStore, notices []apikey.Notice)
}

func (b *brokenOwn) Apply(ctx context.Context, c apikey.Change) error {
	if b.apply != nil {
		return b.apply(b.MemoryStore, ctx, c)
	}
	return b.MemoryStore.Apply(ctx, c)
}

func (b *brokenOwn) Announce(ctx context.Context, notices []apikey.Notice) error {
	if b.announce != nil {
		b.announce(b.MemoryStore, notices)
	}
	return ctx.Err()
}

func ownFeedFaults() []struct {
	name, caught string
	store        brokenOwn
} {
	say := func(m *apikey.MemoryStore, notices []apikey.Notice) {
		_ = m.Apply(context.Background(), apikey.Change{Notices: notices})
	}
	return []struct {
		name, caught string
		store        brokenOwn
	}{
		{"announces twice", "of a store that is its own feed Announce does nothing", brokenOwn{announce: say}},
		{"sends what was refused", "a refused change sends nothing", brokenOwn{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				err := m.Apply(ctx, c)
				if err != nil {
					say(m, c.Notices)
				}
				return err
			},
		}},
		{"sends before the change", "who hears of a change can read it", brokenOwn{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				say(m, c.Notices)
				pause(time.Millisecond)
				c.Notices = nil
				return m.Apply(ctx, c)
			},
		}},
		{"sends after the change", "notices of concurrent changes", brokenOwn{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				notices := c.Notices
				c.Notices = nil
				if err := m.Apply(ctx, c); err != nil {
					return err
				}
				for _, rec := range c.Update {
					pause(time.Duration(rec.Key.Version%3) * time.Millisecond)
				}
				say(m, notices)
				return nil
			},
		}},
	}
}

func feedSentence(t *testing.T, begins string) feedCheck {
	t.Helper()
	i := slices.IndexFunc(feedChecks(), func(c feedCheck) bool { return strings.HasPrefix(c.sentence, begins) })
	if i < 0 {
		t.Fatalf("no check begins with %q", begins)
	}
	return feedChecks()[i]
}

// rejects fails the test unless c rejects the feed, made in a bubble whose time
// passes at once.
func rejects(t *testing.T, c feedCheck, newFeed func() apikey.Feed) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := c.run(ctx, f, f); err == nil {
			t.Error("not rejected")
		}
		cancel()
		pause(2 * time.Hour) // longer than what is broken keeps on
	})
}

func TestSuiteRejectsBrokenFeeds(t *testing.T) {
	for i, f := range feedFaults() {
		for _, begins := range f.caught {
			t.Run(f.name+"/"+begins, func(t *testing.T) {
				rejects(t, feedSentence(t, begins), func() apikey.Feed {
					b := feedFaults()[i].feed
					b.Feed = new(apikey.MemoryFeed)
					return &b
				})
			})
		}
	}
	for i, f := range ownFeedFaults() {
		t.Run(f.name+"/"+f.caught, func(t *testing.T) {
			rejects(t, feedSentence(t, f.caught), func() apikey.Feed {
				b := ownFeedFaults()[i].store
				b.MemoryStore = apikey.NewMemoryStore()
				return &b
			})
		})
	}
}

func TestEverySentenceRejectsABrokenFeed(t *testing.T) {
	rejected := map[string]bool{}
	for _, f := range feedFaults() {
		for _, begins := range f.caught {
			rejected[feedSentence(t, begins).sentence] = true
		}
	}
	for _, f := range ownFeedFaults() {
		rejected[feedSentence(t, f.caught).sentence] = true
	}
	for _, c := range feedChecks() {
		if !rejected[c.sentence] {
			t.Errorf("no broken feed is rejected by %q", c.sentence)
		}
	}
}

// The memory feed needs no real time: what a service does over one can be
// tested in a bubble.
func TestSuiteAcceptsTheMemoryFeedsInABubble(t *testing.T) {
	for _, c := range feedChecks() {
		t.Run(c.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f apikey.Feed = new(apikey.MemoryFeed)
				if c.only != nil && *c.only {
					f = apikey.NewMemoryStore()
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := c.run(ctx, f, f); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
