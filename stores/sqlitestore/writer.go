package sqlitestore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// maxGroup is the greatest number of writes in one transaction. It bounds how
// long the first of them waits for the last.
const maxGroup = 256

// writer owns the one connection that writes. Its goroutine opens a
// transaction when writes wait, gives each of them its turn inside a savepoint
// of its own, commits once for all of them, and only then tells them that they
// succeeded. A write runs in the goroutine of its caller, so a panic stays
// there; the writer's goroutine only passes the session on.
type writer struct {
	s    *session
	busy time.Duration
	wake chan struct{} // capacity 1: the queue may have grown, or closed was set
	done chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex
	queue  []*job
	closed bool

	commits atomic.Int64 // transactions committed
	crowded bool         // another process was writing when the last one began
}

// A job is one write on its way through the queue.
type job struct {
	state  atomic.Uint32 // queued, then taken or given up
	turn   chan struct{} // from the writer: the session is yours
	ran    chan error    // to the writer: fn has ended like this
	result chan error    // from the writer: the outcome, once it is certain
	failed error         // what fn said, kept until then
}

const (
	queued uint32 = iota
	taken
	abandoned
)

func openWriter(path string, o Options) (*writer, error) {
	ctx := background()
	s, err := openSession(ctx, path, o, false)
	if err != nil {
		return nil, err
	}
	// From here on the writer does its own waiting (see retryBusy).
	if err := s.script(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return nil, errors.Join(err, s.close())
	}
	w := &writer{s: s, busy: o.BusyTimeout, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.loop()
	return w, nil
}

// do runs fn inside a transaction and returns when that is committed. An error
// of fn undoes what fn did, and nothing else, and is returned as it is. While
// the write is queued the end of ctx withdraws it; after that do waits for the
// outcome, and tells the truth about it.
func (w *writer) do(ctx context.Context, fn func(*session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{turn: make(chan struct{}, 1), ran: make(chan error, 1), result: make(chan error, 1)}
	if !w.enqueue(j) {
		return ErrClosed
	}
	select {
	case <-j.turn:
	case err := <-j.result:
		return err
	case <-ctx.Done():
		if j.state.CompareAndSwap(queued, abandoned) {
			return ctx.Err()
		}
		select {
		case <-j.turn:
		case err := <-j.result:
			return err
		}
	}
	w.run(j, fn)
	return <-j.result
}

// run gives the session back to the writer whatever becomes of fn.
func (w *writer) run(j *job, fn func(*session) error) {
	err := errDied
	defer func() { j.ran <- err }()
	err = fn(w.s)
}

// errDied is what the writer hears of a write that panicked or whose goroutine
// ended. Its caller never sees it.
var errDied error = &errors.Error{Msg: "the write did not return"}

// errNobody ends a wait for the file that no caller waits for any more.
var errNobody error = &errors.Error{Msg: "no write is waiting"}

func (w *writer) enqueue(j *job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.queue = append(w.queue, j)
	w.signal()
	return true
}

// signal wakes the goroutine.
func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// close lets the goroutine end when the queue is empty.
func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.signal()
}

// release closes the connection. The goroutine must have ended.
func (w *writer) release() error { return w.s.close() }

// next takes the first job whose caller still waits, or returns nil.
func (w *writer) next() *job {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		j := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		if j.state.CompareAndSwap(queued, taken) {
			return j
		}
	}
	return nil
}

// waiting tells whether a caller still waits, and whether the queue is closed.
func (w *writer) waiting() (live, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.queue {
		if j.state.Load() == queued {
			return true, w.closed
		}
	}
	clear(w.queue)
	w.queue = w.queue[:0]
	return false, w.closed
}

func (w *writer) loop() {
	defer close(w.done)
	for {
		live, closed := w.waiting()
		switch {
		case live:
			w.group()
		case closed:
			return
		default:
			<-w.wake
		}
	}
}

// group serves what is in the queue, and what joins it meanwhile, in one
// transaction. Nobody is told anything before that is over: a refusal, too, may
// rest on what another write of the group did.
func (w *writer) group() {
	if err := w.begin(); err != nil {
		if err == errNobody { //nolint:errorlint // made here, never wrapped
			return
		}
		// Who is answered may come back at once, with a write that this has
		// nothing to do with: the queue is emptied before anybody is answered.
		var refused []*job
		for j := w.next(); j != nil; j = w.next() {
			refused = append(refused, j)
		}
		for _, j := range refused {
			j.result <- err
		}
		return
	}
	var served []*job
	var lost error // the transaction is gone, and why
	writes := 0
	for len(served) < maxGroup && lost == nil {
		j := w.next()
		if j == nil {
			break
		}
		served = append(served, j)
		if len(served) == 1 {
			// There is nothing yet that its failure must leave standing.
			if j.failed = w.lend(j); j.failed != nil {
				break
			}
		} else {
			j.failed, lost = w.turn(j)
		}
		if j.failed == nil {
			writes++
		}
	}
	switch {
	case lost != nil || writes == 0:
		w.rollback()
	default:
		lost = w.commit()
	}
	for _, j := range served {
		if lost != nil {
			j.failed = lost
		}
		j.result <- j.failed
	}
}

// begin opens a transaction with the right to write, waiting for another
// process while somebody in this one wants it.
func (w *writer) begin() error {
	ctx := background()
	if w.crowded {
		// The other process waits as this one did. A moment without the lock
		// lets it have its turn.
		_ = sleep(ctx, 2*busyPause)
	}
	w.crowded = false
	return retryBusy(ctx, w.busy, func() error {
		err := w.s.exec(ctx, "BEGIN IMMEDIATE")
		if isBusy(err) {
			w.crowded = true
			if live, _ := w.waiting(); !live {
				return errNobody
			}
		} else if err != nil {
			w.rollback() // so that nothing of it is in the way of the next
		}
		return err
	})
}

// lend lets one job use the session, and returns how that ended.
func (w *writer) lend(j *job) error {
	j.turn <- struct{}{}
	return <-j.ran
}

// turn lets one job run inside a savepoint. Failed is the job's own error,
// after which its changes are undone; lost means that the whole transaction is
// gone.
func (w *writer) turn(j *job) (failed, lost error) {
	ctx := background()
	if err := w.s.exec(ctx, "SAVEPOINT turn"); err != nil {
		return err, undone(err)
	}
	if failed = w.lend(j); failed != nil {
		if err := w.s.exec(ctx, "ROLLBACK TO turn"); err != nil {
			if primary(failed) != 0 {
				err = errors.Join(failed, err) // SQLite's reason for ending the transaction
			}
			return failed, undone(err)
		}
	}
	if err := w.s.exec(ctx, "RELEASE turn"); err != nil {
		return failed, undone(err)
	}
	return failed, nil
}

// commit makes the transaction durable.
func (w *writer) commit() error {
	if err := w.s.exec(background(), "COMMIT"); err != nil {
		w.rollback()
		return undone(err)
	}
	w.commits.Add(1)
	return nil
}

// rollback ends the transaction if it still stands. SQLite ends it by itself
// after some errors, and then has nothing to roll back.
func (w *writer) rollback() { _ = w.s.exec(background(), "ROLLBACK") }

// undone says that a transaction failed as a whole. It is Unavailable whatever
// SQLite's reason was, because no write of the group need be at fault.
func undone(err error) error {
	return &errors.Error{Code: errors.Unavailable, Msg: "the database could not commit", Err: err}
}
