package webhooktest

import (
	"context"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// A Fault is what a [Faulty] store does to one call.
type Fault uint8

const (
	NoFault     Fault = 0 // the call goes through
	FailFirst   Fault = 1 // it fails, and nothing is done
	FailWritten Fault = 2 // it does all it should, and fails all the same: the answer is lost
	DecideTwice Fault = 3 // of Change and Settle: the function is called twice, each time with rows that were just loaded; what it did first is dropped
)

// faultNames is indexed by Fault, and is never written to.
var faultNames = [...]string{"no fault", "fail first", "fail written", "decide twice"}

// String returns the name of f, or "unknown".
func (f Fault) String() string {
	if int(f) < len(faultNames) {
		return faultNames[f]
	}
	return "unknown"
}

// ErrFault is what a call fails with that is made to.
var ErrFault error = &errors.Error{Code: errors.Unavailable, Msg: "a fault was injected"}

// errAgain ends what [DecideTwice] decides first.
var errAgain = errors.New("decide again")

// A Faulty store passes calls on to another one, and does to each what a plan
// says. It is safe for concurrent use as far as the plan is.
type Faulty struct {
	store webhook.Store
	plan  func(method string, call int) Fault

	mu    sync.Mutex
	calls map[string]int
}

var _ webhook.Store = (*Faulty)(nil)

// NewFaulty returns a store in front of s. The plan is asked for each call with the
// name of the method, and with how often that was called, this time included.
func NewFaulty(s webhook.Store, plan func(method string, call int) Fault) *Faulty {
	return &Faulty{store: s, plan: plan, calls: map[string]int{}}
}

// Calls returns how often a method was called.
func (f *Faulty) Calls(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// do runs one call of a method as the plan says.
func do[T any](f *Faulty, method string, call func() (T, error)) (T, error) {
	var none T
	fault := f.next(method)
	if fault == FailFirst {
		return none, errors.Wrap("webhooktest.Faulty."+method, ErrFault)
	}
	got, err := call()
	if fault == FailWritten && err == nil {
		return none, errors.Wrap("webhooktest.Faulty."+method, ErrFault)
	}
	return got, err
}

// decide is do for a method with a function.
func decide(f *Faulty, method string, call func(between error) error) error {
	fault := f.next(method)
	switch fault {
	case FailFirst:
		return errors.Wrap("webhooktest.Faulty."+method, ErrFault)
	case DecideTwice:
		if err := call(errAgain); err != nil && !errors.Is(err, errAgain) {
			return err
		}
	}
	err := call(nil)
	if fault == FailWritten && err == nil {
		return errors.Wrap("webhooktest.Faulty."+method, ErrFault)
	}
	return err
}

// next counts a call, and returns what to do to it.
func (f *Faulty) next(method string) Fault {
	f.mu.Lock()
	f.calls[method]++
	call := f.calls[method]
	f.mu.Unlock()
	return f.plan(method, call)
}

// Publish implements [webhook.Outbox].
func (f *Faulty) Publish(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
	return do(f, "Publish", func() (webhook.Publication, error) { return f.store.Publish(ctx, m) })
}

// Change implements [webhook.Store].
func (f *Faulty) Change(ctx context.Context, id string, fn func(now time.Time, e *webhook.Endpoint) error) error {
	return decide(f, "Change", func(between error) error {
		return f.store.Change(ctx, id, func(now time.Time, e *webhook.Endpoint) error {
			if err := fn(now, e); err != nil {
				return err
			}
			return between
		})
	})
}

// Endpoints implements [webhook.Store].
func (f *Faulty) Endpoints(ctx context.Context, q webhook.EndpointQuery) ([]webhook.Endpoint, error) {
	return do(f, "Endpoints", func() ([]webhook.Endpoint, error) { return f.store.Endpoints(ctx, q) })
}

// Claim implements [webhook.Store].
func (f *Faulty) Claim(ctx context.Context, c webhook.Claim) (webhook.Claims, error) {
	return do(f, "Claim", func() (webhook.Claims, error) { return f.store.Claim(ctx, c) })
}

// Settle implements [webhook.Store].
func (f *Faulty) Settle(ctx context.Context, settlements []webhook.Settlement, fn func(now time.Time, cases []webhook.Case) error) error {
	return decide(f, "Settle", func(between error) error {
		return f.store.Settle(ctx, settlements, func(now time.Time, cases []webhook.Case) error {
			if err := fn(now, cases); err != nil {
				return err
			}
			return between
		})
	})
}

// Move implements [webhook.Store].
func (f *Faulty) Move(ctx context.Context, m webhook.Move) (int, error) {
	return do(f, "Move", func() (int, error) { return f.store.Move(ctx, m) })
}

// Deliveries implements [webhook.Store].
func (f *Faulty) Deliveries(ctx context.Context, q webhook.DeliveryQuery) ([]webhook.Delivery, error) {
	return do(f, "Deliveries", func() ([]webhook.Delivery, error) { return f.store.Deliveries(ctx, q) })
}

// Attempts implements [webhook.Store].
func (f *Faulty) Attempts(ctx context.Context, endpoint, message string, after, limit int) ([]webhook.Attempt, error) {
	return do(f, "Attempts", func() ([]webhook.Attempt, error) { return f.store.Attempts(ctx, endpoint, message, after, limit) })
}

// Message implements [webhook.Store].
func (f *Faulty) Message(ctx context.Context, id string) (webhook.Message, error) {
	return do(f, "Message", func() (webhook.Message, error) { return f.store.Message(ctx, id) })
}

// Prune implements [webhook.Store].
func (f *Faulty) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	return do(f, "Prune", func() (int, error) { return f.store.Prune(ctx, before, limit) })
}
