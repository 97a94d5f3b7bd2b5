package webhook_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// What the address did that an endpoint had before counts for its message alone.
func TestAnOldAddressSaysNothingOfTheNew(t *testing.T) {
	for _, tt := range []struct {
		name    string
		attempt webhook.Attempt
		state   webhook.DeliveryState
		most    time.Duration // until the new address is tried
	}{
		{"410", webhook.Attempt{Status: 410, Failure: webhook.FailedGone}, webhook.DeliveryPending, 0},
		{"disable", webhook.Attempt{Status: 500, Failure: webhook.FailedStatus, Control: webhook.ControlDisable}, webhook.DeliveryPending, 0},
		{"200 and disable", webhook.Attempt{Status: 200, Control: webhook.ControlDisable}, webhook.DeliveryDelivered, 0},
		{"429", webhook.Attempt{Status: 429, Failure: webhook.FailedBusy, RetryAfter: time.Hour}, webhook.DeliveryPending, 90 * time.Second},
		{"refused", webhook.Attempt{Failure: webhook.FailedRefused}, webhook.DeliveryPending, 6 * time.Second},
		{"configuration", webhook.Attempt{Failure: webhook.FailedConfig}, webhook.DeliveryPending, 6 * time.Second},
		{"abort", webhook.Attempt{Status: 500, Failure: webhook.FailedStatus, Control: webhook.ControlAbort, RetryAfter: time.Hour}, webhook.DeliveryDropped, 0},
		{"200", webhook.Attempt{Status: 200}, webhook.DeliveryDelivered, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, webhook.SenderOptions{DisableAfter: time.Hour})
			b.url = "https://old.example.com"
			found := webhook.Health{Failures: 4, Trips: 1, FailingSince: noon.Add(-2 * time.Hour), FailedAt: noon.Add(-90 * time.Minute)} // at the new address
			b.endpoint.Health = found
			events := b.try(tt.attempt)
			if e := b.endpoint; e.Health != found || e.State != webhook.EndpointActive {
				t.Errorf("endpoint %v, %+v", e.State, e.Health)
			}
			if d := b.delivery; d.State != tt.state || d.State == webhook.DeliveryPending && d.Due.Sub(b.now) > tt.most {
				t.Errorf("delivery %+v, due in %v; want %v within %v", d, d.Due.Sub(b.now), tt.state, tt.most)
			}
			if len(events) != 1 {
				t.Errorf("told %v; want what became of the message alone", kinds(events))
			}
		})
	}
}

func TestAnAttemptAtTheOldAddressDoesNotDisableTheNew(t *testing.T) {
	gate := make(chan struct{})
	old := webhooktest.NewReceiver(t, nil, webhooktest.Answer{Status: 410, Gate: gate})
	next := webhooktest.NewReceiver(t, nil)
	d := run(t, nil, newHandClock(), webhook.SenderOptions{Transport: next.Transport(t)})
	id := d.hire(t, old, webhook.Settings{})
	next.SetVerifier(must(webhook.NewVerifier(must(d.EndpointKeys(t.Context(), id))(t), &webhook.VerifierOptions{Now: d.clock.Now}))(t))
	d.publish(t, "msg_1")
	must(old.Wait(t.Context(), 1))(t)
	must(d.UpdateEndpoint(t.Context(), id, func(s *webhook.Settings) error { s.URL = next.URL(); return nil }))(t)
	close(gate)
	d.wait(t, webhook.MessageDelivered)
	if e := must(d.Endpoint(t.Context(), id))(t); e.State != webhook.EndpointActive || len(next.Received()) != 1 {
		t.Errorf("the endpoint is %v, its new address has %d requests", e.State, len(next.Received()))
	}
}

// A narrow store hands out few deliveries in time: their payloads are large.
type narrowStore struct {
	webhook.Store

	most int
}

func (s narrowStore) Claim(ctx context.Context, c webhook.Claim) (webhook.Claims, error) {
	if c.Limit > s.most {
		return webhook.Claims{}, &kterrors.Error{Code: kterrors.Unavailable, Msg: "it took too long"}
	}
	return s.Store.Claim(ctx, c)
}

func TestClaimsThatAreTooLargeBecomeSmaller(t *testing.T) {
	clock := newHandClock()
	receiver := webhooktest.NewReceiver(t, nil)
	d := run(t, narrowStore{webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: clock.Now}), 64}, clock,
		webhook.SenderOptions{Transport: receiver.Transport(t)})
	d.hire(t, receiver, webhook.Settings{})
	const n = 20
	for i := range n {
		d.publish(t, fmt.Sprintf("msg_%d", i))
	}
	for range n {
		d.wait(t, webhook.MessageDelivered)
	}
}
