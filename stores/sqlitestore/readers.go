package sqlitestore

import (
	"context"
	"sync"

	"github.com/keytoll/keytoll/errors"
)

// readers is a pool of sessions that cannot write. The one used last is used
// first, so that no more are opened than work at the same time.
type readers struct {
	open    func(ctx context.Context) (*session, error)
	closing chan struct{}
	slots   chan struct{} // holds one token for each session in use

	mu   sync.Mutex
	idle []*session
}

// newReaders opens nothing yet: connections are made when they are needed.
func newReaders(path string, o Options) *readers {
	return &readers{
		open: func(ctx context.Context) (*session, error) {
			return openSession(ctx, path, o, true)
		},
		closing: make(chan struct{}),
		slots:   make(chan struct{}, o.Readers),
	}
}

// do runs fn with a session of its own. A session whose fn did not return is
// in an unknown state, and is thrown away.
func (r *readers) do(ctx context.Context, fn func(*session) error) error {
	if err := r.acquire(ctx); err != nil {
		return err
	}
	defer func() { <-r.slots }()
	s := r.take()
	if s == nil {
		var err error
		if s, err = r.open(ctx); err != nil {
			return err
		}
	}
	returned := false
	defer func() {
		if returned {
			r.put(s)
			return
		}
		_ = s.close() // what ended fn matters more
	}()
	err := fn(s)
	returned = true
	return err
}

// acquire waits for a slot.
func (r *readers) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-r.closing:
		return ErrClosed
	default:
	}
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closing:
		return ErrClosed
	}
}

func (r *readers) take() *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.idle)
	if n == 0 {
		return nil
	}
	s := r.idle[n-1]
	r.idle = r.idle[:n-1]
	return s
}

func (r *readers) put(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = append(r.idle, s)
}

// close refuses new work. It is called once.
func (r *readers) close() { close(r.closing) }

// release waits for the sessions in use and closes them all.
func (r *readers) release() error {
	for range cap(r.slots) {
		r.slots <- struct{}{}
	}
	var errs []error
	for s := r.take(); s != nil; s = r.take() {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
