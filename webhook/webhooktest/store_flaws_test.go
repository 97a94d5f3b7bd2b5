package webhooktest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func publishFlaws() []flaw {
	return []flaw{
		{"a message is kept byte for byte", "mends text", func(_ context.Context, s *bent) {
			s.publish = func(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
				m.Payload = []byte(strings.ToValidUTF8(string(m.Payload), "?"))
				return s.timed.Publish(ctx, m)
			}
		}},
		{"a message is kept byte for byte", "takes the caller's At", func(_ context.Context, s *bent) {
			s.published = func(m webhook.Message, p *webhook.Publication, _ *error) { p.At = m.At }
		}},
		{"a payload of 16 MiB", "cuts payloads", func(_ context.Context, s *bent) {
			s.publish = func(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
				m.Payload = m.Payload[:min(len(m.Payload), 1<<24-1)]
				return s.timed.Publish(ctx, m)
			}
		}},
		{"a delivery, pending and due now", "knows no filters", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.Settings.Events = nil }
		}},
		{"a delivery, pending and due now", "files what is due a little later", func(_ context.Context, s *bent) {
			s.shown = func(_ webhook.DeliveryQuery, list *[]webhook.Delivery) {
				for i := range *list {
					(*list)[i].Due = (*list)[i].Due.Add(time.Microsecond)
				}
			}
		}},
		{"a message that no endpoint takes", "keeps messages with their deliveries only", func(ctx context.Context, s *bent) {
			s.message = func(id string, _ *webhook.Message, err *error) {
				if list, _ := s.Deliveries(ctx, webhook.DeliveryQuery{Message: id, Limit: 1}); len(list) == 0 {
					*err = webhook.ErrNotFound
				}
			}
		}},
		{"a message for one endpoint goes there", "tells all", func(_ context.Context, s *bent) {
			s.publish = func(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
				m.Endpoint = ""
				return s.timed.Publish(ctx, m)
			}
		}},
		{"a message for an endpoint that is not there", "files before it looks", func(_ context.Context, s *bent) {
			s.publish = func(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
				p, err := s.timed.Publish(ctx, m)
				if errors.Is(err, webhook.ErrNotFound) {
					m.Endpoint = ""
					_, _ = s.timed.Publish(ctx, m)
				}
				return p, err
			}
		}},
		{"Publish sees every endpoint change", "sees the filters of before", func(_ context.Context, s *bent) {
			s.changed = func(before webhook.Endpoint, e *webhook.Endpoint) { e.Settings.Events = before.Settings.Events }
		}},
		{"a message goes to 1000 endpoints", "claims a hundred at most", func(_ context.Context, s *bent) {
			s.claim = func(c *webhook.Claim) { c.Limit = min(c.Limit, 100) }
		}},
		{"Seq grows", "gives two the same Seq", func(_ context.Context, s *bent) {
			s.shown = func(_ webhook.DeliveryQuery, list *[]webhook.Delivery) {
				for i := range *list {
					(*list)[i].Seq /= 4
				}
			}
		}},
		{"publishing a message again", "answers with the time of now", func(_ context.Context, s *bent) {
			s.published = func(_ webhook.Message, p *webhook.Publication, _ *error) {
				p.At = s.time()
			}
		}},
		{"publishing a message again", "looks for the endpoint first", func(_ context.Context, s *bent) {
			s.publish = func(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
				list, _ := s.timed.Endpoints(ctx, webhook.EndpointQuery{ID: m.Endpoint, Limit: 1})
				if m.Endpoint != "" && (len(list) == 0 || list[0].State == webhook.EndpointDeleted) {
					return webhook.Publication{}, webhook.ErrNotFound
				}
				return s.timed.Publish(ctx, m)
			}
		}},
		{"a message for many endpoints is not filed", "counts those that came later", func(ctx context.Context, s *bent) {
			s.published = func(_ webhook.Message, p *webhook.Publication, _ *error) { p.Deliveries = len(s.all(ctx)) }
		}},
		{"another message under an ID", "does not compare content types", func(_ context.Context, s *bent) {
			s.publish = func(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
				if old, err := s.timed.Message(ctx, m.ID); err == nil {
					m.ContentType = old.ContentType
				}
				return s.timed.Publish(ctx, m)
			}
		}},
		{"of publishers of one message at once", "tells each that it was the first", func(_ context.Context, s *bent) {
			s.published = func(_ webhook.Message, p *webhook.Publication, _ *error) { p.Replayed = false }
		}},
		{"of publishers of different messages", "takes the second for the first", func(_ context.Context, s *bent) {
			s.published = func(_ webhook.Message, _ *webhook.Publication, err *error) {
				if errors.Is(*err, webhook.ErrIntent) {
					*err = nil
				}
			}
		}},
		{"the longest names", "cuts ids", func(_ context.Context, s *bent) {
			s.publish = func(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
				id := m.ID
				m.ID = id[:min(len(id), 255)]
				p, err := s.timed.Publish(ctx, m)
				p.ID = id
				return p, err
			}
		}},
		{"the longest names", "cuts details", func(_ context.Context, s *bent) {
			s.attempts = func(_, _ string, list *[]webhook.Attempt) {
				for i := range *list {
					(*list)[i].Detail = (*list)[i].Detail[:255]
				}
			}
		}},
		{"a message appears for all", "files one by one", func(_ context.Context, s *bent) {
			calls := 0
			s.shown = func(_ webhook.DeliveryQuery, list *[]webhook.Delivery) {
				s.locked(func() {
					if calls++; calls%3 == 0 {
						*list = (*list)[:len(*list)/2]
					}
				})
			}
		}},
		{"ids compare byte by byte", "folds case", func(_ context.Context, s *bent) {
			s.publish = func(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
				p, err := s.timed.Publish(ctx, message(strings.ToLower(m.ID)))
				p.ID, p.Replayed = m.ID, false
				return p, err
			}
		}},
		{"publishing and claiming at once", "hands out again", func(_ context.Context, s *bent) { repeats(s) }},
	}
}

func endpointFlaws() []flaw {
	return []flaw{
		{"Change of an endpoint that is not there", "fills in a time", func(_ context.Context, s *bent) {
			s.change = func(ctx context.Context, id string, fn func(time.Time, *webhook.Endpoint) error) error {
				return s.timed.Change(ctx, id, func(now time.Time, e *webhook.Endpoint) error { e.CreatedAt = now; return fn(now, e) })
			}
		}},
		{"a row whose State is 0", "makes it active", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.State = max(e.State, webhook.EndpointActive) }
		}},
		{"an endpoint comes back as it was written", "keeps milliseconds", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) {
				e.Health.PacedUntil = e.Health.PacedUntil.Truncate(time.Millisecond)
			}
		}},
		{"each part of an endpoint", "keeps what became empty", func(_ context.Context, s *bent) {
			s.changed = func(before webhook.Endpoint, e *webhook.Endpoint) {
				if e.Settings.Note == "" {
					e.Settings.Note = before.Settings.Note
				}
			}
		}},
		{"what the function of Change does to ID", "writes under the new ID", func(_ context.Context, s *bent) {
			s.change = func(ctx context.Context, id string, fn func(time.Time, *webhook.Endpoint) error) error {
				var e webhook.Endpoint
				if err := s.timed.Change(ctx, id, func(now time.Time, row *webhook.Endpoint) error { e = *row; return fn(now, &e) }); err != nil {
					return err
				}
				return s.timed.Change(ctx, e.ID, func(_ time.Time, row *webhook.Endpoint) error { *row = e; return nil })
			}
		}},
		{"an error of the function of Change", "writes all the same", func(_ context.Context, s *bent) {
			s.change = func(ctx context.Context, id string, fn func(time.Time, *webhook.Endpoint) error) (err error) {
				_ = s.timed.Change(ctx, id, func(now time.Time, e *webhook.Endpoint) error { err = fn(now, e); return nil })
				return err
			}
		}},
		{"an error of the function of Change", "wraps it", func(_ context.Context, s *bent) {
			s.change = func(ctx context.Context, id string, fn func(time.Time, *webhook.Endpoint) error) error {
				return errors.Join(s.timed.Change(ctx, id, fn))
			}
		}},
		{"of concurrent changes", "reads, then writes", func(_ context.Context, s *bent) { readThenWrite(s) }},
		{"functions handed in get", "tells nanoseconds", func(_ context.Context, s *bent) {
			s.change = func(ctx context.Context, id string, fn func(time.Time, *webhook.Endpoint) error) error {
				return s.timed.Change(ctx, id, func(now time.Time, e *webhook.Endpoint) error { return fn(now.Add(1), e) })
			}
		}},
		{"Endpoints lists", "sorts as people do", func(_ context.Context, s *bent) {
			s.listed = func(list *[]webhook.Endpoint) {
				slices.SortFunc(*list, func(a, b webhook.Endpoint) int { return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)) })
			}
		}},
		{"Endpoints lists", "gives one more", func(_ context.Context, s *bent) {
			s.endpoints = func(q *webhook.EndpointQuery) { q.Limit++ }
		}},
		{"Endpoints by ID", "hides what is deleted", func(_ context.Context, s *bent) {
			s.listed = func(list *[]webhook.Endpoint) {
				*list = slices.DeleteFunc(*list, func(e webhook.Endpoint) bool { return e.State == webhook.EndpointDeleted })
			}
		}},
		{"Endpoints by ID", "does not look at the account", func(_ context.Context, s *bent) {
			s.endpoints = func(q *webhook.EndpointQuery) { q.Account = "" }
		}},
		{"claims and settlements see the changes", "disables a little later", func(_ context.Context, s *bent) {
			s.changed = func(before webhook.Endpoint, e *webhook.Endpoint) {
				e.State = max(before.State, webhook.EndpointActive)
			}
		}},
		{"changes, claims and settlements at once", "forgets what settlements made of the endpoint", func(_ context.Context, s *bent) { forgetsHealth(s) }},
		{"values handed in and out", "keeps the caller's payload", func(_ context.Context, s *bent) {
			kept := map[string][]byte{}
			s.published = func(m webhook.Message, _ *webhook.Publication, _ *error) { kept[m.ID] = m.Payload }
			s.message = func(id string, m *webhook.Message, _ *error) { m.Payload = kept[id] }
		}},
		{"values handed in and out", "shows what it keeps", func(_ context.Context, s *bent) {
			var kept []byte
			s.listed = func(list *[]webhook.Endpoint) {
				for i := range *list {
					if kept == nil {
						kept = (*list)[i].Sealed
					}
					(*list)[i].Sealed = kept
				}
			}
		}},
		{"functions handed in are over", "does not wait for them", func(_ context.Context, s *bent) {
			s.change = func(ctx context.Context, id string, fn func(time.Time, *webhook.Endpoint) error) error {
				result := make(chan error, 1)
				go func() { result <- s.timed.Change(context.WithoutCancel(ctx), id, fn) }()
				select {
				case err := <-result:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}},
		{"a call whose context is over", "claims all the same", func(_ context.Context, s *bent) { s.ctx = context.WithoutCancel }},
		{"random commands", "has room for one more", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.Settings.MaxInFlight++ }
		}},
	}
}
