package webhooktest

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func claimChecks() []storeCheck {
	return []storeCheck{
		{"a claim of an empty store gives nothing and tells the time", func(ctx context.Context, q *queue) {
			before := q.now(ctx)
			got := q.claim(ctx, webhook.Claim{After: "e"})
			q.want(len(got.Deliveries) == 0 && got.Last == "" && got.Next.IsZero(), "Claim = %+v", got)
			q.want(inWhole(got.Now) && !got.Now.Before(before), "Now is %v, after %v", got.Now, before)
		}},
		{"a due delivery is handed out with its endpoint and its message", handedOut},
		{"a claim makes the delivery Sending, with Token, Lease, and one more of Tries and Attempt", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			for tries := 1; tries <= 3; tries++ {
				want := q.row(ctx, "e/m")
				lease := time.Hour + 123_457*time.Microsecond
				got := q.claim(ctx, webhook.Claim{Token: fmt.Sprintf("!~token\"'%d", tries), Lease: lease})
				q.want(len(got.Deliveries) == 1, "Claim gave %d", len(got.Deliveries))
				want.State, want.Token, want.Lease = webhook.DeliverySending, fmt.Sprintf("!~token\"'%d", tries), got.Now.Add(lease)
				want.Tries, want.Attempt = tries, 1+(tries-1)*7
				q.want(got.Deliveries[0].Delivery == want, "Claim:\n got %+v\nwant %+v", got.Deliveries[0].Delivery, want)
				row := q.row(ctx, "e/m")
				q.want(row == want, "the row:\n got %+v\nwant %+v", row, want)
				q.settle(ctx, got.Deliveries, func(now time.Time, c *webhook.Case) {
					wake(-time.Second)(now, c)
					c.Delivery.Attempt = tries * 7
				})
			}
		}},
		{"a delivery is handed out once while its lease runs", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			q.gives(ctx, webhook.Claim{}, "e/m")
			q.gives(ctx, webhook.Claim{})
			q.passes(ctx, 2*time.Millisecond)
			q.gives(ctx, webhook.Claim{})
		}},
		{"a delivery that is due later is not handed out before, and is then", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "later", "soon", "past")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){"e/later": wake(long), "e/soon": wake(time.Second), "e/past": wake(-long)})
			soon := q.row(ctx, "e/soon").Due
			q.gives(ctx, webhook.Claim{}, "e/past")
			q.until("e/soon", func() bool {
				got := q.claim(ctx, webhook.Claim{})
				names := namesOf(got.Deliveries)
				q.want(len(names) == 0 || names[0] == "e/soon" && len(names) == 1, "Claim gave %v", names)
				q.want(got.Now.Before(soon) == (len(names) == 0), "at %v Claim gave %v, which is due at %v", got.Now, names, soon)
				return len(names) > 0
			})
		}},
		{"a delivery whose lease is over is handed out anew, under the new token", leaseOver},
		{"ended deliveries are not handed out", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1", "m2", "m3", "m4")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){
				"e/m1": end(webhook.DeliveryDelivered), "e/m2": end(webhook.DeliveryDead), "e/m3": end(webhook.DeliveryDropped),
			})
			q.gives(ctx, webhook.Claim{}, "e/m4")
		}},
		{"those of the least Due come first, and of equal ones those of the least Seq", func(ctx context.Context, q *queue) {
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 1 })
			q.publish(ctx, "m1", "m2", "m3", "m4", "m5", "m6")
			due := q.now(ctx).Add(-time.Minute)
			same := func(now time.Time, c *webhook.Case) { wake(0)(now, c); c.Delivery.Due = due }
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 0 }) // the default
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){
				"e/m1": wake(-time.Second), "e/m2": same, "e/m3": wake(-time.Hour), "e/m4": same, "e/m5": same, "e/m6": wake(-time.Hour - time.Microsecond),
			})
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 1 })
			for _, id := range []string{"m6", "m3", "m2", "m4", "m5", "m1"} {
				got := q.gives(ctx, webhook.Claim{}, "e/"+id)
				q.settle(ctx, got.Deliveries, end(webhook.DeliveryDelivered))
			}
		}},
		{"a lease that is over counts as Due", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "leased", "older")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){"e/leased": wake(-2 * long), "e/older": wake(-long)})
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 1 })
			q.gives(ctx, webhook.Claim{Lease: time.Millisecond}, "e/leased")
			q.passes(ctx, 2*time.Millisecond)
			q.publish(ctx, "newer")
			for _, id := range []string{"older", "leased", "newer"} {
				got := q.gives(ctx, webhook.Claim{}, "e/"+id)
				q.settle(ctx, got.Deliveries, end(webhook.DeliveryDelivered))
			}
		}},
		{"a disabled endpoint gives nothing, and all that it held once it is active", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1")
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.State = webhook.EndpointDisabled })
			q.publish(ctx, "m2")
			got := q.gives(ctx, webhook.Claim{})
			q.want(got.Next.IsZero(), "Next is %v although only a change lets a disabled endpoint give anything", got.Next)
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.State = webhook.EndpointActive })
			q.gives(ctx, webhook.Claim{}, "e/m1", "e/m2")
		}},
		{"a deleted endpoint gives nothing", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e", "f")
			q.publish(ctx, "m1")
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
			q.gives(ctx, webhook.Claim{}, "f/m1")
			got := q.gives(ctx, webhook.Claim{After: "f"})
			q.want(got.Next == q.row(ctx, "f/m1").Lease, "Next is %v, want the end of the only lease", got.Next)
		}},
	}
}

func handedOut(ctx context.Context, q *queue) {
	q.must(q.Change(ctx, "e", func(now time.Time, e *webhook.Endpoint) error {
		*e = fullEndpoint(now)
		e.Account, e.State, e.Settings.Rate, e.Health.BlockedUntil = account, webhook.EndpointActive, 0, time.Time{}
		e.Settings.Ordered, e.Health.Trips = false, 0
		return nil
	}))
	m := message("image")
	m.Type, m.Payload = "image.created", []byte("\x00\xff")
	p, err := q.Publish(ctx, m)
	q.must(err)
	m.At = p.At
	got := q.gives(ctx, webhook.Claim{}, "e/image")
	q.want(got.Last == "e", "Last is %q", got.Last)
	c := got.Deliveries[0]
	want := plain(q.endpoint(ctx, "e"))
	q.want(reflect.DeepEqual(plain(*c.Endpoint), want), "the endpoint:\n got %+v\nwant %+v", *c.Endpoint, want)
	q.want(sameMessage(*c.Message, m), "the message:\n got %+v\nwant %+v", *c.Message, m)
}

func leaseOver(ctx context.Context, q *queue) {
	q.endpoints(ctx, "e")
	q.publish(ctx, "m")
	lease := q.gives(ctx, webhook.Claim{Token: "one", Lease: 50 * time.Millisecond}, "e/m").Deliveries[0].Delivery.Lease
	for _, token := range []string{"two", "three"} {
		q.until("the end of a lease", func() bool {
			got := q.claim(ctx, webhook.Claim{Token: token, Lease: 50 * time.Millisecond})
			q.want(got.Now.Before(lease) == (len(got.Deliveries) == 0), "at %v Claim gave %v, whose lease is over at %v", got.Now, namesOf(got.Deliveries), lease)
			if len(got.Deliveries) == 0 {
				return false
			}
			d := got.Deliveries[0].Delivery
			tries := 2
			if token == "three" {
				tries = 3
			}
			q.want(d.Token == token && d.Tries == tries && d.Attempt == tries, "claim %d of a delivery: %+v", tries, d)
			q.want(d == q.row(ctx, "e/m"), "the row differs from what was claimed")
			lease = d.Lease
			return true
		})
	}
}
