package creditstest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A Fault is what a [Faulty] store does to one call.
type Fault uint8

const (
	NoFault       Fault = 0 // the call goes through
	FailFirst     Fault = 1 // it fails before anything is read
	FailDecided   Fault = 2 // of an update: it fails after fn, and nothing is written
	FailWritten   Fault = 3 // it does all it should, and fails all the same
	DecideTwice   Fault = 4 // of an update: fn is called twice, each time with rows that were just loaded; what it did first is dropped
	CancelDecided Fault = 5 // of an update: the context is done once fn has returned, and the store may do either
)

// faults are all but NoFault.
var faults = [...]Fault{FailFirst, FailDecided, FailWritten, DecideTwice, CancelDecided}

var faultNames = [...]string{"no fault", "fail first", "fail decided", "fail written", "decide twice", "cancel decided"}

// String returns the name of f.
func (f Fault) String() string { return faultNames[f] }

// ErrFault is what a call fails with that is made to.
var ErrFault = errors.New("a fault was injected")

// A Faulty store passes calls on to another one, and does to each what a plan
// says. It is safe for concurrent use as far as the plan is.
type Faulty struct {
	credits.Store
	plan   func(call int) Fault
	pause  func(call int)
	number atomic.Int64
}

// NewFaulty returns a store in front of s. The plan is asked for each call, which
// counts from 1; pause, if it is not nil, is called within updates, after they
// were decided and before they are written, and may wait there.
func NewFaulty(s credits.Store, plan func(call int) Fault, pause func(call int)) *Faulty {
	return &Faulty{Store: s, plan: plan, pause: pause}
}

// Calls returns how many calls there were.
func (f *Faulty) Calls() int { return int(f.number.Load()) }

// next counts a call and asks what to do to it.
func (f *Faulty) next() (int, Fault) {
	n := int(f.number.Add(1))
	return n, f.plan(n)
}

// Update implements [credits.Store].
func (f *Faulty) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	call, fault := f.next()
	if f.pause != nil {
		decide := fn
		fn = func(now time.Time, states []*credits.State) error {
			err := decide(now, states)
			f.pause(call)
			return err
		}
	}
	switch fault {
	case FailFirst:
		return ErrFault
	case FailDecided:
		err := f.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
			if err := fn(now, states); err != nil {
				return err
			}
			return ErrFault
		})
		return err
	case DecideTwice:
		again := errors.New("decide again")
		err := f.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
			return errors.Join(again, fn(now, states))
		})
		if !errors.Is(err, again) {
			return err
		}
		return f.Store.Update(ctx, needs, fn)
	case CancelDecided:
		short, cancel := context.WithCancel(ctx)
		defer cancel()
		return f.Store.Update(short, needs, func(now time.Time, states []*credits.State) error {
			defer cancel()
			return fn(now, states)
		})
	case FailWritten:
		if err := f.Store.Update(ctx, needs, fn); err != nil {
			return err
		}
		return ErrFault
	}
	return f.Store.Update(ctx, needs, fn)
}

// View implements [credits.Store].
func (f *Faulty) View(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return f.read(func() error { return f.Store.View(ctx, needs, fn) })
}

// Entries implements [credits.Store].
func (f *Faulty) Entries(ctx context.Context, q credits.EntryQuery) (list []credits.Entry, err error) {
	err = f.read(func() error { list, err = f.Store.Entries(ctx, q); return err })
	return list, err
}

// Accounts implements [credits.Store].
func (f *Faulty) Accounts(ctx context.Context, after credits.AccountID, limit int) (list []credits.AccountID, err error) {
	err = f.read(func() error { list, err = f.Store.Accounts(ctx, after, limit); return err })
	return list, err
}

// Inspect implements [credits.Store].
func (f *Faulty) Inspect(ctx context.Context, account credits.AccountID, fn func(credits.Snapshot) error) error {
	return f.read(func() error { return f.Store.Inspect(ctx, account, fn) })
}

// read does to a call that writes nothing what the plan says.
func (f *Faulty) read(call func() error) error {
	switch _, fault := f.next(); fault {
	case FailFirst:
		return ErrFault
	case FailWritten:
		if err := call(); err != nil {
			return err
		}
		return ErrFault
	}
	return call()
}
