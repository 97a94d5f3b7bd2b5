package webhook

import (
	"cmp"
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

const (
	portion    = 500    // deliveries or messages that one step changes
	maxPortion = 10_000 // that one call changes
)

// Resend asks for one more attempt to deliver a message to an endpoint, now, in
// whatever state the delivery is, and begins its schedule anew: the attempt that is
// asked for uses up none of those that the schedule makes by itself. It takes the
// place of an attempt that was to come; one that is due already, and perhaps held
// back, stays as it is. Held back are attempts of resent messages
// like any other, while the endpoint is disabled or blocked; [Sender.EnableEndpoint]
// lets them go.
//
// The error matches [ErrInFlight] while an attempt is being made, and
// [ErrNotFound] when there is no such delivery or its endpoint is deleted.
func (s *Sender) Resend(ctx context.Context, endpoint, message string) error {
	const op = "webhook.Resend"
	if !validID(message) {
		return errors.Wrap(op, ErrNotFound)
	}
	if _, err := s.Endpoint(ctx, endpoint); err != nil {
		return errors.Wrap(op, err)
	}
	move := Move{
		Endpoint: endpoint, Message: message, To: DeliveryPending, Manual: true, Limit: 1,
		From: []DeliveryState{DeliveryPending, DeliveryDelivered, DeliveryDead, DeliveryDropped},
	}
	for range 3 {
		n, err := s.store.Move(ctx, move)
		if err != nil {
			return errors.Wrap(op, err)
		}
		if n > 0 {
			s.Wake()
			return nil
		}
		list, err := s.store.Deliveries(ctx, DeliveryQuery{Endpoint: endpoint, Message: message, Limit: 1})
		switch {
		case err != nil:
			return errors.Wrap(op, err)
		case len(list) == 0:
			return errors.Wrap(op, ErrNotFound)
		case list[0].State == DeliverySending:
			n, err := s.takeBack(ctx, list, 1, func(now time.Time, d *Delivery) {
				d.State, d.Due, d.Attempt, d.Failure, d.Manual = DeliveryPending, now, 0, 0, true
			})
			if err != nil || n == 0 {
				return errors.Wrap(op, cmp.Or(err, ErrInFlight))
			}
			s.Wake()
			return nil
		case list[0].State == DeliveryPending:
			s.Wake() // it is due already
			return nil
		}
		// It ended between the two looks.
	}
	return errors.Wrap(op, ErrInFlight)
}

// RecoverSince asks for what an endpoint has missed: it makes up to limit messages
// published not before the instant, and given up or dropped since, due again, the
// oldest first, each with its whole schedule before it. It returns how many, and can
// be called again for the rest until that is 0. With an error too it says how many
// were done. limit is 1 to 10 000.
func (s *Sender) RecoverSince(ctx context.Context, endpoint string, since time.Time, limit int) (int, error) {
	const op = "webhook.RecoverSince"
	if _, err := s.Endpoint(ctx, endpoint); err != nil {
		return 0, errors.Wrap(op, err)
	}
	n, err := s.move(ctx, op, limit, Move{
		Endpoint: endpoint, Since: since, From: []DeliveryState{DeliveryDead, DeliveryDropped}, To: DeliveryPending,
	})
	if n > 0 {
		s.Wake()
	}
	return n, err
}

// Discard drops up to limit messages that wait for an endpoint, the oldest first,
// or the one with this ID if message is not empty: those that are held while it is
// disabled, those between two attempts, and those whose lease is over because a
// process died. It returns how many, and can be called again for the rest until
// that is 0. [Sender.RecoverSince] and [Sender.Resend]
// bring them back. limit is 1 to 10 000.
func (s *Sender) Discard(ctx context.Context, endpoint, message string, limit int) (int, error) {
	const op = "webhook.Discard"
	if !validEndpointID(endpoint) || message != "" && !validID(message) {
		return 0, errors.Wrap(op, ErrNotFound)
	}
	done, err := s.move(ctx, op, limit, Move{
		Endpoint: endpoint, Message: message, From: []DeliveryState{DeliveryPending}, To: DeliveryDropped,
	})
	if err != nil || done == limit {
		return done, err
	}
	list, err := s.store.Deliveries(ctx, DeliveryQuery{
		Endpoint: endpoint, Message: message, States: []DeliveryState{DeliverySending}, Limit: MaxMaxInFlight,
	})
	if err != nil || len(list) == 0 {
		return done, errors.Wrap(op, err)
	}
	n, err := s.takeBack(ctx, list, limit-done, func(now time.Time, d *Delivery) { d.State, d.EndedAt = DeliveryDropped, now })
	return done + n, errors.Wrap(op, err)
}

// takeBack lets fn say what becomes of up to limit deliveries of a list whose lease
// is over, and returns how many that were. While their endpoint is disabled nobody
// else takes them.
func (s *Sender) takeBack(ctx context.Context, list []Delivery, limit int, fn func(now time.Time, d *Delivery)) (int, error) {
	settlements := make([]Settlement, len(list))
	for i, d := range list {
		settlements[i] = Settlement{Endpoint: d.Endpoint, Message: d.Message, Token: d.Token}
	}
	n := 0
	err := s.store.Settle(ctx, settlements, func(now time.Time, cases []Case) error {
		n = 0 // the store may call again
		for i := range cases {
			if d := &cases[i].Delivery; n < limit && !cases[i].Late && !d.Lease.After(now) {
				d.Token, d.Lease = "", time.Time{}
				fn(now, d)
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// move makes a move in portions.
func (s *Sender) move(ctx context.Context, op string, limit int, m Move) (int, error) {
	return inPortions(op, limit, func(n int) (int, error) {
		m.Limit = n
		return s.store.Move(ctx, m)
	})
}

// Prune removes up to limit messages that were published before the instant, with
// their deliveries and attempts, the oldest first, and returns how many. Messages
// that are still to be delivered stay. What is removed can be published again: keep
// messages for longer than anybody repeats a publication. limit is 1 to 10 000.
func (s *Sender) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	return inPortions("webhook.Prune", limit, func(n int) (int, error) { return s.store.Prune(ctx, before, n) })
}

// inPortions calls step until it has done limit, or has no more to do.
func inPortions(op string, limit int, step func(n int) (int, error)) (int, error) {
	faults := errors.Faults{Op: op}
	within(&faults, "limit", limit, 1, maxPortion)
	if err := faults.Err(); err != nil {
		return 0, err
	}
	for done := 0; ; {
		want := min(portion, limit-done)
		n, err := step(want)
		if done += n; err != nil {
			return done, errors.Wrap(op, err)
		}
		if n < want || done >= limit {
			return done, nil
		}
	}
}

// A DeliveryPage is a stretch of deliveries, newest first.
type DeliveryPage struct {
	Deliveries []Delivery
	Next       int64 // Before, for the next page; 0: there is none now
}

// Deliveries returns a page of the deliveries that q selects: of an endpoint, of a
// message, or of both, one of which it has to name. Limit is 0 to 500; 0 means
// 100.
func (s *Sender) Deliveries(ctx context.Context, q DeliveryQuery) (DeliveryPage, error) {
	const op = "webhook.Deliveries"
	faults := errors.Faults{Op: op}
	if q.Endpoint == "" && q.Message == "" {
		faults.Add("the query names neither Endpoint nor Message; name one or both")
	}
	for i, state := range q.States {
		if state < DeliveryPending || state > DeliveryDropped {
			faults.Add("States[%d] is %d; give a DeliveryState", i, state)
		}
	}
	if q.Before < 0 {
		faults.Add("Before is %d; give 0, or the Next of a page", q.Before)
	}
	if q.Endpoint != "" && !validEndpointID(q.Endpoint) || q.Message != "" && !validID(q.Message) {
		faults.Add("Endpoint %.80q, Message %.300q: not IDs of an endpoint and of a message", q.Endpoint, q.Message)
	}
	limit := pageSize(&faults, q.Limit)
	if err := faults.Err(); err != nil {
		return DeliveryPage{}, err
	}
	q.Limit = limit + 1
	list, err := s.store.Deliveries(ctx, q)
	if err != nil {
		return DeliveryPage{}, errors.Wrap(op, err)
	}
	p := DeliveryPage{Deliveries: list}
	if len(list) > limit {
		p.Deliveries, p.Next = list[:limit], list[limit-1].Seq
	}
	return p, nil
}

// Attempts returns what came of the attempts to deliver a message to an endpoint,
// in the order in which they were made, after the one of this number. There are
// none for a delivery that does not exist. limit is 0 to 500; 0 means 100.
func (s *Sender) Attempts(ctx context.Context, endpoint, message string, after, limit int) ([]Attempt, error) {
	const op = "webhook.Attempts"
	faults := errors.Faults{Op: op}
	if after < 0 {
		faults.Add("after is %d; give 0, or the Number of an attempt", after)
	}
	size := pageSize(&faults, limit)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	if !validEndpointID(endpoint) || !validID(message) {
		return nil, nil // there are none
	}
	list, err := s.store.Attempts(ctx, endpoint, message, after, size)
	return list, errors.Wrap(op, err)
}

// Message returns a message as it was published.
func (s *Sender) Message(ctx context.Context, id string) (Message, error) {
	const op = "webhook.Message"
	if !validID(id) {
		return Message{}, errors.Wrap(op, ErrNotFound)
	}
	m, err := s.store.Message(ctx, id)
	return m, errors.Wrap(op, err)
}
