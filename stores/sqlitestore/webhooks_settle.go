package sqlitestore

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

const (
	// See keyColumns for how rows are packed.
	deliveryRow = `concat(d.seq, ' ', d.message, ' ', d.state, ' ', d.due, ' ', d.tries, ' ', d.attempt, ' ', d.lease, ' ',
		d.failure, ' ', d.manual, ' ', d.created_at, ' ', d.ended_at, ' ',
		octet_length(d.endpoint), ' ', octet_length(m.id), ' ', octet_length(m.account), ' ', octet_length(m.type), ' ', octet_length(d.token), ' ',
		d.endpoint, m.id, m.account, m.type, d.token) AS delivery`

	deliveryByName = `SELECT ` + deliveryRow + ` FROM webhook_messages m CROSS JOIN webhook_deliveries d ON d.message = m.seq AND d.endpoint = ?1 WHERE m.id = ?2`

	updateDelivery = `UPDATE webhook_deliveries SET state = ?, due = ?, tries = ?, attempt = ?, token = ?, lease = ?, failure = ?, manual = ?, ended_at = ?
		WHERE seq = ?`

	insertAttempt = `INSERT OR IGNORE INTO webhook_attempts (delivery, number, at, took, failure, status, retry_after, control, detail, location, address, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	attemptColumns = 12
)

// A deliveryOf is a delivery and the row of its message.
type deliveryOf struct {
	webhook.Delivery
	message int64
}

// unpackDelivery reads a deliveryRow.
func unpackDelivery(text string) (deliveryOf, error) {
	p := packed{rest: text}
	var d deliveryOf
	d.Seq, d.message, d.State, d.Due = p.number(), p.number(), webhook.DeliveryState(p.number()), p.instant()
	d.Tries, d.Attempt, d.Lease = int(p.number()), int(p.number()), p.instant()
	d.Failure, d.Manual, d.CreatedAt, d.EndedAt = webhook.Failure(p.number()), p.number() != 0, p.instant(), p.instant()
	endpoint, message, account, kind, token := p.number(), p.number(), p.number(), p.number(), p.number()
	d.Endpoint, d.Message, d.Account, d.Type, d.Token = p.text(endpoint), p.text(message), p.text(account), p.text(kind), p.text(token)
	return d, p.done("webhook delivery")
}

// writeDelivery stores what can change of a delivery.
func writeDelivery(ctx context.Context, s *session, d *webhook.Delivery) error {
	due, lease := nullable(d.Due), nullable(d.Lease)
	switch d.State { // what is waited for is never null, which would be for ever
	case webhook.DeliveryPending:
		due = micros(d.Due)
	case webhook.DeliverySending:
		due, lease = micros(d.Due), micros(d.Lease)
	}
	return s.replace(ctx, updateDelivery, int64(d.State), due, d.Tries, d.Attempt, d.Token, lease, int64(d.Failure), d.Manual, nullable(d.EndedAt), d.Seq)
}

// Settle implements [webhook.Store].
func (w *WebhookStore) Settle(ctx context.Context, settlements []webhook.Settlement, fn func(now time.Time, cases []webhook.Case) error) error {
	if len(settlements) == 0 {
		return ctx.Err()
	}
	return w.write(ctx, func(ctx context.Context, s *session, now time.Time) error {
		cases, endpoints, err := casesOf(ctx, s, settlements)
		if err != nil || len(cases) == 0 {
			return err
		}
		decided := slices.Clone(cases)
		if err := fn(now, decided); err != nil {
			return err
		}
		var attempts []any
		for i := range cases {
			before, after := &cases[i], &decided[i].Delivery
			if after.Seq = before.Delivery.Seq; !before.Late && *after != before.Delivery {
				if err := writeDelivery(ctx, s, after); err != nil {
					return err
				}
			}
			attempts = attemptArgs(attempts, before.Delivery.Seq, &before.Settlement.Attempt)
		}
		for id, e := range endpoints {
			e.ID = id
			if err := e.store(ctx, s); err != nil {
				return err
			}
		}
		return s.insert(ctx, insertAttempt, attemptColumns, attempts)
	})
}

// casesOf loads what settlements are about.
func casesOf(ctx context.Context, s *session, settlements []webhook.Settlement) ([]webhook.Case, map[string]*loadedEndpoint, error) {
	var cases []webhook.Case
	endpoints := make(map[string]*loadedEndpoint)
	for i := range settlements {
		c := &settlements[i]
		d, found, err := loadDelivery(ctx, s, c.Endpoint, c.Message)
		if err != nil {
			return nil, nil, err
		}
		if !found {
			continue
		}
		e := endpoints[d.Endpoint]
		if e == nil {
			if e, err = loadEndpoint(ctx, s, d.Endpoint); err != nil {
				return nil, nil, err
			}
			endpoints[d.Endpoint] = e
		}
		cases = append(cases, webhook.Case{
			Settlement: c, Endpoint: &e.Endpoint, Delivery: d.Delivery,
			Late: d.State != webhook.DeliverySending || d.Token != c.Token,
		})
	}
	return cases, endpoints, nil
}

// loadDelivery returns the delivery of a message to an endpoint, if there is one.
func loadDelivery(ctx context.Context, s *session, endpoint, message string) (d deliveryOf, found bool, err error) {
	var text string
	err = s.row(ctx, deliveryByName, []any{endpoint, message}, &text)
	if isNoRows(err) {
		return d, false, nil
	}
	if err == nil {
		d, err = unpackDelivery(text)
	}
	return d, err == nil, err
}

// attemptArgs appends the values of a row to insert, if there is an attempt.
func attemptArgs(args []any, delivery int64, a *webhook.Attempt) []any {
	if a.Number == 0 {
		return args
	}
	var body any
	if len(a.Body) > 0 {
		body = a.Body
	}
	return append(args, delivery, a.Number, micros(a.At), int64(a.Took), int64(a.Failure), a.Status, int64(a.RetryAfter), int64(a.Control),
		a.Detail, a.Location, a.Address, body)
}
