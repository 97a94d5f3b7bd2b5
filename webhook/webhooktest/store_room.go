package webhooktest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func roomChecks() []storeCheck {
	return []storeCheck{
		{"no more than Room are in flight, and each that ends makes room", func(ctx context.Context, q *queue) {
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 3 })
			q.publish(ctx, numbered("m", 6)...)
			first := q.gives(ctx, webhook.Claim{}, "e/m00000", "e/m00001", "e/m00002")
			q.gives(ctx, webhook.Claim{})
			q.settle(ctx, named(first.Deliveries, "e/m00001"), end(webhook.DeliveryDelivered))
			q.gives(ctx, webhook.Claim{}, "e/m00003")
			q.gives(ctx, webhook.Claim{})
			q.settle(ctx, named(first.Deliveries, "e/m00000"), wake(long))
			q.settle(ctx, named(first.Deliveries, "e/m00002"), giveBack)
			q.gives(ctx, webhook.Claim{}, "e/m00002", "e/m00004")
		}},
		{"the room of an endpoint that sets none is the default", func(ctx context.Context, q *queue) {
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 0 })
			q.publish(ctx, numbered("m", webhook.DefaultMaxInFlight+2)...)
			got := q.claim(ctx, webhook.Claim{})
			q.want(len(got.Deliveries) == webhook.DefaultMaxInFlight, "Claim gave %d, want %d", len(got.Deliveries), webhook.DefaultMaxInFlight)
		}},
		{"a changed MaxInFlight holds for the next claim", func(ctx context.Context, q *queue) {
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 4 })
			q.publish(ctx, numbered("m", 10)...)
			q.want(len(q.claim(ctx, webhook.Claim{}).Deliveries) == 4, "a claim did not fill the room")
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 2 })
			q.gives(ctx, webhook.Claim{})
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 5 })
			q.gives(ctx, webhook.Claim{}, "e/m00004")
		}},
		{"what is in flight under a lease that is over takes no room", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1", "m2", "m3")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){"e/m1": wake(-3 * long), "e/m2": wake(-2 * long), "e/m3": wake(-long)})
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 2 })
			q.gives(ctx, webhook.Claim{Lease: time.Millisecond}, "e/m1", "e/m2")
			q.passes(ctx, 2*time.Millisecond)
			q.gives(ctx, webhook.Claim{Limit: 1}, "e/m3")
			got := q.claim(ctx, webhook.Claim{})
			q.want(len(got.Deliveries) == 1, "with one of two in flight Claim gave %v", namesOf(got.Deliveries))
			q.gives(ctx, webhook.Claim{})
		}},
		{"a blocked endpoint gives nothing before BlockedUntil, which is then Next", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			until := q.now(ctx).Add(300 * time.Millisecond)
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Health.BlockedUntil = until })
			q.until("the end of a block", func() bool {
				got := q.claim(ctx, webhook.Claim{})
				q.want(got.Now.Before(until) == (len(got.Deliveries) == 0), "at %v Claim gave %v of an endpoint blocked until %v", got.Now, namesOf(got.Deliveries), until)
				q.want(len(got.Deliveries) > 0 || got.Next == until, "Next is %v, want the end of the block, %v", got.Next, until)
				return len(got.Deliveries) > 0
			})
		}},
		{"what a settlement makes of an endpoint's Health holds for the next claim", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1", "m2", "m3")
			got := q.gives(ctx, webhook.Claim{Limit: 1}, "e/m1")
			q.settle(ctx, got.Deliveries, func(now time.Time, c *webhook.Case) {
				wake(-time.Second)(now, c)
				c.Endpoint.Health.Trips = 1
			})
			got = q.gives(ctx, webhook.Claim{}, "e/m1")
			q.gives(ctx, webhook.Claim{})
			q.settle(ctx, got.Deliveries, func(now time.Time, c *webhook.Case) {
				end(webhook.DeliveryDelivered)(now, c)
				c.Endpoint.Health.Trips, c.Endpoint.Health.BlockedUntil = 0, now.Add(long)
			})
			got = q.gives(ctx, webhook.Claim{})
			q.want(got.Next == q.endpoint(ctx, "e").Health.BlockedUntil, "Next is %v, want BlockedUntil", got.Next)
		}},
		{"the pace of an endpoint is kept over claims, and Next says when it lets the next attempt begin", paced},
		{"a claim of an endpoint without a pace leaves its Health", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			before := q.endpoint(ctx, "e").Health
			q.gives(ctx, webhook.Claim{}, "e/m")
			q.want(q.endpoint(ctx, "e").Health == before, "the claim changed Health to %+v", q.endpoint(ctx, "e").Health)
		}},
		{"of 8 claimers at once none gets what another has, and never are more than Room in flight", claimRace},
	}
}

func paced(ctx context.Context, q *queue) {
	q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.Rate = 20 })
	q.publish(ctx, numbered("m", 8)...)
	inFlight := 0
	q.until("the last of 8 messages at 20 a second", func() bool {
		e := q.endpoint(ctx, "e")
		got := q.claim(ctx, webhook.Claim{})
		n := len(got.Deliveries)
		want := min(e.Room(got.Now, inFlight), 8-inFlight)
		q.want(n == want, "at %v Claim gave %d of %+v, want %d", got.Now, n, e.Health, want)
		if n > 0 {
			e.Claimed(got.Now, n)
		}
		row := q.endpoint(ctx, "e")
		q.want(row.Health == e.Health, "after %d were claimed at %v Health is\n%+v, want\n%+v", n, got.Now, row.Health, e.Health)
		q.want(n == 0 || got.Deliveries[0].Endpoint.Health == e.Health, "the endpoint handed out is not as it is after the claim")
		if inFlight += n; inFlight < 8 {
			q.want(got.Next == e.ReadyAt(), "Next is %v, want %v", got.Next, e.ReadyAt())
		}
		return inFlight == 8
	})
}

// claimRace has claimers claim and settle until all is delivered.
func claimRace(ctx context.Context, q *queue) {
	rooms := map[string]int{"a": 1, "b": 3, "c": 8, "d": 1}
	for id, room := range rooms {
		q.change(ctx, id, func(e *webhook.Endpoint) { e.Settings.MaxInFlight, e.Settings.Ordered = room, id == "d" })
	}
	const messages = 24
	q.publish(ctx, numbered("m", messages)...)
	var (
		mu       sync.Mutex
		inFlight = map[string]int{}
		taken    = map[string]bool{}
		last     string // of the ordered endpoint
		left     atomic.Int64
	)
	left.Store(int64(len(rooms) * messages))
	take := func(list []webhook.Claimed) error {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range list {
			d := c.Delivery
			if name := d.Endpoint + "/" + d.Message; taken[name] {
				return fmt.Errorf("%s was handed out twice", name)
			} else if taken[name] = true; d.Endpoint == "d" {
				if d.Message < last {
					return fmt.Errorf("%s was handed out after %s by an ordered endpoint", d.Message, last)
				}
				last = d.Message
			}
			if inFlight[d.Endpoint]++; inFlight[d.Endpoint] > rooms[d.Endpoint] {
				return fmt.Errorf("%d of endpoint %s are in flight, which has room for %d", inFlight[d.Endpoint], d.Endpoint, rooms[d.Endpoint])
			}
		}
		return nil
	}
	give := func(list []webhook.Claimed) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range list {
			inFlight[c.Delivery.Endpoint]--
		}
	}
	q.together(ctx, 8, func(ctx context.Context, i int) error {
		after := ""
		for round := 0; left.Load() > 0; round++ {
			got, err := q.Claim(ctx, webhook.Claim{Token: fmt.Sprintf("t%d_%d", i, round), Limit: 1 + (i+round)%7, Lease: long, After: after})
			if err == nil {
				err = take(got.Deliveries)
			}
			if err != nil {
				return err
			}
			if after = got.Last; len(got.Deliveries) == 0 {
				continue
			}
			give(got.Deliveries)
			err = q.Settle(ctx, settlementsOf(got.Deliveries), func(now time.Time, cases []webhook.Case) error {
				for i := range cases {
					if cases[i].Late {
						return fmt.Errorf("the settlement of %+v is late", cases[i].Delivery)
					}
					end(webhook.DeliveryDelivered)(now, &cases[i])
				}
				return nil
			})
			if err != nil {
				return err
			}
			left.Add(-int64(len(got.Deliveries)))
		}
		return nil
	})
}
