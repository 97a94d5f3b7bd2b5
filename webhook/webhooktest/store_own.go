package webhooktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func ownChecks() []storeCheck {
	return []storeCheck{
		{"values handed in and out belong to the caller", belongs},
		{"a call whose context is over changes nothing and says so", nothingChanges},
		{"functions handed in are over when the method returns, whatever becomes of its context", waitsForFunctions},
	}
}

// spoil writes over all that e refers to.
func spoil(e *webhook.Endpoint) {
	for i := range e.Sealed {
		e.Sealed[i] = 'x'
	}
	for i := range e.Settings.Events {
		e.Settings.Events[i] = "x"
	}
	for name := range e.Settings.Headers {
		e.Settings.Headers[name] = "x"
	}
	for i := range e.Settings.Schedule {
		e.Settings.Schedule[i] = 1
	}
}

func belongs(ctx context.Context, q *queue) {
	var want, kept webhook.Endpoint
	fresh := func(now time.Time) webhook.Endpoint {
		e := fullEndpoint(now)
		e.Account, e.State, e.Settings.Rate, e.Settings.Ordered, e.Health = account, webhook.EndpointActive, 0, false, webhook.Health{}
		return e
	}
	intact := func(after string) {
		got := plain(q.endpoint(ctx, "e"))
		q.want(reflect.DeepEqual(got, want), "%s the endpoint is\n%+v, want\n%+v", after, got, want)
	}
	q.must(q.Change(ctx, "e", func(now time.Time, e *webhook.Endpoint) error {
		kept, want = fresh(now), fresh(now)
		*e = kept
		return nil
	}))
	spoil(&kept)
	intact("after what Change was given was written to,")
	listed := q.endpoint(ctx, "e")
	spoil(&listed)
	intact("after what Endpoints returned was written to,")
	q.must(q.Change(ctx, "e", func(_ time.Time, e *webhook.Endpoint) error { kept = *e; return nil }))
	spoil(&kept)
	intact("after what Change loaded was written to,")
	err := q.Change(ctx, "e", func(_ time.Time, e *webhook.Endpoint) error { spoil(e); return errLook })
	q.wantErr("Change", err, errLook)
	intact("after a change that failed,")

	m := message("m")
	payload := bytes.Clone(m.Payload)
	_, err = q.Publish(ctx, m)
	q.must(err)
	clear(m.Payload)
	read, err := q.Message(ctx, "m")
	q.must(err)
	q.want(bytes.Equal(read.Payload, payload), "after what Publish was given was written to, the payload is %q", read.Payload)
	clear(read.Payload)
	got := q.gives(ctx, webhook.Claim{}, "e/m")
	q.want(bytes.Equal(got.Deliveries[0].Message.Payload, payload), "after what Message returned was written to, the payload is %q", got.Deliveries[0].Message.Payload)

	settlements := settlementsOf(got.Deliveries)
	settlements[0].Attempt = fullAttempt(1, got.Now)
	var seen *webhook.Endpoint
	q.must(q.Settle(ctx, settlements, func(now time.Time, cases []webhook.Case) error {
		seen = cases[0].Endpoint
		giveBack(now, &cases[0])
		return nil
	}))
	spoil(seen)
	intact("after what Settle loaded was written to,")
	clear(settlements[0].Attempt.Body)
	clear(q.attempts(ctx, "e/m")[0].Body)
	body := q.attempts(ctx, "e/m")[0].Body
	q.want(bytes.Equal(body, fullAttempt(1, got.Now).Body), "after what Settle was given and Attempts returned was written to, the body is %q", body)
}

// nothingChanges tries every method with a context that is over.
func nothingChanges(ctx context.Context, q *queue) {
	q.endpoints(ctx, "e")
	q.publish(ctx, "claimed", "waits", "ended")
	got := q.gives(ctx, webhook.Claim{}, "e/claimed", "e/waits", "e/ended")
	q.settle(ctx, named(got.Deliveries, "e/waits"), giveBack)
	q.settle(ctx, named(got.Deliveries, "e/ended"), end(dead))
	endpoint, rows := q.endpoint(ctx, "e"), q.rows(ctx, "e")
	over, cancel := context.WithCancel(ctx)
	cancel()
	refuses := func(method string, err error) {
		q.wantErr(method+" with a context that is over", err, context.Canceled)
		q.want(reflect.DeepEqual(plain(q.endpoint(ctx, "e")), plain(endpoint)), "%s with a context that is over changed the endpoint", method)
		q.want(reflect.DeepEqual(q.rows(ctx, "e"), rows), "%s with a context that is over changed deliveries:\n got %+v\nwant %+v", method, q.rows(ctx, "e"), rows)
	}
	_, err := q.Publish(over, message("new"))
	refuses("Publish", err)
	_, err = q.Publish(over, message("ended"))
	refuses("Publish of what is there", err)
	refuses("Change", changeEndpoint(over, q, "e", func(e *webhook.Endpoint) { e.Settings.Note = "changed" }))
	_, err = q.Claim(over, webhook.Claim{Token: "over", Limit: 1, Lease: long})
	refuses("Claim", err)
	refuses("Settle", q.Settle(over, settlementsOf(named(got.Deliveries, "e/claimed")), func(now time.Time, cases []webhook.Case) error {
		end(delivered)(now, &cases[0])
		return nil
	}))
	_, err = q.Move(over, webhook.Move{Endpoint: "e", From: []webhook.DeliveryState{pending}, To: dropped, Limit: 1})
	refuses("Move", err)
	_, err = q.Prune(over, q.now(ctx).Add(long), 10)
	refuses("Prune", err)
	_, err = q.Endpoints(over, webhook.EndpointQuery{Limit: 1})
	refuses("Endpoints", err)
	_, err = q.Deliveries(over, webhook.DeliveryQuery{Endpoint: "e", Limit: 1})
	refuses("Deliveries", err)
	_, err = q.Attempts(over, "e", "claimed", 0, 1)
	refuses("Attempts", err)
	_, err = q.Message(over, "claimed")
	refuses("Message", err)
	q.has(ctx, []string{"claimed", "waits", "ended"}, []string{"new"})
	q.settle(ctx, named(got.Deliveries, "e/claimed"), end(delivered))
}

// waitsForFunctions has contexts end while functions run.
func waitsForFunctions(ctx context.Context, q *queue) {
	q.endpoints(ctx, "e")
	q.publish(ctx, "m")
	got := q.gives(ctx, webhook.Claim{}, "e/m")
	for method, call := range map[string]func(ctx context.Context, within func() error) error{
		"Change": func(ctx context.Context, within func() error) error {
			return q.Change(ctx, "e", func(time.Time, *webhook.Endpoint) error { return within() })
		},
		"Settle": func(ctx context.Context, within func() error) error {
			return q.Settle(ctx, settlementsOf(got.Deliveries), func(time.Time, []webhook.Case) error { return within() })
		},
	} {
		over, cancel := context.WithCancel(ctx)
		var running, calls atomic.Int64
		var returned atomic.Bool
		err := call(over, func() error {
			running.Add(1)
			defer running.Add(-1)
			calls.Add(1)
			cancel()
			for range 100_000 { // long enough for a busy machine; a store that waits, waits for all of it
				if returned.Load() {
					break
				}
				runtime.Gosched()
			}
			return errLook
		})
		before, left := calls.Load(), running.Load()
		returned.Store(true)
		q.want(left == 0, "%s returned while its function ran", method)
		q.want(err != nil, "%s swallowed the error of its function", method)
		q.now(ctx)
		q.want(calls.Load() == before && running.Load() == 0, "%s called its function after it had returned", method)
		cancel()
	}
}

func raceChecks() []storeCheck {
	return []storeCheck{
		{"a message appears for all its endpoints at once", func(ctx context.Context, q *queue) {
			ids := numbered("e", 20)
			q.endpoints(ctx, ids...)
			messages := numbered("m", 20)
			var done atomic.Bool
			q.together(ctx, 3, func(ctx context.Context, i int) error {
				if i == 0 {
					defer done.Store(true)
					for _, id := range messages {
						if _, err := q.Publish(ctx, message(id)); err != nil {
							return err
						}
					}
					return nil
				}
				for k := 0; k < len(messages); {
					last := done.Load()
					list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Message: messages[k], Limit: 100})
					if err != nil {
						return err
					}
					switch {
					case len(list) == len(ids):
						k++
					case len(list) > 0:
						return fmt.Errorf("%d of %d deliveries of a message are there", len(list), len(ids))
					case last:
						return fmt.Errorf("no delivery of %s is there, which was published", messages[k])
					}
				}
				return nil
			})
		}},
		{"claims and settlements see the changes of an endpoint that returned before", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, numbered("m", 200)...)
			var disabled atomic.Bool
			q.together(ctx, 4, func(ctx context.Context, i int) error {
				for round := range 30 {
					if i == 0 && round == 5 {
						if err := changeEndpoint(ctx, q, "e", func(e *webhook.Endpoint) { e.State = webhook.EndpointDisabled }); err != nil {
							return err
						}
						disabled.Store(true)
					}
					before := disabled.Load()
					got, err := q.Claim(ctx, webhook.Claim{Token: fmt.Sprintf("t%d_%d", i, round), Limit: 1, Lease: long})
					if err != nil {
						return err
					}
					if before && len(got.Deliveries) > 0 {
						return fmt.Errorf("a claim gave %v of an endpoint that was disabled before it began", namesOf(got.Deliveries))
					}
				}
				return nil
			})
		}},
		{"changes, claims and settlements at once lose nothing of an endpoint", countedRace},
		{"publishing and claiming at once, every message is handed out once", publishRace},
	}
}

// countedRace has an endpoint counted up by changes and settlements at once, while
// claims write its pace.
func countedRace(ctx context.Context, q *queue) {
	q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.Rate = webhook.MaxRate })
	const messages = 40
	q.publish(ctx, numbered("m", messages)...)
	var settled atomic.Int64
	q.together(ctx, 6, func(ctx context.Context, i int) error {
		for round := 0; settled.Load() < messages; round++ {
			if i < 2 {
				if round < 10 {
					if err := changeEndpoint(ctx, q, "e", func(e *webhook.Endpoint) { e.Health.Trips, e.Health.Attempts = 0, e.Health.Attempts+1 }); err != nil {
						return err
					}
					continue
				}
				return nil
			}
			got, err := q.Claim(ctx, webhook.Claim{Token: fmt.Sprintf("t%d_%d", i, round), Limit: 2, Lease: long})
			if err != nil {
				return err
			}
			if len(got.Deliveries) == 0 {
				if q.clock != nil {
					q.clock.Advance(time.Millisecond)
				}
				continue
			}
			err = q.Settle(ctx, settlementsOf(got.Deliveries), func(now time.Time, cases []webhook.Case) error {
				for i := range cases {
					if cases[i].Late {
						return errors.New("a settlement is late")
					}
					cases[i].Endpoint.Health.Missed++
					end(delivered)(now, &cases[i])
				}
				return nil
			})
			if err != nil {
				return err
			}
			settled.Add(int64(len(got.Deliveries)))
		}
		return nil
	})
	got := q.endpoint(ctx, "e").Health
	q.want(got.Missed == messages && got.Attempts <= 20, "%d settlements count %d, changes %d", messages, got.Missed, got.Attempts)
	q.want(!got.PacedUntil.IsZero(), "the pace was lost")
}

func publishRace(ctx context.Context, q *queue) {
	q.endpoints(ctx, "e", "f")
	const publishers, each = 4, 15
	var (
		published atomic.Int64
		taken     [2 * publishers * each]atomic.Int64
		claimed   atomic.Int64
	)
	q.together(ctx, 2*publishers, func(ctx context.Context, i int) error {
		if i < publishers {
			for k := range each {
				if _, err := q.Publish(ctx, message(fmt.Sprintf("m%d", i*each+k))); err != nil {
					return err
				}
				published.Add(1)
			}
			return nil
		}
		for round := 0; claimed.Load() < int64(len(taken)); round++ {
			got, err := q.Claim(ctx, webhook.Claim{Token: fmt.Sprintf("t%d_%d", i, round), Limit: 10, Lease: long})
			if err != nil {
				return err
			}
			for _, c := range got.Deliveries {
				var k int
				if _, err := fmt.Sscanf(c.Delivery.Message, "m%d", &k); err != nil {
					return err
				}
				if c.Delivery.Endpoint == "f" {
					k += len(taken) / 2
				}
				if taken[k].Add(1) > 1 {
					return fmt.Errorf("%s/%s was handed out twice", c.Delivery.Endpoint, c.Delivery.Message)
				}
			}
			claimed.Add(int64(len(got.Deliveries)))
		}
		return nil
	})
}
