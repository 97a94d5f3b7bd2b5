package pgstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

func BenchmarkWebhooks(b *testing.B) {
	d := newDatabase(b)
	webhooktest.Bench(b, func(b *testing.B) webhook.Store { return d.open(b).Webhooks(nil) })
}

// BenchmarkDeliveries measures what the store takes of a delivery from its claim to
// its settlement, of 200 endpoints, one claimer, and batches of two sizes; and what
// publishing it takes, to one and to twenty endpoints. One delivery after the other:
// the time is nearly that of the processors, of program and server together.
func BenchmarkDeliveries(b *testing.B) {
	const endpoints = 200
	d := newDatabase(b, unsynced)
	for _, batch := range []int{64, 256} {
		b.Run(fmt.Sprintf("claim and settle/batch=%d", batch), func(b *testing.B) {
			s := d.open(b).Webhooks(nil)
			endpointsOf(b, s, "a", endpoints)
			for i := range 64 {
				publish(b, s, "a", fmt.Sprint("m", i))
			}
			ctx, after, n := b.Context(), "", 0
			for i := 0; b.Loop(); i++ {
				got, err := s.Claim(ctx, webhook.Claim{Token: fmt.Sprint("t", i), Limit: batch, Lease: time.Minute, After: after})
				if err != nil || len(got.Deliveries) != batch {
					b.Fatalf("%d claimed, %v", len(got.Deliveries), err)
				}
				after = got.Last
				n += batch
				err = s.Settle(ctx, settlements(got.Deliveries), func(now time.Time, cases []webhook.Case) error {
					for i := range cases { // and come again, so that there are always as many
						to := &cases[i].Delivery
						to.State, to.Token, to.Lease, to.Due = webhook.DeliveryPending, "", time.Time{}, now
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/delivery")
			b.ReportMetric(0, "ns/op")
		})
	}
	for _, takers := range []int{1, 20} {
		b.Run(fmt.Sprintf("publish/endpoints=%d", takers), func(b *testing.B) {
			s := d.open(b).Webhooks(nil)
			endpointsOf(b, s, "a", takers)
			for i := 0; b.Loop(); i++ {
				publish(b, s, "a", fmt.Sprint("m", i))
			}
		})
	}
}

// endpointsOf makes so many active endpoints of an account.
func endpointsOf(t testing.TB, s *pgstore.WebhookStore, account string, n int, adjust ...func(*webhook.Endpoint)) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("%s-%05d", account, i)
		err := s.Change(t.Context(), id, func(now time.Time, e *webhook.Endpoint) error {
			e.Account, e.State, e.CreatedAt, e.UpdatedAt = account, webhook.EndpointActive, now, now
			e.Settings.URL, e.Sealed = "https://example.com/"+id, make([]byte, 200)
			for _, f := range adjust {
				f(e)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func publish(t testing.TB, s webhook.Outbox, account, id string) webhook.Publication {
	t.Helper()
	p, err := s.Publish(t.Context(), letter(account, id))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// letter returns a message of a kilobyte.
func letter(account, id string) webhook.Message {
	return webhook.Message{ID: id, Account: account, Type: "image.created", ContentType: "application/json", Payload: make([]byte, 1024)}
}

// settlements returns those of successful attempts.
func settlements(claimed []webhook.Claimed) []webhook.Settlement {
	list := make([]webhook.Settlement, len(claimed))
	for i := range claimed {
		d := &claimed[i].Delivery
		list[i] = webhook.Settlement{
			Endpoint: d.Endpoint, Message: d.Message, Token: d.Token,
			Attempt: webhook.Attempt{Number: d.Tries, At: d.Lease, Took: time.Millisecond, Status: 204, Address: "192.0.2.1:443"},
		}
	}
	return list
}

// delivered settles cases as successes.
func delivered(now time.Time, cases []webhook.Case) error {
	for i := range cases {
		if cases[i].Late {
			continue
		}
		d := &cases[i].Delivery
		d.State, d.Token, d.Lease, d.EndedAt = webhook.DeliveryDelivered, "", time.Time{}, now
	}
	return nil
}
