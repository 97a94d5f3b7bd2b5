package webhooktest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func listFlaws() []flaw {
	every := []webhook.DeliveryState{pending, sending, delivered, dead, dropped}
	return []flaw{
		{"Deliveries of an endpoint come newest first", "takes Before for one more", func(_ context.Context, s *bent) {
			s.shown = func(_ webhook.DeliveryQuery, list *[]webhook.Delivery) {
				if len(*list) > 1 {
					*list = (*list)[1:]
				}
			}
		}},
		{"Deliveries of an endpoint come newest first", "gives one more", func(_ context.Context, s *bent) { s.rows = func(q *webhook.DeliveryQuery) { q.Limit++ } }},
		{"Deliveries of a message", "gives the oldest first", func(_ context.Context, s *bent) {
			s.shown = func(_ webhook.DeliveryQuery, list *[]webhook.Delivery) { slices.Reverse(*list) }
		}},
		{"Deliveries are only those", "looks at states after it counted", func(_ context.Context, s *bent) {
			s.rows = func(q *webhook.DeliveryQuery) { q.States = nil }
			s.shown = func(q webhook.DeliveryQuery, list *[]webhook.Delivery) {
				if len(q.States) > 0 {
					*list = slices.DeleteFunc(*list, func(d webhook.Delivery) bool { return !slices.Contains(q.States, d.State) })
				}
			}
		}},
		{"Deliveries of what is not there", "folds case", func(_ context.Context, s *bent) {
			s.rows = func(q *webhook.DeliveryQuery) {
				q.Endpoint, q.Message = strings.ToLower(q.Endpoint), strings.ToLower(q.Message)
			}
		}},
		{"Attempts come in ascending order", "gives one more", func(_ context.Context, s *bent) { s.tries = func(limit *int) { *limit++ } }},
		{"Attempts come in ascending order", "sorts numbers as words", func(_ context.Context, s *bent) {
			s.attempts = func(_, _ string, list *[]webhook.Attempt) {
				if len(*list) > 3 {
					slices.Reverse((*list)[2:])
				}
			}
		}},
		{"a message that is not there", "is an empty one", func(_ context.Context, s *bent) {
			s.message = func(_ string, _ *webhook.Message, err *error) { *err = nil }
		}},
		{"Prune removes messages with their deliveries", "leaves attempts", func(_ context.Context, s *bent) {
			kept := map[string][]webhook.Attempt{}
			s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
				for _, c := range list {
					kept[c.Endpoint+"/"+c.Message] = []webhook.Attempt{c.Attempt}
				}
				return s.timed.Settle(ctx, list, fn)
			}
			s.attempts = func(endpoint, message string, list *[]webhook.Attempt) { *list = kept[endpoint+"/"+message] }
		}},
		{"Prune removes messages published before", "removes those of the instant too", func(_ context.Context, s *bent) {
			s.prune = func(before *time.Time, _ *int) { *before = before.Add(time.Microsecond) }
		}},
		{"Prune removes those of the least At", "removes more", func(_ context.Context, s *bent) { s.prune = func(_ *time.Time, limit *int) { *limit *= 2 } }},
		{"a message with a delivery that has not ended", "gives up what waits", func(ctx context.Context, s *bent) {
			s.prune = func(*time.Time, *int) {
				for _, e := range s.all(ctx) {
					_, _ = s.timed.Move(ctx, webhook.Move{Endpoint: e.ID, From: []webhook.DeliveryState{pending}, To: dropped, Limit: 1000})
				}
			}
		}},
		{"Prune finds what may go", "looks at as many as it may remove", func(ctx context.Context, s *bent) {
			s.prune = func(_ *time.Time, limit *int) {
				oldest := ""
				for _, e := range s.all(ctx) {
					list, _ := s.timed.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: e.ID, States: every, Limit: 1000})
					if len(list) > 0 && !list[len(list)-1].State.Ended() {
						oldest = list[len(list)-1].Message
					}
				}
				if oldest != "" {
					*limit--
				}
			}
		}},
		{"what a deleted endpoint did not get", "keeps it", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.State = min(e.State, webhook.EndpointDisabled) }
		}},
		{"Prune removes deleted endpoints", "counts them", func(ctx context.Context, s *bent) {
			s.pruned = func(n *int) { *n++ }
		}},
	}
}
