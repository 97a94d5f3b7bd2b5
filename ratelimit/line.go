package ratelimit

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A line holds those who wait, for each key in the order they came. Who waits
// for several keys joins all their queues in one step, so that of any two the
// same one is ahead in every queue: they never wait for each other.
type line struct {
	count  atomic.Int64 // of the waiters, changed under mu
	mu     sync.Mutex
	queues map[string][]*waiter
}

// A waiter may ask the store when it is first in all its queues.
type waiter struct {
	keys   []string
	turn   chan struct{} // says to look again; holds one
	served time.Time     // the earliest that it is known to be served
}

// join puts a waiter for keys, each of which is there once, behind the others.
// When there are most already it does not, and reports whether anybody waits
// for one of the keys, and until when the first ones of their queues wait.
func (q *line) join(keys []string, most int64) (w *waiter, behind bool, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w = &waiter{keys: keys, turn: make(chan struct{}, 1)}
	if q.count.Load() >= most {
		first, at := q.ahead(w)
		return nil, !first, at
	}
	if q.queues == nil {
		q.queues = make(map[string][]*waiter)
	}
	for _, k := range keys {
		q.queues[k] = append(q.queues[k], w)
	}
	q.count.Add(1)
	return w, false, at
}

// leave takes w out and tells those who are first without it.
func (q *line) leave(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count.Add(-1)
	for _, k := range w.keys {
		ws := q.queues[k]
		i := slices.Index(ws, w)
		switch ws = slices.Delete(ws, i, i+1); {
		case len(ws) == 0:
			delete(q.queues, k)
		case i == 0:
			ws[0].signal()
			fallthrough
		default:
			q.queues[k] = ws
		}
	}
}

// place reports whether w is first in all its queues, and if not until when, as
// far as is known, those who are wait.
func (q *line) place(w *waiter) (first bool, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ahead(w)
}

func (q *line) ahead(w *waiter) (first bool, at time.Time) {
	first = true
	for _, k := range w.keys {
		if ws := q.queues[k]; len(ws) > 0 && ws[0] != w {
			first, at = false, latest(at, ws[0].served)
		}
	}
	return first, at
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// waits notes the earliest that w is known to be served.
func (q *line) waits(w *waiter, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.served = at
}

// wake has those ask again who are first for the keys of ops, which may pass
// now.
func (q *line) wake(ops []Op) {
	if q.count.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range ops {
		if ws := q.queues[ops[i].Key]; len(ws) > 0 {
			ws[0].signal()
		}
	}
}

func (w *waiter) signal() {
	select {
	case w.turn <- struct{}{}:
	default:
	}
}
