package apikey

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/keytoll/keytoll/errors"
)

// A gate bounds the proofs that are meant to be slow: so many at once, and so
// many that wait. Each record has a line of its own, in order of arrival, of
// which one proof runs at a time; the lines take turns. So a flood of guesses at
// one record takes one place of those that run, and every other record waits for
// at most one proof of it per turn. When all places to wait are taken, the one
// who came last to the longest line has to go.
type gate struct {
	most int // who wait

	mu      sync.Mutex
	free    int // places to run
	waiting int
	lines   map[string]*line // by key ID: those where somebody runs or waits
	turns   []*line          // that have somebody to run, the next first
}

type line struct {
	id      string
	running bool
	queue   []*waiter
}

// A waiter is told once whether it may run.
type waiter struct{ turn chan error }

var errBusy = errors.Wrap("apikey.Verify", &errors.Error{
	Code: errors.Unavailable, Msg: "too many imported API keys are being proven for the first time; try again in a moment",
})

func newGate(faults *errors.Faults, o *Options) *gate {
	if o.SlowProofs < 0 {
		faults.Add("SlowProofs is %d; give 0 or more", o.SlowProofs)
	}
	if o.SlowWaiting < 0 {
		faults.Add("SlowWaiting is %d; give 0 or more", o.SlowWaiting)
	}
	return &gate{
		most:  cmp.Or(o.SlowWaiting, 256),
		free:  cmp.Or(o.SlowProofs, max(1, runtime.GOMAXPROCS(0)/2)),
		lines: make(map[string]*line),
	}
}

// run calls prove when it is the turn of key id. It returns errBusy when there is
// no room to wait, and the error of ctx when that is over first.
func (g *gate) run(ctx context.Context, id string, prove func()) error {
	if err := g.enter(ctx, id); err != nil {
		return err
	}
	defer g.leave(id)
	prove()
	return nil
}

func (g *gate) enter(ctx context.Context, id string) error {
	g.mu.Lock()
	own := g.lines[id]
	if own == nil {
		own = &line{id: id}
		g.lines[id] = own
	}
	if g.waiting == g.most && (own.running || g.free == 0) && !g.makeRoom(own) {
		g.tidy(own)
		g.mu.Unlock()
		return errBusy
	}
	w := &waiter{turn: make(chan error, 1)}
	own.queue = append(own.queue, w)
	g.waiting++
	if len(own.queue) == 1 && !own.running {
		g.turns = append(g.turns, own)
	}
	g.serve()
	g.mu.Unlock()
	select {
	case err := <-w.turn:
		return err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(own.queue, w); i >= 0 {
		g.remove(own, i)
	} else if <-w.turn == nil { // it was this one's turn at the same moment
		g.pass(own)
	}
	return ctx.Err()
}

func (g *gate) leave(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pass(g.lines[id])
}

// pass frees the place of a line for whose turn it is.
func (g *gate) pass(l *line) {
	g.free++
	l.running = false
	if len(l.queue) > 0 {
		g.turns = append(g.turns, l)
	}
	g.tidy(l)
	g.serve()
}

// serve lets run who may.
func (g *gate) serve() {
	for g.free > 0 && len(g.turns) > 0 {
		l := g.turns[0]
		g.turns = slices.Delete(g.turns, 0, 1)
		w := l.queue[0]
		l.queue = slices.Delete(l.queue, 0, 1)
		l.running = true
		g.waiting--
		g.free--
		w.turn <- nil
	}
}

// makeRoom sends the last of the longest line away, unless own would then be the
// longest.
func (g *gate) makeRoom(own *line) bool {
	longest := own
	for _, l := range g.lines {
		if len(l.queue) > len(longest.queue) {
			longest = l
		}
	}
	if len(longest.queue) <= len(own.queue)+1 {
		return false
	}
	last := len(longest.queue) - 1
	longest.queue[last].turn <- errBusy
	g.remove(longest, last)
	return true
}

// remove takes the waiter at i out of a line.
func (g *gate) remove(l *line, i int) {
	l.queue = slices.Delete(l.queue, i, i+1)
	g.waiting--
	if len(l.queue) == 0 {
		g.turns = slices.DeleteFunc(g.turns, func(other *line) bool { return other == l })
	}
	g.tidy(l)
}

// tidy forgets a line that nobody stands in.
func (g *gate) tidy(l *line) {
	if !l.running && len(l.queue) == 0 {
		delete(g.lines, l.id)
	}
}
