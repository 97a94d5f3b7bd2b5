package apikeytest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A watch is a listener's clock: no reading is like another, or, unless it is
// turned back, before one.
type watch struct {
	mu   sync.Mutex
	last time.Time
	back time.Duration
}

func (w *watch) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Now().UTC().Truncate(time.Microsecond) //nolint:forbidigo // a real feed lives in real time
	if !at.After(w.last) {
		at = w.last.Add(time.Microsecond)
	}
	w.last = at
	return at.Add(-w.back)
}

// turnBack moves the clock back by d, or forward again.
func (w *watch) turnBack(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.back += d
}

// A moment is one call of a listener: a notice, or an instant of Alive.
type moment struct {
	notice apikey.Notice
	alive  time.Time
}

// An ear is a running Listen and all that it told.
type ear struct {
	stop  context.CancelFunc
	ended chan struct{}
	err   error // Listen's, once ended is closed

	mu     sync.Mutex
	told   []moment
	inside bool
	fault  error
	news   chan struct{} // closed at the next call
}

// listen returns an ear at f once it is subscribed, which the first Alive says.
// Unless nil, then is told of each moment, on the goroutine of Listen.
func listen(ctx context.Context, f apikey.Feed, w *watch, then func(moment)) (*ear, error) {
	e := begun(ctx, f, w, then)
	if err := e.await(ctx, "the first Alive", func() bool { return e.alives() > 0 }); err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

// begun returns an ear at f that may not be subscribed yet.
func begun(ctx context.Context, f apikey.Feed, w *watch, then func(moment)) *ear {
	ctx, stop := context.WithCancel(ctx)
	e := &ear{stop: stop, ended: make(chan struct{}), news: make(chan struct{})}
	tell := func(m moment) {
		e.enter(m)
		if then != nil {
			then(m)
		}
		e.leave()
	}
	go func() {
		defer close(e.ended)
		e.err = f.Listen(ctx, apikey.Listener{
			Now:   w.now,
			Heard: func(n apikey.Notice) { tell(moment{notice: n}) },
			Alive: func(at time.Time) { tell(moment{alive: at}) },
		})
	}()
	return e
}

func (e *ear) enter(m moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.inside {
		e.fault = errors.New("the listener is told two things at once, not in one goroutine")
	}
	e.inside = true
	e.told = append(e.told, m)
	close(e.news)
	e.news = make(chan struct{})
}

func (e *ear) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inside = false
}

// await waits until reached, which is called under mu, returns true.
func (e *ear) await(ctx context.Context, what string, reached func() bool) error {
	for {
		e.mu.Lock()
		ok, fault, news := reached(), e.fault, e.news
		e.mu.Unlock()
		if fault != nil || ok {
			return fault
		}
		select {
		case <-news:
		case <-e.ended:
			return fmt.Errorf("Listen ended before %s: %w", what, e.err)
		case <-ctx.Done():
			return fmt.Errorf("%s does not come: %w", what, ctx.Err())
		}
	}
}

// alives requires that mu is held.
func (e *ear) alives() int {
	n := 0
	for _, m := range e.told {
		if m.notice == (apikey.Notice{}) {
			n++
		}
	}
	return n
}

// notices requires that mu is held.
func (e *ear) notices() []apikey.Notice {
	var heard []apikey.Notice
	for _, m := range e.told {
		if m.notice != (apikey.Notice{}) {
			heard = append(heard, m.notice)
		}
	}
	return heard
}

// hears returns nil once the ear has heard exactly these, in their order.
func (e *ear) hears(ctx context.Context, want ...apikey.Notice) error {
	var got []apikey.Notice
	err := e.await(ctx, fmt.Sprintf("the last of %d notices", len(want)), func() bool {
		got = e.notices()
		return len(got) >= len(want)
	})
	if i := differ(got, want); err == nil && i < len(want) {
		err = fmt.Errorf("notice %d of %d: heard %+v, want %+v", i+1, len(want), got[i], want[i])
	}
	return err
}

// differ returns the index of the first of want that got has not in its place.
func differ(got, want []apikey.Notice) int {
	for i, n := range want {
		if i >= len(got) || got[i] != n {
			return i
		}
	}
	return len(want)
}

// aliveAgain returns nil when Alive was told anew, so many times.
func (e *ear) aliveAgain(ctx context.Context, times int) error {
	e.mu.Lock()
	until := e.alives() + times
	e.mu.Unlock()
	return e.await(ctx, "another Alive", func() bool { return e.alives() >= until })
}

// history returns all that was told.
func (e *ear) history() []moment {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.told)
}

// end ends Listen, which must return the context's error.
func (e *ear) end(ctx context.Context) error {
	e.stop()
	return e.over(ctx, context.Canceled)
}

// over returns nil once Listen returned this error, having told nothing wrong.
func (e *ear) over(ctx context.Context, is error) error {
	select {
	case <-e.ended:
	case <-ctx.Done():
		return fmt.Errorf("Listen does not return: %w", ctx.Err())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(e.fault, want("Listen", e.err, is))
}
