package webhooktest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func settleFlaws() []flaw {
	return []flaw{
		{"a settled delivery is as the function left it", "does not write Manual", func(_ context.Context, s *bent) {
			s.decided = func(_ time.Time, _ webhook.Delivery, c *webhook.Case) { c.Delivery.Manual = false }
		}},
		{"a settled delivery is as the function left it", "takes the end for now", func(_ context.Context, s *bent) {
			s.decided = func(now time.Time, _ webhook.Delivery, c *webhook.Case) { c.Delivery.EndedAt = now }
		}},
		{"what the function makes of a delivery's names", "writes the type", func(_ context.Context, s *bent) {
			kind := ""
			s.decided = func(_ time.Time, _ webhook.Delivery, c *webhook.Case) { kind = c.Delivery.Type }
			s.shown = func(_ webhook.DeliveryQuery, list *[]webhook.Delivery) {
				if kind != "" {
					(*list)[0].Type = kind
				}
			}
		}},
		{"a delivery that is given back", "counts it as a try", func(_ context.Context, s *bent) {
			s.decided = func(_ time.Time, before webhook.Delivery, c *webhook.Case) { c.Delivery.Tries = before.Tries }
		}},
		{"a delivery that is given back", "files attempt 0", func(_ context.Context, s *bent) {
			s.attempts = func(_, _ string, list *[]webhook.Attempt) { *list = append(*list, webhook.Attempt{}) }
		}},
		{"there is one case for each settlement", "sorts them", func(_ context.Context, s *bent) {
			s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
				list = slices.Clone(list)
				slices.Reverse(list)
				return s.timed.Settle(ctx, list, fn)
			}
		}},
		{"there is one case for each settlement", "shares no endpoint", func(_ context.Context, s *bent) { forgetsHealth(s) }},
		{"the function sees deliveries and endpoints as they are now", "sees the endpoint as it was claimed", func(_ context.Context, s *bent) {
			var kept webhook.Endpoint
			s.claimed = func(_ webhook.Claim, got *webhook.Claims) {
				if len(got.Deliveries) > 0 {
					kept = *got.Deliveries[0].Endpoint
				}
			}
			s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
				return s.timed.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error { *cases[0].Endpoint = kept; return fn(now, cases) })
			}
		}},
		{"a settlement can change an endpoint", "writes Health alone", func(_ context.Context, s *bent) {
			s.decided = func(_ time.Time, _ webhook.Delivery, c *webhook.Case) { c.Endpoint.Settings = webhook.Settings{} }
		}},
		{"an error of the function of Settle", "writes all the same", func(_ context.Context, s *bent) { written(s) }},
		{"an attempt comes back as it was filed", "keeps no body", func(_ context.Context, s *bent) {
			s.attempts = func(_, _ string, list *[]webhook.Attempt) {
				for i := range *list {
					(*list)[i].Body = nil
				}
			}
		}},
		{"an attempt comes back as it was filed", "keeps milliseconds", func(_ context.Context, s *bent) {
			s.attempts = func(_, _ string, list *[]webhook.Attempt) {
				for i := range *list {
					(*list)[i].Took = (*list)[i].Took.Truncate(time.Millisecond)
				}
			}
		}},
		{"a settlement of a delivery that does not exist", "fails for it", func(_ context.Context, s *bent) {
			s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
				for _, c := range list {
					if rows, _ := s.timed.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: c.Endpoint, Message: c.Message, Limit: 1}); len(rows) == 0 {
						return webhook.ErrNotFound
					}
				}
				return s.timed.Settle(ctx, list, fn)
			}
		}},
		{"no settlements are no error", "decides on nothing", func(_ context.Context, s *bent) {
			s.settle = func(_ context.Context, _ []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
				return fn(s.time(), nil)
			}
		}},
		{"a settlement under another token is late", "does not compare tokens", anyToken},
		{"a settlement under another token is late", "files no attempt that is late", func(_ context.Context, s *bent) {
			s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
				list = slices.Clone(list)
				for i := range list {
					row, _ := s.timed.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: list[i].Endpoint, Message: list[i].Message, Limit: 1})
					if len(row) == 0 || row[0].Token != list[i].Token {
						list[i].Attempt.Number = 0
					}
				}
				return s.timed.Settle(ctx, list, fn)
			}
		}},
		{"a settlement under another token is late", "compares tokens as people do", func(_ context.Context, s *bent) {
			s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
				list = slices.Clone(list)
				for i := range list {
					list[i].Token = strings.ToLower(list[i].Token)
				}
				return s.timed.Settle(ctx, list, fn)
			}
		}},
		{"a settlement whose lease is over", "takes it for late", func(_ context.Context, s *bent) {
			s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
				return s.timed.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
					for i := range cases {
						cases[i].Late = cases[i].Late || !cases[i].Delivery.Lease.After(now)
					}
					return fn(now, cases)
				})
			}
		}},
		{"a settlement is late when the delivery was claimed anew", "does not compare tokens", anyToken},
		{"the same settlement again is late", "takes it for the first", onTime},
		{"the same settlement again is late", "writes over the attempt", func(_ context.Context, s *bent) {
			var last webhook.Attempt
			s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
				last = list[0].Attempt
				return s.timed.Settle(ctx, list, fn)
			}
			s.attempts = func(_, _ string, list *[]webhook.Attempt) {
				for i := range *list {
					(*list)[i].Detail = last.Detail
				}
			}
		}},
		{"a late case beside others", "leaves them all", func(_ context.Context, s *bent) {
			s.decided = func(_ time.Time, before webhook.Delivery, c *webhook.Case) { c.Delivery = before }
		}},
		{"of settlements of one claim at once", "takes all for the first", onTime},
	}
}

// anyToken settles under whatever token there is.
func anyToken(_ context.Context, s *bent) {
	s.settle = func(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
		list = slices.Clone(list)
		for i := range list {
			row, _ := s.timed.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: list[i].Endpoint, Message: list[i].Message, Limit: 1})
			if len(row) > 0 && row[0].Token != "" {
				list[i].Token = row[0].Token
			}
		}
		return s.timed.Settle(ctx, list, fn)
	}
}

func moveFlaws() []flaw {
	return []flaw{
		{"Move takes deliveries of the states in From alone", "takes the dropped too", func(_ context.Context, s *bent) {
			s.move = func(m *webhook.Move) {
				if m.To == pending {
					m.From = append(slices.Clone(m.From), dropped)
				}
			}
		}},
		{"Move takes deliveries of the states in From alone", "does not write Manual", func(_ context.Context, s *bent) { s.move = func(m *webhook.Move) { m.Manual = false } }},
		{"Move to Pending leaves out", "counts what it leaves out", func(_ context.Context, s *bent) {
			s.moved = func(_ webhook.Move, n *int, _ *error) { *n++ }
		}},
		{"Move of one message", "moves them all", func(_ context.Context, s *bent) { s.move = func(m *webhook.Move) { m.Message, m.Limit = "", 1000 } }},
		{"Move of an endpoint moves no other's", "folds case", func(ctx context.Context, s *bent) {
			s.moved = func(m webhook.Move, _ *int, _ *error) {
				m.Endpoint = strings.ToUpper(m.Endpoint)
				_, _ = s.timed.Move(ctx, m)
			}
		}},
		{"Move leaves what was published before Since", "moves it too", func(_ context.Context, s *bent) { s.move = func(m *webhook.Move) { m.Since = time.Time{} } }},
		{"Move leaves what was published before Since", "leaves what was published then", func(_ context.Context, s *bent) {
			s.move = func(m *webhook.Move) { m.Since = m.Since.Add(time.Microsecond) }
		}},
		{"Move takes those of the least Seq first", "knows no Limit", func(_ context.Context, s *bent) { s.move = func(m *webhook.Move) { m.Limit = 1000 } }},
		{"Move of an endpoint or a message that is not there", "fails", func(_ context.Context, s *bent) {
			s.moved = func(_ webhook.Move, n *int, err *error) {
				if *n == 0 {
					*err = webhook.ErrNotFound
				}
			}
		}},
		{"of a claim and a Move at once", "returns what it was asked for", func(_ context.Context, s *bent) {
			s.moved = func(m webhook.Move, n *int, _ *error) { *n = m.Limit + 1 }
		}},
	}
}
