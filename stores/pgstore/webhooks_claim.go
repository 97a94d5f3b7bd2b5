package pgstore

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// Claim implements [webhook.Store], in two round trips. The first finds endpoints
// that have something due, locks the rows of those that nobody else has locked,
// and reads what is due of each, no more than it ever has room for. The second
// writes what [webhook.Endpoint.Room] says there is room for, reads each message
// once, and commits. Where the pace of an endpoint leaves less room than that, there
// is one more before, which goes round further.
func (s *WebhookStore) Claim(ctx context.Context, c webhook.Claim) (webhook.Claims, error) {
	var out webhook.Claims
	err := s.db.turns(ctx, func(t *turn) error {
		out = webhook.Claims{}
		w := claim{webhookWork: webhookWork{turn: t, store: s}, Claim: c, out: &out}
		if err := w.gather(ctx); err != nil {
			return err
		}
		if len(out.Deliveries) == 0 {
			return nil
		}
		return w.take(ctx)
	})
	if err != nil {
		return webhook.Claims{}, err
	}
	return out, nil
}

// A claim is one try.
type claim struct {
	webhookWork
	webhook.Claim
	out      *webhook.Claims
	waiting  []foundDelivery // of the endpoint whose row comes next
	messages map[string]*webhook.Message
}

// gather fills in what is claimed, but for messages, round by round.
func (w *claim) gather(ctx context.Context) error {
	upto := plainID(w.After)
	since, wrapped := upto+" ", upto == ""
	if wrapped {
		since = ""
	}
	given := clock(w.store.now)
	for {
		left := w.Limit - len(w.out.Deliveries)
		asked, turned := 0, []byte{0}
		if wrapped {
			turned[0] = 1
		}
		err := w.ask(ctx, w.store.db.sql.waitingWebhooks, given, []byte(since), []byte(upto), turned, bigint(int64(left)))
		if err != nil {
			return err
		}
		err = w.send(ctx, func(n int, c [][]byte) error {
			if n != w.before {
				return nil
			}
			switch small(c[0]) {
			case beginKind:
				return w.begin(c[1])
			case deliveryKind:
				asked++
				var d foundDelivery
				copy(d.place[:], c[2])
				err := readDelivery(c[1], &d.Delivery)
				w.waiting = append(w.waiting, d)
				return err
			case endpointKind:
				err := w.choose(c[1], int(number(c[3])), micros(c[4]), micros(c[5]))
				w.waiting = w.waiting[:0]
				return err
			case endKind:
				if len(c[1]) > 0 {
					w.out.Last = string(c[1])
				}
				wrapped = number(c[3]) == 1
				w.wait(micros(c[5]))
				return nil
			}
			return errRow
		})
		if err != nil {
			return err
		}
		w.out.Now, w.before = w.now, 0
		switch {
		case len(w.out.Deliveries) == w.Limit:
			w.out.Next = w.now
			return nil
		case asked < left:
			return nil // it went round
		}
		// The last endpoint was perhaps cut short: with it this begins again, and what was
		// chosen is written before, so that it is not found once more.
		since, given = w.out.Last, bigint(w.now.UnixMicro())
		if w.before, err = w.askWrite(ctx); err != nil {
			return err
		}
	}
}

// choose takes of the deliveries that wait for an endpoint what that has room for.
// So many of its attempts are running, of which the first is over at ends; the first
// delivery that is not here may be claimed at next.
func (w *claim) choose(row []byte, running int, ends, next time.Time) error {
	l, err := loadEndpoint(row)
	if err != nil {
		return err
	}
	e := &l.Endpoint
	if last := len(w.out.Deliveries) - 1; last >= 0 && w.out.Deliveries[last].Endpoint.ID == e.ID {
		e = w.out.Deliveries[last].Endpoint // of the round before, as it was written
	}
	lease := w.now.Add(w.Lease)
	n := min(e.Room(w.now, running), len(w.waiting))
	for i := range w.waiting[:n] {
		d := w.waiting[i].Delivery
		d.State, d.Token, d.Lease, d.Account = webhook.DeliverySending, w.Token, lease, e.Account
		d.Tries++
		d.Attempt++
		w.settle(&d, w.waiting[i].place)
		w.out.Deliveries = append(w.out.Deliveries, webhook.Claimed{Delivery: d, Endpoint: e})
	}
	if n > 0 {
		e.Claimed(w.now, n)
		if e.Health != l.was.Health {
			l.Endpoint = *e
			if err := l.write(&w.endpoints, w.now); err != nil {
				return err
			}
		}
		ends, next = earlier(ends, lease), earlier(next, lease)
	}
	if n < len(w.waiting) {
		next = w.now
	}
	if at := e.ReadyAt(); at.After(next) {
		next = at
	}
	if !next.After(w.now) && running+n > 0 {
		next = ends // no room before
	}
	w.wait(next)
	return nil
}

// wait notes when something may be claimed that is not claimed now.
func (w *claim) wait(until time.Time) {
	if until.After(w.now) {
		w.out.Next = earlier(w.out.Next, until)
	}
}

// earlier returns the earlier of two instants, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// take writes the claim, and reads its messages.
func (w *claim) take(ctx context.Context) error {
	w.messages = make(map[string]*webhook.Message)
	var ids array
	for i := range w.out.Deliveries {
		id := w.out.Deliveries[i].Delivery.Message
		if w.messages[id] == nil {
			w.messages[id] = new(webhook.Message)
			ids.text(id)
		}
	}
	if err := w.ask(ctx, w.store.db.sql.messagesOf, ids.of(pgtype.TextOID)); err != nil {
		return err
	}
	err := w.write(ctx, func(n int, c [][]byte) error {
		if n != 0 {
			return nil
		}
		var m webhook.Message
		if err := readMessage(c[0], &m); err != nil {
			return err
		}
		*w.messages[m.ID] = m
		return nil
	})
	if err != nil {
		return err
	}
	for i := range w.out.Deliveries {
		d := &w.out.Deliveries[i]
		d.Message = w.messages[d.Delivery.Message]
		d.Delivery.Type = d.Message.Type
		if d.Message.ID == "" {
			return errNoMessage
		}
	}
	return nil
}

var errNoMessage error = &errors.Error{Code: errors.Corrupt, Msg: "a stored delivery has no message"}

// plainID returns the beginning of a text that may be an ID: what comes behind the
// text comes behind that.
func plainID(id string) string {
	if i := strings.IndexFunc(id, func(c rune) bool { return c < ' ' || c > '~' }); i >= 0 {
		return id[:i]
	}
	return id
}
