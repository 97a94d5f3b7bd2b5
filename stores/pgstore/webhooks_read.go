package pgstore

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// Endpoints implements [webhook.Store].
func (s *WebhookStore) Endpoints(ctx context.Context, q webhook.EndpointQuery) ([]webhook.Endpoint, error) {
	var f filter
	f.where(`id > $%d`, plainID(q.After))
	if q.ID != "" {
		f.where(`id = $%d`, q.ID)
	} else {
		f.where(`state <> 3`)
	}
	order := `id`
	if q.Account != "" {
		f.where(`account = $%d`, q.Account)
		order = `account, id`
	}
	return listOf(ctx, s.db, f.list(s.db.sql.endpoints, order, q.Limit), f.args, func(c [][]byte, e *webhook.Endpoint) error {
		_, err := readEndpoint(c[0], e)
		return err
	})
}

// Deliveries implements [webhook.Store].
func (s *WebhookStore) Deliveries(ctx context.Context, q webhook.DeliveryQuery) ([]webhook.Delivery, error) {
	var states []int64 // null for all
	for _, state := range q.States {
		states = append(states, int64(state))
	}
	if q.Before == 0 {
		q.Before = math.MaxInt64
	}
	args := []any{q.Endpoint, q.Message, states, q.Before, int64(q.Limit)}
	return listOf(ctx, s.db, s.db.sql.deliveries, args, func(c [][]byte, d *webhook.Delivery) error {
		d.Account, d.Type = string(c[1]), string(c[2])
		return readDelivery(c[0], d)
	})
}

// Attempts implements [webhook.Store].
func (s *WebhookStore) Attempts(ctx context.Context, endpoint, message string, after, limit int) ([]webhook.Attempt, error) {
	return listOf(ctx, s.db, s.db.sql.attemptsAfter, []any{message, endpoint, after, limit}, func(c [][]byte, a *webhook.Attempt) error {
		return readAttempt(c[0], a)
	})
}

// Message implements [webhook.Store].
func (s *WebhookStore) Message(ctx context.Context, id string) (webhook.Message, error) {
	list, err := listOf(ctx, s.db, s.db.sql.message, []any{id}, func(c [][]byte, m *webhook.Message) error { return readMessage(c[0], m) })
	if err != nil {
		return webhook.Message{}, err
	}
	if len(list) == 0 {
		return webhook.Message{}, errors.Wrap("pgstore.Message", webhook.ErrNotFound)
	}
	return list[0], nil
}

// list returns the statement that lists what passes.
func (f *filter) list(query, order string, limit int) string {
	f.args = append(f.args, limit)
	return fmt.Sprintf("%s%s ORDER BY %s LIMIT $%d", query, strings.Join(f.conditions, " AND "), order, len(f.args))
}

// listOf returns the rows of a query that is planned each time.
func listOf[R any](ctx context.Context, db *DB, query string, args []any, read func(columns [][]byte, into *R) error) ([]R, error) {
	var list []R
	_, err := db.read(ctx, db.planned, query, func(row int, columns [][]byte) error {
		if row == 0 {
			list = nil
		}
		var r R
		err := read(columns, &r)
		list = append(list, r)
		return err
	}, args...)
	if err != nil {
		return nil, err
	}
	return list, nil
}
