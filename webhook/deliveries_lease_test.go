package webhook_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// abandon lets n messages be claimed by a process that dies, and disables their
// endpoint.
func abandon(t *testing.T, n int) *office {
	t.Helper()
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	for i := range n {
		o.publish(t, "msg_"+strconv.Itoa(i))
	}
	if claimed := o.claim(t); len(claimed) != n {
		t.Fatalf("%d deliveries claimed, want %d", len(claimed), n)
	}
	must(o.DisableEndpoint(t.Context(), "ep_1"))(t)
	return o
}

// Nobody claims what a process left behind while the endpoint is disabled. It is
// held like everything else: whoever discards what is held and enables the endpoint
// must not see it sent.
func TestDiscardDropsWhatAProcessLeftBehind(t *testing.T) {
	const n = 5
	o := abandon(t, n)
	o.clock.Advance(webhook.DefaultLease - time.Microsecond)
	if done, err := o.Discard(t.Context(), "ep_1", "", 10); done != 0 || err != nil {
		t.Fatalf("Discard = %d, %v while the leases last", done, err)
	}
	o.clock.Advance(time.Microsecond)
	if done, err := o.Discard(t.Context(), "ep_1", "msg_1", 10); done != 1 || err != nil {
		t.Errorf("Discard of one = %d, %v", done, err)
	}
	if d := o.row(t, "msg_1"); d.State != webhook.DeliveryDropped || !d.EndedAt.Equal(o.clock.Now()) || d.Token != "" || !d.Lease.IsZero() || d.Tries != 1 {
		t.Errorf("discarded: %+v", d)
	}
	o.publish(t, "msg_new")
	for _, want := range []int{2, 2, 1, 0} {
		if done, err := o.Discard(t.Context(), "ep_1", "", 2); done != want || err != nil {
			t.Errorf("Discard = %d, %v, want %d", done, err, want)
		}
	}
	must(o.EnableEndpoint(t.Context(), "ep_1"))(t)
	if claimed := o.claim(t); len(claimed) != 0 {
		t.Errorf("%d deliveries go out that were discarded", len(claimed))
	}
}

func TestAResendTakesWhatAProcessLeftBehind(t *testing.T) {
	o := abandon(t, 1)
	wantIs(t, o.Resend(t.Context(), "ep_1", "msg_0"), webhook.ErrInFlight)
	o.clock.Advance(webhook.DefaultLease)
	o.Woken()
	if err := o.Resend(t.Context(), "ep_1", "msg_0"); err != nil || !o.Woken() {
		t.Fatal(err)
	}
	if d := o.row(t, "msg_0"); d.State != webhook.DeliveryPending || !d.Due.Equal(o.clock.Now()) || d.Attempt != 0 || d.Tries != 1 || !d.Manual || d.Token != "" || !d.Lease.IsZero() {
		t.Errorf("resent: %+v", d)
	}
	must(o.EnableEndpoint(t.Context(), "ep_1"))(t)
	if claimed := o.claim(t); len(claimed) != 1 {
		t.Errorf("%d deliveries, want the one that was resent", len(claimed))
	}
}
