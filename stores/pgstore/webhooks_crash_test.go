package pgstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/webhook"
)

// A handing notes who was handed what, and finds what was handed out twice within
// its lease.
type handing struct {
	mu    sync.Mutex
	held  map[[2]string]time.Time // until when, by the store's clock
	twice []string
	tries int
}

// note takes what a claim gave, at the store's time of that claim.
func (h *handing) note(c webhook.Claims) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range c.Deliveries {
		d := &c.Deliveries[i].Delivery
		name := [2]string{d.Endpoint, d.Message}
		if until, ok := h.held[name]; ok && c.Now.Before(until) {
			h.twice = append(h.twice, fmt.Sprint(name))
		}
		h.held[name] = d.Lease
		h.tries++
	}
}

// The server is killed again and again while messages are published, claimed and
// settled. What was acknowledged is there: each message that was published is
// delivered in the end, what was settled is not handed out again, and nothing is
// handed out twice within its lease.
func TestWebhooksSurviveTheServersKill(t *testing.T) {
	const publishers, claimers, kills, lease = 3, 3, 2, 300 * time.Millisecond
	server := pgtest.Start(t)
	db, err := pgstore.Open(server.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := db.Webhooks(nil)
	endpointsOf(t, s, "a", 5)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var away sync.RWMutex // held while there is no server
	var mu sync.Mutex
	published, settled := map[string]bool{}, map[[2]string]bool{} // that were acknowledged
	h := &handing{held: map[[2]string]time.Time{}}
	progress := make(chan struct{}, 1)
	ok := func(what string, err error) bool {
		switch {
		case err == nil:
			select {
			case progress <- struct{}{}:
			default:
			}
			return true
		case ctx.Err() == nil && errors.CodeOf(err) != errors.Unavailable:
			t.Errorf("%s: %v, want success or Unavailable", what, err)
		default:
			pass(&away)
		}
		return false
	}
	deliver := func(ctx context.Context, after string) (webhook.Claims, bool) {
		got, err := s.Claim(ctx, webhook.Claim{Token: webhook.NewID(), Limit: 9, Lease: lease, After: after})
		if !ok("claim", err) {
			return got, false
		}
		h.note(got)
		list := settlements(got.Deliveries)
		mu.Lock()
		for i := range list {
			if settled[[2]string{list[i].Endpoint, list[i].Message}] {
				t.Errorf("%+v was delivered before", got.Deliveries[i].Delivery)
			}
		}
		mu.Unlock()
		late := map[[2]string]bool{}
		err = s.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
			clear(late)
			for i := range cases {
				late[[2]string{cases[i].Delivery.Endpoint, cases[i].Delivery.Message}] = cases[i].Late
			}
			return delivered(now, cases)
		})
		if ok("settle", err) {
			mu.Lock()
			defer mu.Unlock()
			for _, s := range list {
				if name := [2]string{s.Endpoint, s.Message}; !late[name] {
					settled[name] = true
				}
			}
		}
		return got, true
	}
	var group sync.WaitGroup
	for p := range publishers {
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("m%d_%d", p, i)
				if _, err := s.Publish(ctx, letter("a", id)); ok("publish", err) {
					mu.Lock()
					published[id] = true
					mu.Unlock()
				}
			}
		})
	}
	for range claimers {
		group.Go(func() {
			for after := ""; ctx.Err() == nil; {
				got, _ := deliver(ctx, after)
				after = got.Last
			}
		})
	}
	for range kills {
		for range 25 {
			<-progress
		}
		away.Lock()
		server.Kill()
		_, err := s.Message(t.Context(), "m")
		wantCode(t, err, errors.Unavailable)
		server.Restart()
		away.Unlock()
	}
	for range 25 {
		<-progress
	}
	cancel()
	group.Wait()

	deadline, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	ctx = deadline
	for after := ""; ; { // until nothing waits, not even for the lease of who never settled
		got, _ := deliver(ctx, after)
		after = got.Last
		if len(got.Deliveries) == 0 && got.Next.IsZero() {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("something never became due")
		}
	}
	if len(h.twice) > 0 {
		t.Errorf("handed out twice within the lease: %q", h.twice)
	}
	for id := range published {
		list, err := s.Deliveries(t.Context(), webhook.DeliveryQuery{Message: id, Limit: 10})
		if err != nil || len(list) != 5 {
			t.Fatalf("%s has %d deliveries, %v; want 5", id, len(list), err)
		}
		for _, d := range list {
			if d.State != webhook.DeliveryDelivered {
				t.Errorf("%+v was never delivered", d)
			}
		}
	}
	t.Logf("%d messages were acknowledged, %d attempts for %d deliveries", len(published), h.tries, len(settled))
}
