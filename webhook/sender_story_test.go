package webhook_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// Events vanished while an endpoint was disabled, in another engine: here they are
// held, and go out when it is back.
func TestAReceiverThatWasGoneGetsEverythingWhenItIsBack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer webhooktest.Answer
		reason webhook.DisableReason
		first  bool // the first message counts as delivered
	}{
		{"410", webhooktest.Answer{Status: http.StatusGone}, webhook.DisabledByGone, false},
		{"500 and disable", webhooktest.Answer{Status: 500, Header: http.Header{"Webhook-Delivery": {"disable"}}}, webhook.DisabledByReceiver, false},
		{"200 and disable", webhooktest.Answer{Status: 200, Header: http.Header{"Webhook-Delivery": {"disable"}}}, webhook.DisabledByReceiver, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			receiver := webhooktest.NewReceiver(t, nil, tt.answer)
			d := run(t, nil, newHandClock(), webhook.SenderOptions{Transport: receiver.Transport(t), Retry: webhook.Schedule(nil)})
			id := d.hire(t, receiver, webhook.Settings{})
			d.publish(t, "msg_1")
			if e := d.wait(t, webhook.EndpointWasDisabled); e.Reason != tt.reason {
				t.Errorf("disabled by %v, want %v", e.Reason, tt.reason)
			}
			d.publish(t, "msg_2")
			d.publish(t, "msg_3")
			held := must(d.Deliveries(t.Context(), webhook.DeliveryQuery{Endpoint: id, States: []webhook.DeliveryState{webhook.DeliveryPending}}))(t)
			want := 3
			if tt.first {
				want = 2
			}
			if len(held.Deliveries) != want || len(receiver.Received()) != 1 {
				t.Errorf("%d are held, want %d; %d were sent, want 1", len(held.Deliveries), want, len(receiver.Received()))
			}
			must(d.EnableEndpoint(t.Context(), id))(t)
			must(receiver.Wait(t.Context(), 1+want))(t)
			for range want {
				d.wait(t, webhook.MessageDelivered)
			}
			for _, message := range []string{"msg_1", "msg_2", "msg_3"} {
				if row := d.row(t, message); row.State != webhook.DeliveryDelivered {
					t.Errorf("%s is %v", message, row.State)
				}
			}
		})
	}
}

// Another engine held back the one message that was answered so, and went on with
// the others.
func TestARetryAfterHoldsBackTheWholeEndpoint(t *testing.T) {
	receiver := webhooktest.NewReceiver(t, nil, webhooktest.Answer{Status: 429, Header: http.Header{"Retry-After": {"120"}}})
	d := run(t, nil, newHandClock(), webhook.SenderOptions{Transport: receiver.Transport(t)})
	d.hire(t, receiver, webhook.Settings{})
	d.publish(t, "msg_1")
	asked := d.clock.Now()
	if e := d.wait(t, webhook.EndpointWasBlocked); !e.Until.Equal(asked.Add(2 * time.Minute)) {
		t.Errorf("blocked until %v", e.Until)
	}
	d.publish(t, "msg_2")
	d.clock.Advance(2*time.Minute - time.Second)
	claims := must(d.store.Claim(t.Context(), webhook.Claim{Token: "probe", Limit: 10, Lease: time.Minute}))(t)
	if len(claims.Deliveries) != 0 {
		t.Errorf("%d are handed out in the pause", len(claims.Deliveries))
	}
	d.clock.Advance(time.Second)
	d.wait(t, webhook.MessageDelivered)
	d.wait(t, webhook.MessageDelivered)
	for i, got := range must(receiver.Wait(t.Context(), 3))(t) {
		if sent := got.Verified.Timestamp.Sub(asked); got.Err != nil || (i > 0) != (sent >= 2*time.Minute) {
			t.Errorf("request %d was sent after %v: %v", i+1, sent, got.Err)
		}
	}
}

// An address that is refused is no reason to try ten times in three days.
func TestWhatNothingCanMendIsNotRetriedAndCanBeResent(t *testing.T) {
	receiver := webhooktest.NewReceiver(t, nil)
	d := run(t, nil, newHandClock(), webhook.SenderOptions{Transport: receiver.Transport(t)})
	id := d.hire(t, receiver, webhook.Settings{})
	// The address goes bad after it was accepted, as a name can that is looked up
	// again.
	move := func(address string) {
		t.Helper()
		err := d.store.Change(t.Context(), id, func(_ time.Time, e *webhook.Endpoint) error { e.Settings.URL = address; return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	move("http://169.254.169.254/latest/meta-data")
	d.publish(t, "msg_1")
	if e := d.wait(t, webhook.MessageExhausted); e.Attempt.Failure != webhook.FailedRefused || e.Attempt.Number != 1 {
		t.Errorf("%+v", e)
	}
	move(receiver.URL())
	if err := d.Resend(t.Context(), id, "msg_1"); err != nil {
		t.Fatal(err)
	}
	if e := d.wait(t, webhook.MessageDelivered); e.Message != "msg_1" || e.Attempt.Number != 2 {
		t.Errorf("%+v", e)
	}
}
