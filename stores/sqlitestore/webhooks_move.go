package sqlitestore

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

const (
	// The first of an endpoint in states ?4 to ?8, published since ?2; of those that
	// are pending, when they are to be made so, only what is due after ?9.
	movable = `SELECT seq FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?4 AND created_at >= ?2 AND due > ?9
		UNION ALL SELECT seq FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?5 AND created_at >= ?2
		UNION ALL SELECT seq FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?6 AND created_at >= ?2
		UNION ALL SELECT seq FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?7 AND created_at >= ?2
		UNION ALL SELECT seq FROM webhook_deliveries WHERE endpoint = ?1 AND state = +?8 AND created_at >= ?2
		ORDER BY seq LIMIT +?3`

	moveToPending = `UPDATE webhook_deliveries SET state = 1, due = ?2, attempt = 0, failure = 0, manual = ?3, ended_at = NULL
		WHERE seq IN (SELECT value FROM json_each(?1))`
	moveToDropped = `UPDATE webhook_deliveries SET state = 5, ended_at = ?2 WHERE seq IN (SELECT value FROM json_each(?1))`

	// Messages of which nothing is to become any more.
	isPrunable = `m.at < ?1 AND NOT EXISTS (
			SELECT 1 FROM webhook_deliveries d CROSS JOIN webhook_endpoints e ON e.id = d.endpoint
			WHERE d.message = m.seq AND d.state < 3 AND e.state < 3)`
	prunable      = `SELECT m.seq FROM webhook_messages m WHERE ` + isPrunable + ` ORDER BY m.at, m.seq LIMIT +?2`
	stillPrunable = `SELECT m.seq FROM json_each(?2) CROSS JOIN webhook_messages m ON m.seq = value WHERE ` + isPrunable
	pruneAttempts = `DELETE FROM webhook_attempts WHERE delivery IN (
		SELECT d.seq FROM json_each(?1) CROSS JOIN webhook_deliveries d ON d.message = value)`
	pruneDeliveries = `DELETE FROM webhook_deliveries WHERE message IN (SELECT value FROM json_each(?1))`
	pruneMessages   = `DELETE FROM webhook_messages WHERE seq IN (SELECT value FROM json_each(?1))`
	pruneEndpoints  = `DELETE FROM webhook_endpoints WHERE state = 3
		AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.endpoint = webhook_endpoints.id)`
)

// Move implements [webhook.Store].
func (w *WebhookStore) Move(ctx context.Context, m webhook.Move) (int, error) {
	var moved int
	err := w.write(ctx, func(ctx context.Context, s *session, now time.Time) error {
		list, err := toMove(ctx, s, &m, now)
		if moved = len(list); err != nil || moved == 0 {
			return err
		}
		if m.To == webhook.DeliveryPending {
			return s.exec(ctx, moveToPending, listOf(list), micros(now), m.Manual)
		}
		return s.exec(ctx, moveToDropped, listOf(list), micros(now))
	})
	if err != nil {
		return 0, err
	}
	return moved, nil
}

// toMove returns the deliveries that m moves.
func toMove(ctx context.Context, s *session, m *webhook.Move, now time.Time) ([]int64, error) {
	if len(m.From) == 0 {
		return nil, nil
	}
	after := int64(math.MinInt64) // pending ones that are due by then stay as they are
	if m.To == webhook.DeliveryPending {
		after = micros(now)
	}
	if m.Message == "" {
		args := appendDeliveryStates([]any{m.Endpoint, ceiling(m.Since), m.Limit}, m.From)
		return s.numbers(ctx, movable, append(args, after))
	}
	d, found, err := loadDelivery(ctx, s, m.Endpoint, m.Message)
	if err != nil || !found || !slices.Contains(m.From, d.State) || d.CreatedAt.Before(m.Since) ||
		d.State == webhook.DeliveryPending && micros(d.Due) <= after {
		return nil, err
	}
	return []int64{d.Seq}, nil
}

// numbers returns the rows of a query of one column.
func (s *session) numbers(ctx context.Context, query string, args []any) ([]int64, error) {
	var list []int64
	err := s.rows(ctx, query, args, func(rows *sql.Rows) error {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return fault(ctx, err)
		}
		list = append(list, n)
		return nil
	})
	return list, err
}

// Prune implements [webhook.Store]. It looks for old messages without the writer,
// because it may have to look past many that are held.
func (w *WebhookStore) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	var list []int64
	err := w.db.read(ctx, func(s *session) (err error) {
		list, err = s.numbers(ctx, prunable, []any{ceiling(before), limit})
		return err
	})
	if err != nil {
		return 0, err
	}
	err = w.write(ctx, func(ctx context.Context, s *session, _ time.Time) (err error) {
		if len(list) > 0 {
			if list, err = s.numbers(ctx, stillPrunable, []any{ceiling(before), listOf(list)}); err != nil {
				return err
			}
			for _, statement := range []string{pruneAttempts, pruneDeliveries, pruneMessages} {
				if err := s.exec(ctx, statement, listOf(list)); err != nil {
					return err
				}
			}
		}
		return s.exec(ctx, pruneEndpoints)
	})
	if err != nil {
		return 0, err
	}
	return len(list), nil
}
