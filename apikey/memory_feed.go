package apikey

import (
	"context"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A MemoryFeed is a [Feed] between the services of one process: for stores that
// are no feed themselves, such as a file that nobody else opens. A [MemoryStore]
// has one built in. It is safe for concurrent use and the zero value is ready
// for it. It has no goroutine of its own: a notice waits in memory until its
// listener's Listen gets to it, and a listener that leaves more than 65536 of
// them waiting is told that it may have missed some.
type MemoryFeed struct {
	mu        sync.Mutex
	listeners map[*subscription]struct{}
}

var (
	_ Feed = (*MemoryFeed)(nil)
	_ Feed = (*MemoryStore)(nil)
)

const (
	memoryBeat    = 200 * time.Millisecond // between two proofs of life while nothing is announced
	memoryBacklog = 1 << 16                // notices that may wait for one listener
)

// errBehind ends a Listen whose listener cannot keep up.
var errBehind error = &errors.Error{
	Code: errors.Unavailable, Op: "apikey.MemoryFeed", Msg: "the listener fell behind and may have missed notices; listen anew",
}

// A subscription is one Listen. The feed's mu guards all but wake.
type subscription struct {
	waiting []Notice
	behind  bool
	wake    chan struct{} // holds a token when there is something to take
}

// Listen implements [Feed].
func (f *MemoryFeed) Listen(ctx context.Context, l Listener) error {
	own := &subscription{wake: make(chan struct{}, 1)}
	f.mu.Lock()
	if f.listeners == nil {
		f.listeners = make(map[*subscription]struct{})
	}
	f.listeners[own] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.listeners, own)
		f.mu.Unlock()
	}()
	beat := time.NewTicker(memoryBeat) //nolint:forbidigo // owned by this call, ended with it
	defer beat.Stop()
	var told time.Time
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := l.Now() // before the look: what was announced by then is there to be taken
		notices, behind := f.take(own)
		if behind {
			return errBehind
		}
		for _, n := range notices {
			if err := ctx.Err(); err != nil {
				return err
			}
			l.Heard(n)
		}
		if !at.Before(told) && ctx.Err() == nil {
			l.Alive(at)
			told = at
		}
		select {
		case <-ctx.Done():
		case <-own.wake:
		case <-beat.C:
		}
	}
}

// take returns what waits for s, and whether anything was dropped.
func (f *MemoryFeed) take(s *subscription) ([]Notice, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := s.waiting
	s.waiting = nil
	return waiting, s.behind
}

// Announce implements [Feed].
func (f *MemoryFeed) Announce(ctx context.Context, notices []Notice) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.send(notices)
	return nil
}

func (f *MemoryFeed) send(notices []Notice) {
	if len(notices) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.listeners {
		if s.behind = s.behind || len(s.waiting)+len(notices) > memoryBacklog; s.behind {
			s.waiting = nil
		} else {
			s.waiting = append(s.waiting, notices...)
		}
		select {
		case s.wake <- struct{}{}:
		default: // it has a token
		}
	}
}

// Lossless implements [Feed]: false, because a process may end between a change
// and its announcement.
func (*MemoryFeed) Lossless() bool { return false }

// Listen implements [Feed].
func (m *MemoryStore) Listen(ctx context.Context, l Listener) error { return m.feed.Listen(ctx, l) }

// Announce implements [Feed]: it does nothing, because Apply sends what a
// Change brings.
func (*MemoryStore) Announce(ctx context.Context, _ []Notice) error { return ctx.Err() }

// Lossless implements [Feed]: true, because a change and its notices are one
// step.
func (*MemoryStore) Lossless() bool { return true }
