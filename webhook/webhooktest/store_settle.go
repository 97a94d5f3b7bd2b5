package webhooktest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// mine is an error of a function handed in.
func mine() error { return errors.New("mine") }

// fullAttempt has something in every field.
func fullAttempt(number int, at time.Time) webhook.Attempt {
	return webhook.Attempt{
		Number: number, At: at, Took: 1_234_567 * time.Microsecond, Failure: webhook.FailedAnswer, Status: 599, Detail: "a detail, Zoë",
		Body: []byte("\x00body\xff"), RetryAfter: 24 * time.Hour, Control: webhook.ControlDisable, Location: "https://example.com/?a=b", Address: "[2001:db8::1]:443",
	}
}

func settleChecks() []storeCheck {
	return []storeCheck{
		{"a settled delivery is as the function left it", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1", "m2", "m3")
			want := map[string]webhook.Delivery{}
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "e/m1", "e/m2", "e/m3").Deliveries, func(now time.Time, c *webhook.Case) {
				d := &c.Delivery
				d.Token, d.Lease = "", time.Time{}
				switch d.Message {
				case "m1":
					d.State, d.Due, d.Tries, d.Attempt, d.Failure, d.Manual = webhook.DeliveryPending, now.Add(123_456_789*time.Microsecond), 7, 5, webhook.FailedTLS, true
				case "m2":
					d.State, d.Tries, d.Attempt, d.EndedAt = webhook.DeliveryDead, 1000, 999, now.Add(-time.Microsecond)
				case "m3":
					d.State, d.Token, d.Lease = webhook.DeliverySending, "kept", now.Add(2*long)
				}
				want[d.Message] = *d
			})
			for message, d := range want {
				got := q.row(ctx, "e/"+message)
				if got.State.Ended() {
					got.Due, d.Due = time.Time{}, time.Time{} // of no meaning any more
				}
				q.want(got == d, "the row:\n got %+v\nwant %+v", got, d)
			}
		}},
		{"what the function makes of a delivery's names, Seq and CreatedAt is not written", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			before := q.row(ctx, "e/m")
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "e/m").Deliveries, func(now time.Time, c *webhook.Case) {
				giveBack(now, c)
				d := &c.Delivery
				d.Endpoint, d.Message, d.Account, d.Type, d.Seq, d.CreatedAt = "f", "n", "acct_2", "c", d.Seq+7, now.Add(long)
			})
			q.want(q.row(ctx, "e/m") == before, "the row:\n got %+v\nwant %+v", q.row(ctx, "e/m"), before)
		}},
		{"a delivery that is given back is as if it had not been claimed, and files no attempt", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			before := q.row(ctx, "e/m")
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "e/m").Deliveries, giveBack)
			q.want(q.row(ctx, "e/m") == before, "the row:\n got %+v\nwant %+v", q.row(ctx, "e/m"), before)
			q.want(len(q.attempts(ctx, "e/m")) == 0, "an attempt of Number 0 was filed: %+v", q.attempts(ctx, "e/m"))
			got := q.gives(ctx, webhook.Claim{}, "e/m")
			q.want(got.Deliveries[0].Delivery.Tries == 1, "the next claim is try %d", got.Deliveries[0].Delivery.Tries)
		}},
		{"there is one case for each settlement, in their order, and those of one endpoint share it", sharedEndpoint},
		{"the function sees deliveries and endpoints as they are now", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			got := q.gives(ctx, webhook.Claim{}, "e/m")
			q.change(ctx, "e", func(e *webhook.Endpoint) {
				e.State, e.Reason, e.Settings.Note = webhook.EndpointDisabled, webhook.DisabledByHost, "now"
			})
			var (
				e webhook.Endpoint
				d webhook.Delivery
			)
			q.settle(ctx, got.Deliveries, func(now time.Time, c *webhook.Case) {
				e, d = *c.Endpoint, c.Delivery
				c.Endpoint.Health.Failures = 9
				wake(-time.Second)(now, c)
			})
			q.want(e.State == webhook.EndpointDisabled && e.Settings.Note == "now", "the function sees the endpoint %+v", e)
			q.want(d == got.Deliveries[0].Delivery, "the function sees the delivery %+v", d)
			e = q.endpoint(ctx, "e")
			q.want(e.State == webhook.EndpointDisabled && e.Health.Failures == 9 && e.Settings.Note == "now", "after the settlement the endpoint is %+v", e)
			q.gives(ctx, webhook.Claim{})
		}},
		{"a settlement can change an endpoint as a whole", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			var want webhook.Endpoint
			q.settle(ctx, q.gives(ctx, webhook.Claim{}, "e/m").Deliveries, func(now time.Time, c *webhook.Case) {
				*c.Endpoint = fullEndpoint(now)
				c.Endpoint.Account = account
				want = fullEndpoint(now)
				want.Account = account
				end(webhook.DeliveryDelivered)(now, c)
			})
			got := plain(q.endpoint(ctx, "e"))
			q.want(reflect.DeepEqual(got, want), "the endpoint:\n got %+v\nwant %+v", got, want)
		}},
		{"an error of the function of Settle is returned as it is, and nothing is written", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			got := q.gives(ctx, webhook.Claim{}, "e/m")
			before, endpoint := q.row(ctx, "e/m"), q.endpoint(ctx, "e")
			settlements, refusal := settlementsOf(got.Deliveries), mine()
			settlements[0].Attempt = fullAttempt(1, got.Now)
			err := q.Settle(ctx, settlements, func(now time.Time, cases []webhook.Case) error {
				end(webhook.DeliveryDelivered)(now, &cases[0])
				cases[0].Endpoint.State, cases[0].Endpoint.Health.Failures = webhook.EndpointDisabled, 3
				return refusal
			})
			q.want(err == refusal, "Settle returned %v, want the error of its function itself", err) //nolint:errorlint // as it is
			q.want(q.row(ctx, "e/m") == before, "the delivery was written: %+v", q.row(ctx, "e/m"))
			after := q.endpoint(ctx, "e")
			q.want(reflect.DeepEqual(plain(after), plain(endpoint)), "the endpoint was written: %+v", after)
			q.want(len(q.attempts(ctx, "e/m")) == 0, "the attempt was written")
			q.settle(ctx, got.Deliveries, end(webhook.DeliveryDelivered))
		}},
		{"an attempt comes back as it was filed, under the names of its settlement", attemptRoundTrip},
		{"a settlement of a delivery that does not exist has no case, files no attempt and is no error", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			got := q.gives(ctx, webhook.Claim{}, "e/m")
			nothing := []webhook.Settlement{
				{Endpoint: "e", Message: "nothing", Token: "t", Attempt: fullAttempt(1, got.Now)},
				{Endpoint: "nothing", Message: "m", Token: "t", Attempt: fullAttempt(1, got.Now)},
			}
			q.must(q.Settle(ctx, nothing, func(time.Time, []webhook.Case) error { return errors.New("the function was called without a case") }))
			q.must(q.Settle(ctx, append(nothing, settlementsOf(got.Deliveries)...), func(now time.Time, cases []webhook.Case) error {
				if len(cases) != 1 || cases[0].Delivery.Message != "m" || cases[0].Delivery.Endpoint != "e" {
					return fmt.Errorf("%d cases, want the one that exists", len(cases))
				}
				end(webhook.DeliveryDelivered)(now, &cases[0])
				return nil
			}))
			q.want(q.row(ctx, "e/m").State == webhook.DeliveryDelivered, "the delivery that exists was not settled")
			q.want(len(q.attempts(ctx, "e/nothing"))+len(q.attempts(ctx, "nothing/m")) == 0, "an attempt was filed for nothing")
		}},
		{"no settlements are no error", func(ctx context.Context, q *queue) {
			q.must(q.Settle(ctx, nil, func(time.Time, []webhook.Case) error { return errors.New("the function was called without a case") }))
		}},
	}
}

func sharedEndpoint(ctx context.Context, q *queue) {
	q.endpoints(ctx, "a", "b")
	q.publish(ctx, "m1", "m2", "m3")
	got := q.gives(ctx, webhook.Claim{}, "a/m1", "a/m2", "a/m3", "b/m1", "b/m2", "b/m3").Deliveries
	order := []webhook.Claimed{named(got, "b/m3")[0], named(got, "a/m2")[0], named(got, "b/m1")[0], named(got, "a/m3")[0], named(got, "a/m1")[0], named(got, "b/m2")[0]}
	settlements := settlementsOf(order)
	q.must(q.Settle(ctx, settlements, func(now time.Time, cases []webhook.Case) error {
		if len(cases) != len(order) {
			return fmt.Errorf("%d cases for %d settlements", len(cases), len(order))
		}
		shared := map[string]*webhook.Endpoint{}
		for i := range cases {
			c := &cases[i]
			if c.Delivery != order[i].Delivery || c.Late {
				return fmt.Errorf("case %d is %+v, want %+v", i, c.Delivery, order[i].Delivery)
			}
			if !reflect.DeepEqual(*c.Settlement, settlements[i]) {
				return fmt.Errorf("the settlement of case %d is %+v, want %+v", i, *c.Settlement, settlements[i])
			}
			if e := shared[c.Delivery.Endpoint]; e != nil && e != c.Endpoint || c.Endpoint.ID != c.Delivery.Endpoint {
				return fmt.Errorf("case %d, of endpoint %s, has the endpoint %s at %p, another had it at %p", i, c.Delivery.Endpoint, c.Endpoint.ID, c.Endpoint, e)
			}
			shared[c.Delivery.Endpoint] = c.Endpoint
			c.Endpoint.Health.Attempts++
			end(webhook.DeliveryDelivered)(now, c)
		}
		return nil
	}))
	for _, id := range []string{"a", "b"} {
		q.want(q.endpoint(ctx, id).Health.Attempts == 3, "three cases of endpoint %s add up to %d", id, q.endpoint(ctx, id).Health.Attempts)
	}
}

func attemptRoundTrip(ctx context.Context, q *queue) {
	q.endpoints(ctx, "e", "f")
	q.publish(ctx, "m")
	for try := 1; try <= 3; try++ {
		got := q.gives(ctx, webhook.Claim{}, "e/m", "f/m")
		settlements := settlementsOf(named(got.Deliveries, "e"))
		a := fullAttempt(try, got.Now.Add(time.Microsecond))
		if try == 2 {
			a = webhook.Attempt{Number: 2, At: got.Now}
		}
		settlements[0].Attempt = a
		q.must(q.Settle(ctx, settlements, func(now time.Time, cases []webhook.Case) error { wake(-time.Second)(now, &cases[0]); return nil }))
		q.settle(ctx, named(got.Deliveries, "f"), giveBack)
		a.Endpoint, a.Message = "e", "m"
		list := q.attempts(ctx, "e/m")
		q.want(len(list) == try, "%d attempts after %d", len(list), try)
		if len(list[try-1].Body) == 0 {
			list[try-1].Body = nil
		}
		q.want(reflect.DeepEqual(list[try-1], a), "the attempt:\n got %+v\nwant %+v", list[try-1], a)
	}
	q.want(len(q.attempts(ctx, "f/m")) == 0, "another endpoint has attempts: %+v", q.attempts(ctx, "f/m"))
}

func lateChecks() []storeCheck {
	return []storeCheck{
		{"a settlement under another token is late: it files its attempt and changes nothing else of the delivery", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			for try, token := range []string{"never", ""} {
				q.late(ctx, webhook.Settlement{Endpoint: "e", Message: "m", Token: token, Attempt: fullAttempt(try+1, q.now(ctx))})
			}
			got := q.gives(ctx, webhook.Claim{Token: "one", Lease: time.Millisecond}, "e/m")
			q.late(ctx, webhook.Settlement{Endpoint: "e", Message: "m", Token: "two", Attempt: fullAttempt(3, got.Now)})
			q.late(ctx, webhook.Settlement{Endpoint: "e", Message: "m", Token: "One", Attempt: fullAttempt(4, got.Now)})
		}},
		{"a settlement whose lease is over is not late while nobody else has claimed", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			got := q.gives(ctx, webhook.Claim{Lease: time.Millisecond}, "e/m")
			q.passes(ctx, 2*time.Millisecond)
			q.settle(ctx, got.Deliveries, end(webhook.DeliveryDelivered))
			q.want(q.row(ctx, "e/m").State == webhook.DeliveryDelivered, "the settlement was not written")
		}},
		{"a settlement is late when the delivery was claimed anew", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			first := q.gives(ctx, webhook.Claim{Lease: time.Millisecond}, "e/m")
			q.passes(ctx, 2*time.Millisecond)
			second := q.gives(ctx, webhook.Claim{}, "e/m")
			s := settlementsOf(first.Deliveries)[0]
			s.Attempt = fullAttempt(1, first.Now)
			q.late(ctx, s)
			q.settle(ctx, second.Deliveries, end(webhook.DeliveryDelivered))
			s.Attempt.Number = 9
			q.late(ctx, s)
		}},
		{"the same settlement again is late, and an attempt that is there stays as it is", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			got := q.gives(ctx, webhook.Claim{}, "e/m")
			s := settlementsOf(got.Deliveries)[0]
			s.Attempt = fullAttempt(1, got.Now)
			q.must(q.Settle(ctx, []webhook.Settlement{s}, func(now time.Time, cases []webhook.Case) error { wake(-time.Second)(now, &cases[0]); return nil }))
			want := q.attempts(ctx, "e/m")
			s.Attempt.Detail, s.Attempt.Status = "another", 200
			q.late(ctx, s)
			q.want(reflect.DeepEqual(q.attempts(ctx, "e/m"), want), "the attempt has become %+v", q.attempts(ctx, "e/m"))
			q.gives(ctx, webhook.Claim{}, "e/m")
		}},
		{"a late case beside others holds none of them up, and its endpoint is written", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m1", "m2")
			list := settlementsOf(q.gives(ctx, webhook.Claim{}, "e/m1", "e/m2").Deliveries)
			list[0].Token = "other"
			before := q.row(ctx, "e/"+list[0].Message)
			q.must(q.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
				if !cases[0].Late || cases[1].Late {
					return fmt.Errorf("late are %v and %v, want the first alone", cases[0].Late, cases[1].Late)
				}
				for i := range cases {
					end(webhook.DeliveryDelivered)(now, &cases[i])
					cases[i].Endpoint.Health.Attempts++
				}
				return nil
			}))
			q.want(q.row(ctx, "e/"+list[0].Message) == before, "the late delivery was written")
			q.want(q.row(ctx, "e/"+list[1].Message).State == webhook.DeliveryDelivered, "the other delivery was not written")
			q.want(q.endpoint(ctx, "e").Health.Attempts == 2, "the endpoint counts %d, want 2", q.endpoint(ctx, "e").Health.Attempts)
		}},
		{"of settlements of one claim at once, one is not late", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, numbered("m", 8)...)
			for _, c := range q.claim(ctx, webhook.Claim{}).Deliveries {
				var inTime atomic.Int64
				q.together(ctx, 8, func(ctx context.Context, _ int) error {
					var late bool
					err := q.Settle(ctx, settlementsOf([]webhook.Claimed{c}), func(now time.Time, cases []webhook.Case) error {
						if late = cases[0].Late; !late {
							wake(long)(now, &cases[0])
						}
						return nil
					})
					if err == nil && !late {
						inTime.Add(1)
					}
					return err
				})
				q.want(inTime.Load() == 1, "%d of 8 settlements of one claim were in time", inTime.Load())
			}
		}},
	}
}

// late settles, and ends the check unless the settlement is late and does no more
// than file its attempt.
func (q *queue) late(ctx context.Context, s webhook.Settlement) {
	name := s.Endpoint + "/" + s.Message
	before, had := q.row(ctx, name), len(q.attempts(ctx, name))
	list := q.attempts(ctx, name)
	there := had > 0 && list[had-1].Number >= s.Attempt.Number
	q.must(q.Settle(ctx, []webhook.Settlement{s}, func(now time.Time, cases []webhook.Case) error {
		if len(cases) != 1 || !cases[0].Late {
			return fmt.Errorf("a settlement under the token %q is not late: %+v", s.Token, cases)
		}
		end(webhook.DeliveryDropped)(now, &cases[0])
		cases[0].Delivery.Due, cases[0].Late = now.Add(long), false // which is not for it to say
		return nil
	}))
	q.want(q.row(ctx, name) == before, "a late settlement made the delivery\n%+v, which was\n%+v", q.row(ctx, name), before)
	want := had + 1
	if there {
		want = had
	}
	q.want(len(q.attempts(ctx, name)) == want, "%d attempts after a late settlement, want %d", len(q.attempts(ctx, name)), want)
}
