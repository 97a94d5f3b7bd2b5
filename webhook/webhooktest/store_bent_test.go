package webhooktest

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// A bent store is a memory store that breaks a promise: the hooks that are not nil
// stand between it and the check.
type bent struct {
	*timed

	publish   func(ctx context.Context, m webhook.Message) (webhook.Publication, error)
	published func(m webhook.Message, p *webhook.Publication, err *error)
	change    func(ctx context.Context, id string, fn func(time.Time, *webhook.Endpoint) error) error
	changed   func(before webhook.Endpoint, e *webhook.Endpoint) // after fn
	endpoints func(q *webhook.EndpointQuery)
	listed    func(*[]webhook.Endpoint)
	claim     func(c *webhook.Claim)
	claimed   func(c webhook.Claim, got *webhook.Claims)
	settle    func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error
	decided   func(now time.Time, before webhook.Delivery, c *webhook.Case) // after fn
	move      func(m *webhook.Move)
	moved     func(m webhook.Move, n *int, err *error)
	rows      func(q *webhook.DeliveryQuery)
	shown     func(q webhook.DeliveryQuery, list *[]webhook.Delivery)
	attempts  func(endpoint, message string, list *[]webhook.Attempt)
	tries     func(limit *int)
	message   func(id string, m *webhook.Message, err *error)
	prune     func(before *time.Time, limit *int)
	pruned    func(n *int)
	ctx       func(context.Context) context.Context

	mu sync.Mutex // of what hooks keep
}

func (s *bent) Publish(ctx context.Context, m webhook.Message) (p webhook.Publication, err error) {
	if s.publish != nil {
		p, err = s.publish(ctx, m)
	} else {
		p, err = s.timed.Publish(ctx, m)
	}
	if s.published != nil {
		s.published(m, &p, &err)
	}
	return p, err
}

func (s *bent) Change(ctx context.Context, id string, fn func(time.Time, *webhook.Endpoint) error) error {
	if s.change != nil {
		return s.change(ctx, id, fn)
	}
	return s.timed.Change(ctx, id, func(now time.Time, e *webhook.Endpoint) error {
		before := *e
		err := fn(now, e)
		if err == nil && s.changed != nil {
			s.changed(before, e)
		}
		return err
	})
}

func (s *bent) Endpoints(ctx context.Context, q webhook.EndpointQuery) ([]webhook.Endpoint, error) {
	if s.endpoints != nil {
		s.endpoints(&q)
	}
	list, err := s.timed.Endpoints(ctx, q)
	if s.listed != nil {
		s.listed(&list)
	}
	return list, err
}

func (s *bent) Claim(ctx context.Context, c webhook.Claim) (webhook.Claims, error) {
	if s.ctx != nil {
		ctx = s.ctx(ctx)
	}
	if s.claim != nil {
		s.claim(&c)
	}
	got, err := s.timed.Claim(ctx, c)
	if s.claimed != nil && err == nil {
		s.claimed(c, &got)
	}
	return got, err
}

func (s *bent) Settle(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
	if s.settle != nil {
		return s.settle(ctx, list, fn)
	}
	return s.timed.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
		before := make([]webhook.Delivery, len(cases))
		for i := range cases {
			before[i] = cases[i].Delivery
		}
		err := fn(now, cases)
		for i := range cases {
			if s.decided != nil {
				s.decided(now, before[i], &cases[i])
			}
		}
		return err
	})
}

func (s *bent) Move(ctx context.Context, m webhook.Move) (int, error) {
	if s.move != nil {
		s.move(&m)
	}
	n, err := s.timed.Move(ctx, m)
	if s.moved != nil {
		s.moved(m, &n, &err)
	}
	return n, err
}

func (s *bent) Deliveries(ctx context.Context, q webhook.DeliveryQuery) ([]webhook.Delivery, error) {
	asked := q
	if s.rows != nil {
		s.rows(&q)
	}
	list, err := s.timed.Deliveries(ctx, q)
	if s.shown != nil {
		s.shown(asked, &list)
	}
	return list, err
}

func (s *bent) Attempts(ctx context.Context, endpoint, message string, after, limit int) ([]webhook.Attempt, error) {
	if s.tries != nil {
		s.tries(&limit)
	}
	list, err := s.timed.Attempts(ctx, endpoint, message, after, limit)
	if s.attempts != nil {
		s.attempts(endpoint, message, &list)
	}
	return list, err
}

func (s *bent) Message(ctx context.Context, id string) (webhook.Message, error) {
	m, err := s.timed.Message(ctx, id)
	if s.message != nil {
		s.message(id, &m, &err)
	}
	return m, err
}

func (s *bent) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	if s.prune != nil {
		s.prune(&before, &limit)
	}
	n, err := s.timed.Prune(ctx, before, limit)
	if s.pruned != nil {
		s.pruned(&n)
	}
	return n, err
}

// all returns the endpoints there are, and each by itself.
func (s *bent) all(ctx context.Context) []webhook.Endpoint {
	list, _ := s.timed.Endpoints(ctx, webhook.EndpointQuery{Limit: 1000})
	return list
}

// locked runs f while no other hook runs in it.
func (s *bent) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// A flaw is a way to break one promise.
type flaw struct {
	promise string // how the sentence begins
	name    string
	bend    func(ctx context.Context, s *bent)
}

// Each promise has at least one flaw that it rejects, and each flaw is rejected.
func TestEachPromiseOfAQueueRejectsWhatBreaksIt(t *testing.T) {
	var flaws []flaw
	for _, part := range [][]flaw{publishFlaws(), endpointFlaws(), claimFlaws(), turnFlaws(), settleFlaws(), moveFlaws(), listFlaws()} {
		flaws = append(flaws, part...)
	}
	proven := map[string]bool{}
	checks := storeChecks()
	for _, f := range flaws {
		t.Run(f.name, func(t *testing.T) {
			found := 0
			for _, c := range checks {
				if !strings.HasPrefix(c.promise, f.promise) {
					continue
				}
				found++
				s := &bent{timed: newTimed()}
				f.bend(t.Context(), s)
				if c.holds(t.Context(), s) == nil {
					t.Errorf("%q was not held against it", c.promise)
				}
				proven[c.promise] = true
			}
			if found == 0 {
				t.Errorf("no promise begins with %q", f.promise)
			}
		})
	}
	for _, c := range checks {
		if !proven[c.promise] {
			t.Errorf("nothing breaks %q", c.promise)
		}
	}
}

// readThenWrite changes an endpoint without keeping others out meanwhile.
func readThenWrite(s *bent) {
	s.change = func(ctx context.Context, id string, fn func(time.Time, *webhook.Endpoint) error) error {
		var (
			e  webhook.Endpoint
			at time.Time
		)
		_ = s.timed.Change(ctx, id, func(now time.Time, row *webhook.Endpoint) error { e, at = *row, now; return errLook })
		err := fn(at, &e)
		for range 50 {
			runtime.Gosched()
		}
		if err != nil {
			return err
		}
		return s.timed.Change(ctx, id, func(_ time.Time, row *webhook.Endpoint) error { *row = e; return nil })
	}
}

// forgetsHealth does not write what settlements make of endpoints.
func forgetsHealth(s *bent) {
	s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
		return s.timed.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
			for i := range cases {
				cases[i].Endpoint = new(*cases[i].Endpoint)
			}
			return fn(now, cases)
		})
	}
}

// repeats hands out now and then what it handed out before.
func repeats(s *bent) {
	var (
		last  webhook.Claims
		calls int
	)
	s.claimed = func(_ webhook.Claim, got *webhook.Claims) {
		s.locked(func() {
			if calls++; calls%5 == 0 && len(last.Deliveries) > 0 {
				got.Deliveries = last.Deliveries
			} else {
				last = *got
			}
		})
	}
}

// pacedByBlock takes Next from what endpoints are blocked for alone.
func pacedByBlock(ctx context.Context, s *bent) {
	s.claimed = func(_ webhook.Claim, got *webhook.Claims) {
		for _, e := range s.all(ctx) {
			if !e.Health.BlockedUntil.IsZero() {
				got.Next = e.Health.BlockedUntil
			}
		}
	}
}

// longLease gives leases that nobody asked for.
func longLease(_ context.Context, s *bent) { s.claim = func(c *webhook.Claim) { c.Lease += long } }

// onTime takes no settlement for late.
func onTime(_ context.Context, s *bent) {
	s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
		return s.timed.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
			for i := range cases {
				cases[i].Late = false
			}
			return fn(now, cases)
		})
	}
}

// written does what fn decided, and returns its error all the same.
func written(s *bent) {
	s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
		var refused error
		err := s.timed.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error { refused = fn(now, cases); return nil })
		if refused != nil {
			return refused
		}
		return err
	}
}
