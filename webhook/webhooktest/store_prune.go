package webhooktest

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// prune prunes what was published before the instant, and ends the check unless
// that many were.
func (q *queue) prune(ctx context.Context, before time.Time, limit, want int) {
	n, err := q.Prune(ctx, before, limit)
	q.must(err)
	q.want(n == want, "Prune of %d before %v removed %d, want %d", limit, before, n, want)
}

// has ends the check unless these messages are there, and those are not.
func (q *queue) has(ctx context.Context, here, gone []string) {
	for _, id := range here {
		_, err := q.Message(ctx, id)
		q.must(err)
	}
	for _, id := range gone {
		_, err := q.Message(ctx, id)
		q.wantErr("Message of "+id+", which was pruned", err, webhook.ErrNotFound)
	}
}

func pruneChecks() []storeCheck {
	return []storeCheck{
		{"Prune removes messages with their deliveries and attempts, and they can be published again", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e", "f")
			q.publish(ctx, "m")
			got := q.gives(ctx, webhook.Claim{}, "e/m", "f/m")
			list := settlementsOf(got.Deliveries)
			for i := range list {
				list[i].Attempt = fullAttempt(1, got.Now)
			}
			q.must(q.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
				for i := range cases {
					end(delivered)(now, &cases[i])
				}
				return nil
			}))
			q.prune(ctx, q.now(ctx).Add(long), 10, 1)
			q.has(ctx, nil, []string{"m"})
			for _, query := range []webhook.DeliveryQuery{{Endpoint: "e", Limit: 10}, {Message: "m", Limit: 10}, {Endpoint: "f", Message: "m", Limit: 10}} {
				left, err := q.Deliveries(ctx, query)
				q.must(err)
				q.want(len(left) == 0, "Prune left the deliveries %+v", left)
			}
			q.want(len(q.attempts(ctx, "e/m")) == 0, "Prune left attempts")
			q.must(q.Settle(ctx, list, func(time.Time, []webhook.Case) error { return mine() }))
			q.want(q.publish(ctx, "m").Deliveries == 2, "a message that was pruned could not be published again for both")
			q.want(len(q.attempts(ctx, "e/m")) == 0, "attempts of before Prune are back")
			q.gives(ctx, webhook.Claim{}, "e/m", "f/m")
		}},
		{"Prune removes messages published before the instant, and no others", func(ctx context.Context, q *queue) {
			q.publish(ctx, "m1")
			q.passes(ctx, 2*time.Millisecond)
			second := q.publish(ctx, "m2").At
			q.passes(ctx, 2*time.Millisecond)
			q.publish(ctx, "m3")
			q.prune(ctx, second.Add(-long), 10, 0)
			q.prune(ctx, second, 10, 1)
			q.has(ctx, []string{"m2", "m3"}, []string{"m1"})
			q.prune(ctx, second.Add(time.Microsecond), 10, 1)
			q.has(ctx, []string{"m3"}, []string{"m2"})
		}},
		{"Prune removes those of the least At first, up to its limit", func(ctx context.Context, q *queue) {
			ids := []string{"m5", "m1", "m4", "m2", "m3"}
			for _, id := range ids {
				q.publish(ctx, id)
				q.passes(ctx, 2*time.Millisecond)
			}
			end := q.now(ctx).Add(long)
			q.prune(ctx, end, 2, 2)
			q.has(ctx, ids[2:], ids[:2])
			q.prune(ctx, end, 2, 2)
			q.has(ctx, ids[4:], ids[:4])
			q.prune(ctx, end, 2, 1)
			q.prune(ctx, end, 2, 0)
		}},
		{"a message with a delivery that has not ended stays", func(ctx context.Context, q *queue) {
			q.menagerie(ctx, "e")
			q.endpoints(ctx, "f")
			q.publish(ctx, "half")
			q.settle(ctx, named(q.claim(ctx, webhook.Claim{}).Deliveries, "e/half"), end(delivered))
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.State = webhook.EndpointDisabled })
			q.prune(ctx, q.now(ctx).Add(long), 10, 3)
			q.has(ctx, []string{"due", "future", "sending", "over", "half"}, []string{"delivered", "dead", "dropped"})
		}},
		{"Prune finds what may go behind what has to stay", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1", "m2", "m3", "m4")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){"e/m2": end(dead), "e/m4": end(delivered)})
			q.prune(ctx, q.now(ctx).Add(long), 1, 1)
			q.has(ctx, []string{"m1", "m3", "m4"}, []string{"m2"})
			q.prune(ctx, q.now(ctx).Add(long), 2, 1)
			q.has(ctx, []string{"m1", "m3"}, []string{"m4"})
		}},
		{"what a deleted endpoint did not get does not keep a message", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e", "f")
			q.publish(ctx, "m1")
			q.change(ctx, "f", func(e *webhook.Endpoint) { e.Settings.Events = []string{"other"} })
			q.publish(ctx, "m2")
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
			q.prune(ctx, q.now(ctx).Add(long), 10, 1)
			q.has(ctx, []string{"m1"}, []string{"m2"})
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "f/m1").Deliveries, end(delivered))
			q.prune(ctx, q.now(ctx).Add(long), 10, 1)
			q.gives(ctx, webhook.Claim{})
		}},
		{"Prune removes deleted endpoints that no delivery names, and does not count them", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "named", "unnamed", "active")
			q.change(ctx, "disabled", func(e *webhook.Endpoint) { e.State = webhook.EndpointDisabled })
			m := message("m")
			m.Endpoint = "named"
			_, err := q.Publish(ctx, m)
			q.must(err)
			for _, id := range []string{"named", "unnamed"} {
				q.change(ctx, id, func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
			}
			exist := func(ids ...string) {
				for _, id := range []string{"named", "unnamed", "active", "disabled"} {
					list, err := q.Endpoints(ctx, webhook.EndpointQuery{ID: id, Limit: 1})
					q.must(err)
					want := 0
					for _, there := range ids {
						if there == id {
							want = 1
						}
					}
					q.want(len(list) == want, "%d endpoints with the ID %s, want %d", len(list), id, want)
				}
			}
			q.prune(ctx, q.now(ctx).Add(-long), 10, 0)
			exist("named", "active", "disabled")
			q.prune(ctx, q.now(ctx).Add(long), 10, 1)
			exist("active", "disabled")
			var again webhook.Endpoint
			q.must(q.Change(ctx, "named", func(_ time.Time, e *webhook.Endpoint) error { again = *e; return nil }))
			q.want(again.State == 0 && again.Account == "", "an endpoint that was removed is loaded as %+v", again)
		}},
	}
}
