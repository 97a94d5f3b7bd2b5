package sqlitestore

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

const (
	deliveriesOfEndpoint = `SELECT ` + deliveryRow + ` FROM (
			SELECT seq AS listed FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?4 AND seq < ?2
			UNION ALL SELECT seq FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?5 AND seq < ?2
			UNION ALL SELECT seq FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?6 AND seq < ?2
			UNION ALL SELECT seq FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?7 AND seq < ?2
			UNION ALL SELECT seq FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?8 AND seq < ?2
			ORDER BY listed DESC LIMIT +?3
		) CROSS JOIN webhook_deliveries d ON d.seq = listed CROSS JOIN webhook_messages m ON m.seq = d.message`

	// Those of one message have the order of their endpoints.
	deliveriesOfMessage = `SELECT ` + deliveryRow + ` FROM webhook_messages m CROSS JOIN webhook_deliveries d ON d.message = m.seq
		WHERE m.id = ?1 AND d.seq < ?2 AND d.state IN (+?4, +?5, +?6, +?7, +?8) ORDER BY d.endpoint DESC LIMIT +?3`

	attemptsAfter = `SELECT concat(number, ' ', at, ' ', took, ' ', failure, ' ', status, ' ', retry_after, ' ', control, ' ',
		octet_length(detail), ' ', octet_length(location), ' ', octet_length(address), ' ', hex(body), ' ', detail, location, address) AS attempt
		FROM webhook_attempts WHERE delivery = ?1 AND number > ?2 ORDER BY number LIMIT +?3`

	messageRow = `concat(m.seq, ' ', m.at, ' ', octet_length(m.id), ' ', octet_length(m.account), ' ', octet_length(m.type), ' ',
		octet_length(m.endpoint), ' ', octet_length(m.content_type), ' ', m.id, m.account, m.type, m.endpoint, m.content_type) AS message`
	messageByID = `SELECT ` + messageRow + `, m.payload FROM webhook_messages m WHERE m.id = ?1`
)

// Deliveries implements [webhook.Store].
func (w *WebhookStore) Deliveries(ctx context.Context, q webhook.DeliveryQuery) ([]webhook.Delivery, error) {
	before := q.Before
	if before == 0 {
		before = math.MaxInt64
	}
	query, args := deliveriesOfEndpoint, []any{q.Endpoint, before, q.Limit}
	if q.Message != "" {
		query, args[0] = deliveriesOfMessage, q.Message
	}
	args = appendDeliveryStates(args, q.States)
	var list []webhook.Delivery
	err := w.db.read(ctx, func(s *session) error {
		if q.Endpoint != "" && q.Message != "" {
			d, found, err := loadDelivery(ctx, s, q.Endpoint, q.Message)
			if found && d.Seq < before && (len(q.States) == 0 || slices.Contains(q.States, d.State)) {
				list = append(list, d.Delivery)
			}
			return err
		}
		return s.texts(ctx, query, args, func(text string) error {
			d, err := unpackDelivery(text)
			list = append(list, d.Delivery)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b webhook.Delivery) int { return cmp.Compare(b.Seq, a.Seq) }) // as they come, but no query says so
	return list, nil
}

// appendDeliveryStates appends five arguments: the states that are among those
// given, or all when none is, and no state in the place of the others.
func appendDeliveryStates(args []any, among []webhook.DeliveryState) []any {
	for s := webhook.DeliveryPending; s <= webhook.DeliveryDropped; s++ {
		state := int64(0)
		if len(among) == 0 || slices.Contains(among, s) {
			state = int64(s)
		}
		args = append(args, state)
	}
	return args
}

// Attempts implements [webhook.Store].
func (w *WebhookStore) Attempts(ctx context.Context, endpoint, message string, after, limit int) ([]webhook.Attempt, error) {
	var list []webhook.Attempt
	err := w.db.snapshot(ctx, func(s *session) error {
		d, found, err := loadDelivery(ctx, s, endpoint, message)
		if err != nil || !found {
			return err
		}
		return s.texts(ctx, attemptsAfter, []any{d.Seq, after, limit}, func(text string) error {
			a, err := unpackAttempt(text)
			a.Endpoint, a.Message = d.Endpoint, d.Message
			list = append(list, a)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func unpackAttempt(text string) (webhook.Attempt, error) {
	p := packed{rest: text}
	var a webhook.Attempt
	a.Number, a.At, a.Took, a.Failure = int(p.number()), p.instant(), time.Duration(p.number()), webhook.Failure(p.number())
	a.Status, a.RetryAfter, a.Control = int(p.number()), time.Duration(p.number()), webhook.Control(p.number())
	detail, location, address := p.number(), p.number(), p.number()
	a.Body = p.blob()
	a.Detail, a.Location, a.Address = p.text(detail), p.text(location), p.text(address)
	return a, p.done("webhook attempt")
}

// Message implements [webhook.Store].
func (w *WebhookStore) Message(ctx context.Context, id string) (webhook.Message, error) {
	var m webhook.Message
	err := w.db.read(ctx, func(s *session) error {
		var text string
		var payload []byte
		err := s.row(ctx, messageByID, []any{id}, &text, &payload)
		if isNoRows(err) {
			return webhook.ErrNotFound
		}
		if err == nil {
			_, m, err = unpackMessage(text, payload)
		}
		return err
	})
	if err != nil {
		return webhook.Message{}, err
	}
	return m, nil
}

// unpackMessage reads a messageRow, beside the payload.
func unpackMessage(text string, payload []byte) (seq int64, m webhook.Message, err error) {
	p := packed{rest: text}
	seq, m.At, m.Payload = p.number(), p.instant(), payload
	id, account, kind, endpoint, content := p.number(), p.number(), p.number(), p.number(), p.number()
	m.ID, m.Account, m.Type, m.Endpoint, m.ContentType = p.text(id), p.text(account), p.text(kind), p.text(endpoint), p.text(content)
	return seq, m, p.done("webhook message")
}
