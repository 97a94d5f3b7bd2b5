package webhooktest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

func TestAFaultyStoreFailsBeforeOrAfterItHasWritten(t *testing.T) {
	for _, fault := range []webhooktest.Fault{webhooktest.FailFirst, webhooktest.FailWritten} {
		inner := webhook.NewMemoryStore(nil)
		var on webhooktest.Fault
		s := webhooktest.NewFaulty(inner, func(method string, call int) webhooktest.Fault {
			if method == "Change" && call == 1 {
				return webhooktest.NoFault
			}
			return on
		})
		ctx := t.Context()
		enable := func(_ time.Time, e *webhook.Endpoint) error {
			e.Account, e.State, e.Settings.Note = "acme", webhook.EndpointActive, e.Settings.Note+"x"
			return nil
		}
		on = fault
		if err := s.Change(ctx, "e", enable); err != nil {
			t.Fatalf("the first change: %v", err)
		}
		written := fault == webhooktest.FailWritten
		fails := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, webhooktest.ErrFault) {
				t.Errorf("%v, %s: %v", fault, what, err)
			}
		}
		has := func(what string, did bool, err error) {
			t.Helper()
			if err != nil || did != written {
				t.Errorf("%v, %s: written is %v, %v", fault, what, did, err)
			}
		}
		fails("Change", s.Change(ctx, "e", enable))
		list, err := inner.Endpoints(ctx, webhook.EndpointQuery{Limit: 1})
		has("Change", len(list) == 1 && list[0].Settings.Note == "xx", err)

		_, err = s.Publish(ctx, webhook.Message{ID: "m", Account: "acme", Type: "a.b"})
		fails("Publish", err)
		p, err := inner.Publish(ctx, webhook.Message{ID: "m", Account: "acme", Type: "a.b"})
		has("Publish", p.Replayed, err)

		_, err = s.Claim(ctx, webhook.Claim{Token: "t", Limit: 1, Lease: time.Hour})
		fails("Claim", err)
		c, err := inner.Claim(ctx, webhook.Claim{Token: "t", Limit: 1, Lease: time.Hour})
		has("Claim", len(c.Deliveries) == 0, err)

		fails("Settle", s.Settle(ctx, []webhook.Settlement{{Endpoint: "e", Message: "m", Token: "t"}}, func(now time.Time, cases []webhook.Case) error {
			cases[0].Delivery.State, cases[0].Delivery.EndedAt = webhook.DeliveryDead, now
			return nil
		}))
		rows, err := inner.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: "e", Limit: 1})
		has("Settle", len(rows) == 1 && rows[0].State == webhook.DeliveryDead, err)
		if s.Calls("Change") != 2 || s.Calls("Move") != 0 {
			t.Errorf("%d calls of Change, %d of Move", s.Calls("Change"), s.Calls("Move"))
		}
	}
}

func TestAFaultIsAlwaysNamed(t *testing.T) {
	if got := webhooktest.DecideTwice.String() + ", " + webhooktest.Fault(4).String() + ", " + webhooktest.Fault(255).String(); got != "decide twice, unknown, unknown" {
		t.Errorf("they are called %q", got)
	}
}
