package webhooktest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func turnChecks() []storeCheck {
	return []storeCheck{
		{"a claim begins behind After and goes round once", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "A", "_", "b", "d")
			q.publish(ctx, numbered("m", 9)...)
			for _, turn := range []struct{ after, want string }{
				{"", "A"}, {"A", "_"}, {"_", "b"}, {"b", "d"}, {"d", "A"}, {"zzz", "A"}, {"c", "d"}, {"a", "b"}, {"B", "_"}, {"-any text: ~", "A"},
			} {
				got := q.claim(ctx, webhook.Claim{Limit: 1, After: turn.after})
				q.want(len(got.Deliveries) == 1 && got.Deliveries[0].Delivery.Endpoint == turn.want, "Claim of one after %q gave %v, want one of %s", turn.after, namesOf(got.Deliveries), turn.want)
				q.want(got.Last == turn.want, "Last is %q after a claim that ended with %s", got.Last, turn.want)
			}
		}},
		{"a claim stops when it has Limit deliveries, and Next is then Now", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "a", "b", "c")
			q.publish(ctx, "m1", "m2", "m3")
			got := q.gives(ctx, webhook.Claim{Limit: 5}, "a/m1", "a/m2", "a/m3", "b/m1", "b/m2")
			q.want(got.Last == "b" && got.Next == got.Now, "Last is %q and Next %v at %v, want b and the same", got.Last, got.Next, got.Now)
			q.gives(ctx, webhook.Claim{Limit: 5, After: got.Last}, "b/m3", "c/m1", "c/m2", "c/m3")
		}},
		{"a claim gives of all endpoints what each has room for", func(ctx context.Context, q *queue) {
			for i, id := range []string{"a", "b", "c"} {
				q.change(ctx, id, func(e *webhook.Endpoint) { e.Settings.MaxInFlight = i + 1 })
			}
			q.publish(ctx, "m1", "m2", "m3", "m4")
			q.gives(ctx, webhook.Claim{After: "a"}, "a/m1", "b/m1", "b/m2", "c/m1", "c/m2", "c/m3")
		}},
		{"one endpoint with much waiting does not hide the others", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "b")
			q.publish(ctx, numbered("m", 60)...)
			backlog := q.claim(ctx, webhook.Claim{})
			q.settle(ctx, backlog.Deliveries, wake(-long))
			q.endpoints(ctx, "a", "c")
			q.publish(ctx, "new")
			seen, after := []string(nil), ""
			for range 6 {
				got := q.claim(ctx, webhook.Claim{Limit: 4, After: after})
				after = got.Last
				for _, c := range got.Deliveries {
					if c.Delivery.Message == "new" {
						seen = append(seen, c.Delivery.Endpoint)
					}
				}
			}
			slices.Sort(seen)
			q.want(slices.Equal(seen, []string{"a", "c"}), "6 claims of 4 gave the new message for %v, want a and c beside the backlog of b", seen)
		}},
		{"a claim goes past endpoints that have nothing due", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, numbered("e", 30)...)
			q.publish(ctx, "old")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){"e00003/old": wake(long), "e00004/old": wake(long)})
			got := q.claim(ctx, webhook.Claim{})
			q.want(len(got.Deliveries) == 28, "Claim gave %d, want 28", len(got.Deliveries))
			q.settle(ctx, got.Deliveries, func(now time.Time, c *webhook.Case) {
				if strings.HasSuffix(c.Delivery.Endpoint, "7") {
					giveBack(now, c)
				} else {
					end(webhook.DeliveryDelivered)(now, c)
				}
			})
			q.gives(ctx, webhook.Claim{After: "e00010"}, "e00007/old", "e00017/old", "e00027/old")
			q.gives(ctx, webhook.Claim{})
		}},
	}
}

func nextChecks() []storeCheck {
	return []storeCheck{
		{"Next is zero when nothing is waiting", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			got := q.gives(ctx, webhook.Claim{}, "e/m")
			q.settle(ctx, got.Deliveries, end(webhook.DeliveryDead))
			next := q.gives(ctx, webhook.Claim{}).Next
			q.want(next.IsZero(), "Next is %v", next)
		}},
		{"Next is the least instant at which a delivery of any endpoint is due", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "a", "b", "c")
			q.publish(ctx, "m1", "m2")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){
				"a/m1": wake(3 * long), "a/m2": wake(4 * long), "b/m1": wake(2 * long), "b/m2": wake(long), "c/m1": end(webhook.DeliveryDelivered), "c/m2": wake(long + time.Second),
			})
			want := q.row(ctx, "b/m2").Due
			for _, after := range []string{"", "a", "b", "c"} {
				next := q.gives(ctx, webhook.Claim{After: after}).Next
				q.want(next == want, "Next is %v, want %v", next, want)
			}
		}},
		{"Next is the end of a lease when nothing else is waiting", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1", "m2")
			first := q.gives(ctx, webhook.Claim{Limit: 1}, "e/m1")
			got := q.gives(ctx, webhook.Claim{Lease: 2 * long}, "e/m2")
			want := first.Now.Add(long)
			q.want(got.Next == want, "Next is %v, want the end of the first lease, %v", got.Next, want)
			q.want(q.gives(ctx, webhook.Claim{}).Next == want, "Next has changed without a change")
		}},
		{"Next is the end of the first lease while there is no room", func(ctx context.Context, q *queue) {
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 2 })
			q.publish(ctx, "m1", "m2", "m3")
			first := q.gives(ctx, webhook.Claim{Limit: 1, Lease: long}, "e/m1")
			got := q.gives(ctx, webhook.Claim{Lease: 3 * long}, "e/m2")
			want := first.Now.Add(long)
			q.want(got.Next == want, "Next is %v, want %v", got.Next, want)
			q.settle(ctx, first.Deliveries, wake(long/2))
			third := q.gives(ctx, webhook.Claim{Lease: 2 * long}, "e/m3")
			q.want(third.Next == third.Now.Add(2*long) || third.Next == q.row(ctx, "e/m1").Due, "Next is %v, which is neither when m1 is due nor when there is room for it", third.Next)
		}},
		{"Next of a blocked endpoint is the later of the block's end and the least Due", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){"e/m": wake(long)})
			due := q.row(ctx, "e/m").Due
			for _, shift := range []time.Duration{-time.Minute, time.Minute} {
				q.change(ctx, "e", func(e *webhook.Endpoint) { e.Health.BlockedUntil = due.Add(shift) })
				want := due.Add(max(0, shift))
				next := q.gives(ctx, webhook.Claim{}).Next
				q.want(next == want, "Next is %v, want %v", next, want)
			}
		}},
		{"Next leaves out endpoints with nothing waiting, whatever they are blocked for", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "a", "b")
			q.publish(ctx, "m")
			due := q.row(ctx, "a/m").Due
			q.change(ctx, "a", func(e *webhook.Endpoint) { e.Health.BlockedUntil = due.Add(long) })
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){"b/m": wake(2 * long)})
			n, err := q.Move(ctx, webhook.Move{Endpoint: "a", From: []webhook.DeliveryState{webhook.DeliveryPending}, To: webhook.DeliveryDropped, Limit: 10})
			q.must(err)
			q.want(n == 1, "Move moved %d", n)
			next, want := q.gives(ctx, webhook.Claim{}).Next, q.row(ctx, "b/m").Due
			q.want(next == want, "Next is %v, want %v", next, want)
		}},
	}
}

func orderedChecks() []storeCheck {
	ordered := func(e *webhook.Endpoint) { e.Settings.Ordered = true }
	return []storeCheck{
		{"an ordered endpoint gives one delivery at a time, in the order of Seq", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1", "m2", "m3")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){"e/m1": wake(-time.Second), "e/m2": wake(-long), "e/m3": wake(-2 * long)})
			q.change(ctx, "e", ordered)
			for i, state := range []webhook.DeliveryState{webhook.DeliveryDelivered, webhook.DeliveryDead, webhook.DeliveryDropped} {
				got := q.gives(ctx, webhook.Claim{}, fmt.Sprintf("e/m%d", i+1))
				q.want(got.Next == got.Deliveries[0].Delivery.Lease, "Next is %v, want the end of the lease", got.Next)
				q.gives(ctx, webhook.Claim{})
				q.settle(ctx, got.Deliveries, end(state))
			}
			q.gives(ctx, webhook.Claim{})
		}},
		{"an ordered endpoint waits for the retry of its first delivery, and so does Next", func(ctx context.Context, q *queue) {
			q.change(ctx, "e", ordered)
			q.publish(ctx, "m1", "m2")
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "e/m1").Deliveries, wake(long))
			got := q.gives(ctx, webhook.Claim{})
			q.want(got.Next == q.row(ctx, "e/m1").Due, "Next is %v, want when the first is due", got.Next)
			n, err := q.Move(ctx, webhook.Move{Endpoint: "e", Message: "m1", From: []webhook.DeliveryState{webhook.DeliveryPending}, To: webhook.DeliveryDropped, Limit: 1})
			q.must(err)
			q.want(n == 1, "Move moved %d", n)
			q.gives(ctx, webhook.Claim{}, "e/m2")
		}},
		{"an ordered endpoint gives its first delivery anew when the lease is over", func(ctx context.Context, q *queue) {
			q.change(ctx, "e", ordered)
			q.publish(ctx, "m1", "m2")
			q.gives(ctx, webhook.Claim{Lease: time.Millisecond}, "e/m1")
			q.passes(ctx, 2*time.Millisecond)
			q.gives(ctx, webhook.Claim{}, "e/m1")
		}},
		{"a delivery that is resent comes first again at an ordered endpoint", func(ctx context.Context, q *queue) {
			q.change(ctx, "e", ordered)
			q.publish(ctx, "m1", "m2", "m3")
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "e/m1").Deliveries, end(webhook.DeliveryDead))
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "e/m2").Deliveries, end(webhook.DeliveryDelivered))
			n, err := q.Move(ctx, webhook.Move{Endpoint: "e", From: []webhook.DeliveryState{webhook.DeliveryDead}, To: webhook.DeliveryPending, Limit: 10})
			q.must(err)
			q.want(n == 1, "Move moved %d", n)
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "e/m1").Deliveries, end(webhook.DeliveryDelivered))
			q.gives(ctx, webhook.Claim{}, "e/m3")
		}},
		{"an endpoint that becomes ordered gives nothing while more are in flight", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1", "m2", "m3")
			got := q.gives(ctx, webhook.Claim{Limit: 2}, "e/m1", "e/m2")
			q.change(ctx, "e", ordered)
			q.gives(ctx, webhook.Claim{})
			q.settle(ctx, named(got.Deliveries, "e/m1"), wake(-time.Second))
			q.gives(ctx, webhook.Claim{}) // m2 is in flight
			q.settle(ctx, named(got.Deliveries, "e/m2"), end(webhook.DeliveryDelivered))
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "e/m1").Deliveries, end(webhook.DeliveryDelivered))
			q.gives(ctx, webhook.Claim{}, "e/m3")
		}},
	}
}
