package middleware

import (
	"context"
	"sync"
	"time"
)

// A detached context settles a request that may be over already: it has the
// values of its parent but neither its cancellation nor its deadline, unless it is
// bound, as that is in which the stores are asked to decide a request. Its own
// time-out begins when somebody asks for Done or Deadline, which only work that
// can block does; until then it costs no timer, no goroutine and no memory.
type detached struct {
	parent  context.Context //nolint:containedctx // it is a context itself
	timeout time.Duration

	mu    sync.Mutex
	timed *timed // nil until somebody asks
	bound bool   // the end of the parent is the end of this, too
	over  bool
}

// timed is a time-out that has begun.
type timed struct {
	context.Context //nolint:containedctx // it is a context itself

	cancel context.CancelFunc
	later  *detached // of the question after this one; nil when there is none
}

// end ends the time-out, and what took its place.
func (t *timed) end() {
	t.cancel()
	if t.later != nil {
		t.later.stop()
	}
}

// start returns the context with the running time-out.
func (d *detached) start() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		parent := d.parent
		if !d.bound {
			parent = context.WithoutCancel(parent)
		}
		d.timed = new(timed)
		d.timed.Context, d.timed.cancel = context.WithTimeout(parent, d.timeout)
		if d.over {
			d.timed.cancel()
		}
	}
	return d.timed.Context
}

// next returns the context of one more question. It is d itself as long as nobody has
// asked d for Done or Deadline; whoever has may still wait for its end, and must
// never see it come to life again, so that another takes its place then.
func (d *detached) next(bound bool) *detached {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.bound = bound
		return d
	}
	d.timed.end()
	d.timed.later = &detached{parent: d.parent, timeout: d.timeout, bound: bound, over: d.over}
	return d.timed.later
}

// stop ends the context and frees the timer, if one was started.
func (d *detached) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.timed != nil {
		d.timed.end()
	}
}

// Deadline starts the time-out.
func (d *detached) Deadline() (time.Time, bool) { return d.start().Deadline() }

// Done starts the time-out.
func (d *detached) Done() <-chan struct{} { return d.start().Done() }

// Err does not start the time-out: looking is not waiting.
func (d *detached) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.timed != nil:
		return d.timed.Err()
	case d.over:
		return context.Canceled
	case d.bound:
		return d.parent.Err()
	}
	return nil
}

// Value returns the parent's value.
func (d *detached) Value(key any) any { return d.parent.Value(key) }
