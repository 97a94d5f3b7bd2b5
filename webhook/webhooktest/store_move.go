package webhooktest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

const (
	pending   = webhook.DeliveryPending
	sending   = webhook.DeliverySending
	delivered = webhook.DeliveryDelivered
	dead      = webhook.DeliveryDead
	dropped   = webhook.DeliveryDropped
)

// move moves, and ends the check unless that many were.
func (q *queue) move(ctx context.Context, m webhook.Move, want int) {
	if m.Limit == 0 {
		m.Limit = 1000
	}
	n, err := q.Move(ctx, m)
	q.must(err)
	q.want(n == want, "Move(%+v) moved %d, want %d", m, n, want)
}

// menagerie makes one delivery of each kind for the endpoint: "due", "future",
// "sending", "over" (its lease is), "delivered", "dead" and "dropped".
func (q *queue) menagerie(ctx context.Context, endpoint string) {
	q.endpoints(ctx, endpoint)
	q.publish(ctx, "sending", "over", "due", "future", "delivered", "dead", "dropped")
	used := func(decide func(time.Time, *webhook.Case)) func(time.Time, *webhook.Case) {
		return func(now time.Time, c *webhook.Case) {
			decide(now, c)
			c.Delivery.Tries, c.Delivery.Attempt, c.Delivery.Failure = 5, 3, webhook.FailedBusy
		}
	}
	q.arrange(ctx, map[string]func(time.Time, *webhook.Case){
		endpoint + "/sending": used(wake(-4 * long)), endpoint + "/over": used(wake(-3 * long)),
		endpoint + "/due": used(wake(-time.Second)), endpoint + "/future": used(wake(long)),
		endpoint + "/delivered": used(end(delivered)), endpoint + "/dead": used(end(dead)), endpoint + "/dropped": used(end(dropped)),
	})
	q.gives(ctx, webhook.Claim{Limit: 1, Lease: 2 * long}, endpoint+"/sending")
	q.gives(ctx, webhook.Claim{Limit: 1, Lease: time.Millisecond}, endpoint+"/over")
	q.passes(ctx, 2*time.Millisecond)
}

func moveChecks() []storeCheck {
	return []storeCheck{
		{"Move takes deliveries of the states in From alone, and makes of them what To says", moveStates},
		{"Move to Pending leaves out what is Pending and due already", func(ctx context.Context, q *queue) {
			q.menagerie(ctx, "e")
			before := q.row(ctx, "e/due")
			q.move(ctx, webhook.Move{Endpoint: "e", From: []webhook.DeliveryState{pending, delivered, dead, dropped}, To: pending}, 4)
			q.want(q.row(ctx, "e/due") == before, "what was due has become %+v", q.row(ctx, "e/due"))
			q.move(ctx, webhook.Move{Endpoint: "e", From: []webhook.DeliveryState{pending, delivered, dead, dropped}, To: pending}, 0)
		}},
		{"what was moved to Pending is claimed next, with the schedule begun anew", func(ctx context.Context, q *queue) {
			q.menagerie(ctx, "e")
			q.move(ctx, webhook.Move{Endpoint: "e", Message: "dead", From: []webhook.DeliveryState{dead}, To: pending, Manual: true}, 1)
			d := named(q.gives(ctx, webhook.Claim{}, "e/due", "e/over", "e/dead").Deliveries, "e/dead")[0].Delivery
			q.want(d.Tries == 6 && d.Attempt == 1 && d.Manual, "after a resend the claim gave %+v", d)
		}},
		{"Move of one message moves no other", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e", "f")
			q.publish(ctx, "m1", "m2", "M1")
			q.move(ctx, webhook.Move{Endpoint: "e", Message: "m1", From: []webhook.DeliveryState{pending}, To: dropped}, 1)
			q.gives(ctx, webhook.Claim{}, "e/m2", "e/M1", "f/m1", "f/m2", "f/M1")
		}},
		{"Move of an endpoint moves no other's", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e", "E")
			q.publish(ctx, "m1", "m2")
			q.move(ctx, webhook.Move{Endpoint: "e", From: []webhook.DeliveryState{pending}, To: dropped}, 2)
			q.gives(ctx, webhook.Claim{}, "E/m1", "E/m2")
		}},
		{"Move leaves what was published before Since", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			var since time.Time
			for _, id := range []string{"m1", "m2", "m3"} {
				if p := q.publish(ctx, id); id == "m2" {
					since = p.At
				}
				q.passes(ctx, 2*time.Millisecond)
			}
			q.move(ctx, webhook.Move{Endpoint: "e", Since: since.Add(time.Microsecond), From: []webhook.DeliveryState{pending}, To: dropped}, 1)
			q.want(q.row(ctx, "e/m3").State == dropped && q.row(ctx, "e/m2").State == pending, "the one after Since was not the one that was moved")
			q.move(ctx, webhook.Move{Endpoint: "e", Since: since, From: []webhook.DeliveryState{pending}, To: dropped}, 1)
			q.move(ctx, webhook.Move{Endpoint: "e", Message: "m1", Since: since, From: []webhook.DeliveryState{pending}, To: dropped}, 0)
			q.gives(ctx, webhook.Claim{}, "e/m1")
		}},
		{"Move takes those of the least Seq first, up to Limit, and portions come to an end", movePortions},
		{"Move of an endpoint or a message that is not there moves nothing", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			all := []webhook.DeliveryState{pending, delivered, dead, dropped}
			q.move(ctx, webhook.Move{Endpoint: "nothing", From: all, To: pending}, 0)
			q.move(ctx, webhook.Move{Endpoint: "e", Message: "nothing", From: all, To: pending}, 0)
			q.move(ctx, webhook.Move{Endpoint: "nothing", Message: "m", From: all, To: pending}, 0)
		}},
		{"of a claim and a Move at once, each delivery goes to one", moveRace},
	}
}

func moveStates(ctx context.Context, q *queue) {
	kinds := map[string]webhook.DeliveryState{
		"due": pending, "future": pending, "sending": sending, "over": sending, "delivered": delivered, "dead": dead, "dropped": dropped,
	}
	for i, m := range []webhook.Move{
		{From: []webhook.DeliveryState{pending}, To: pending}, {From: []webhook.DeliveryState{delivered}, To: pending, Manual: true},
		{From: []webhook.DeliveryState{dead}, To: pending}, {From: []webhook.DeliveryState{dropped}, To: pending, Manual: true},
		{From: []webhook.DeliveryState{dead, dropped}, To: pending}, {From: []webhook.DeliveryState{pending, dead, delivered}, To: pending, Manual: true},
		{From: []webhook.DeliveryState{pending}, To: dropped}, {From: []webhook.DeliveryState{pending}, To: dropped, Manual: true},
	} {
		m.Endpoint, m.Limit = fmt.Sprintf("e%d", i), 1000
		if i == 0 {
			q.menagerie(ctx, m.Endpoint)
		} else { // the messages are there: publish others, for this endpoint alone
			q.change(ctx, fmt.Sprintf("e%d", i-1), func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
			_, err := q.Prune(ctx, q.now(ctx).Add(long), 1000)
			q.must(err)
			q.menagerie(ctx, m.Endpoint)
		}
		before := map[string]webhook.Delivery{}
		moved := 0
		for kind := range kinds {
			before[kind] = q.row(ctx, m.Endpoint+"/"+kind)
		}
		from := q.now(ctx)
		n, err := q.Move(ctx, m)
		q.must(err)
		to := q.now(ctx)
		for kind, state := range kinds {
			got, want := q.row(ctx, m.Endpoint+"/"+kind), before[kind]
			if slices.Contains(m.From, state) && (kind != "due" || m.To == dropped) {
				moved++
				instant := &got.EndedAt
				if want.State = m.To; m.To == pending {
					instant, want.Attempt, want.Failure, want.Manual, want.EndedAt = &got.Due, 0, 0, m.Manual, time.Time{}
					want.Due = got.Due
				} else {
					want.EndedAt, want.Due = got.EndedAt, got.Due
				}
				q.want(!instant.Before(from) && !instant.After(to), "Move from %v to %v of %s wrote the instant %v, and ran between %v and %v", m.From, m.To, kind, *instant, from, to)
			}
			q.want(got == want, "Move from %v to %v of what is %s:\n got %+v\nwant %+v", m.From, m.To, kind, got, want)
		}
		q.want(n == moved, "Move from %v to %v returned %d, and moved %d", m.From, m.To, n, moved)
	}
}

func movePortions(ctx context.Context, q *queue) {
	q.endpoints(ctx, "e")
	ids := numbered("m", 25)
	q.publish(ctx, ids...)
	kept := q.gives(ctx, webhook.Claim{Limit: 1}, "e/m00000")
	portions := func(m webhook.Move, ids []string) {
		m.Endpoint, m.Limit = "e", 7
		for len(ids) > 0 {
			n := min(7, len(ids))
			q.move(ctx, m, n)
			for i, id := range ids {
				state := q.row(ctx, "e/"+id).State
				q.want((state == m.To) == (i < n), "after a portion of %d %s is %v", n, id, state)
			}
			ids = ids[n:]
		}
		q.move(ctx, m, 0)
	}
	portions(webhook.Move{From: []webhook.DeliveryState{pending}, To: dropped}, ids[1:])
	portions(webhook.Move{From: []webhook.DeliveryState{dropped}, To: pending}, ids[1:])
	q.settle(ctx, kept.Deliveries, giveBack)
	q.want(len(q.claim(ctx, webhook.Claim{}).Deliveries) == len(ids), "not all are due after they were moved back")
}

func moveRace(ctx context.Context, q *queue) {
	q.endpoints(ctx, "e")
	ids := numbered("m", 60)
	q.publish(ctx, ids...)
	var (
		mu    sync.Mutex
		taken = map[string]int{}
		moved int
	)
	q.together(ctx, 4, func(ctx context.Context, i int) error {
		for round := range 10 {
			if i%2 == 0 {
				got, err := q.Claim(ctx, webhook.Claim{Token: fmt.Sprintf("t%d_%d", i, round), Limit: 3, Lease: long})
				if err != nil {
					return err
				}
				mu.Lock()
				for _, c := range got.Deliveries {
					taken[c.Delivery.Message]++
				}
				mu.Unlock()
				continue
			}
			n, err := q.Move(ctx, webhook.Move{Endpoint: "e", From: []webhook.DeliveryState{pending}, To: dropped, Limit: 2})
			if err != nil {
				return err
			}
			mu.Lock()
			moved += n
			mu.Unlock()
		}
		return nil
	})
	for _, id := range ids {
		state := q.row(ctx, "e/"+id).State
		switch {
		case taken[id] == 1 && state == sending, taken[id] == 0 && state == pending:
		case taken[id] == 0 && state == dropped:
			moved--
		default:
			q.fail("%s was handed out %d times and is %v", id, taken[id], state)
		}
	}
	q.want(moved == 0, "Move returned %d more than it moved", moved)
}
