package webhooktest

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func claimFlaws() []flaw {
	return []flaw{
		{"a claim of an empty store", "answers with After", func(_ context.Context, s *bent) {
			s.claimed = func(c webhook.Claim, got *webhook.Claims) { got.Last = c.After }
		}},
		{"a due delivery is handed out", "leaves out headers", func(_ context.Context, s *bent) {
			s.claimed = func(_ webhook.Claim, got *webhook.Claims) {
				for i := range got.Deliveries {
					e := *got.Deliveries[i].Endpoint
					e.Settings.Headers = nil
					got.Deliveries[i].Endpoint = &e
				}
			}
		}},
		{"a claim makes the delivery Sending", "takes Tries for Attempt", func(_ context.Context, s *bent) { attemptIsTry(s) }},
		{"what was moved to Pending", "takes Tries for Attempt", func(_ context.Context, s *bent) { attemptIsTry(s) }},
		{"a delivery is handed out once", "lets a lease end at once", func(_ context.Context, s *bent) {
			s.claim = func(c *webhook.Claim) { c.Lease = time.Microsecond }
		}},
		{"a delivery that is due later", "is early", func(_ context.Context, s *bent) {
			s.decided = func(now time.Time, _ webhook.Delivery, c *webhook.Case) {
				if c.Delivery.Due.Sub(now) < long {
					c.Delivery.Due = now
				}
			}
		}},
		{"a delivery that is due later", "is a microsecond late", func(_ context.Context, s *bent) {
			s.decided = func(_ time.Time, _ webhook.Delivery, c *webhook.Case) {
				c.Delivery.Due = c.Delivery.Due.Add(time.Microsecond)
			}
			s.shown = func(_ webhook.DeliveryQuery, list *[]webhook.Delivery) {
				for i := range *list {
					(*list)[i].Due = (*list)[i].Due.Add(-time.Microsecond)
				}
			}
		}},
		{"a delivery whose lease is over", "does not count the try that was lost", func(_ context.Context, s *bent) {
			s.claimed = func(_ webhook.Claim, got *webhook.Claims) {
				for i := range got.Deliveries {
					got.Deliveries[i].Delivery.Tries = 1
				}
			}
		}},
		{"a delivery whose lease is over", "waits for longer", longLease},
		{"ended deliveries", "tries the dead again", func(_ context.Context, s *bent) {
			s.decided = func(now time.Time, _ webhook.Delivery, c *webhook.Case) {
				if c.Delivery.State == dead {
					wake(0)(now, c)
				}
			}
		}},
		{"those of the least Due come first", "looks at Seq alone", func(_ context.Context, s *bent) {
			s.decided = func(_ time.Time, _ webhook.Delivery, c *webhook.Case) {
				c.Delivery.Due = c.Delivery.CreatedAt.Add(-long)
			}
		}},
		{"those of the least Due come first", "looks at Due by the minute", func(_ context.Context, s *bent) {
			s.decided = func(_ time.Time, _ webhook.Delivery, c *webhook.Case) {
				c.Delivery.Due = c.Delivery.Due.Truncate(time.Minute)
			}
		}},
		{"a lease that is over counts as Due", "does not reclaim", longLease},
		{"a disabled endpoint", "delivers all the same", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.State = webhook.EndpointActive }
		}},
		{"a deleted endpoint", "delivers all the same", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.State = webhook.EndpointActive }
		}},
		{"no more than Room", "has room for one more", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.Settings.MaxInFlight++ }
		}},
		{"no more than Room", "gives room back late", func(_ context.Context, s *bent) {
			s.decided = func(_ time.Time, before webhook.Delivery, c *webhook.Case) {
				if c.Delivery.State == delivered {
					c.Delivery = before
				}
			}
		}},
		{"the room of an endpoint that sets none", "has no bound then", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.Settings.MaxInFlight = webhook.MaxMaxInFlight }
		}},
		{"a changed MaxInFlight", "keeps the first", func(_ context.Context, s *bent) {
			s.changed = func(before webhook.Endpoint, e *webhook.Endpoint) {
				if before.State != 0 {
					e.Settings.MaxInFlight = before.Settings.MaxInFlight
				}
			}
		}},
		{"what is in flight under a lease that is over", "keeps its room", longLease},
		{"a blocked endpoint", "does not wait", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.Health.BlockedUntil = time.Time{} }
		}},
		{"what a settlement makes of an endpoint's Health", "forgets it", func(_ context.Context, s *bent) { forgetsHealth(s) }},
		{"the pace of an endpoint", "does not write it", func(ctx context.Context, s *bent) {
			s.claimed = func(_ webhook.Claim, _ *webhook.Claims) {
				_ = s.timed.Change(ctx, "e", func(_ time.Time, e *webhook.Endpoint) error { e.Health.PacedUntil = time.Time{}; return nil })
			}
		}},
		{"the pace of an endpoint", "does not tell it", func(_ context.Context, s *bent) {
			s.claimed = func(_ webhook.Claim, got *webhook.Claims) { got.Next = got.Now.Add(time.Second) }
		}},
		{"a claim of an endpoint without a pace", "counts claims", func(ctx context.Context, s *bent) {
			s.claimed = func(_ webhook.Claim, _ *webhook.Claims) {
				_ = s.timed.Change(ctx, "e", func(_ time.Time, e *webhook.Endpoint) error { e.Health.Attempts++; return nil })
			}
		}},
		{"of 8 claimers at once", "hands out again", func(_ context.Context, s *bent) { repeats(s) }},
		{"of 8 claimers at once", "has room for one more", func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) { e.Settings.MaxInFlight++ }
		}},
	}
}

// attemptIsTry does not begin the schedule anew.
func attemptIsTry(s *bent) {
	s.claimed = func(_ webhook.Claim, got *webhook.Claims) {
		for i := range got.Deliveries {
			got.Deliveries[i].Delivery.Attempt = got.Deliveries[i].Delivery.Tries
		}
	}
}

func turnFlaws() []flaw {
	unordered := func(room int) func(context.Context, *bent) {
		return func(_ context.Context, s *bent) {
			s.changed = func(_ webhook.Endpoint, e *webhook.Endpoint) {
				if e.Settings.Ordered {
					e.Settings.Ordered, e.Settings.MaxInFlight = false, room
				}
			}
		}
	}
	next := func(change func(got *webhook.Claims)) func(context.Context, *bent) {
		return func(_ context.Context, s *bent) {
			s.claimed = func(_ webhook.Claim, got *webhook.Claims) { change(got) }
		}
	}
	return []flaw{
		{"a claim begins behind After", "begins anew", func(_ context.Context, s *bent) { s.claim = func(c *webhook.Claim) { c.After = "" } }},
		{"a claim stops when it has Limit", "says to wait", next(func(got *webhook.Claims) { got.Next = time.Time{} })},
		{"a claim stops when it has Limit", "forgets where it ended", next(func(got *webhook.Claims) { got.Last = "c" })},
		{"a claim gives of all endpoints", "stops early", func(_ context.Context, s *bent) { s.claim = func(c *webhook.Claim) { c.Limit = 4 } }},
		{"one endpoint with much waiting", "begins with it every time", func(_ context.Context, s *bent) { s.claim = func(c *webhook.Claim) { c.After = "a" } }},
		{"a claim goes past endpoints", "looks at 20", func(_ context.Context, s *bent) { s.claim = func(c *webhook.Claim) { c.Limit = min(c.Limit, 20) } }},
		{"Next is zero when nothing", "has something to do every hour", next(func(got *webhook.Claims) { got.Next = got.Now.Add(long) })},
		{"Next is the least instant", "is late", next(func(got *webhook.Claims) { got.Next = got.Next.Add(time.Microsecond) })},
		{"Next is the end of a lease when", "forgets what is in flight", next(func(got *webhook.Claims) { got.Next = time.Time{} })},
		{"Next is the end of the first lease", "claims again and again", next(func(got *webhook.Claims) { got.Next = got.Now })},
		{"Next of a blocked endpoint", "looks at blocks alone", pacedByBlock},
		{"Next leaves out endpoints", "looks at blocks alone", pacedByBlock},
		{"an ordered endpoint gives one delivery at a time", "goes by Due", unordered(1)},
		{"an ordered endpoint waits for the retry", "goes on", unordered(1)},
		{"an ordered endpoint gives its first delivery anew", "waits for longer", longLease},
		{"a delivery that is resent comes first", "stays dead", func(_ context.Context, s *bent) {
			s.move = func(m *webhook.Move) { m.From = []webhook.DeliveryState{delivered} }
		}},
		{"an endpoint that becomes ordered", "counts to two", unordered(2)},
	}
}
