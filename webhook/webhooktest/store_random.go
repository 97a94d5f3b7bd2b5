package webhooktest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// RunRandom gives a store that is empty so many random commands, and compares what
// it does with a plain model. [Run] does so with two seeds and a few hundred
// commands; this is for more.
func RunRandom(t *testing.T, s webhook.Store, seed uint64, commands int) {
	t.Helper()
	if err := random(seed, commands).holds(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func modelChecks() []storeCheck { return []storeCheck{random(1, 200), random(2, 200)} }

func random(seed uint64, commands int) storeCheck {
	return storeCheck{fmt.Sprintf("random commands do what a plain model does, seed %d", seed), func(ctx context.Context, q *queue) {
		r := &player{queue: q, model: model{fanOut: map[string]int{}}, rng: rand.New(rand.NewPCG(seed, 0))}
		for step := range commands {
			r.at = fmt.Sprintf("seed %d, command %d", seed, step)
			r.step(ctx)
			if step%10 == 0 || step == commands-1 {
				r.compare(ctx, step%50 == 0 || step == commands-1)
			}
		}
	}}
}

// A player gives random commands to a store and to a model.
type player struct {
	*queue
	model

	rng     *rand.Rand
	at      string
	claimed []webhook.Delivery // what was handed out
	after   string
}

func (r *player) wrong(what string, got, want any) {
	r.fail("%s, %s:\n got %+v\nwant %+v", r.at, what, got, want)
}

// among returns one of the given values.
func among[T any](r *player, of ...T) T { return of[r.rng.IntN(len(of))] }

func (r *player) someEndpoint() string { return among(r, "a", "B", "c", "_d", "e") }
func (r *player) someMessage() string  { return fmt.Sprintf("m%02d", r.rng.IntN(40)) }

func (r *player) step(ctx context.Context) {
	if r.clock != nil {
		r.clock.Advance(among(r, time.Microsecond, time.Microsecond, time.Millisecond, 100*time.Millisecond, 2*time.Second))
	}
	switch n := r.rng.IntN(100); {
	case n < 12:
		r.changes(ctx)
	case n < 40:
		r.publishes(ctx)
	case n < 62:
		r.claims(ctx)
	case n < 88:
		r.settles(ctx)
	case n < 97:
		r.moves(ctx)
	default:
		r.prunes(ctx)
	}
}

func (r *player) changes(ctx context.Context) {
	id := r.someEndpoint()
	states := []webhook.EndpointState{webhook.EndpointActive, webhook.EndpointActive, webhook.EndpointActive, webhook.EndpointDisabled, webhook.EndpointDeleted}
	state, events := among(r, states...), among(r, nil, nil, []string{"a.*"}, []string{"a.b", "x"})
	room, rate, ordered := among(r, 0, 1, 2, 5, 1000), among(r, 0, 0, 0, 3, 200), r.rng.IntN(3) == 0
	blocked, trips := among(r, 0, 0, 0, -time.Hour, time.Millisecond, time.Hour), among(r, 0, 0, 0, 2)
	if state == webhook.EndpointDeleted && r.rng.IntN(2) > 0 {
		state = webhook.EndpointActive
	}
	edit := func(now time.Time, e *webhook.Endpoint) {
		e.State, e.UpdatedAt = state, now
		if e.Account == "" {
			e.Account, e.CreatedAt = "acct_"+map[bool]string{true: "1", false: "2"}[id != "c"], now
		}
		e.Settings = webhook.Settings{URL: "https://example.com/", Events: events, MaxInFlight: room, Rate: rate, Ordered: ordered}
		if e.Health.Trips, e.Health.BlockedUntil = trips, (time.Time{}); blocked != 0 {
			e.Health.BlockedUntil = now.Add(blocked)
		}
	}
	var at time.Time
	r.must(r.Change(ctx, id, func(now time.Time, e *webhook.Endpoint) error { at = now; edit(now, e); return nil }))
	r.model.change(id, func(e *webhook.Endpoint) { edit(at, e) })
}

func (r *player) publishes(ctx context.Context) {
	m := message(r.someMessage())
	m.Account, m.Type = among(r, "acct_1", "acct_1", "acct_2"), among(r, "a.b", "a.b", "a.b", "x", "y")
	if r.rng.IntN(8) == 0 {
		m.Endpoint = r.someEndpoint()
	}
	if r.rng.IntN(20) == 0 {
		m.Payload = []byte("another")
	}
	got, err := r.Publish(ctx, m)
	want, wantErr := r.model.publish(got.At, m)
	if got != want || !sameErr(err, wantErr) {
		r.wrong(fmt.Sprintf("Publish(%+v)", m), fmt.Sprint(got, err), fmt.Sprint(want, wantErr))
	}
}

func (r *player) claims(ctx context.Context) {
	r.tokens++
	c := webhook.Claim{Token: fmt.Sprintf("token_%d", r.tokens), Limit: among(r, 1, 2, 5, 1000), Lease: among(r, time.Microsecond, time.Millisecond, time.Hour), After: r.after}
	got, err := r.Claim(ctx, c)
	r.must(err)
	r.after = got.Last
	want, next := r.model.claim(got.Now, c)
	list := make([]webhook.Delivery, 0, len(got.Deliveries))
	for _, d := range got.Deliveries {
		r.claimed = append(r.claimed, d.Delivery)
		d.Delivery.Seq = 0
		list = append(list, d.Delivery)
		if e := r.model.endpoint(d.Delivery.Endpoint); !reflect.DeepEqual(plain(*d.Endpoint), plain(*e)) {
			r.wrong("an endpoint handed out", *d.Endpoint, *e)
		}
	}
	byName := func(a, b webhook.Delivery) int {
		return strings.Compare(a.Endpoint+"/"+a.Message, b.Endpoint+"/"+b.Message)
	}
	slices.SortFunc(list, byName)
	slices.SortFunc(want, byName)
	if !slices.Equal(list, want) {
		r.wrong(fmt.Sprintf("Claim(%+v) at %v", c, got.Now), list, want)
	}
	full := len(list) == c.Limit
	if got.Next.IsZero() != next.IsZero() || got.Next.After(next) || !full && !next.IsZero() && !got.Next.After(got.Now) || full && got.Next != got.Now {
		r.wrong(fmt.Sprintf("Next of %+v at %v", c, got.Now), got.Next, next)
	}
}

func (r *player) settles(ctx context.Context) {
	var list []webhook.Settlement
	for range 1 + r.rng.IntN(6) {
		if len(r.claimed) == 0 {
			break
		}
		recent := r.claimed[max(0, len(r.claimed)-12):]
		d := recent[r.rng.IntN(len(recent))]
		s := webhook.Settlement{Endpoint: d.Endpoint, Message: d.Message, Token: d.Token}
		if r.rng.IntN(4) > 0 {
			s.Attempt = webhook.Attempt{Number: d.Tries, At: d.Lease, Status: 200 + r.rng.IntN(300), Detail: among(r, "", "a detail")}
		}
		if !slices.ContainsFunc(list, func(o webhook.Settlement) bool { return o.Endpoint == s.Endpoint && o.Message == s.Message }) {
			list = append(list, s)
		}
	}
	choice := r.rng.Uint64()
	decide := func(i int, now time.Time, late bool, d *webhook.Delivery, e *webhook.Endpoint) {
		if choice%4 == 0 {
			e.Health.Attempts++
		}
		if late && i%2 == 0 {
			return
		}
		c := webhook.Case{Delivery: *d, Endpoint: e}
		switch (choice >> (3 * i)) % 8 {
		case 0, 1:
			end(delivered)(now, &c)
		case 2:
			end(dead)(now, &c)
		case 3:
			end(dropped)(now, &c)
		case 4:
			wake(2*time.Hour)(now, &c)
			c.Delivery.Failure = webhook.FailedBusy
		case 5:
			wake(-time.Second)(now, &c)
		case 6:
			giveBack(now, &c)
		case 7:
			c.Delivery.Lease = now.Add(time.Minute)
		}
		*d = c.Delivery
	}
	var settled time.Time
	r.must(r.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
		settled = now
		for i := range cases {
			decide(i, now, cases[i].Late, &cases[i].Delivery, cases[i].Endpoint)
		}
		return nil
	}))
	i := 0
	r.model.settle(list, func(late bool, d *webhook.Delivery, e *webhook.Endpoint) {
		decide(i, settled, late, d, e)
		i++
	})
}

func (r *player) moves(ctx context.Context) {
	v := webhook.Move{Endpoint: r.someEndpoint(), To: pending, Limit: 1 + r.rng.IntN(8), Manual: r.rng.IntN(2) == 0}
	for _, state := range []webhook.DeliveryState{pending, delivered, dead, dropped} {
		if r.rng.IntN(2) == 0 {
			v.From = append(v.From, state)
		}
	}
	if r.rng.IntN(3) == 0 || len(v.From) == 0 {
		v.From, v.To = []webhook.DeliveryState{pending}, dropped
	}
	if r.rng.IntN(4) == 0 {
		v.Message = r.someMessage()
	}
	if len(r.messages) > 0 && r.rng.IntN(3) == 0 {
		v.Since = among(r, r.messages...).At
	}
	from := r.now(ctx)
	n, err := r.Move(ctx, v)
	r.must(err)
	to, want := r.now(ctx), r.model.move(from, v)
	if n != len(want) {
		r.wrong(fmt.Sprintf("Move(%+v)", v), n, len(want))
	}
	for _, d := range want {
		row := r.row(ctx, d.Endpoint+"/"+d.Message)
		instant := &row.Due
		if d.State = v.To; v.To == pending {
			d.Due, d.Attempt, d.Failure, d.EndedAt, d.Manual = row.Due, 0, 0, time.Time{}, v.Manual
		} else {
			d.EndedAt, instant = row.EndedAt, &row.EndedAt
		}
		if instant.Before(from) || instant.After(to) {
			r.wrong(fmt.Sprintf("the instant that Move(%+v) wrote of %s/%s", v, d.Endpoint, d.Message), instant, fmt.Sprint(from, to))
		}
	}
}

func (r *player) prunes(ctx context.Context) {
	before := r.now(ctx).Add(time.Hour)
	if len(r.messages) > 0 && r.rng.IntN(2) == 0 {
		before = among(r, r.messages...).At
	}
	n, err := r.Prune(ctx, before, 1000)
	r.must(err)
	if want := r.model.prune(before, 1000); n != want {
		r.wrong(fmt.Sprintf("Prune(%v)", before), n, want)
	}
}

// compare compares all that the store holds with the model.
func (r *player) compare(ctx context.Context, attempts bool) {
	for _, id := range []string{"a", "B", "c", "_d", "e"} {
		list, err := r.Endpoints(ctx, webhook.EndpointQuery{ID: id, Limit: 1})
		r.must(err)
		want := r.model.endpoint(id)
		if (len(list) == 0) != (want == nil) || want != nil && !reflect.DeepEqual(plain(list[0]), plain(*want)) {
			r.wrong("endpoint "+id, list, want)
		}
		r.compareRows(ctx, id, attempts)
	}
	for _, want := range r.messages {
		got, err := r.Message(ctx, want.ID)
		r.must(err)
		if !sameMessage(got, want) {
			r.wrong("a message", got, want)
		}
	}
}

func (r *player) compareRows(ctx context.Context, endpoint string, attempts bool) {
	rows := r.rows(ctx, endpoint)
	for i := range r.deliveries {
		want := r.deliveries[i]
		if want.Endpoint != endpoint {
			continue
		}
		if len(rows) == 0 {
			r.wrong("deliveries of "+endpoint, "fewer", want)
		}
		got := rows[0]
		rows = rows[1:]
		if got.Seq = 0; got.State.Ended() {
			got.Due, want.Due = time.Time{}, time.Time{}
		}
		if got != want {
			r.wrong("a delivery", got, want)
		}
		if attempts {
			list := r.queue.attempts(ctx, endpoint+"/"+want.Message)
			for i := range list {
				list[i].Body = nil
			}
			if sorted := r.sorted(endpoint, want.Message); !slices.EqualFunc(list, sorted, func(a, b webhook.Attempt) bool { return reflect.DeepEqual(a, b) }) {
				r.wrong("the attempts of "+endpoint+"/"+want.Message, list, sorted)
			}
		}
	}
	if len(rows) > 0 {
		r.wrong("deliveries of "+endpoint, rows, "fewer")
	}
}
