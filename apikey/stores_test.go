package apikey_test

import (
	"context"
	"slices"
	"sync"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A losing store does what it is told, and loses the answer to so many changes.
type losing struct {
	apikey.Store
	answers int
}

func (s *losing) Apply(ctx context.Context, c apikey.Change) error {
	err := s.Store.Apply(ctx, c)
	if s.answers > 0 {
		s.answers--
		return errors.Join(errors.New("connection reset"), err)
	}
	return err
}

// A witness keeps every change that came true.
type witness struct {
	apikey.Store
	mu      sync.Mutex
	changes []apikey.Change
}

func (w *witness) Apply(ctx context.Context, c apikey.Change) error {
	err := w.Store.Apply(ctx, c)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, c)
	}
	return err
}

// since returns the changes after the first n.
func (w *witness) since(n int) []apikey.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes[n:])
}

// A forger shows events, and what is known of their owner, otherwise than they are.
type forger struct {
	apikey.Store
	events func([]apikey.Event) []apikey.Event
	owner  func(*apikey.Owner)
}

func (f *forger) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	all := q
	all.After, all.Limit = apikey.EventCursor{}, 1000
	events, err := f.Store.Events(ctx, all)
	if f.events != nil {
		events = f.events(events)
	}
	var page []apikey.Event
	for _, e := range events {
		if len(page) < q.Limit && e.Seq > q.After.Seq {
			page = append(page, e)
		}
	}
	return page, err
}

func (f *forger) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	o, err := f.Store.Owner(ctx, id)
	if f.owner != nil {
		f.owner(&o)
	}
	return o, err
}

// always is a policy that is the same for everybody, and may be changed in place.
func always(p *apikey.Policy) func(context.Context, string) (apikey.Policy, error) {
	return func(context.Context, string) (apikey.Policy, error) { return *p, nil }
}
