// Package suite has what the suites for stores that hold something for a time share:
// a clock that may be a server's, and calls at one time.
package suite

import (
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Clock is the time of a store under test.
type Clock struct {
	advance func(time.Duration)
	exact   bool // advance is to the nanosecond
}

// NewClock returns the clock that advance moves. Nil: only real time does.
func NewClock(advance func(time.Duration)) Clock {
	if advance == nil {
		return Clock{advance: Wait}
	}
	return Clock{advance, true}
}

// Wait lets real time pass: some stores have no other.
func Wait(d time.Duration) {
	timer := time.NewTimer(d) //nolint:forbidigo // the clock under test is a server's
	defer timer.Stop()
	<-timer.C
}

// slack is what the end of a lease may be late by on a real clock.
const slack = 300 * time.Millisecond

// Span is a length of time that checks let pass: long enough for a slow machine
// where it really has to.
func (c Clock) Span() time.Duration {
	if c.exact {
		return time.Minute
	}
	return time.Second
}

// Nearly moves to just before the end of a span that begins now, as precisely
// as the clock allows.
func (c Clock) Nearly() {
	if c.exact {
		c.advance(c.Span() - time.Millisecond)
		return
	}
	c.advance(c.Span() / 4)
}

// Over moves on from there to the end of the span.
func (c Clock) Over() {
	if c.exact {
		c.advance(time.Millisecond)
		return
	}
	c.advance(c.Span()*3/4 + slack)
}

// Past is Nearly and Over.
func (c Clock) Past() {
	c.Nearly()
	c.Over()
}

// Tick moves on by the millisecond that is the least a store takes.
func (c Clock) Tick() {
	c.advance(time.Millisecond)
	if !c.exact {
		c.advance(slack)
	}
}

// AtOnce calls all functions at one time, and returns their errors.
func AtOnce(calls ...func() error) error {
	var (
		wg    sync.WaitGroup
		start = make(chan struct{})
		errs  = make([]error, len(calls))
	)
	for i, call := range calls {
		wg.Go(func() {
			<-start
			errs[i] = call()
		})
	}
	close(start)
	wg.Wait()
	return errors.Join(errs...)
}

// OrNone gives a nil error a text.
func OrNone(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}
