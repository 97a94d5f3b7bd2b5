package apikey

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A hearing listens to a feed on behalf of a cache, which may be trusted only
// while the feed is heard.
type hearing struct {
	feed   Feed
	now    func() time.Time
	failed func(error)
	alive  atomic.Pointer[time.Time] // what the feed told last; nil while it is not heard

	stop context.CancelFunc
	done chan struct{} // closed when the goroutine has ended
}

// Waits between two attempts to listen.
const (
	soonest = 50 * time.Millisecond
	latest  = 5 * time.Second
)

// heard reports whether all that was announced so much before now, or earlier,
// was heard.
func (h *hearing) heard(now time.Time, bound time.Duration) bool {
	at := h.alive.Load()
	return at != nil && age(*at, now) < bound
}

// listen starts to listen for c, in a goroutine that stop ends.
func (h *hearing) listen(c *cache) {
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // the goroutine outlives every caller but Close
	h.stop, h.done = stop, make(chan struct{})
	go func() {
		defer close(h.done)
		wait := soonest
		for try := 0; ctx.Err() == nil; try++ {
			if h.session(ctx, c) {
				wait = soonest
			}
			jitter := time.Duration(maphash.Comparable(c.seed, try) % uint64(wait/2)) // no two processes share a seed
			pause := time.NewTimer(wait/2 + jitter)                                   //nolint:forbidigo // owned by the service, ended by Close
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
			wait = min(2*wait, latest)
		}
	}()
}

// session listens until the line breaks, and reports whether the feed was heard.
func (h *hearing) session(ctx context.Context, c *cache) (heard bool) {
	var mu sync.Mutex
	over := false
	defer func() {
		mu.Lock()
		over, heard = true, h.alive.Swap(nil) != nil
		mu.Unlock()
		c.clear()
	}()
	err := h.feed.Listen(ctx, Listener{
		Now:   h.now,
		Heard: c.forget,
		Alive: func(at time.Time) {
			mu.Lock()
			defer mu.Unlock()
			if !over {
				h.sign(c, at)
			}
		},
	})
	if ctx.Err() == nil {
		if err == nil {
			err = errors.New("the feed ended without an error")
		}
		h.tell("apikey.Listen", err)
	}
	return heard
}

// sign notes a sign of life. After a silence, and at first, nothing that was
// read before counts any more: the feed may not have been listening yet.
func (h *hearing) sign(c *cache, at time.Time) {
	before := h.alive.Load()
	switch {
	case before == nil || age(*before, h.now()) >= c.bound:
		c.clear()
	case at.Before(*before):
		return
	}
	h.alive.Store(&at)
}

// announce tells everybody else what to forget. It is not worth more time than
// after which they forget by themselves, and does not end with the caller's.
func (h *hearing) announce(ctx context.Context, notices []Notice, bound time.Duration) {
	if len(notices) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bound)
	defer cancel()
	if err := h.feed.Announce(ctx, notices); err != nil {
		h.tell("apikey.Announce", err)
	}
}

func (h *hearing) tell(op string, err error) {
	if h.failed != nil {
		h.failed(&errors.Error{Code: errors.Unavailable, Op: op, Msg: "the feed of notices cannot be used now", Err: err})
	}
}

// wait waits for the goroutine, which stop ends.
func (h *hearing) wait(ctx context.Context) error {
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
