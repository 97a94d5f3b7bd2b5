package credits

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A lane runs one update of the store at a time. Who runs it is the leader; the
// others wait, and when it has ended one of them leads the next.
type lane struct {
	most int // in a batch

	mu    sync.Mutex
	busy  bool // there is a leader
	last  int  // how many were in the last batch
	queue queue

	merge merge     // the leader's
	pool  sync.Pool // of *waiting
	_     [64]byte  // keeps neighbours off one cache line
}

// A waiting is one update on its way through a lane.
type waiting struct {
	ctx   context.Context //nolint:containedctx // of a call that waits
	needs []Need
	fn    func(time.Time, []*State) error
	wake  chan struct{} // once: lead, or this is the outcome

	// Under the lane's lock until wake.
	line           *line
	before, behind *waiting
	lead           bool   // it is to run the next batch
	batch          *batch // that it is in

	// The outcome, written by the leader of its batch before wake.
	err      error
	panicked any
}

// errDied is the outcome of updates whose leader's goroutine ended while it ran
// them.
var errDied error = &errors.Error{Code: errors.Unavailable, Op: "credits.Batcher", Msg: "the update did not come to its end; the outcome is not known"}

func (l *lane) update(ctx context.Context, store Store, needs []Need, fn func(time.Time, []*State) error) error {
	l.mu.Lock()
	if !l.busy && l.last < 2 {
		l.busy = true
		l.mu.Unlock()
		defer l.handOver()
		return store.Update(ctx, needs, fn)
	}
	w, _ := l.pool.Get().(*waiting)
	if w == nil {
		w = &waiting{wake: make(chan struct{}, 1)}
	}
	w.ctx, w.needs, w.fn = ctx, needs, fn
	leads := !l.busy // the others of the last batch are about to come
	queued := leads || l.queue.push(w)
	l.busy = true
	l.mu.Unlock()
	if !queued {
		l.release(w)
		return ErrOverloaded
	}
	if !leads {
		select {
		case <-w.wake:
		case <-ctx.Done():
			if l.withdraw(w) {
				l.release(w)
				return ctx.Err()
			}
			<-w.wake
		}
		leads = w.lead
	}
	if leads {
		l.run(store, w)
	}
	err, panicked := w.err, w.panicked
	l.release(w)
	if panicked != nil {
		panic(panicked) //nolint:forbidigo // it is the caller's own
	}
	return err
}

// release forgets w and keeps it for another update.
func (l *lane) release(w *waiting) {
	*w = waiting{wake: w.wake}
	l.pool.Put(w)
}

// withdraw takes w out of the queue. False means that it is in a batch, or leads
// the next, and its outcome is to come.
func (l *lane) withdraw(w *waiting) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.line != nil {
		l.queue.remove(w)
		return true
	}
	if w.batch != nil {
		w.batch.leave()
	}
	return false
}

// handOver makes one of those who wait the leader, if there is one.
func (l *lane) handOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.queue.pop()
	if w == nil {
		l.busy = false
		return
	}
	w.lead = true
	w.wake <- struct{}{}
}

// run leads a batch that begins with w.
func (l *lane) run(store Store, w *waiting) {
	if w.err = w.ctx.Err(); w.err != nil {
		l.handOver()
		return
	}
	b := &batch{store: store, merge: &l.merge}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	defer cancel()
	b.cancel = cancel
	l.linger()
	l.gather(b, w)
	// Who waits watches its own context, but the leader has no time for that.
	stop := context.AfterFunc(w.ctx, b.leave)
	defer stop()
	defer l.finish(b)
	b.run(ctx, b.updates)
}

// linger lets those who were just answered come with their next update, so that
// they need not wait for the batch after this one. It lasts while more come, some
// microseconds, and only who waits anyway gets here.
func (l *lane) linger() {
	const patience = 8
	for n, idle := 0, 0; idle < patience && n < l.most; idle++ {
		runtime.Gosched()
		l.mu.Lock()
		if l.queue.n > n {
			n, idle = l.queue.n, 0
		}
		l.mu.Unlock()
	}
}

// gather fills b with w and with others of those who wait.
func (l *lane) gather(b *batch, w *waiting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.updates = append(make([]*waiting, 0, min(l.most, 1+l.queue.n)), w)
	for len(b.updates) < l.most {
		next := l.queue.pop()
		if next == nil {
			break
		}
		b.updates = append(b.updates, next)
	}
	l.last = len(b.updates)
	b.live.Store(int64(len(b.updates)))
	for _, w := range b.updates {
		w.batch, w.err = b, errDied
	}
}

// finish tells everybody the outcome, and makes another one the leader. Those who
// come back at once with their next update are in the next batch.
func (l *lane) finish(b *batch) {
	for _, w := range b.updates[1:] {
		w.wake <- struct{}{}
	}
	l.handOver()
}

// A batch is updates that are run together.
type batch struct {
	store   Store
	merge   *merge
	updates []*waiting
	live    atomic.Int64 // of the updates, how many contexts have not ended
	cancel  context.CancelFunc
}

// leave notes that the context of one of the updates has ended.
func (b *batch) leave() {
	if b.live.Add(-1) == 0 {
		b.cancel()
	}
}
