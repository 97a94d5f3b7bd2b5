package webhooktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keytoll/keytoll/internal/suite"
	"github.com/keytoll/keytoll/webhook"
)

// account owns what checks make, unless they say otherwise.
const account = "acct_1"

// patience is how long a check waits for time to pass on a store with its own
// clock.
const patience = 20 * time.Second

// errLook is how a function of Change says that it only wanted to look.
var errLook = errors.New("only looking")

// now returns the store's time.
func (q *queue) now(ctx context.Context) (now time.Time) {
	err := q.Change(ctx, "clock", func(at time.Time, _ *webhook.Endpoint) error {
		now = at
		return errLook
	})
	q.want(errors.Is(err, errLook), "Change returned %v, not the error of its function", err)
	return now
}

// until lets time pass until done returns true.
func (q *queue) until(what string, done func() bool) {
	const step = time.Millisecond
	begin := time.Now() //nolint:forbidigo // a deadline for a store with a clock of its own
	for moved := time.Duration(0); !done(); {
		if q.clock != nil {
			q.clock.Advance(step)
			moved += step
		} else {
			suite.Wait(step)
			moved = time.Since(begin) //nolint:forbidigo // the same
		}
		q.want(moved < patience, "%s has not come after %v", what, patience)
	}
}

// passes lets d pass.
func (q *queue) passes(ctx context.Context, d time.Duration) {
	end := q.now(ctx).Add(d)
	if q.clock != nil {
		q.clock.Advance(d)
	}
	q.until("the end of a wait", func() bool { return !q.now(ctx).Before(end) })
}

// change makes or changes an endpoint. A new one is active, with room for all.
func (q *queue) change(ctx context.Context, id string, edit func(e *webhook.Endpoint)) {
	q.must(changeEndpoint(ctx, q, id, edit))
}

func changeEndpoint(ctx context.Context, s webhook.Store, id string, edit func(e *webhook.Endpoint)) error {
	return s.Change(ctx, id, func(now time.Time, e *webhook.Endpoint) error {
		if e.State == 0 {
			e.Account, e.State, e.CreatedAt = account, webhook.EndpointActive, now
			e.Settings.URL, e.Settings.MaxInFlight = "https://example.com/", webhook.MaxMaxInFlight
		}
		e.UpdatedAt = now
		if edit != nil {
			edit(e)
		}
		return nil
	})
}

// endpoints makes endpoints as they are by default.
func (q *queue) endpoints(ctx context.Context, ids ...string) {
	for _, id := range ids {
		q.change(ctx, id, nil)
	}
}

// endpoint returns the endpoint of this id.
func (q *queue) endpoint(ctx context.Context, id string) webhook.Endpoint {
	list, err := q.Endpoints(ctx, webhook.EndpointQuery{ID: id, Limit: 1})
	q.must(err)
	q.want(len(list) == 1 && list[0].ID == id, "Endpoints with the ID %q: %+v", id, list)
	return list[0]
}

// message returns a message as checks publish them.
func message(id string) webhook.Message {
	return webhook.Message{ID: id, Account: account, Type: "a.b", ContentType: "application/json", Payload: []byte(`{"id":"` + id + `"}`)}
}

// publish publishes messages, one after the other.
func (q *queue) publish(ctx context.Context, ids ...string) (last webhook.Publication) {
	for _, id := range ids {
		p, err := q.Publish(ctx, message(id))
		q.must(err)
		q.want(!p.Replayed && p.ID == id, "Publish of a new message %s = %+v", id, p)
		last = p
	}
	return last
}

// numbered returns n ids.
func numbered(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return ids
}

// claim claims. Zero fields of c are a new token, much and an hour.
func (q *queue) claim(ctx context.Context, c webhook.Claim) webhook.Claims {
	if c.Token == "" {
		q.tokens++
		c.Token = fmt.Sprintf("token_%d", q.tokens)
	}
	if c.Limit == 0 {
		c.Limit = 1024
	}
	if c.Lease == 0 {
		c.Lease = long
	}
	got, err := q.Claim(ctx, c)
	q.must(err)
	q.want(len(got.Deliveries) <= c.Limit, "Claim of %d gave %d", c.Limit, len(got.Deliveries))
	return got
}

// gives ends the check unless a claim hands out exactly these, each written
// "endpoint/message".
func (q *queue) gives(ctx context.Context, c webhook.Claim, want ...string) webhook.Claims {
	got := q.claim(ctx, c)
	names := namesOf(got.Deliveries)
	slices.Sort(want)
	q.want(slices.Equal(names, want), "Claim gave %v, want %v", names, want)
	return got
}

// namesOf returns "endpoint/message" of each, sorted.
func namesOf(list []webhook.Claimed) []string {
	names := make([]string, 0, len(list))
	for _, c := range list {
		names = append(names, c.Delivery.Endpoint+"/"+c.Delivery.Message)
	}
	slices.Sort(names)
	return names
}

// named returns those of one endpoint or, with "endpoint/message", the one.
func named(list []webhook.Claimed, name string) []webhook.Claimed {
	return slices.DeleteFunc(slices.Clone(list), func(c webhook.Claimed) bool {
		return c.Delivery.Endpoint != name && c.Delivery.Endpoint+"/"+c.Delivery.Message != name
	})
}

// settlementsOf returns settlements of what was claimed, without attempts.
func settlementsOf(list []webhook.Claimed) []webhook.Settlement {
	out := make([]webhook.Settlement, 0, len(list))
	for _, c := range list {
		out = append(out, webhook.Settlement{Endpoint: c.Delivery.Endpoint, Message: c.Delivery.Message, Token: c.Delivery.Token})
	}
	return out
}

// settle settles what was claimed: each is decided by one call of decide. None may
// be late.
func (q *queue) settle(ctx context.Context, list []webhook.Claimed, decide func(now time.Time, c *webhook.Case)) {
	if len(list) == 0 {
		return
	}
	called := false
	q.must(q.Settle(ctx, settlementsOf(list), func(now time.Time, cases []webhook.Case) error {
		called = true
		if len(cases) != len(list) {
			return fmt.Errorf("%d cases for %d settlements", len(cases), len(list))
		}
		for i := range cases {
			if cases[i].Late {
				return fmt.Errorf("the settlement of %s/%s is late", cases[i].Delivery.Endpoint, cases[i].Delivery.Message)
			}
			decide(now, &cases[i])
		}
		return nil
	}))
	q.want(called, "Settle did not call its function")
}

// end makes the delivery of c an ended one.
func end(state webhook.DeliveryState) func(now time.Time, c *webhook.Case) {
	return func(now time.Time, c *webhook.Case) {
		d := &c.Delivery
		d.State, d.EndedAt, d.Token, d.Lease = state, now, "", time.Time{}
	}
}

// wake makes the delivery of c wait for an instant that far from now.
func wake(in time.Duration) func(now time.Time, c *webhook.Case) {
	return func(now time.Time, c *webhook.Case) {
		d := &c.Delivery
		d.State, d.Due, d.Token, d.Lease = webhook.DeliveryPending, now.Add(in), "", time.Time{}
	}
}

// giveBack makes the delivery of c what it was before the claim.
func giveBack(_ time.Time, c *webhook.Case) {
	d := &c.Delivery
	d.State, d.Token, d.Lease = webhook.DeliveryPending, "", time.Time{}
	d.Tries--
	d.Attempt--
}

// arrange claims all that is due, does to each delivery what to says, and gives
// the others back.
func (q *queue) arrange(ctx context.Context, to map[string]func(now time.Time, c *webhook.Case)) {
	var list []webhook.Claimed
	for after := ""; ; {
		got := q.claim(ctx, webhook.Claim{After: after})
		if list, after = append(list, got.Deliveries...), got.Last; len(got.Deliveries) == 0 {
			break
		}
	}
	found := 0
	q.settle(ctx, list, func(now time.Time, c *webhook.Case) {
		if decide := to[c.Delivery.Endpoint+"/"+c.Delivery.Message]; decide != nil {
			found++
			decide(now, c)
		} else {
			giveBack(now, c)
		}
	})
	q.want(found >= len(to), "Claim gave %v, which are not all of what is due", namesOf(list))
}

// row returns the delivery written "endpoint/message".
func (q *queue) row(ctx context.Context, name string) webhook.Delivery {
	endpoint, message, _ := strings.Cut(name, "/")
	list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: endpoint, Message: message, Limit: 2})
	q.must(err)
	q.want(len(list) == 1 && list[0].Endpoint == endpoint && list[0].Message == message, "Deliveries of %s: %+v", name, list)
	return list[0]
}

// rows returns the deliveries of an endpoint in the order of Seq, however many
// there are.
func (q *queue) rows(ctx context.Context, endpoint string) []webhook.Delivery {
	var all []webhook.Delivery
	for before := int64(0); ; {
		list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: endpoint, Before: before, Limit: 1000})
		q.must(err)
		if len(list) == 0 {
			slices.Reverse(all)
			return all
		}
		for _, d := range list {
			q.want(d.Seq > 0 && (before == 0 || d.Seq < before), "after Seq %d comes %d in the deliveries of %s", before, d.Seq, endpoint)
			before = d.Seq
		}
		all = append(all, list...)
	}
}

// attempts returns all attempts of the delivery written "endpoint/message".
func (q *queue) attempts(ctx context.Context, name string) []webhook.Attempt {
	endpoint, message, _ := strings.Cut(name, "/")
	list, err := q.Attempts(ctx, endpoint, message, 0, 1000)
	q.must(err)
	return list
}

// inWhole reports whether t is in UTC and in whole microseconds.
func inWhole(t time.Time) bool { return t == t.UTC().Truncate(time.Microsecond) } //nolint:revive // it is about what Equal does not see

// together runs f n times at once, as long as patience lasts, and ends the check on
// an error.
func (q *queue) together(ctx context.Context, n int, f func(ctx context.Context, i int) error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q.must(together(ctx, n, f))
}

// together runs f n times at once and returns the first error, which ends the
// context of the others.
func together(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg    sync.WaitGroup
		start = make(chan struct{})
		once  sync.Once
		first error
	)
	for i := range n {
		wg.Go(func() {
			<-start
			if err := f(ctx, i); err != nil {
				once.Do(func() { first = err; cancel() })
			}
		})
	}
	close(start)
	wg.Wait()
	return first
}
